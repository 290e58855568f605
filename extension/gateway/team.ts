/**
 * The gateway's questions that concern this person: those that they may answer, and their own that wait for somebody else.
 * What changes comes over one stream of events; each time the whole list is asked for again. No editor in here.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApprovalAnswer, DecidedApproval, PendingApproval } from '../../contract/approval.ts';
import { accessAskOf, decidedAccess, whyEnded } from '../../contract/gateway/accessAsk.ts';
import type { AccessRequest, GatewayAnswerResult, GatewayApproval } from '../../contract/gateway/approvals.ts';
import { Problem } from '../../contract/problem.ts';
import type { AccessAnswers } from './accessAnswers.ts';
import { type ApiOptions, call, follow } from './api.ts';
import { NO_QUESTIONS, type TeamQuestions } from './questions.ts';
import type { Fetch } from './trust.ts';

/** Waits between tries while the gateway is out of reach, in milliseconds. */
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 15_000;
/** Questions that are remembered for what became of them. */
const SEEN_KEPT = 200;

/** As much of the account as this needs. */
export interface TeamAccount {
  readonly state: { readonly kind: string; readonly url?: URL };
  readonly token: { readonly value: string } | undefined;
  readonly fetch?: Fetch;
  refused(): Promise<void>;
}

export interface TeamOptions {
  readonly account: TeamAccount;
  readonly log: (message: string) => void;
  readonly changed: () => void;
  /** Something else changed at the gateway, or the stream of what changes has begun anew. */
  readonly heard?: () => void;
  /** Who is told what became of requests for access. */
  readonly access?: Pick<AccessAnswers, 'asked' | 'look'>;
}

export class TeamApprovals {
  readonly #options: TeamOptions;
  #questions: TeamQuestions = NO_QUESTIONS;
  #approvals: readonly GatewayApproval[] = [];
  #problem: string | undefined;
  /** What was asked, for the line that says what became of it: the gateway forgets that with the decision. */
  readonly #seen = new Map<string, PendingApproval>();
  #run: AbortController | undefined;
  /** Whose token the stream runs on. */
  #token: string | undefined;
  #reading: Promise<void> = Promise.resolve();
  #again = false;

  constructor(options: TeamOptions) {
    this.#options = options;
  }

  get questions(): TeamQuestions {
    return this.#questions;
  }

  /** Why there may be questions that are not shown. */
  get problem(): string | undefined {
    return this.#problem;
  }

  has(id: string): boolean {
    return this.#approvals.some((one) => one.id === id);
  }

