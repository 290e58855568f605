/**
 * What a result's columns are, and what happens to each: worked out once for results that the server describes in the
 * same bytes, as it does for a statement that comes again and again. Belongs to one session.
 */
import type { SessionMasking } from '../../masking/masking.ts';
import { type ShownColumns, shownColumns } from './collect.ts';
import { type Action, actionsOf } from './columnMask.ts';
import type { Reading } from './flight.ts';
import { type Column, formatOf, readRowDescription } from './messages.ts';
import type { Catalog } from './sql/catalog.ts';
import type { StatementInfo } from './sql/classifier.ts';

export interface ResultPlan {
  readonly columns: readonly Column[];
  /** Undefined where a column passes as it is. */
  readonly actions: readonly (Action | undefined)[];
  /** For a person. */
  readonly names: ShownColumns;
  /** Index after the last column that is not simply passed. */
  readonly last: number;
  /** Some column is masked whatever is in it. */
  readonly masks: boolean;
}

/** Nothing is known of a statement whose answer came. */
const UNKNOWN = { outputs: 'opaque', touchesSensitive: true } as const;

export class ResultPlans {
  readonly #masking: SessionMasking;
  /** By what was described: the statement as it was understood, or as it was prepared. */
  readonly #described = new WeakMap<object, { readonly bytes: Buffer; readonly columns: readonly Column[] }>();
  readonly #formatted = new WeakMap<readonly Column[], { readonly formats: readonly number[]; readonly columns: readonly Column[] }>();
  readonly #plans = new WeakMap<readonly Column[], { readonly info: StatementInfo | undefined; readonly reading: Reading; readonly plan: ResultPlan }>();
  /** For a reading that turned out too old for a result: the catalog that was read then. */
  readonly #newer = new WeakMap<Reading, Catalog>();

  constructor(masking: SessionMasking) {
    this.#masking = masking;
  }

  /** Reads a RowDescription; the same list as before where it says the same of the same thing. */
  read(described: object | undefined, buffer: Buffer, start: number, end: number): readonly Column[] {
    const known = described && this.#described.get(described);
    if (known && known.bytes.compare(buffer, start, end) === 0) return known.columns;
    const columns = readRowDescription(buffer, start, end);
    if (described) this.#described.set(described, { bytes: Buffer.from(buffer.subarray(start, end)), columns });
    return columns;
  }

  /** A statement's description under the formats that a Bind asked for. */
  inFormats(columns: readonly Column[], formats: readonly number[]): readonly Column[] {
    const known = this.#formatted.get(columns);
    if (known && known.formats.length === formats.length && known.formats.every((format, i) => format === formats[i])) return known.columns;
    const formatted = columns.map((column, i) => ({ ...column, format: formatOf(formats, i) }));
    this.#formatted.set(columns, { formats, columns: formatted });
    return formatted;
  }

  /** Whether it names a table that was made after the snapshot, which may hold what a mask should follow. Once for a reading. */
  needsNewer(columns: readonly Column[], reading: Reading): boolean {
    // What is still unknown after that was made in a transaction that is open, and is masked whole.
    if (reading.plan.columns.size === 0 || this.#plans.get(columns)?.reading === reading || this.#newer.has(reading)) return false;
    return columns.some(({ tableOid }) => tableOid !== 0 && !reading.catalog.relation(tableOid));
  }

  /** The catalog that results of a reading are looked up in from now on. */
  newer(reading: Reading, catalog: Catalog): void {
    this.#newer.set(reading, catalog);
  }

  planOf(columns: readonly Column[], info: StatementInfo | undefined, reading: Reading): ResultPlan {
    const known = this.#plans.get(columns);
    if (known && known.info === info && known.reading === reading) return known.plan;
    const actions = actionsOf(columns, info ?? UNKNOWN, this.#newer.get(reading) ?? reading.catalog, reading.plan, reading.catalog);
    const plan: ResultPlan = {
      columns,
      actions,
      names: shownColumns(columns.map(({ name }) => this.#masking.scrub(name).text)),
      last: actions.findLastIndex((action) => action !== undefined) + 1,
      masks: actions.some((action) => action?.kind === 'mask'),
    };
    this.#plans.set(columns, { info, reading, plan });
    return plan;
  }
}
