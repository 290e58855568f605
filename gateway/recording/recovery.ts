/** Closes what a dead replica left open: operations without an outcome are `lost`, and the record says why it ends here. */
import type { EntryBody } from '../../contract/recording.ts';
import { canonical } from '../../proxy/recording/canonical.ts';
import { GENESIS } from '../../proxy/recording/chainFile.ts';
import { rfc3339 } from '../../proxy/recording/rfc3339.ts';
import { tell } from '../store/bus.ts';
import type { Queryable } from '../store/database.ts';
import { appendAudit } from './auditStore.ts';
import { type ChainLine, chainLine } from './chainLine.ts';
import { fileOf } from './recorder.ts';
import type { RecordKey } from './recordKey.ts';

const REASON = 'recovered: the gateway that served this session went away before it ended';

/** Lines that are read at once. */
const PAGE = 500;

interface OpenSession {
  readonly id: string;
  readonly chain: string;
  readonly opened_at: number;
}

/** In the transaction that ends the replica. @returns the chains that grew by it: each wants a checkpoint */
export async function closeSessionsOf(tx: Queryable, key: RecordKey, replica: string, now: number): Promise<readonly string[]> {
  // The dead one may be alive after all, and writing: its statement takes these rows, too, and finds them closed then.
  const open = await tx.query<OpenSession>('SELECT id, chain, opened_at FROM sessions WHERE owner = $1 AND closed_at IS NULL ORDER BY chain, id FOR UPDATE', [
    replica,
  ]);
  for (const session of open) await closeOne(tx, key, session, now);
  return [...new Set(open.map(({ chain }) => chain))];
}

async function closeOne(tx: Queryable, key: RecordKey, { id, chain, opened_at }: OpenSession, now: number): Promise<void> {
  const found = await readSession(tx, id);
  let { entries, head } = found;
  // Where it had ended, only the audit did not know yet.
  const reason = found.closed ?? (found.gap ? `${REASON}; the record does not hold: lines are missing` : REASON);
  if (found.closed === undefined) {
    const bodies: EntryBody[] = [
      ...[...found.out].map((operation): EntryBody => ({ type: 'operation.outcome', operation, outcome: 'lost', masked: 0, tookMs: 0 })),
      { type: 'session.close', reason },
    ];
    const added: ChainLine[] = [];
    for (const body of bodies) {
      const line = chainLine(rfc3339(now), canonical(body), head, entries++, id);
      head = line.hash;
      added.push(line);
    }
    await tx.query(
      'INSERT INTO entries (session, seq, hash, line) SELECT $1, l.seq, l.hash, l.line FROM unnest($2::bigint[], $3::text[], $4::text[]) AS l (seq, hash, line)',
      [id, added.map((l) => l.seq), added.map((l) => l.hash), added.map((l) => l.line)],
    );
  }
  await appendAudit(tx, key, chain, now, [
    {
      type: 'session.closed',
      session: id,
      file: fileOf(id, opened_at),
      entries,
      head,
      recovered: true,
      ...(found.gap && { problem: 'lines were missing in the store' }),
    },
  ]);
  await tell(tx, 'session', id);
  await tx.query('UPDATE sessions SET closed_at = $2::bigint, close_reason = $3, entries = $4, head = $5, recovered = true WHERE id = $1', [
    id,
    now,
    reason,
    entries,
    head,
  ]);
}

interface Found {
  readonly entries: number;
  readonly head: string;
  /** Operations with an intent and no outcome. */
  readonly out: ReadonlySet<string>;
  /** Why it ended, where its last line says so. */
  readonly closed: string | undefined;
  readonly gap: boolean;
}

/** Read here and not by the server: a line may hold what its JSON functions refuse (a NUL). */
async function readSession(tx: Queryable, session: string): Promise<Found> {
  const out = new Set<string>();
  let entries = 0;
  let head = GENESIS;
  let closed: string | undefined;
  let after = -1;
  for (;;) {
    const lines = await tx.query<{ seq: number; hash: string; line: string }>(
      `SELECT seq, hash, line FROM entries WHERE session = $1 AND seq > $2::bigint ORDER BY seq LIMIT ${PAGE}`,
      [session, after],
    );
    for (const { hash, line } of lines) {
      entries++;
      head = hash;
      const { operation, reason, type } = bodyOf(line);
      if (type === 'operation.intent' && operation !== undefined) out.add(operation);
      else if (type === 'operation.outcome' && operation !== undefined) out.delete(operation);
      closed = type === 'session.close' ? (reason ?? '') : undefined;
    }
    after = lines.at(-1)?.seq ?? after;
    if (lines.length < PAGE) return { entries, head, out, closed, gap: after !== entries - 1 };
  }
}

function bodyOf(line: string): { readonly type?: string; readonly operation?: string; readonly reason?: string } {
  try {
    return (JSON.parse(line) as { body?: object }).body ?? {};
  } catch {
    return {};
  }
}
