/** A part of an ended session as one object: its lines as a file has them, so that the objects of a session, one after the other, are its file. */
import { createHash } from 'node:crypto';
import { Problem } from '../../../contract/problem.ts';
import { lineHash } from '../chains.ts';

/** A place in a session's chain: how many lines come before it, and the hash of the last of them. */
export interface Place {
  readonly seq: number;
  readonly head: string;
}

export interface StoredLine {
  readonly seq: number;
  readonly line: string;
}

/** A row of `segments`. */
export interface SegmentRow {
  readonly session: string;
  readonly first: number;
  readonly last: number;
  readonly prev: string;
  readonly head: string;
  readonly store: string;
  readonly object: string;
  readonly version: string | null;
  readonly sha256: string;
  readonly bytes: number;
}

export const SEGMENT_COLUMNS = 'session, first, last, prev, head, store, object, version, sha256, bytes';

/** @returns where the chain stands behind these lines, or a word on why they do not follow from `place` */
export function follow(session: string, place: Place, lines: readonly StoredLine[]): Place | { readonly problem: string } {
  let { head, seq } = place;
  for (const { line, seq: at } of lines) {
    if (at !== seq) return { problem: `line ${seq} is missing` };
    const entry = parse(line);
    if (entry?.seq !== seq || entry.prev !== head || entry.session !== session) return { problem: `line ${seq} does not follow from the one before` };
    head = lineHash(line);
    seq++;
  }
  return { seq, head };
}

export function bytesOf(lines: readonly StoredLine[]): Buffer {
  return Buffer.from(lines.map(({ line }) => `${line}\n`).join(''), 'utf8');
}

export function sha256Of(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}

/** Named by what is in it, too: two replicas at the same part write the same object. */
export function objectName(session: string, openedAt: number, first: number, sha256: Buffer): string {
  const [year, month, day] = new Date(openedAt).toISOString().slice(0, 10).split('-');
  return `sessions/${year}/${month}/${day}/${session}/${String(first).padStart(10, '0')}-${sha256.toString('hex')}.jsonl`;
}

/** The lines of an object, if it is the one that the row and the chain speak of. @throws Problem `archive-broken` */
export function linesOf(row: SegmentRow, bytes: Buffer | undefined, title: string): StoredLine[] {
  const what = `${row.object} in ${title}, with lines ${row.first} to ${row.last} of session ${row.session},`;
  const broken = (why: string): Problem => new Problem('archive-broken', `A part of the record does not hold: ${what} ${why}.`);
  if (!bytes) throw broken('was removed');
  if (bytes.length !== row.bytes) throw broken(`has another length than it had: ${bytes.length} instead of ${row.bytes} bytes`);
  if (sha256Of(bytes).toString('hex') !== row.sha256) throw broken('is not what was put there: it was changed or exchanged');
  const texts = bytes.toString('utf8').split('\n');
  if (texts.pop() !== '') throw broken('ends within a line');
  const lines = texts.map((line, i) => ({ seq: row.first + i, line }));
  const end = follow(row.session, { seq: row.first, head: row.prev }, lines);
  if ('problem' in end) throw broken(`is not what the record speaks of: ${end.problem}`);
  if (end.seq !== row.last + 1 || end.head !== row.head) throw broken('is not what the record speaks of: it ends with another line');
  return lines;
}

function parse(line: string): { readonly seq?: unknown; readonly prev?: unknown; readonly session?: unknown } | undefined {
  try {
    return JSON.parse(line) as object;
  } catch {
    return undefined;
  }
}
