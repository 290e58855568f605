/** Reads a chained file as a stream and says whether its lines hold together. */
import { hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { GENESIS } from './chainFile.ts';

/** Longest line that is read, in bytes; the recorder writes none that is longer. */
export const MAX_LINE_BYTES = 64 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
/** How much of a line's end holds its place in the chain. */
const TAIL_BYTES = 320;

const SESSION_TAIL = /"prev":"([0-9a-f]{64})","seq":(\d{1,15}),"session":"([^"\\]{1,128})","v":1\}$/;
const AUDIT_TAIL = /"prev":"([0-9a-f]{64})","seq":(\d{1,15}),"v":1\}$/;

export interface ChainReading {
  /** Whole lines, whether they hold or not. */
  readonly entries: number;
  /** Hash of the last whole line. */
  readonly head: string;
  /** Bytes up to the end of the last whole line. */
  readonly bytes: number;
  /** Bytes after it: a line that was never finished. */
  readonly torn: number;
  /** The first thing wrong, in words; absent where every line holds. */
  readonly problem?: string;
}

/** @param text the line without its end. @param offset where it starts. @param head the hash of this line. */
export type OnLine = (text: string, seq: number, offset: number, head: string) => void;

interface ReadOptions {
  /** Whose file this is meant to be; absent for the audit. */
  readonly session: string | undefined;
  readonly onLine?: OnLine;
  readonly signal?: AbortSignal;
}

/** @throws errors of the file system. */
export async function readChain(path: string, options: ReadOptions): Promise<ChainReading> {
  let entries = 0;
  let head = GENESIS;
  let bytes = 0;
  let problem: string | undefined;
  let pending: Buffer[] = [];
  let pendingBytes = 0;

  const take = (line: Buffer): void => {
    problem ??= lineProblem(line, entries, head, options.session);
    head = hash('sha256', line, 'hex');
    options.onLine?.(line.toString('utf8'), entries, bytes, head);
    entries++;
    bytes += line.length + 1;
  };

  const stream = createReadStream(path, { highWaterMark: CHUNK_BYTES, ...(options.signal && { signal: options.signal }) });
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      const part = chunk.subarray(from, end);
      take(pending.length === 0 ? part : Buffer.concat([...pending, part]));
      pending = [];
      pendingBytes = 0;
      from = end + 1;
    }
    if (from < chunk.length) {
      const rest = chunk.subarray(from);
      pendingBytes += rest.length;
      if (pendingBytes > MAX_LINE_BYTES) {
        problem ??= `line ${entries + 1} is longer than any entry`;
        pending = [];
      } else pending.push(rest);
    }
  }
  return { entries, head, bytes, torn: pendingBytes, ...(problem !== undefined && { problem }) };
}

/** Looks at the end of the line alone: the hash covers the rest, and in canonical JSON no string can look like this end. */
function lineProblem(line: Buffer, seq: number, prev: string, session: string | undefined): string | undefined {
  const place = `line ${seq + 1}`;
  const tail = line.toString('latin1', Math.max(0, line.length - TAIL_BYTES));
  const match = (session === undefined ? AUDIT_TAIL : SESSION_TAIL).exec(tail);
  if (!match || line[0] !== 0x7b) return `${place} is not an entry of this format`;
  if (session !== undefined && match[3] !== session) return `${place} belongs to session ${match[3]}`;
  if (Number(match[2]) !== seq) return `${place} says it is entry ${match[2]}, not ${seq}: lines were removed, added or moved`;
  if (match[1] !== prev) return seq === 0 ? `${place} does not start a chain` : `line ${seq} was changed: ${place} was chained to other content`;
  return undefined;
}
