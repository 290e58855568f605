/**
 * The audit in the store: one chain a person, whose row is locked while it grows, so that replicas cannot fork it. Its end is
 * signed as it moves, and what is found must have been signed: chains.ts says why, and when that begins.
 */
import type { AuditBody } from '../../proxy/recording/audit.ts';
import { canonical } from '../../proxy/recording/canonical.ts';
import type { ChainHead } from '../../proxy/recording/chainFile.ts';
import { rfc3339 } from '../../proxy/recording/rfc3339.ts';
import { one, type Queryable } from '../store/database.ts';
import { type ChainLine, chainLine } from './chainLine.ts';
import { hasBegun, lockChain, notSigned } from './chainRows.ts';
import type { RecordKey } from './recordKey.ts';

/** Appends to a chain, in the transaction that it is part of. @returns where the chain stands then */
export async function appendAudit(tx: Queryable, key: RecordKey, chain: string, now: number, bodies: readonly AuditBody[]): Promise<ChainHead> {
  const begun = await hasBegun(tx);
  const at = await lockChain(tx, chain);
  if (!begun && at.signed === null) return await write(tx, undefined, chain, at, now, bodies);
  const problem = notSigned(key, at);
  // The chain names the key that signs it from there on.
  const another = at.signed !== null && key.signerOf(at.signed) !== key.fingerprint;
  const started: readonly AuditBody[] =
    problem === undefined && !another ? [] : [{ type: 'recorder.started', key: key.fingerprint, ...(problem !== undefined && { problem }) }];
  return await write(tx, key, chain, at, now, [...started, ...bodies]);
}

/** Signs the end of a chain of before, if it is not another than was signed last, in the transaction in which signing begins. */
export async function beginToSign(tx: Queryable, key: RecordKey, chain: string): Promise<void> {
  const at = await lockChain(tx, chain);
  const last = await one<{ kid: string; signature: string }>(
    tx,
    `SELECT kid, signature FROM checkpoints WHERE statement::json->>'chain' = $1 ORDER BY (statement::json->>'entries')::bigint DESC, id DESC LIMIT 1`,
    [chain],
  );
  const place = last && key.signedPlace(last.signature);
  const there = place && (await one(tx, 'SELECT 1 AS one FROM audit WHERE chain = $1 AND seq = $2 AND hash = $3', [chain, place.entries - 1, place.head]));
  const unsigned = there ? undefined : 'the audit does not contain what was signed last';
  const problem = at.signed === null ? unsigned : notSigned(key, at);
  await write(tx, key, chain, at, at.now, [{ type: 'recorder.started', key: key.fingerprint, ...(problem !== undefined && { problem }) }]);
}

/** @param key absent: the end is signed later, as gateways of before do it */
async function write(tx: Queryable, key: RecordKey | undefined, chain: string, from: ChainHead, now: number, bodies: readonly AuditBody[]): Promise<ChainHead> {
  let { entries, head } = from;
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
  const signed = key?.checkpoint(rfc3339(now), { entries, head }) ?? null;
  await tx.query('UPDATE chains SET entries = $2, head = $3, signed = $4 WHERE chain = $1', [chain, entries, head, signed]);
  return { entries, head };
}
