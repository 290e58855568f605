/** Loopback ports, chosen once and kept: a connection string stays valid from one start to the next. */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import { readSmallFile, writePrivateFile } from './privateFile.ts';

/** Below every system's range of ephemeral ports, so that no outgoing connection takes one by chance. */
const DEFAULT_RANGE = { from: 28_100, to: 28_899 } as const;
const MAX_PORTS_FILE_BYTES = 65_536;
const LOOPBACK = '127.0.0.1';

const PortsFile = z.record(z.string().max(200), z.number().int().min(1024).max(65_535));

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** `COUNTERSIGN_PORTS=from-to` replaces the range that ports are chosen from. */
export function portRange(text: string | undefined): PortRange {
  if (text === undefined || text === '') return DEFAULT_RANGE;
  const [, from = '', to = ''] = /^(\d{1,5})-(\d{1,5})$/.exec(text) ?? [];
  const range = { from: Number(from), to: Number(to) };
  if (!from || range.from < 1024 || range.to > 65_535 || range.from > range.to) {
    throw new Problem('ports', `COUNTERSIGN_PORTS is "${text.slice(0, 40)}". Write a range such as 28100-28899.`);
  }
  return range;
}

export class Ports {
  readonly #file: string;
  readonly #range: PortRange;
  readonly #kept: Map<string, number>;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(file: string, range: PortRange) {
    this.#file = file;
    this.#range = range;
    this.#kept = readPorts(file);
  }

  /**
   * The port of a name: the configured one, the one it had before, or a free one that it keeps from now on. One that was
   * kept is never exchanged for another, even if somebody else listens on it now: clients know it.
   */
  async of(name: string, configured?: number): Promise<number> {
    if (configured !== undefined) return configured;
    const kept = this.#kept.get(name);
    if (kept !== undefined) return kept;
    // One at a time, so that two names that ask at once do not find the same port free.
    const turn = this.#turn.then(() => this.#kept.get(name) ?? this.#choose(name));
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #choose(name: string): Promise<number> {
    const { from, to } = this.#range;
    const count = to - from + 1;
    const taken = new Set(this.#kept.values());
    // From a random start: another user's proxy on this machine does the same.
    const start = randomInt(count);
    for (let i = 0; i < count; i++) {
      const port = from + ((start + i) % count);
      if (taken.has(port) || !(await isFree(port))) continue;
      this.#kept.set(name, port);
      writePrivateFile(this.#file, `${JSON.stringify(Object.fromEntries(this.#kept), null, 2)}\n`);
      return port;
    }
    throw new Problem('ports', `Every port from ${from} to ${to} is taken. Close a program that listens there, or set COUNTERSIGN_PORTS to another range.`);
  }
}

/** A damaged file would silently move every port that clients know, so it is a problem rather than an empty list. */
function readPorts(file: string): Map<string, number> {
  const text = readSmallFile(file, MAX_PORTS_FILE_BYTES);
  if (text === undefined) return new Map();
  try {
    return new Map(Object.entries(PortsFile.parse(JSON.parse(text))));
  } catch (cause) {
    throw new Problem('ports', `The file ${file} is damaged. Mend it or delete it (connections get new ports then), and start Countersign again.`, { cause });
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ host: LOOPBACK, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

/** What a port that cannot be had means for a person. */
export function portProblem(what: string, port: number, cause: unknown): Problem {
  const code = (cause as NodeJS.ErrnoException).code;
  const reason = code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be opened (${code ?? 'unknown error'})`;
  return new Problem(
    'port-taken',
    `Port ${port} on 127.0.0.1 ${reason}, so ${what} is not served: clients know this port, and no other is taken in its place. Close what listens there; it is tried again by itself.`,
    { cause },
  );
}
