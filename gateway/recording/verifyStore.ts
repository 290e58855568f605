/**
 * Reads the whole record in the store again: every chain, every session, and whether the audit and the sessions agree. Of what
 * lies in the archive it reads what the store notes of it; `verifyRecords` reads the objects.
 */
import type { AuditReport } from '../../contract/gateway/sessions.ts';
import { GENESIS } from '../../proxy/recording/chainFile.ts';
import type { Queryable } from '../store/database.ts';
import { SEGMENT_COLUMNS, type SegmentRow } from './archive/segment.ts';
import { lineHash } from './chains.ts';

const MAX_PROBLEMS = 100;
/** Lines that are read at once. */
const PAGE = 2_000;

interface Read {
  readonly entries: number;
  readonly head: string;
}

export async function verifyStore(db: Queryable): Promise<AuditReport> {
  const problems: string[] = [];
  const say = (problem: string): void => {
    if (problems.length < MAX_PROBLEMS) problems.push(problem);
  };
  let total = 0;
  /** What the audit says of each session. */
  const audited = new Map<string, { opened: boolean; closed?: Read; expired?: boolean }>();
  const chains = await db.query<{ chain: string; entries: number; head: string }>('SELECT chain, entries, head FROM chains ORDER BY chain');
  for (const { chain, entries, head } of chains) {
    const read = await follow(
      `The audit of ${chain}`,
      (after) => db.query('SELECT seq, hash, line FROM audit WHERE chain = $1 AND seq >= $2 ORDER BY seq LIMIT $3', [chain, after, PAGE]),
      say,
      (body) => {
        const session = typeof body.session === 'string' ? body.session : undefined;
        if (session === undefined) return;
        const known = audited.get(session) ?? { opened: false };
        if (body.type === 'session.opened') {
          if (known.opened) say(`The audit opens session ${session} twice.`);
          audited.set(session, { ...known, opened: true });
        } else if (body.type === 'session.closed') {
          if (known.closed) say(`The audit closes session ${session} twice.`);
          audited.set(session, { ...known, closed: { entries: Number(body.entries), head: String(body.head) } });
        } else if (body.type === 'session.expired') audited.set(session, { ...known, expired: true });
      },
    );
    total += read.entries;
    if (read.entries !== entries || read.head !== head) say(`The audit of ${chain} has lost its end, or was added to from elsewhere.`);
  }
  const sessions = await db.query<{ id: string; closed_at: number | null; entries: number | null; head: string | null; expired_at: number | null }>(
    'SELECT id, closed_at, entries, head, expired_at FROM sessions ORDER BY id',
  );
  for (const session of sessions) {
    if (session.expired_at !== null && audited.get(session.id)?.expired) {
      audited.delete(session.id);
      const [line] = await db.query('SELECT 1 FROM entries WHERE session = $1 LIMIT 1', [session.id]);
      if (line) say(`Session ${session.id} has lines, and the audit says that they were removed.`);
      continue;
    }
    // Its objects in the archive would be removed for it.
    if (session.expired_at !== null) say(`Session ${session.id} is marked as removed, and the audit does not say so.`);
    const read = await follow(
      `Session ${session.id}`,
      (after) => db.query('SELECT seq, hash, line FROM entries WHERE session = $1 AND seq >= $2 ORDER BY seq LIMIT $3', [session.id, after, PAGE]),
      say,
      undefined,
      await archived(db, session.id, say),
    );
    total += read.entries;
    const said = audited.get(session.id);
    audited.delete(session.id);
    if (!said?.opened) say(`The audit does not know session ${session.id}.`);
    if ((session.closed_at !== null) !== (said?.closed !== undefined)) say(`The audit and session ${session.id} disagree on whether it is closed.`);
    if (said?.closed && (said.closed.entries !== read.entries || said.closed.head !== read.head))
      say(`Session ${session.id} is not what it was when it was closed.`);
  }
  for (const session of audited.keys()) say(`Session ${session} is in the audit and not in the store.`);
  return { ok: problems.length === 0, chains: chains.length, entries: total, sessions: sessions.length, problems };
}

/** The part of a session that lies in the archive, as far as the store knows it. */
async function archived(db: Queryable, session: string, say: (problem: string) => void): Promise<Read> {
  const rows = await db.query<SegmentRow>(`SELECT ${SEGMENT_COLUMNS} FROM segments WHERE session = $1 ORDER BY first`, [session]);
  let read: Read = { entries: 0, head: GENESIS };
  for (const { first, head, last, prev } of rows) {
    if (first !== read.entries || prev !== read.head) say(`Session ${session} has a gap in the archive before line ${first}.`);
    read = { entries: last + 1, head };
  }
  return read;
}

async function follow(
  what: string,
  page: (after: number) => Promise<{ seq: number; hash: string; line: string }[]>,
  say: (problem: string) => void,
  each: (body: Record<string, unknown>) => void = () => undefined,
  from: Read = { entries: 0, head: GENESIS },
): Promise<Read> {
  let seq = from.entries;
  let head = from.head;
  for (;;) {
    const rows = await page(seq);
    for (const row of rows) {
      const hash = lineHash(row.line);
      const parsed = JSON.parse(row.line) as { prev?: unknown; seq?: unknown; body?: Record<string, unknown> };
      if (row.seq !== seq || parsed.seq !== seq) say(`${what} has a gap before line ${row.seq}.`);
      if (parsed.prev !== head || row.hash !== hash) say(`${what} was changed at line ${row.seq}.`);
      head = hash;
      seq = row.seq + 1;
      if (parsed.body) each(parsed.body);
    }
    if (rows.length < PAGE) return { entries: seq, head };
  }
}
