/**
 * The one way for every operation on every surface:
 *
 *   identify → classify → decide → (approve) → issue credential → forward → mask → record
 *
 * Identify and classify are done when a `Session` and an `Operation` exist; `forward` issues the credential, sends, and
 * passes the answer through the session's masking. A plain function, not middleware: the order is a security invariant.
 */
import { mergeFacts } from '../../contract/facts.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { ApprovalOutcome } from '../approval/approvals.ts';
import { approve, permitByApproval } from './approve.ts';
import { decide, permitByVerdict } from './decide.ts';
import type { Engine } from './engine.ts';
import { type Awaitable, type Later, runSteps, type Steps, wait } from './later.ts';
import type { Operation, Outcome, Refusal, RunResult } from './operation.ts';
import type { Permit } from './permit.ts';
import { refusalOf } from './refusal.ts';
import type { Session } from './session.ts';

/** How often an operation is asked again because the policy changed while it waited. */
const MAX_POLICY_CHANGES = 3;

/**
 * @param forward sends the operation upstream and streams its masked answer back; it spends the permit before the first
 *   byte. Called at most once, before `run` returns where a read is allowed by rule.
 */
export function run(
  engine: Engine,
  session: Session,
  operation: Operation,
  signal: AbortSignal,
  forward: (permit: Permit) => Awaitable<Outcome>,
): Later<RunResult> {
  return runSteps(steps(engine, session, operation, signal, forward));
}

/** Waits only where it says `wait`: what is allowed by rule is sent, and its outcome written, without a turn of anything. */
function* steps(
  engine: Engine,
  session: Session,
  operation: Operation,
  signal: AbortSignal,
  forward: (permit: Permit) => Awaitable<Outcome>,
): Steps<RunResult> {
  const startedAt = engine.clock.now();
  let closing: Outcome | { readonly outcome: 'denied' | 'cancelled'; readonly masked: 0; readonly error?: Outcome['error'] } = LOST;
  const refuse = (refusal: Refusal): RunResult => {
    closing = {
      outcome: refusal.code === 'cancelled' ? 'cancelled' : 'denied',
      masked: 0,
      error: { code: refusal.code, message: session.masking.scrub(refusal.sentence).text },
    };
    return { forwarded: false, refusal };
  };
  let recorded = false;
  let asked = false;
  try {
    if (session.signal.aborted) return { forwarded: false, refusal: refusalOf.closed() };

    let verdict = decide(engine.policy(), session, operation);
    session.request.conversation.remember(session.request.connection, operation.parts, startedAt);
    writeIntent(session, operation, verdict);
    recorded = true;
    if (operation.refused !== undefined) return refuse({ code: 'quarantined', sentence: operation.refused });
    if (operation.readOnly && mergeFacts(operation.parts).effect !== 'read') return refuse(refusalOf.notReadOnly(operation));

    let permit: Permit | undefined;
    for (let round = 0; !permit; round++) {
      if (round > 0) verdict = decide(engine.policy(), session, operation);
      if (verdict.decision === 'deny') return refuse(refusalOf.rule(verdict));
      if (verdict.decision === 'allow') {
        permit = permitByVerdict(verdict, operation);
        break;
      }
      if (round > MAX_POLICY_CHANGES) return refuse(refusalOf.policyKeepsChanging());
      yield* wait(session.recording.sync());
      asked = true;
      const ended = anySignal(signal, session.signal);
      const answer = yield* wait(approve(engine, session, operation, verdict, ended));
      writeApproval(session, operation, answer);
      if (answer.answer === 'denied' && answer.why !== 'policy-changed') return refuse(refusalOf.person(verdict, answer, ended));
      permit = permitByApproval(engine, answer, operation, engine.policy().version);
      if (!permit || !operation.claim) continue;
      if (!(yield* wait(operation.claim()))) return refuse(ended.aborted ? refusalOf.cancelled(ended) : refusalOf.unclaimed());
      // It may have taken a while: what was approved holds under the policy that it was approved under.
      if (engine.policy().version !== verdict.policyVersion) permit = undefined;
    }

    // Written before it is done, and on disk before anything that changes the world.
    if (operation.parts.some((part) => part.effect !== 'read')) yield* wait(session.recording.sync());
    if (signal.aborted || session.signal.aborted) return refuse(refusalOf.cancelled(anySignal(signal, session.signal)));

    // As `yield* wait(…)`, which would be one generator more on the way of every read.
    const outcome = (yield forward(permit)) as Outcome;
    closing = outcome;
    if (outcome.raw) engine.recorder.keepRaw(operation.id, outcome.raw);
    return { forwarded: true, outcome };
  } catch (cause) {
    if (engine.recorder.halted !== undefined) return { forwarded: false, refusal: refusalOf.notRecorded(engine.recorder.halted) };
    closing = { outcome: 'failed', masked: 0, error: { code: 'internal', message: 'the proxy failed while forwarding' } };
    engine.log.error('operation.failed', { operation: operation.id, cause });
    throw cause;
  } finally {
    if (recorded) closeRecord(engine, session, operation, closing, engine.clock.now() - startedAt);
    if (asked) engine.approvals.ended(operation.id, inWords(closing));
  }
}