  /** Signed in, signed out, renewed. */
  accountChanged(): void {
    const { account } = this.#options;
    const token = account.state.kind === 'signed-in' ? account.token?.value : undefined;
    if (token === this.#token && (token === undefined || this.#run)) return;
    this.#token = token;
    if (token === undefined) {
      this.#run?.abort();
      this.#run = undefined;
      this.#set([], []);
    } else if (!this.#run) {
      const run = new AbortController();
      this.#run = run;
      void this.#follow(run.signal);
    }
    // A stream lives as long as the token that opened it: the next one is opened with the next token.
  }

  /** Bound to the digest that was on the screen. @throws Problem */
  async answer(answer: ApprovalAnswer): Promise<GatewayAnswerResult> {
    const result = await call('answer', this.#access(), { id: answer.id, body: answer });
    await this.#read();
    return result;
  }

  /** Asks for access over a time; others answer. @throws Problem */
  async requestAccess(body: AccessRequest): Promise<void> {
    const approval = await call('requestAccess', this.#access(), { body });
    await this.#options.access?.asked(approval);
  }

  /** One question as it is now. @throws Problem */
  async get(id: string): Promise<GatewayApproval> {
    return await call('approval', this.#access(), { id });
  }

  /** The page where the person shows again who they are, for this request alone. @throws Problem */
  async freshLogin(id: string): Promise<URL> {
    const access = this.#access();
    const { url } = await call('freshLogin', access, { id, body: {} });
    const page = URL.canParse(url) ? new URL(url) : undefined;
    if (page?.origin !== access.gateway.origin)
      throw new Problem('gateway-address', 'The page to sign in again at is not the gateway’s, so it was not opened.');
    return page;
  }

  dispose(): void {
    this.#run?.abort();
    this.#run = undefined;
  }

  #access(): ApiOptions {
    const { state, token } = this.#options.account;
    if (state.kind !== 'signed-in' || !state.url || !token)
      throw new Problem('not-signed-in', 'You are not signed in to the gateway. Sign in with the Accounts menu, then answer again.');
    const { fetch } = this.#options.account;
    return { gateway: state.url, token: token.value, ...(fetch && { fetch }) };
  }

  async #follow(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        const access = this.#access();
        await follow(access, signal, (event) => {
          failures = 0;
          this.#options.heard?.();
          if (event === 'ready' || event === 'approval') void this.#read().catch((error: unknown) => this.#failed(error));
        });
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        this.#failed(error);
        if (error instanceof Problem && (error.code === 'not-signed-in' || error.code === 'bad-token'))
          await this.#options.account.refused().catch(() => undefined);
      }
      const full = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures, 10));
      await sleep(full / 2 + (Math.random() * full) / 2, undefined, { signal }).catch(() => undefined);
    }
  }

  #failed(error: unknown): void {
    const words = error instanceof Error ? error.message : String(error);
    if (words !== this.#problem) this.#options.log(`the gateway’s questions: ${words}`);
    this.#problem = words;
    // What cannot be answered must not stay on the screen.
    this.#set([], []);
  }

  /** Reads the list, once at a time; what changes meanwhile is read once more. */
  #read(): Promise<void> {
    if (this.#again) return this.#reading;
    this.#again = true;
    this.#reading = this.#reading
      .catch(() => undefined)
      .then(async () => {
        this.#again = false;
        const run = this.#run;
        const { pending, decided } = await call('approvals', this.#access());
        // Signed out meanwhile: it is somebody else's list by now.
        if (run !== this.#run || !run) return;
        this.#problem = undefined;
        this.#set(pending, decided);
        void this.#options.access?.look(pending, decided);
      });
    return this.#reading;
  }

  #set(pending: readonly GatewayApproval[], decided: readonly GatewayApproval[]): void {
    for (const { question } of pending) if (question) this.#seen.set(question.id, question);
    for (const id of [...this.#seen.keys()].slice(0, Math.max(0, this.#seen.size - SEEN_KEPT))) this.#seen.delete(id);
    this.#approvals = pending;
    const operations = pending.filter(({ question }) => question !== undefined);
    this.#questions = {
      pending: operations.flatMap(({ question }) => question ?? []),
      mine: operations.filter(({ mine }) => mine.mayApprove).map(({ id }) => id),
      // Whoever asked may always say no; that alone does not make it theirs to answer.
      own: operations.filter(({ mine }) => mine.requested && mine.mayAnswer && !mine.mayApprove).map(({ id }) => id),
      access: pending.flatMap((one) => accessAskOf(one) ?? []),
      decided: decided.flatMap((one) => decidedAccess(one) ?? decidedView(one, this.#seen.get(one.id)) ?? []),
    };
    this.#options.changed();
  }
}

function decidedView(approval: GatewayApproval, asked: PendingApproval | undefined): DecidedApproval | undefined {
  if (!asked || approval.decidedAt === undefined) return undefined;
  const answer = approval.state === 'denied' ? 'denied' : 'approved';
  const last = approval.answers.findLast((one) => (one.answer === 'deny') === (answer === 'denied'));
  return {
    id: approval.id,
    operation: asked.operation,
    headline: asked.facts.headline.slice(0, 300),
    connection: approval.connection,
    agent: asked.actor.agent.name,
    answer,
    why: whyEnded(approval, last?.by),
    ...(last && { by: last.by }),
    ...(last?.note !== undefined && { note: last.note }),
    decidedAt: approval.decidedAt,
  };
}
