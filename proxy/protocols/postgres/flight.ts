/** One operation that was forwarded, until what came of it is known. */
import type { Answer } from '../../../contract/response.ts';
import type { Ended } from '../../pipeline/entries.ts';
import type { Outcome } from '../../pipeline/operation.ts';
import type { MaskPlan } from '../../policy/policy.ts';
import type { RowsCollector } from './collect.ts';
import type { Reach } from './diagnostics.ts';
import type { Rewrite } from './rewrite.ts';
import type { Catalog } from './sql/catalog.ts';
import type { StatementInfo } from './sql/classifier.ts';

/** What a statement was understood with: equal objects mean that it would be understood the same again. */
export interface Reading {
  readonly catalog: Catalog;
  readonly plan: MaskPlan;
  readonly searchPath: readonly string[];
}

/** Longest error message in an outcome, in characters. */
const MAX_MESSAGE = 4000;

export class Flight implements Ended {
  /** Told once, when it is over. */
  readonly #landed: (flight: Flight) => void;
  readonly statements: readonly StatementInfo[];
  readonly reading: Reading;
  readonly reach: Reach;
  /** What the client itself sent, for errors that quote it. */
  readonly own: () => string;
  /** What the server got in place of tokens. */
  readonly rewrite: Rewrite | undefined;
  /** Which of the statements is being answered. */
  index = 0;
  masked = 0;
  #rows: number | undefined;
  #error: { readonly code: string; readonly message: string } | undefined;
  #answer: RowsCollector | undefined;
  #end: Outcome['outcome'] | undefined;

  constructor(landed: (flight: Flight) => void, statements: readonly StatementInfo[], reading: Reading, reach: Reach, own: () => string, rewrite?: Rewrite) {
    this.#landed = landed;
    this.statements = statements;
    this.reading = reading;
    this.reach = reach;
    this.own = own;
    this.rewrite = rewrite;
  }

  isRelation(name: string): boolean {
    return this.reading.catalog.findRelation(undefined, name, this.reading.searchPath) !== undefined;
  }

  token(value: string): string | undefined {
    return this.rewrite?.token(value);
  }

  get over(): boolean {
    return this.#end !== undefined;
  }

  get statement(): StatementInfo | undefined {
    return this.statements[this.index];
  }

  /** Of several results, the last that has rows is kept for a person. */
  shows(answer: RowsCollector): void {
    this.#answer = answer;
  }

  completed(rows: number | undefined): void {
    if (rows !== undefined) this.#rows = (this.#rows ?? 0) + rows;
    this.index++;
  }

  /** @param message masked */
  failed(code: string, message: string): void {
    this.#error ??= { code: code.slice(0, 40), message: message.slice(0, MAX_MESSAGE) };
  }

  get error(): { readonly code: string; readonly message: string } | undefined {
    return this.#error;
  }

  /** Ends it; only the first call counts. */
  end(outcome: Outcome['outcome']): void {
    if (this.#end !== undefined) return;
    this.#end = outcome;
    this.#landed(this);
  }

  get short(): boolean {
    return this.#answer === undefined || this.#answer.short;
  }

  /** Its answer before masking, where something was masked. */
  get raw(): Answer | undefined {
    return this.#answer?.raw();
  }

  /** What came of it, once it is over. */
  get outcome(): Outcome {
    const end = this.#end ?? 'lost';
    const answer = this.#answer?.answer();
    const raw = this.raw;
    return {
      outcome: this.#error && end === 'done' ? (this.#error.code === '57014' ? 'cancelled' : 'failed') : end,
      masked: this.masked,
      ...(this.#rows !== undefined && { rows: this.#rows }),
      ...(this.#error && { error: this.#error }),
      ...(answer && { answer }),
      ...(raw && { raw }),
    };
  }
}
