/** The audit in the store: one chain a person, whose row is locked while it grows, so that replicas cannot fork it. */
import type { AuditBody } from '../../proxy/recording/audit.ts';
import { canonical } from '../../proxy/recording/canonical.ts';
import { type ChainHead, GENESIS } from '../../proxy/recording/chainFile.ts';
import { rfc3339 } from '../../proxy/recording/rfc3339.ts';
import type { Queryable } from '../store/database.ts';
import { type ChainLine, chainLine } from './chainLine.ts';

/** Appends to a chain, in the transaction that it is part of. @returns where the chain stands then */
export async function appendAudit(tx: Queryable, chain: string, now: number, bodies: readonly AuditBody[]): Promise<ChainHead> {
  await tx.query('INSERT INTO chains (chain, entries, head) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING', [chain, GENESIS]);
  const [at] = await tx.query<ChainHead>('SELECT entries, head FROM chains WHERE chain = $1 FOR UPDATE', [chain]);
  let entries = at?.entries ?? 0;
  let head = at?.head ?? GENESIS;
  const lines: ChainLine[] = [];
  for (const body of bodies) {
    const line = chainLine(rfc3339(now), canonical(body), head, entries++, undefined);
    head = line.hash;
    lines.push(line);
  }
  await tx.query(
    'INSERT INTO audit (chain, seq, at, hash, line) SELECT $1, l.seq, $2::bigint, l.hash, l.line FROM unnest($3::bigint[], $4::text[], $5::text[]) AS l (seq, hash, line)',
    [chain, now, lines.map((l) => l.seq), lines.map((l) => l.hash), lines.map((l) => l.line)],
  );
  await tx.query('UPDATE chains SET entries = $2, head = $3 WHERE chain = $1', [chain, entries, head]);
  return { entries, head };
}
