/**
 * The one way for every operation on every surface:
 *
 *   identify → classify → decide → (approve) → issue credential → forward → mask → record
 *
 * Identify and classify are done when a `Session` and an `Operation` exist; `forward` issues the credential, sends, and
 * passes the answer through the session's masking. A plain function, not middleware: the order is a security invariant.
 */
import { mergeFacts } from '../../contract/facts.ts';
import type { Answer } from '../../contract/response.ts';
import type { ApprovalOutcome } from '../approval/approvals.ts';
import { approve, permitByApproval } from './approve.ts';
import { decide, permitByVerdict } from './decide.ts';
import type { Engine } from './engine.ts';
import { type Closing, type Ended, ended, IntentEntry, OutcomeEntry } from './entries.ts';
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
  let closing: Closing = LOST;
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
    session.recording.appendOperation(new IntentEntry(session, operation, verdict));
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
      const cut = anySignal(signal, session.signal);
      const answer = yield* wait(approve(engine, session, operation, verdict, cut));
      writeApproval(session, operation, answer);
      if (answer.answer === 'denied' && answer.why !== 'policy-changed') return refuse(refusalOf.person(verdict, answer, cut));
      permit = permitByApproval(engine, answer, operation, engine.policy().version);
      if (!permit || !operation.claim) continue;
      if (!(yield* wait(operation.claim()))) return refuse(cut.aborted ? refusalOf.cancelled(cut) : refusalOf.unclaimed());
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
    if (recorded) closeRecord(engine, session, operation, ended(closing), engine.clock.now() - startedAt);
    if (asked) engine.approvals.ended(operation.id, inWords(closing));
  }
}

const LOST = { outcome: 'lost', masked: 0 } as const;

/** What policy allows by itself and only reads: under way, until `end`. */
export class Passage {
  readonly permit: Permit;
  readonly #engine: Engine;
  readonly #session: Session;
  readonly #operation: Operation;
  readonly #startedAt: number;

  constructor(engine: Engine, session: Session, operation: Operation, permit: Permit, startedAt: number) {
    this.#engine = engine;
    this.#session = session;
    this.#operation = operation;
    this.permit = permit;
    this.#startedAt = startedAt;
  }

  /** Writes its outcome: exactly once, whatever became of it. @param raw its answer before masking, where something was masked */
  end(closing: Ended, raw: Answer | undefined): void {
    if (raw) this.#engine.recorder.keepRaw(this.#operation.id, raw);
    closeRecord(this.#engine, this.#session, this.#operation, closing, this.#engine.clock.now() - this.#startedAt);
  }
}

/**
 * The first steps of `run`, for who can do without its waiting: where an operation only reads and a rule allows it, it is
 * remembered, its intent recorded, and its permit made. Undefined where any of that is not so, with nothing done: `run` says.
 */
export function pass(engine: Engine, session: Session, operation: Operation, signal: AbortSignal): Passage | undefined {
  if (signal.aborted || session.signal.aborted || engine.recorder.halted !== undefined || operation.refused !== undefined) return undefined;
  const verdict = decide(engine.policy(), session, operation);
  if (verdict.decision !== 'allow') return undefined;
  for (const part of operation.parts) if (part.effect !== 'read') return undefined;
  const startedAt = engine.clock.now();
  session.request.conversation.remember(session.request.connection, operation.parts, startedAt);
  session.recording.appendOperation(new IntentEntry(session, operation, verdict));
  return new Passage(engine, session, operation, permitByVerdict(verdict, operation), startedAt);
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
function closeRecord(engine: Engine, session: Session, operation: Operation, closing: Ended, tookMs: number): void {
  try {
    session.recording.appendOperation(new OutcomeEntry(operation, closing, tookMs));
  } catch (cause) {
    if (engine.recorder.halted === undefined) throw cause;
  }
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
