/**
 * Which columns are sensitive once a plan's columns have been followed through everything that holds the same data:
 * views and materialised views, inheritance and partitions, generated columns, SQL functions.
 */
import type { MaskPlan } from '../../../policy/policy.ts';
import { CREDENTIAL_COLUMNS, REVEALING_COLUMNS, REVEALING_EXTENSION_COLUMNS } from './builtins.ts';
import type { Catalog, ColumnMask, Relation, Routine } from './catalog.ts';
import { UNREAD } from './catalogQueries.ts';
import { valueOf } from './expression.ts';
import { Budget, Findings, relationName } from './findings.ts';
import { as } from './nodes.ts';
import type { Parser } from './parser.ts';
import { analyseQuery } from './query.ts';
import { type RoutineResult, routineResult } from './routines.ts';
import { type Context, EMPTY_SCOPE, type Item } from './scope.ts';
import { type Origin, settled, strictest, type Taint, unite } from './value.ts';

/** Inside views and functions every name outside `pg_catalog` is qualified, or resolved along the function's own path. */
const CATALOG_ONLY: readonly string[] = ['pg_catalog'];
/** What a session's path is unless someone changed it. */
const USUAL_PATH: readonly string[] = ['$user', 'public'];
const NO_TEMPORARY: ReadonlyMap<string, never> = new Map<string, never>();
const NOTHING: readonly Taint[] = [];
/** Stands in a followed plan for every column of a table. */
export const ANY_COLUMN = '*';
/** Results kept, one a function and search path. */
const MAX_ROUTINE_RESULTS = 10_000;

export class Sensitivity {
  readonly #catalog: Catalog;
  readonly #plan: MaskPlan;
  readonly parser: Parser;
  readonly #columns = new Map<number, ReadonlyMap<number, readonly Taint[]>>();
  readonly #behind = new Map<number, Findings>();
  /** Of views: the column that each of their columns is, where it is nothing else. */
  readonly #bases = new Map<number, readonly (Origin | undefined)[]>();
  readonly #routines = new Map<string, RoutineResult | 'running'>();
  readonly #planned: ReadonlyMap<number, ReadonlyMap<string, Taint>>;
  readonly #running = new Set<number>();
  /** Given to what is not understood; absent where nothing is sensitive. */
  readonly opaqueTaint: Taint | undefined;

  constructor(catalog: Catalog, plan: MaskPlan, parser: Parser) {
    this.#catalog = catalog;
    this.#plan = plan;
    this.parser = parser;
    this.opaqueTaint = plan.columns.size > 0 ? { label: 'not understood', mask: 'redact' } : undefined;
    this.#planned = plannedColumns(catalog, plan);
  }

