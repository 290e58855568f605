/**
 * Questions about this machine's own connections that policy wants others to answer, or a fresh login for: they are asked at the
 * gateway, where people sign in, and what comes back is spent here, once. Everything else is asked in the editor.
 */
import { LaptopOutcome, type LaptopQuestion, MAX_LAPTOP_OUTCOME_BYTES } from '../../contract/gateway/laptop.ts';
import type { StreamOpening } from '../../contract/tunnel.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import type { MuxStream } from '../uplink/muxStream.ts';
import type { ApprovalOutcome, Approvals, Question } from './approvals.ts';
import { SPEND_WITHIN_MS } from './queue.ts';

/** Most questions that wait at the gateway at once. */
const MAX_ASKED = 100;

type Denied = Extract<ApprovalOutcome, { answer: 'denied' }>;

export interface OthersOptions {
  /** For everything that the person at this machine answers alone. */
  readonly own: Approvals;
  readonly open: (opening: StreamOpening) => MuxStream;
  readonly newId: (prefix: 'app') => string;
  readonly clock: Clock;
  readonly log: Log;
}

interface Asked {
  readonly policyVersion: string;
  readonly end: (why: Denied['why']) => void;
}

export class OthersApprovals implements Approvals {
  readonly #options: OthersOptions;
  readonly #asked = new Set<Asked>();
  readonly #unspent = new Map<string, { readonly operation: string; readonly policyVersion: string; readonly until: number }>();
  #down = false;

  constructor(options: OthersOptions) {
    this.#options = options;
  }

  ask(question: Question, signal: AbortSignal): Promise<ApprovalOutcome> {
    return needsOthers(question.verdict) ? this.#ask(question, signal) : this.#options.own.ask(question, signal);
  }

  spend(approval: string): boolean {
    const unspent = this.#unspent.get(approval);
    if (!unspent) return this.#options.own.spend(approval);
    this.#unspent.delete(approval);
    return !this.#down && this.#options.clock.now() < unspent.until;
  }

  ended(operation: string, outcome: string): void {
    for (const [approval, unspent] of this.#unspent) if (unspent.operation === operation) this.#unspent.delete(approval);
    this.#options.own.ended(operation, outcome);
  }

  /** What was asked under another policy is asked again under this one. */
  policyChanged(version: string): void {
    for (const [approval, unspent] of this.#unspent) if (unspent.policyVersion !== version) this.#unspent.delete(approval);
    for (const asked of this.#asked) if (asked.policyVersion !== version) asked.end('policy-changed');
  }

  shutdown(): void {
    this.#down = true;
    this.#unspent.clear();
    for (const asked of this.#asked) asked.end('shutdown');
  }

  #ask(question: Question, signal: AbortSignal): Promise<ApprovalOutcome> {
    const { clock, log, newId, open } = this.#options;
    const { actor, connection, conversation, verdict } = question;
    const id = newId('app');
    const askedAt = clock.now();
    const denied = (why: Denied['why'], note?: string): Denied => ({
      answer: 'denied',
      approval: id,
      why,
      ...(note !== undefined && { note }),
      waitedMs: Math.max(0, clock.now() - askedAt),
    });
    if (signal.aborted) return Promise.resolve(denied('withdrawn'));
    if (this.#down) return Promise.resolve(denied('shutdown'));
    if (this.#asked.size >= MAX_ASKED) return Promise.resolve(denied('limit'));
    const stream = open({ connection, kind: 'ask', surface: 'laptop', agent: actor.agent, conversation: conversation.slice(0, 128) });
    return new Promise((resolve) => {
      const done = (outcome: ApprovalOutcome, sentence: string): void => {
        if (!this.#asked.delete(asked)) return;
        signal.removeEventListener('abort', withdraw);
        if (!stream.destroyed) stream.reset('done', sentence);
        resolve(outcome);
      };
      const asked: Asked = { policyVersion: verdict.policyVersion, end: (why) => done(denied(why), 'The question was taken back.') };
      const withdraw = (): void => asked.end('withdrawn');
      this.#asked.add(asked);
      signal.addEventListener('abort', withdraw, { once: true });
      let text = '';
      stream.setEncoding('utf8');
      stream.on('data', (chunk: string) => {
        text += chunk;
        if (text.length > MAX_LAPTOP_OUTCOME_BYTES) stream.reset('too-large', 'The answer is too large.');
      });
      stream.once('end', () => {
        const outcome = outcomeOf(text);
        if (!outcome) return done(denied('not-asked', 'the gateway’s answer is not one that this version understands'), 'Not understood.');
        if (outcome.answer === 'denied') return done(plain(outcome), 'Answered.');
        const { approval } = outcome;
        this.#unspent.set(approval, { operation: question.operation, policyVersion: verdict.policyVersion, until: clock.now() + SPEND_WITHIN_MS });
        return done({ ...outcome, digest: question.digest, policyVersion: verdict.policyVersion }, 'Answered.');
      });
      stream.once('close', () => {
        if (!this.#asked.has(asked)) return;
        const why = stream.errored?.message ?? 'the gateway closed the connection';
        log.info('approval.not-asked', { connection, why });
        done(denied('not-asked', why), 'Closed.');
      });
      if (stream.destroyed) return;
      const { asked: tell, dryRun: _dryRun, noDryRun: _noDryRun, ...said } = question;
      stream.end(JSON.stringify({ ...said, ...(said.reason !== undefined && { reason: said.reason.slice(0, 2000) }) } satisfies LaptopQuestion));
      tell?.(id, askedAt + verdict.expiresMs);
    });
  }
}

/** Whether the person at this machine cannot answer it alone, here. */
function needsOthers({ approvers, freshLogin, quorum }: Verdict): boolean {
  return freshLogin === true || quorum > 1 || !approvers.includes('requester');
}

function outcomeOf(text: string): LaptopOutcome | undefined {
  try {
    return LaptopOutcome.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function plain({ by, note, ...denied }: Extract<LaptopOutcome, { answer: 'denied' }>): Denied {
  return { ...denied, ...(by && { by }), ...(note !== undefined && { note }) };
}
