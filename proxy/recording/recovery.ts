/** Seals what a recorder left open when it went away: nothing is lost, and what is unknown is called so. */
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { EntryBody } from '../../contract/recording.ts';
import type { AuditView } from './audit.ts';
import { canonical } from './canonical.ts';
import { ChainFile, type ChainHead, type ChainHost, FILE_MODE } from './chainFile.ts';
import { type ChainReading, readChain } from './chainReader.ts';

const DAY = /^\d{4}-\d{2}-\d{2}$/;
const SESSION_FILE = /^([A-Za-z0-9_-]{1,128})\.jsonl$/;

export interface Recovered extends ChainHead {
  readonly session: string;
  readonly file: string;
  /** False where the file was whole and only the audit did not know it yet. */
  readonly sealed: boolean;
  readonly tornBytes: number;
  readonly lost: number;
  readonly problem?: string;
}

/** Every session's file there is: session → path relative to the folder of sessions. */
export async function sessionFiles(sessions: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const day of (await readdir(sessions)).sort()) {
    if (!DAY.test(day)) continue;
    for (const name of (await readdir(join(sessions, day))).sort()) {
      const session = SESSION_FILE.exec(name)?.[1];
      if (session !== undefined) found.set(session, `${day}/${name}`);
    }
  }
  return found;
}

/** Sessions that the audit does not know to be closed. */
export function unsealed(audit: AuditView, files: ReadonlyMap<string, string>): Map<string, string> {
  const open = new Map<string, string>();
  for (const [session, file] of files) if (!audit.sessions.get(session)?.closed) open.set(session, file);
  return open;
}

/** Cuts a torn end into a side file, gives open operations the outcome `lost`, closes the session. */
export async function recoverSession(host: ChainHost, sessions: string, session: string, file: string, audit: AuditView, at: string): Promise<Recovered> {
  const path = join(sessions, file);
  const open = new Set<string>();
  let closed = false;
  const marked = audit.sessions.get(session)?.mark;
  let markHolds = marked === undefined || marked.entries === 0;
  const reading = await readChain(path, {
    session,
    onLine: (text, seq, _offset, head) => {
      if (marked && seq + 1 === marked.entries) markHolds = head === marked.head;
      const { type, operation } = gist(text);
      if (type === 'operation.intent' && operation !== undefined) open.add(operation);
      else if (type === 'operation.outcome' && operation !== undefined) open.delete(operation);
      closed = type === 'session.close';
    },
  });
  const problem =
    reading.problem ??
    (markHolds ? undefined : `it had ${marked?.entries} entries once, and does not have them now`) ??
    // A session can do nothing before the audit has its opening on disk.
    (audit.sessions.has(session) || reading.entries <= 1 ? undefined : 'the audit did not know it: it was added by another program, or the audit was cut');
  if (reading.torn > 0) await cutTorn(path, reading);
  const found = { session, file, tornBytes: reading.torn, ...(problem !== undefined && { problem }) };
  if (closed || reading.entries === 0) return { ...found, entries: reading.entries, head: reading.head, sealed: false, lost: 0 };

  const chain = await ChainFile.resume(path, host, session, reading);
  try {
    for (const operation of open) append(chain, at, { type: 'operation.outcome', operation, outcome: 'lost', masked: 0, tookMs: 0 });
    append(chain, at, { type: 'session.close', reason: closeReason(reading.torn, problem) });
    await chain.sync();
    return { ...found, ...chain.at, sealed: true, lost: open.size };
  } finally {
    await chain.close();
  }
}

function append(chain: ChainFile, at: string, body: EntryBody): void {
  chain.append(at, canonical(body));
}

function closeReason(torn: number, problem: string | undefined): string {
  const parts = ['recovered: the recorder went away before this session ended'];
  if (torn > 0) parts.push(`an unfinished line of ${torn} bytes was set aside in a .torn file`);
  if (problem !== undefined) parts.push(`the record does not hold: ${problem}`);
  return parts.join('; ').slice(0, 400);
}

/** Moves the bytes after the last whole line to `<file>.torn`, on disk before they are cut off. */
export async function cutTorn(path: string, reading: Pick<ChainReading, 'bytes' | 'torn'>): Promise<void> {
  const side = await open(await freeName(`${path}.torn`), 'ax', FILE_MODE);
  const file = await open(path, 'r+');
  try {
    const buffer = Buffer.alloc(Math.min(reading.torn, 1024 * 1024));
    for (let at = reading.bytes, left = reading.torn; left > 0; ) {
      const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, left), at);
      if (bytesRead === 0) break;
      await side.writeFile(buffer.subarray(0, bytesRead));
      at += bytesRead;
      left -= bytesRead;
    }
    await side.datasync();
    await file.truncate(reading.bytes);
    await file.datasync();
  } finally {
    await side.close();
    await file.close();
  }
}

async function freeName(path: string): Promise<string> {
  for (let n = 0; ; n++) {
    const name = n === 0 ? path : `${path}.${n}`;
    try {
      await stat(name);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return name;
      throw cause;
    }
  }
}

/** What recovery needs of a line, without decoding all of it: a crashed session may have a million. */
function gist(text: string): { readonly type?: string; readonly operation?: string } {
  try {
    const { body } = JSON.parse(text) as { readonly body?: Record<string, unknown> };
    return {
      ...(typeof body?.type === 'string' && { type: body.type }),
      ...(typeof body?.operation === 'string' && { operation: body.operation }),
    };
  } catch {
    return {};
  }
}