  /** Keys of the plan that name no column there is: a person should know. */
  unmatched(): readonly string[] {
    const known = new Set<string>();
    for (const relation of this.#catalog.relations()) {
      for (const column of relation.columns) known.add(keyOf(relation, column.name));
    }
    return [...this.#plan.columns.keys()].filter((key) => !known.has(key));
  }

  /** The plan's own columns, as `schema.table.column`. */
  get planned(): MaskPlan['columns'] {
    return this.#plan.columns;
  }

  get any(): boolean {
    return this.#plan.columns.size > 0;
  }

  maskFor(oid: number, attnum: number): ColumnMask | undefined {
    const relation = this.#catalog.relation(oid);
    if (!relation) return undefined;
    if (attnum === 0) {
      const all = unite(relation.columns.map((c) => this.column(relation, c.number)));
      return all[0] && { mask: 'redact', label: all[0].label };
    }
    const taints = this.column(relation, attnum);
    return taints[0] && { mask: strictest(taints.map((t) => t.mask)), label: taints[0].label };
  }

  column(relation: Relation, attnum: number): readonly Taint[] {
    return this.#of(relation).get(attnum) ?? NOTHING;
  }

  /** A relation of which some column is sensitive, in itself or through what it is made from. */
  touchesSensitive(relation: Relation): boolean {
    return this.#of(relation).size > 0 || (this.behind(relation)?.touched.size ?? 0) > 0;
  }

  /** The column of another relation that a view's column is, into which what is written to the view goes. */
  base(relation: Relation, attnum: number): Origin | undefined {
    if (relation.kind !== 'view') return undefined;
    this.#of(relation);
    const at = relation.columns.findIndex(({ number }) => number === attnum);
    return this.#bases.get(relation.oid)?.[at];
  }

  /** What a view does when it is read; undefined for what is stored. */
  behind(relation: Relation): Findings | undefined {
    if (relation.kind !== 'view' || relation.definition === undefined || relation.standsFor !== undefined) return undefined;
    this.#of(relation);
    return this.#behind.get(relation.oid);
  }

  /** What calling a function that is not built in gives and does. */
  routine(routine: Routine, searchPath: readonly string[]): RoutineResult {
    const key = `${routine.oid} ${searchPath.join(' ')}`;
    const known = this.#routines.get(key);
    // A function that calls itself adds nothing to what its other statements do.
    if (known === 'running') return { columns: undefined, taints: this.opaqueTaint ? [this.opaqueTaint] : [], findings: new Findings() };
    if (known) return known;
    this.#routines.set(key, 'running');
    const result = routineResult(routine, this.#context(new Findings(), searchPath));
    if (this.#routines.size > MAX_ROUTINE_RESULTS) this.#routines.clear();
    this.#routines.set(key, result);
    return result;
  }

  #of(relation: Relation): ReadonlyMap<number, readonly Taint[]> {
    const known = this.#columns.get(relation.oid);
    if (known) return known;
    // A view that (through a broken catalog) reads itself: nothing is known of it.
    if (this.#running.has(relation.oid)) return this.#allOpaque(relation);
    this.#running.add(relation.oid);
    try {
      const columns = this.#compute(relation);
      this.#columns.set(relation.oid, columns);
      return columns;
    } finally {
      this.#running.delete(relation.oid);
    }
  }

  #compute(relation: Relation): ReadonlyMap<number, readonly Taint[]> {
    const columns = new Map<number, readonly Taint[]>();
    // The server has masked it: nothing sensitive comes out of it, and asking about it gives nothing away.
    if (relation.standsFor !== undefined) return columns;
    const planned = this.#planned.get(relation.oid);
    const revealing = this.#revealing(relation);
    for (const column of relation.columns) {
      const taint = planned?.get(column.name) ?? revealing?.(column.name);
      if (taint) columns.set(column.number, [taint]);
    }
    if (relation.kind === 'toast' && this.opaqueTaint) return new Map([1, 2, 3].map((n) => [n, [{ label: 'pg_toast', mask: 'redact' }]]));
    if (relation.definition !== undefined && !REVEALING_EXTENSION_COLUMNS.has(relation.name)) this.#followView(relation, columns);
    this.#followGenerated(relation, columns);
    return columns;
  }

  #followView(relation: Relation, columns: Map<number, readonly Taint[]>): void {
    const findings = new Findings();
    this.#behind.set(relation.oid, findings);
    const parsed = this.parser.parse(relation.definition ?? '');
    const select = parsed.ok ? as(parsed.statements[0]?.node, 'SelectStmt') : undefined;
    let outputs: readonly (readonly Taint[])[] | undefined;
    if (select) {
      try {
        const query = analyseQuery(this.#context(findings, CATALOG_ONLY), select, EMPTY_SCOPE);
        if (!query.open) outputs = query.columns.map((c) => settled(c.value));
        this.#bases.set(
          relation.oid,
          query.columns.map((c) => c.value.origin),
        );
      } catch {
        findings.unresolved(`view ${relationName(relation)}`);
      }
    } else {
      findings.unresolved(`view ${relationName(relation)}`);
    }
    relation.columns.forEach((column, i) => {
      const from = outputs ? (outputs[i] ?? NOTHING) : this.opaqueTaint ? [this.opaqueTaint] : NOTHING;
      if (from.length > 0) columns.set(column.number, unite([columns.get(column.number) ?? NOTHING, from]));
    });
  }

  #followGenerated(relation: Relation, columns: Map<number, readonly Taint[]>): void {
    for (const column of relation.columns) {
      const source = column.generated ?? column.default;
      if (source === undefined) continue;
      const item: Item = {
        name: relation.name,
        relation,
        open: false,
        relVisible: true,
        colsVisible: true,
        columns: relation.columns.map((c) => ({ name: c.name, value: { taints: columns.get(c.number) ?? NOTHING, keeps: true, sources: [] } })),
      };
      const taints = this.#given(source, item);
      // What is not understood of a default (most functions that make ids) is no reason to hide the column.
      const followed = column.generated === undefined && source !== UNREAD ? taints.filter((taint) => taint !== this.opaqueTaint) : taints;
      if (followed.length > 0) columns.set(column.number, unite([columns.get(column.number) ?? NOTHING, followed]));
    }
  }

