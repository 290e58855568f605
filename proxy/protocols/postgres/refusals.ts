/** Refusals in PostgreSQL's words: well-formed errors that a client survives. */

import { mergeFacts } from '../../../contract/facts.ts';
import type { Engine } from '../../pipeline/engine.ts';
import type { Operation, Refusal } from '../../pipeline/operation.ts';
import type { Session } from '../../pipeline/session.ts';
import { type OwnError, SQLSTATE } from './messages.ts';

const CODES: Readonly<Record<Refusal['code'], string>> = {
  'denied-by-rule': SQLSTATE.insufficientPrivilege,
  'denied-by-person': SQLSTATE.insufficientPrivilege,
  quarantined: SQLSTATE.insufficientPrivilege,
  'no-answer': SQLSTATE.insufficientPrivilege,
  'nobody-to-ask': SQLSTATE.insufficientPrivilege,
  'not-read-only': SQLSTATE.insufficientPrivilege,
  'too-many-asks': SQLSTATE.insufficientPrivilege,
  'not-recorded': SQLSTATE.ioError,
  'session-closed': SQLSTATE.adminShutdown,
  cancelled: SQLSTATE.queryCanceled,
};

export function refusalError(refusal: Refusal): OwnError {
  return {
    code: CODES[refusal.code],
    message: refusal.code === 'cancelled' ? 'canceling statement due to user request' : refusal.sentence,
    ...(refusal.rule !== undefined && { detail: `Rule: ${refusal.rule}` }),
    ...(refusal.note !== undefined && refusal.note !== '' && { hint: refusal.note }),
  };
}

/** The rule under which the protocol itself refuses what no policy may allow. */
const PROTOCOL_RULE = 'postgres-protocol';

/** Writes down what the protocol refused before policy was asked. Throws where nothing can be recorded. */
export function recordRefused(engine: Engine, session: Session, operation: Operation, why: string): void {
  const facts = mergeFacts(operation.parts);
  session.recording.append({
    type: 'operation.intent',
    operation: operation.id,
    digest: operation.digest,
    payload: operation.recorded.payload,
    ...(operation.recorded.params && { params: [...operation.recorded.params] }),
    facts,
    verdict: {
      decision: 'deny',
      rule: { id: PROTOCOL_RULE, layer: 'builtin' },
      because: why,
      policyVersion: engine.policy().version,
      approvers: [],
      quorum: 1,
      expiresMs: 1,
      preview: 'none',
    },
  });
  session.recording.append({
    type: 'operation.outcome',
    operation: operation.id,
    outcome: 'denied',
    masked: 0,
    error: { code: 'denied-by-rule', message: why },
    tookMs: 0,
  });
}
