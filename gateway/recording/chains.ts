/** The audit in the store: one chain a person, and one for the gateway's own changes. Each line holds the hash of the one before. */
import { hash } from 'node:crypto';
import { canonical } from '../../proxy/recording/canonical.ts';
import { GENESIS } from '../../proxy/recording/chainFile.ts';
import { one, type Queryable } from '../store/database.ts';

/** What was changed about the gateway itself, and by whom. */
export const GATEWAY_CHAIN = 'gateway';

/** Plain data only; its type says what happened. */
export type AuditBody = { readonly type: string } & Readonly<Record<string, unknown>>;

export function lineHash(line: string): string {
  return hash('sha256', line, 'hex');
}

/** Adds a line, in the transaction that does what it says. Whoever else adds to the chain waits for that. */
export async function appendAudit(tx: Queryable, chain: string, body: AuditBody): Promise<void> {
  await tx.query('INSERT INTO chains (chain, entries, head) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING', [chain, GENESIS]);
  const at = await one<{ entries: number; head: string; now: number }>(tx, 'SELECT entries, head, ms() AS now FROM chains WHERE chain = $1 FOR UPDATE', [
    chain,
  ]);
  if (!at) throw new Error('a chain that was just made is not there');
  const line = canonical({ v: 1, chain, seq: at.entries, at: new Date(at.now).toISOString(), prev: at.head, body });
  const head = lineHash(line);
  await tx.query('INSERT INTO audit (chain, seq, at, hash, line) VALUES ($1, $2, $3, $4, $5)', [chain, at.entries, at.now, head, line]);
  await tx.query('UPDATE chains SET entries = entries + 1, head = $2 WHERE chain = $1', [chain, head]);
}
