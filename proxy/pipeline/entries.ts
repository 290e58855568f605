/** What the pipeline writes of an operation: that it was decided, and what came of it. */
import { mergeFacts } from '../../contract/facts.ts';
import type { EntryBody } from '../../contract/recording.ts';
import type { Answer } from '../../contract/response.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { OperationEntry } from '../recording/recorder.ts';
import type { Operation, Outcome } from './operation.ts';
import type { Session } from './session.ts';

/** Text of a short entry, in characters, and values of its answer, of which each has its own cap. */
const MAX_SHORT = 8192;
const MAX_SHORT_VALUES = 16;

/** How an operation ended; `denied` where it was not forwarded. */
export type Closing = Pick<Outcome, 'rows' | 'masked' | 'error' | 'answer'> & { readonly outcome: Outcome['outcome'] | 'denied' };

/** Gives an outcome when it is asked for, and the same each time. */
export interface Ended {
  readonly outcome: Closing;
  /** Its answer has so few values that its text is certainly short. */
  readonly short: boolean;
}

export class IntentEntry implements OperationEntry {
  readonly type = 'operation.intent';
  readonly operation: Operation;
  readonly #verdict: Verdict;
  readonly #session: Session;

  constructor(session: Session, operation: Operation, verdict: Verdict) {
    this.operation = operation;
    this.#verdict = verdict;
    this.#session = session;
  }

  get short(): boolean {
    return (this.operation.size ?? sizeOf(this.operation)) <= MAX_SHORT;
  }

  body(): EntryBody {
    const { digest, id, parts, recorded } = this.operation;
    const verdict = this.#verdict;
    // What is undefined is not written.
    return {
      type: 'operation.intent',
      operation: id,
      digest,
      payload: recorded.payload,
      params: recorded.params && [...recorded.params],
      facts: recorded.facts ?? mergeFacts(parts),
      // The reason may name what policy saw, and policy sees more than is recorded.
      verdict: recorded.facts ? { ...verdict, because: this.#session.masking.scrub(verdict.because).text.slice(0, 1000) } : verdict,
    };
  }
}

function sizeOf({ recorded: { params, payload } }: Operation): number {
  let size = payload.length;
  if (params) for (const param of params) size += 4 + (param?.length ?? 0);
  return size;
}

export class OutcomeEntry implements OperationEntry {
  readonly type = 'operation.outcome';
  readonly operation: Operation;
  readonly #ended: Ended;
  readonly #tookMs: number;

  constructor(operation: Operation, ended: Ended, tookMs: number) {
    this.operation = operation;
    this.#ended = ended;
    this.#tookMs = tookMs;
  }

  get short(): boolean {
    return this.#ended.short;
  }

  body(): EntryBody {
    const { answer, error, masked, outcome, rows } = this.#ended.outcome;
    // What is undefined is not written.
    return { type: 'operation.outcome', operation: this.operation.id, outcome, masked, rows, error, answer, tookMs: this.#tookMs };
  }
}

/** An outcome that is known already. */
export function ended(outcome: Closing): Ended {
  return { outcome, short: shortAnswer(outcome.answer) };
}

function shortAnswer(answer: Answer | undefined): boolean {
  return answer === undefined || (answer.kind === 'rows' && isShort(answer.columns.length, answer.rows.length));
}

/** Whether so many values are certainly short. */
export function isShort(columns: number, rows: number): boolean {
  return columns * rows <= MAX_SHORT_VALUES;
}
