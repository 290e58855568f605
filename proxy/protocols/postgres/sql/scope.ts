/** Names in sight at one place of a query, and how the server looks them up (parse_relation.c). */
import type { Node } from 'libpg-query';
import type { Catalog, Relation } from './catalog.ts';
import type { Budget, Findings } from './findings.ts';
import type { Sensitivity } from './sensitivity.ts';
import { type Column, computed, type Taint, type Value } from './value.ts';

/** Everything an analysis stands on. */
export interface Context {
  readonly catalog: Catalog;
  readonly sensitivity: Sensitivity;
  readonly searchPath: readonly string[];
  /** Inside views and rules, whose own names are qualified: the path along which functions they call look for theirs. */
  readonly callerPath?: readonly string[];
  readonly found: Findings;
  readonly budget: Budget;
  /** Temporary relations that the session has made, by name. */
  readonly temporary: ReadonlyMap<string, readonly TemporaryColumn[] | 'opaque'>;
  /** Names that mean something else than the catalog says. */
  readonly changed?: ReadonlySet<string>;
  /** Settings of the session may hold what was put there from a table. */
  readonly settingsTainted?: boolean;
  /** Inside an SQL function: what its parameters hold, by position. */
  readonly params?: readonly Value[];
}

export interface TemporaryColumn {
  readonly name: string;
  readonly taints: readonly Taint[];
}

/** An entry of FROM. */
export interface Item {
  readonly name: string;
  readonly schema?: string;
  readonly columns: readonly Column[];
  /** The relation itself, for system columns and for telling which references are to it. */
  readonly relation?: Relation;
  /** Where what is put into it goes is not known. */
  readonly doubtful?: true;
  /** The name of the temporary relation that it is. */
  readonly temporary?: string;
  /** The shape is not known: any name may be one of its columns. */
  readonly open: boolean;
  /** May be named in front of a column; false for what a join alias hides. */
  readonly relVisible: boolean;
  /** Its columns are found without a name in front, and by `*`. */
  readonly colsVisible: boolean;
  /** OLD and NEW of RETURNING, `excluded`: never a target for writing decisions. */
  readonly shadow?: boolean;
}

export interface Cte {
  readonly name: string;
  readonly node: Node;
  /** Where the CTE's own query looks for names. */
  readonly scope: Scope;
  readonly recursive: boolean;
  state: 'new' | 'running' | 'done';
  columns: readonly Column[];
  open: boolean;
}

export interface Scope {
  readonly parent?: Scope;
  readonly items: readonly Item[];
  readonly ctes: ReadonlyMap<string, Cte>;
}

export const EMPTY_SCOPE: Scope = { items: [], ctes: new Map() };

/** Columns that every table has and that hold nothing of a row's data, with their numbers. */
const SYSTEM_COLUMNS: ReadonlyMap<string, number> = new Map([
  ['ctid', -1],
  ['xmin', -2],
  ['cmin', -3],
  ['xmax', -4],
  ['cmax', -5],
  ['tableoid', -6],
]);

export interface Resolved {
  readonly value: Value;
  /** The entry it was found in; absent for one that is known by an open entry only. */
  readonly item?: Item;
}

/** What of an entry's row is unknown. */
export function opaque(context: Context, values: readonly Value[] = []): Value {
  const base = computed(values);
  const taint = context.sensitivity.opaqueTaint;
  return taint ? { taints: [...base.taints, taint], keeps: false, sources: base.sources } : base;
}

export function findCte(scope: Scope, name: string): Cte | undefined {
  for (let at: Scope | undefined = scope; at; at = at.parent) {
    const cte = at.ctes.get(name);
    if (cte) return cte;
  }
  return undefined;
}

/** A column by its bare name: the innermost level that has one wins. */
export function findColumn(context: Context, scope: Scope, name: string): Resolved | undefined {
  for (let at: Scope | undefined = scope; at; at = at.parent) {
    let found: Resolved | undefined;
    for (const item of at.items) {
      if (!item.colsVisible) continue;
      const here = inItem(context, item, name);
      // Two of that name are an error to the server; taking both together is never too little.
      if (here) found = found ? { value: { ...computed([found.value, here.value]), keeps: false }, item } : here;
    }
    if (found) return found;
  }
  return undefined;
}

export function inItem(context: Context, item: Item, name: string): Resolved | undefined {
  const column = item.columns.find((c) => c.name === name);
  if (column) return { value: column.value, item };
  const system = SYSTEM_COLUMNS.get(name);
  if (item.relation && system !== undefined) {
    return { value: { taints: [], keeps: true, origin: { relation: item.relation, attribute: system }, sources: [] }, item };
  }
  if (item.open) return { value: opaque(context), item };
  return undefined;
}

export function findItem(scope: Scope, schema: string | undefined, name: string): Item | undefined {
  for (let at: Scope | undefined = scope; at; at = at.parent) {
    const item = at.items.find((i) => i.relVisible && i.name === name && (schema === undefined || i.schema === schema));
    if (item) return item;
  }
  return undefined;
}

/** The whole row of an entry as one value. */
export function rowOf(context: Context, item: Item): Value {
  const values = item.columns.map((c) => c.value);
  const whole = item.open ? opaque(context, values) : computed(values);
  return {
    taints: whole.taints,
    keeps: whole.taints.length === 0,
    sources: whole.sources,
    // The server says attribute 0.
    ...(item.relation && { origin: { relation: item.relation, attribute: 0 } }),
    ...(!item.open && { row: item.columns }),
  };
}
