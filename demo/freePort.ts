/**
 * Ports that are chosen now and listened on later, by this process or by one that it starts. They lie below every system's
 * range of ephemeral ports, so that no outgoing connection takes one meanwhile, and each process takes them from a block
 * that it has to itself, so that no other process of ours does.
 */
import { mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Above the last of those that browsers do not let anyone fetch from. */
const FIRST = 10_200;
const BLOCKS = 50;
const BLOCK = 200;
/** Whole ranges, for proxies that choose among them themselves; as many blocks of them. */
const FIRST_RANGE = 20_200;
const RANGE_BLOCK = 150;
const RANGE = 15;
/**
 * Each user's are in a folder of their own: another's could not be taken away when they are stale. Not where `TMPDIR` says:
 * ports are the machine's, and a process may have a temporary folder of its own.
 */
const CLAIMS = join(process.platform === 'win32' ? tmpdir() : '/tmp', `countersign-ports-${process.getuid?.() ?? 'own'}`);

let mine: number | undefined;
let next = 0;
let nextRange = 0;

export async function freePort(): Promise<number> {
  mine ??= claim();
  for (let tries = 0; tries < BLOCK; tries++) {
    const port = FIRST + mine * BLOCK + (next++ % BLOCK);
    if (await canListen(port)) return port;
  }
  throw new Error(`All of the ports from ${FIRST + mine * BLOCK} on are taken.`);
}

/** A few ports that no other range of this process or another has, as `from-to`. */
export function portRange(): string {
  mine ??= claim();
  const from = FIRST_RANGE + mine * RANGE_BLOCK + (nextRange++ % (RANGE_BLOCK / RANGE)) * RANGE;
  return `${from}-${from + RANGE - 1}`;
}

/** The block is this process's until it ends, or until somebody finds that it has ended without giving it back. */
function claim(): number {
  mkdirSync(CLAIMS, { recursive: true });
  for (let i = 0; i < BLOCKS; i++) {
    const block = (process.pid + i) % BLOCKS;
    const file = join(CLAIMS, String(block));
    try {
      writeFileSync(file, String(process.pid), { flag: 'wx' });
    } catch {
      if (isHeld(file) || !takeOver(file)) continue;
    }
    process.once('exit', () => rmSync(file, { force: true }));
    return block;
  }
  throw new Error(`All of the blocks of ports are claimed. Remove ${CLAIMS} if nothing of ours runs.`);
}

/** One at a time: who looked before another took it over would take that one's away. */
function takeOver(file: string): boolean {
  const taking = `${file}.taking`;
  try {
    mkdirSync(taking);
  } catch {
    return false;
  }
  try {
    if (isHeld(file)) return false;
    rmSync(file, { force: true });
    writeFileSync(file, String(process.pid), { flag: 'wx' });
    return true;
  } catch {
    return false;
  } finally {
    rmdirSync(taking);
  }
}

function isHeld(file: string): boolean {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    // One that is just being written says nothing yet.
    if (!Number.isInteger(pid) || pid === 0) return true;
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer().once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
