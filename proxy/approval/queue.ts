/**
 * The questions that wait for a person, first come first shown. Each is bound to the digest that was on the screen, the
 * actor, the policy and a deadline; an answer counts once, an approval is spent once. Held in memory only: what a
 * restart finds waiting was never approved.
 */
import type { Person } from '../../contract/actor.ts';
import {
  type AnswerResult,
  type ApprovalAnswer,
  type DecidedApproval,
  type GrantView,
  NARROWEST,
  PendingApproval,
  type Scope,
} from '../../contract/approval.ts';
import type { Clock } from '../pipeline/engine.ts';
import type { ApprovalOutcome, Approvals, Question } from './approvals.ts';
import { DryRunning, plainTimer, type SetTimer } from './dryRunning.ts';
import { Flood } from './flood.ts';
import { Grants, samePerson } from './grants.ts';
import { isOffered } from './scopes.ts';
import { charsOf, type ShownQuestion, shownQuestion } from './shown.ts';

export const MAX_PENDING = 100;
export const MAX_PENDING_PER_SESSION = 20;
/** All that waits together, in characters of payload and parameters; each must be shown whole. */
const MAX_PENDING_CHARS = 8 * 1024 * 1024;
/** How long questions go on waiting after the last window has gone, in milliseconds: a reload takes a moment. */
export const NOBODY_GRACE_MS = 10_000;
/** An approval that nobody has spent by then is void, in milliseconds. */
export const SPEND_WITHIN_MS = 30_000;
/** How many decided questions are shown, and how many are known to be decided. */
const MAX_DECIDED = 50;
const MAX_DECIDED_IDS = 1000;

export interface ApprovalsOptions {
  readonly clock: Clock;
  readonly newId: (prefix: 'app') => string;
  /** Called whenever `pending`, `decided` or `grants` would answer otherwise. */
  readonly onChange: () => void;
  /** A person ended a grant: these sessions used it and must be cut. */
  readonly onGrantEnded?: (grant: { readonly id: string; readonly sessions: readonly string[] }) => void;
  readonly setTimer?: SetTimer;
}

/** `Approvals`, and what the control channel calls. */
export interface ApprovalQueue extends Approvals {
  /** First come, first. */
  pending(): PendingApproval[];
  /** Newest first. */
  decided(): DecidedApproval[];
  grants(): GrantView[];
  answer(answer: ApprovalAnswer, by: Person): AnswerResult;
  /** Ends a grant, and through `onGrantEnded` the sessions that used it. False where there is none. */
  endGrant(id: string): boolean;
  /** How many windows are attached. None for longer than the grace: everything that waits is denied. */
  setAudience(windows: number): void;
  /** Call after the new policy is in force. */
  policyChanged(version: string): void;
  /** Ends the grants that were given until this session ends. */
  sessionEnded(session: string): void;
  shutdown(): void;
}

export function createApprovals(options: ApprovalsOptions): ApprovalQueue {
  return new Queue(options);
}

type Denial = Extract<ApprovalOutcome, { answer: 'denied' }>['why'];

interface Waiting {
  readonly id: string;
  readonly question: Question;
  readonly view: ShownQuestion;
  readonly dryRun: DryRunning;
  readonly chars: number;
  /** Takes back the timer and the listener. */
  readonly letGo: () => void;
  readonly resolve: (outcome: ApprovalOutcome) => void;
}

interface Unspent {
  readonly operation: string;
  readonly policyVersion: string;
  readonly until: number;
  readonly grant?: string;
}

class Queue implements ApprovalQueue {
  readonly #options: ApprovalsOptions;
  readonly #setTimer: SetTimer;
  readonly #waiting = new Map<string, Waiting>();
  readonly #decided: DecidedApproval[] = [];
  readonly #decidedIds = new Set<string>();
  readonly #unspent = new Map<string, Unspent>();
  readonly #grants = new Grants();
  readonly #flood = new Flood();
  #chars = 0;
  #policyVersion: string | undefined;
  #audience: 'there' | 'leaving' | 'gone' = 'leaving';
  #stopGrace: (() => void) | undefined;
  #stopSweep: (() => void) | undefined;
  #down = false;

  constructor(options: ApprovalsOptions) {
    this.#options = options;
    this.#setTimer = options.setTimer ?? plainTimer;
    this.#startGrace();
  }

