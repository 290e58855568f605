/** The processes of one connection that sessions share: who sits where, and when one that nobody sits at ends. */
import { Problem } from '../../../../contract/problem.ts';
import type { Log } from '../../../pipeline/engine.ts';
import type { Channel, ChannelEvents } from '../upstream/upstream.ts';
import type { Opening } from './opening.ts';
import { SharedProcess } from './process.ts';
import { Seat } from './seat.ts';

/** How long a process waits for the next session once the last has left, in milliseconds. */
const LINGER_MS = 30_000;
/** Processes of one connection. */
const MAX_PROCESSES = 32;
/** How often it is said in the log that something reached nobody, in milliseconds. */
const SAID_MS = 60_000;

export interface PoolOptions {
  readonly connection: string;
  readonly log: Log;
  /** Starts a process. @throws a `Problem` */
  readonly start: (on: ChannelEvents) => Channel;
  /** A shorter one is for tests. */
  readonly lingerMs?: number | undefined;
}

export class SharedProcesses {
  readonly #options: PoolOptions;
  readonly #processes = new Map<SharedProcess, { linger: NodeJS.Timeout | undefined }>();
  /** Ends that are under way. */
  readonly #ending = new Set<Promise<void>>();
  #saidAt = Number.NEGATIVE_INFINITY;

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  /** @param person whose sessions alone may sit together */
  seat(person: string, on: ChannelEvents): Seat {
    const { connection, log } = this.#options;
    return new Seat({
      ...on,
      join: (seat, opening) => this.#join(seat, person, opening),
      onDropped: () => log.warn('mcp.server.flood-dropped', { connection }),
    });
  }

  /** What is running was started with what is no longer so: it goes on for who sits there, and nobody else sits down. */
  retire(): void {
    for (const process of this.#processes.keys()) {
      process.retire();
      if (process.empty) this.#stop(process);
    }
  }

  async stop(): Promise<void> {
    for (const process of this.#processes.keys()) this.#stop(process);
    await Promise.all(this.#ending);
  }

  #join(seat: Seat, person: string, opening: Opening): SharedProcess {
    const current = seat.process;
    if (current?.takes(person, opening)) return current;
    const other = [...this.#processes.keys()].find((process) => process.takes(person, opening));
    if (!other && current?.reopen(opening)) return current;
    const process = other ?? this.#start(person, opening);
    const lingering = this.#processes.get(process);
    clearTimeout(lingering?.linger);
    seat.sit(process);
    return process;
  }

  #start(person: string, opening: Opening): SharedProcess {
    const { connection, lingerMs = LINGER_MS, start } = this.#options;
    if (this.#processes.size >= MAX_PROCESSES) {
      const idle = [...this.#processes.keys()].find((process) => process.empty);
      if (!idle) throw new Problem('too-many', `${connection} runs ${MAX_PROCESSES} times already. Close a client of it first.`);
      this.#stop(idle);
    }
    const process: SharedProcess = new SharedProcess({
      person,
      opening,
      start,
      onEmpty: () => {
        const known = this.#processes.get(process);
        if (!known) return undefined;
        if (!process.usable) return this.#stop(process);
        clearTimeout(known.linger);
        known.linger = setTimeout(() => this.#stop(process), lingerMs);
        known.linger.unref();
        return undefined;
      },
      onExit: () => {
        clearTimeout(this.#processes.get(process)?.linger);
        this.#processes.delete(process);
      },
      onUnclear: (method) => this.#unclear(method),
    });
    this.#processes.set(process, { linger: undefined });
    return process;
  }

  #stop(process: SharedProcess): void {
    clearTimeout(this.#processes.get(process)?.linger);
    this.#processes.delete(process);
    process.retire();
    const ending = process.stop().finally(() => this.#ending.delete(ending));
    this.#ending.add(ending);
  }

  #unclear(method: string): void {
    const now = performance.now();
    if (now - this.#saidAt < SAID_MS) return;
    this.#saidAt = now;
    this.#options.log.warn('mcp.server.unclear', { connection: this.#options.connection, method });
  }
}