const LOST = { outcome: 'lost', masked: 0 } as const;

function writeIntent(session: Session, operation: Operation, verdict: Verdict): void {
  // What is undefined is not written.
  session.recording.append({
    type: 'operation.intent',
    operation: operation.id,
    digest: operation.digest,
    payload: operation.recorded.payload,
    params: operation.recorded.params && [...operation.recorded.params],
    facts: operation.recorded.facts ?? mergeFacts(operation.parts),
    // The reason may name what policy saw, and policy sees more than is recorded.
    verdict: operation.recorded.facts ? { ...verdict, because: session.masking.scrub(verdict.because).text.slice(0, 1000) } : verdict,
  });
}

function writeApproval(session: Session, operation: Operation, answer: ApprovalOutcome): void {
  session.recording.append({
    type: 'operation.approval',
    operation: operation.id,
    approval: answer.approval,
    answer: answer.answer,
    why: answer.why,
    ...(answer.by && { by: answer.by }),
    ...(answer.answer === 'denied' && answer.note !== undefined && { note: session.masking.scrub(answer.note).text }),
    waitedMs: answer.waitedMs,
  });
}

/** A recorder that has halted for good takes nothing any more, and has said so; one that is only behind takes what was done. */
function closeRecord(engine: Engine, session: Session, operation: Operation, closing: Parameters<typeof writeOutcome>[2], tookMs: number): void {
  try {
    writeOutcome(session, operation, closing, tookMs);
  } catch (cause) {
    if (engine.recorder.halted === undefined) throw cause;
  }
}

function writeOutcome(
  session: Session,
  operation: Operation,
  closing: Pick<Outcome, 'rows' | 'masked' | 'error' | 'answer'> & { readonly outcome: Outcome['outcome'] | 'denied' },
  tookMs: number,
): void {
  const { answer, error, masked, outcome, rows } = closing;
  // What is undefined is not written.
  session.recording.append({ type: 'operation.outcome', operation: operation.id, outcome, masked, rows, error, answer, tookMs });
}

/** How it ended, for the quiet line of a decided question; nothing where the decision says it all. */
function inWords({ outcome, rows }: { readonly outcome: Outcome['outcome'] | 'denied'; readonly rows?: number }): string {
  if (outcome === 'denied') return '';
  if (outcome !== 'done') return outcome;
  return rows === undefined ? 'ran' : `ran · ${rows} ${rows === 1 ? 'row' : 'rows'}`;
}

function anySignal(a: AbortSignal, b: AbortSignal): AbortSignal {
  return a === b ? a : AbortSignal.any([a, b]);
}
