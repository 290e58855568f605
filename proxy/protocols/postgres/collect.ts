/** Collects the first rows of an answer for a person: as the agent saw them, and in memory as they were. */
import { type Answer, type Finding, MAX_ANSWER_CHARS, MAX_ANSWER_ROWS } from '../../../contract/response.ts';
import type { MaskedText } from '../../masking/masking.ts';
import { isShort } from '../../pipeline/entries.ts';

/** Most findings and columns that are kept; the contract's own caps. */
const MAX_FINDINGS = 5000;
const MAX_COLUMNS = 2000;
const MAX_NAME = 300;
/** Longest value that is kept of one field, in characters. */
const MAX_VALUE = 4000;

/** What a person is shown of a result's columns; worked out once for a plan, and the same list for all its answers. */
export interface ShownColumns {
  readonly shown: MaskedText[];
  /** How many there are. */
  readonly all: number;
}

export function shownColumns(names: readonly MaskedText[]): ShownColumns {
  return { shown: names.slice(0, MAX_COLUMNS).map((name) => name.slice(0, MAX_NAME) as MaskedText), all: names.length };
}

export class RowsCollector {
  readonly #columns: string[];
  readonly #rows: (string | null)[][] = [];
  readonly #raw: (string | null)[][] = [];
  readonly #findings: Finding[] = [];
  #chars = 0;
  /** Rows that are added when the answer is asked for, by those who add them. */
  #toCome = 0;
  #later: (() => void)[] = [];
  #truncated = false;

  constructor({ all, shown }: ShownColumns) {
    this.#truncated = shown.length < all;
    this.#columns = shown;
  }

  /** How many more rows would be kept. */
  get wants(): number {
    return this.#chars < MAX_ANSWER_CHARS ? MAX_ANSWER_ROWS - this.#rows.length - this.#toCome : 0;
  }

  /** Whether another row would be kept of those that come later. */
  get hasRoom(): boolean {
    if (this.#chars < MAX_ANSWER_CHARS) return true;
    this.truncate();
    return false;
  }

  /** The row that comes next, 0-based: for findings. */
  get next(): number {
    return this.#rows.length;
  }

  /** @param add adds `rows` rows, or fewer where there is no room; called once the answer is asked for, after those before it */
  later(rows: number, add: () => void): void {
    this.#toCome += rows;
    this.#later.push(add);
  }

  /** Adds what comes later, now. */
  settle(): void {
    this.#toCome = 0;
    for (const add of this.#later.splice(0)) add();
  }

  add(masked: readonly (string | null)[], raw: readonly (string | null)[], findings: readonly Finding[]): void {
    const keep = (value: string | null): string | null => {
      if (value === null) return null;
      this.#chars += Math.min(value.length, MAX_VALUE);
      return value.length > MAX_VALUE ? `${value.slice(0, MAX_VALUE)}…` : value;
    };
    this.#rows.push(masked.slice(0, MAX_COLUMNS).map(keep));
    this.#raw.push(raw.slice(0, MAX_COLUMNS).map(keep));
    for (const finding of findings) if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding);
  }

  /** See `Ended.short`. */
  get short(): boolean {
    return isShort(this.#columns.length, this.#rows.length + this.#toCome);
  }

  /** More rows came than are kept. */
  truncate(): void {
    this.#truncated = true;
  }

  answer(): Answer {
    this.settle();
    return { kind: 'rows', columns: this.#columns, rows: this.#rows, truncated: this.#truncated, findings: this.#findings };
  }

  /** The same before masking: undefined where nothing was masked. */
  raw(): Answer | undefined {
    this.settle();
    if (this.#findings.length === 0) return undefined;
    return { kind: 'rows', columns: this.#columns, rows: this.#raw, truncated: this.#truncated, findings: this.#findings };
  }
}