  ask(question: Question, signal: AbortSignal): Promise<ApprovalOutcome> {
    const now = this.#options.clock.now();
    const id = this.#options.newId('app');
    const refused = this.#refusal(question, signal);
    if (refused !== undefined) return Promise.resolve({ answer: 'denied', approval: id, why: refused, waitedMs: 0 });
    const granted = this.#byGrant(id, question, 0);
    if (granted) {
      this.#options.onChange();
      return Promise.resolve(granted);
    }
    const view = shownQuestion(id, question, now);
    if (!view) return Promise.resolve({ answer: 'denied', approval: id, why: 'too-large', waitedMs: 0 });
    const chars = charsOf(question);
    if (!this.#hasRoom(question, chars)) return Promise.resolve({ answer: 'denied', approval: id, why: 'limit', waitedMs: 0 });
    if (!this.#flood.admits(question, this.#waiting.values(), now)) return Promise.resolve({ answer: 'denied', approval: id, why: 'alike', waitedMs: 0 });
    return new Promise((resolve) => {
      const withdraw = (): void => this.#deny(id, 'withdrawn');
      const stopDeadline = this.#setTimer(view.deadline - now, () => this.#deny(id, 'deadline'));
      signal.addEventListener('abort', withdraw, { once: true });
      this.#chars += chars;
      this.#waiting.set(id, {
        id,
        question,
        view,
        dryRun: new DryRunning(question, this.#setTimer, () => this.#options.onChange()),
        chars,
        letGo: () => {
          stopDeadline();
          signal.removeEventListener('abort', withdraw);
        },
        resolve,
      });
      question.asked?.(id, view.deadline);
      this.#options.onChange();
    });
  }

  spend(approval: string): boolean {
    const unspent = this.#unspent.get(approval);
    if (!unspent || this.#down) return false;
    this.#unspent.delete(approval);
    return this.#options.clock.now() < unspent.until;
  }

  ended(operation: string, outcome: string): void {
    // Called for every operation there is; both lists are short.
    for (const [approval, unspent] of this.#unspent) if (unspent.operation === operation) this.#unspent.delete(approval);
    const at = this.#decided.findIndex((d) => d.operation === operation && d.outcome === undefined);
    const decided = this.#decided[at];
    if (!decided) return;
    this.#decided[at] = { ...decided, outcome: outcome.slice(0, 200) };
    this.#options.onChange();
  }

  pending(): PendingApproval[] {
    return [...this.#waiting.values()].map(({ view, dryRun }) => ({ ...view, dryRun: dryRun.state }));
  }

  decided(): DecidedApproval[] {
    return [...this.#decided];
  }

  grants(): GrantView[] {
    return this.#grants.views(this.#options.clock.now());
  }

  answer(answer: ApprovalAnswer, by: Person): AnswerResult {
    const waiting = this.#waiting.get(answer.id);
    if (!waiting) return this.#decidedIds.has(answer.id) ? 'already-decided' : 'unknown';
    const { question, view } = waiting;
    if (!samePerson(by, question.actor.person)) return 'not-allowed';
    if (answer.digest !== question.digest) return 'stale';
    if (this.#options.clock.now() >= view.deadline) {
      this.#deny(answer.id, 'deadline');
      return 'already-decided';
    }
    if (answer.answer === 'deny') {
      this.#deny(answer.id, 'person', by, answer.note);
      return 'accepted';
    }
    // Who asks may always say no. Saying yes is for approvers, and others than the requester answer in the gateway.
    if (!question.verdict.approvers.includes('requester') || question.verdict.quorum > 1) return 'not-allowed';
    if (!isOffered(view.scopes, answer.scope)) return 'not-allowed';
    this.#approve(waiting, by, answer.scope);
    return 'accepted';
  }

  endGrant(id: string): boolean {
    const grant = this.#grants.end(id);
    if (!grant) return false;
    for (const [approval, unspent] of this.#unspent) if (unspent.grant === id) this.#unspent.delete(approval);
    this.#options.onGrantEnded?.({ id, sessions: [...grant.sessions] });
    this.#options.onChange();
    return true;
  }

  setAudience(windows: number): void {
    if (windows > 0) {
      this.#stopGrace?.();
      this.#stopGrace = undefined;
      this.#audience = 'there';
    } else if (this.#audience === 'there') this.#startGrace();
  }

  policyChanged(version: string): void {
    this.#policyVersion = version;
    for (const [approval, unspent] of this.#unspent) if (unspent.policyVersion !== version) this.#unspent.delete(approval);
    const changed = this.#grants.policyChanged(version);
    this.#denyWhere((waiting) => waiting.question.verdict.policyVersion !== version, 'policy-changed');
    if (changed) this.#options.onChange();
  }

  sessionEnded(session: string): void {
    if (this.#grants.sessionEnded(session)) this.#options.onChange();
  }

  shutdown(): void {
    this.#down = true;
    this.#stopGrace?.();
    this.#stopSweep?.();
    this.#unspent.clear();
    this.#grants.clear();
    this.#denyWhere(() => true, 'shutdown');
  }

  #refusal(question: Question, signal: AbortSignal): Denial | undefined {
    if (signal.aborted) return 'withdrawn';
    if (this.#down) return 'shutdown';
    if (this.#audience === 'gone') return 'nobody';
    if (this.#policyVersion !== undefined && question.verdict.policyVersion !== this.#policyVersion) return 'policy-changed';
    return undefined;
  }

  #hasRoom(question: Question, chars: number): boolean {
    if (this.#waiting.size >= MAX_PENDING || this.#chars + chars > MAX_PENDING_CHARS) return false;
    let same = 0;
    for (const waiting of this.#waiting.values()) if (waiting.question.session === question.session) same++;
    return same < MAX_PENDING_PER_SESSION;
  }

  /** An answer given earlier that covers this question. */
  #byGrant(id: string, question: Question, waitedMs: number): ApprovalOutcome | undefined {
    const grant = this.#grants.use(question, this.#options.clock.now());
    if (!grant) return undefined;
    return this.#approved(id, question, grant.by, grant.scope, 'grant', waitedMs, grant.id);
  }

  #approved(id: string, question: Question, by: Person, scope: Scope, why: 'person' | 'grant', waitedMs: number, grant?: string): ApprovalOutcome {
    const now = this.#options.clock.now();
    const { digest, operation } = question;
    const { policyVersion } = question.verdict;
    for (const [approval, unspent] of this.#unspent) if (unspent.until <= now) this.#unspent.delete(approval);
    this.#unspent.set(id, { operation, policyVersion, until: now + SPEND_WITHIN_MS, ...(grant !== undefined && { grant }) });
    return { answer: 'approved', approval: id, by, scope, why, digest, policyVersion, waitedMs };
  }

  #approve(waiting: Waiting, by: Person, scope: Scope): void {
    const now = this.#options.clock.now();
    const { id, question } = waiting;
    this.#remove(waiting);
    const grant = scope.howLong === NARROWEST.howLong ? undefined : this.#grants.add(id, scope, by, question, now);
    this.#note(waiting, { answer: 'approved', why: 'person', by });
    this.#resolve(waiting, this.#approved(id, question, by, scope, 'person', now - waiting.view.askedAt, grant?.id));
    if (grant) {
      this.#scheduleSweep();
      this.#approveCovered(now);
    }
    this.#options.onChange();
  }

  /** What waits behind the question and is covered by the grant just given need not be asked again. */
  #approveCovered(now: number): void {
    for (const waiting of this.#waiting.values()) {
      if (waiting.view.deadline <= now) continue;
      const outcome = this.#byGrant(waiting.id, waiting.question, now - waiting.view.askedAt);
      if (!outcome) continue;
      this.#remove(waiting);
      this.#note(waiting, { answer: 'approved', why: 'grant', ...(outcome.by && { by: outcome.by }) });
      this.#resolve(waiting, outcome);
    }
  }

  #deny(id: string, why: Denial, by?: Person, note?: string): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#denyOne(waiting, why, by, note);
    this.#options.onChange();
  }

  #denyWhere(which: (waiting: Waiting) => boolean, why: Denial): void {
    const denied = [...this.#waiting.values()].filter(which);
    for (const waiting of denied) this.#denyOne(waiting, why);
    if (denied.length > 0) this.#options.onChange();
  }

  #denyOne(waiting: Waiting, why: Denial, by?: Person, note?: string): void {
    this.#remove(waiting);
    const extra = { ...(by && { by }), ...(note !== undefined && { note }) };
    // Asked again at once under the new policy: not a decision that a person need read about.
    if (why !== 'policy-changed') this.#note(waiting, { answer: 'denied', why, ...extra });
    const waitedMs = Math.max(0, this.#options.clock.now() - waiting.view.askedAt);
    waiting.resolve({ answer: 'denied', approval: waiting.id, why, waitedMs, ...extra });
  }

  #remove(waiting: Waiting): void {
    this.#waiting.delete(waiting.id);
    this.#chars -= waiting.chars;
    this.#decidedIds.add(waiting.id);
    for (const oldest of this.#decidedIds) {
      if (this.#decidedIds.size <= MAX_DECIDED_IDS) break;
      this.#decidedIds.delete(oldest);
    }
    waiting.letGo();
    waiting.dryRun.abort();
  }

  /** The dry run lets go of its locks before the operation itself is sent. */
  #resolve(waiting: Waiting, outcome: ApprovalOutcome): void {
    void waiting.dryRun.gone().then(() => waiting.resolve(outcome));
  }

  #note({ id, question }: Waiting, decision: Pick<DecidedApproval, 'answer' | 'why' | 'by' | 'note'>): void {
    this.#decided.unshift({
      id,
      operation: question.operation,
      headline: question.facts.headline,
      connection: question.connection,
      agent: question.actor.agent.name,
      decidedAt: this.#options.clock.now(),
      ...decision,
    });
    this.#decided.length = Math.min(this.#decided.length, MAX_DECIDED);
  }

  #startGrace(): void {
    this.#audience = 'leaving';
    this.#stopGrace = this.#setTimer(NOBODY_GRACE_MS, () => {
      this.#audience = 'gone';
      // Nobody can see a grant, or end it.
      const changed = this.#grants.clear();
      for (const [approval, unspent] of this.#unspent) if (unspent.grant !== undefined) this.#unspent.delete(approval);
      this.#denyWhere(() => true, 'nobody');
      if (changed) this.#options.onChange();
    });
  }

  /** Takes a grant off the list when its time is over. */
  #scheduleSweep(): void {
    this.#stopSweep?.();
    this.#stopSweep = undefined;
    const next = this.#grants.nextEnd;
    if (next === undefined) return;
    this.#stopSweep = this.#setTimer(Math.max(1, next - this.#options.clock.now()), () => {
      if (this.#grants.sweep(this.#options.clock.now())) this.#options.onChange();
      this.#scheduleSweep();
    });
  }
}
