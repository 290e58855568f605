/** Sessions that are recorded in a store, for tests. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { ConversationId, Digest, OperationId, SessionId } from '../../../contract/ids.ts';
import type { EntryBody } from '../../../contract/recording.ts';
import { Acts } from '../../../gateway/recording/chains.ts';
import { StoreRecorder } from '../../../gateway/recording/recorder.ts';
import { recordKey } from '../../../gateway/recording/recordKey.ts';
import { closeSessionsOf } from '../../../gateway/recording/recovery.ts';
import type { Database, Queryable } from '../../../gateway/store/database.ts';
import { Replica } from '../../../gateway/store/replica.ts';
import type { SessionRecording } from '../../../proxy/recording/recorder.ts';
import { soon } from '../../support/soon.ts';
import { quiet } from '../stores.ts';

export const key = recordKey(randomBytes(32));
const clock = { now: (): number => Date.now() };
const ADA = { person: { issuer: 'https://idp.example', subject: 'ada', groups: [] }, agent: { kind: 'terminal', name: 'psql' } } as const;
let ids = 0;

export function header(session = `ses_${process.pid}_${++ids}`) {
  return {
    session: session as SessionId,
    conversation: 'con_1' as ConversationId,
    actor: ADA as never,
    connection: 'orders',
    protocol: 'postgres',
    surface: 'terminal',
  };
}

export function intent(operation: string): EntryBody {
  return {
    type: 'operation.intent',
    operation: operation as OperationId,
    digest: 'd' as Digest,
    payload: `select 'an entry with \u0000, ünïcode and ${operation}'`,
    facts: { effect: 'read', targets: [], bulk: false, sensitive: [], headline: 'SELECT', detail: { protocol: 'sql', statements: [] } } as never,
    verdict: { decision: 'allow', rule: { id: 'r', layer: 'user' }, because: 'because', policyVersion: 'v', masks: {} } as never,
  };
}

export const outcome = (operation: string): EntryBody => ({ type: 'operation.outcome', operation, outcome: 'done', masked: 0, tookMs: 1 });

export interface Recording {
  readonly recorder: StoreRecorder;
  readonly replica: Replica;
  readonly halts: (string | undefined)[];
  readonly fenced: string[];
}

export async function recording(db: Database, more: { leaseMs?: number; patienceMs?: number } = {}): Promise<Recording> {
  const halts: Recording['halts'] = [];
  const fenced: string[] = [];
  const replica = new Replica(db, {
    version: '1',
    log: quiet,
    ...(more.leaseMs !== undefined && { leaseMs: more.leaseMs, renewMs: more.leaseMs / 5 }),
    onFenced: () => {},
    onDead: async (tx, dead) => void (await closeSessionsOf(tx, key, dead, Date.now())),
  });
  await replica.start();
  await new Acts(key).begin(db);
  const recorder = new StoreRecorder({
    db,
    key,
    clock,
    log: quiet,
    replica,
    ownerOf: () => ({ person: 'per_ada', basis: 'log_1' }),
    onHalt: (sentence) => void halts.push(sentence),
    onFenced: (session) => void fenced.push(session),
    closeGraceMs: 50,
    ...(more.patienceMs !== undefined && { patienceMs: more.patienceMs }),
  });
  return { recorder, replica, halts, fenced };
}

/** Resolves when every chain is signed to its end, which is done a moment after a session has closed. */
export async function signed(db: Queryable): Promise<void> {
  await soon(async () => {
    const behind = await db.query(
      `SELECT chain FROM chains WHERE chain LIKE 'record:%' AND signed IS NULL AND entries > (
         SELECT coalesce(max((statement::json->>'entries')::bigint), 0) FROM checkpoints WHERE statement::json->>'chain' = chains.chain)`,
    );
    assert.deepEqual([...behind], []);
  });
}

export async function operate(session: SessionRecording, operations: readonly string[]): Promise<void> {
  for (const operation of operations) {
    session.append(intent(operation));
    await session.sync();
    session.append(outcome(operation));
  }
}
