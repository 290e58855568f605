/** What a proxy's process takes of the machine, and what is left in the database of the sessions it had. */
import { readdirSync, readFileSync } from 'node:fs';
import type { Client } from 'pg';

const LINUX = process.platform === 'linux';
export const NOT_LINUX = LINUX ? false : 'a process can be looked into through /proc on Linux only';
export const MB = 1024 * 1024;

/** Memory that the process holds now, in bytes. */
export function memoryOf(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}

/** Open files and sockets of the process. */
export function filesOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

export interface Sampled {
  readonly before: number;
  readonly peak: number;
  readonly grown: number;
}

const SAMPLE_MS = 50;

/** The most memory that the process has held while the work was done. */
export async function sampled(pid: number, work: () => Promise<unknown>): Promise<Sampled> {
  const before = memoryOf(pid);
  let peak = before;
  const timer = setInterval(() => {
    peak = Math.max(peak, memoryOf(pid));
  }, SAMPLE_MS);
  try {
    await work();
  } finally {
    clearInterval(timer);
  }
  peak = Math.max(peak, memoryOf(pid));
  return { before, peak, grown: peak - before };
}

export const inMb = (bytes: number): string => `${Math.round(bytes / MB)} MB`;

/** Reads a query's answer to its end and throws it away, as fast as it comes. Gives its bytes. */
export function drain(client: Client, sql: string): Promise<number> {
  const { stream } = (client as unknown as { connection: { stream: import('node:net').Socket } }).connection;
  const text = Buffer.from(`${sql}\0`);
  const message = Buffer.concat([Buffer.from('Q'), Buffer.alloc(4), text]);
  message.writeInt32BE(text.length + 4, 1);
  stream.removeAllListeners('data');
  return new Promise((resolve, reject) => {
    let bytes = 0;
    let tail: Buffer = Buffer.alloc(0);
    stream.once('close', () => reject(new Error(`the connection closed after ${inMb(bytes)}`)));
    stream.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      tail = chunk.length >= 6 ? chunk.subarray(-6) : Buffer.concat([tail, chunk]).subarray(-6);
      if (tail.equals(READY)) resolve(bytes);
    });
    stream.write(message);
  });
}

const READY = Buffer.from('Z\0\0\0\x05I');