  #given(source: string, item: Item): readonly Taint[] {
    const parsed = this.parser.parse(`select ${source}`);
    const target = parsed.ok ? as(as(parsed.statements[0]?.node, 'SelectStmt')?.targetList?.[0], 'ResTarget')?.val : undefined;
    if (target) return settled(valueOf(this.#context(new Findings(), CATALOG_ONLY), target, { items: [item], ctes: new Map() }));
    return this.opaqueTaint ? [this.opaqueTaint] : NOTHING;
  }

  #allOpaque(relation: Relation): ReadonlyMap<number, readonly Taint[]> {
    const taint = this.opaqueTaint;
    return new Map(taint ? relation.columns.map((c) => [c.number, [taint]]) : []);
  }

  /** System relations that hold copies of table data, other people's statements, or credentials. */
  #revealing(relation: Relation): ((column: string) => Taint | undefined) | undefined {
    const label = relation.name;
    const system = relation.schema === 'pg_catalog' || relation.schema === 'information_schema';
    const always = system ? CREDENTIAL_COLUMNS.get(label) : undefined;
    const copies = system ? REVEALING_COLUMNS.get(label) : REVEALING_EXTENSION_COLUMNS.get(label);
    if (!always && !(copies && this.any)) return undefined;
    return (column) => (always?.has(column) || (this.any && copies?.has(column)) ? { label, mask: 'redact' } : undefined);
  }

  #context(found: Findings, searchPath: readonly string[]): Context {
    return {
      catalog: this.#catalog,
      sensitivity: this,
      searchPath,
      ...(searchPath === CATALOG_ONLY && { callerPath: USUAL_PATH }),
      found,
      budget: new Budget(),
      temporary: NO_TEMPORARY,
    };
  }
}

function keyOf(relation: Relation, column: string): string {
  return `${relation.schema}.${relation.name}.${column}`.toLowerCase();
}

/** The plan's columns by relation, spread over inheritance in both directions: parents show their children's rows. */
function plannedColumns(catalog: Catalog, plan: MaskPlan): ReadonlyMap<number, ReadonlyMap<string, Taint>> {
  const planned = new Map<number, Map<string, Taint>>();
  for (const relation of catalog.relations()) {
    for (const column of relation.columns) {
      // A table of which it is not known which columns hold what: all of them.
      const mask = plan.columns.get(keyOf(relation, column.name)) ?? plan.columns.get(keyOf(relation, ANY_COLUMN));
      if (mask) add(planned, relation.oid, column.name, { label: `${relationName(relation)}.${column.name}`, mask });
    }
  }
  for (let changed = planned.size > 0; changed; ) {
    changed = false;
    for (const [child, parent] of catalog.inheritance) {
      changed = spread(catalog, planned, child, parent) || changed;
      changed = spread(catalog, planned, parent, child) || changed;
    }
  }
  return planned;
}

function spread(catalog: Catalog, planned: Map<number, Map<string, Taint>>, from: number, to: number): boolean {
  const source = planned.get(from);
  const relation = catalog.relation(to);
  let changed = false;
  for (const [name, taint] of source ?? []) {
    if (!relation?.columns.some((c) => c.name === name) || planned.get(to)?.has(name)) continue;
    add(planned, to, name, taint);
    changed = true;
  }
  return changed;
}

function add(planned: Map<number, Map<string, Taint>>, oid: number, column: string, taint: Taint): void {
  const columns = planned.get(oid) ?? new Map<string, Taint>();
  planned.set(oid, columns.set(column, taint));
}
