/** SELECT, VALUES and set operations: the columns that come out, and what was looked at to get them. */
import type { CommonTableExpr, Node, SelectStmt, WithClause } from 'libpg-query';
import { windowUses } from './calls.ts';
import { predicate, valueOf } from './expression.ts';
import { fromItems, nameColumns } from './from.ts';
import { as, outputName, strings } from './nodes.ts';
import { type Context, type Cte, findColumn, findItem, type Item, type Scope } from './scope.ts';
import { isSelective } from './selective.ts';
import { analyseStatement } from './statements.ts';
import { type Column, computed, isTainted, oneOf, plain } from './value.ts';

export interface Query {
  readonly columns: readonly Column[];
  /** There may be more columns, or others, than are listed. */
  readonly open: boolean;
  /** A WHERE of its own that can leave a row out. */
  readonly where?: boolean;
}

/** How often a recursive CTE is gone through until its columns' taints stand still. */
const MAX_ROUNDS = 8;

export function analyseQuery(context: Context, select: SelectStmt, outer: Scope): Query {
  return context.budget.within(() => {
    if (select.intoClause) context.found.raise('schema');
    const scope = withCtes(context, select.withClause, outer);
    const query = select.op !== undefined && select.op !== 'SETOP_NONE' ? setOperation(context, select, scope) : simpleSelect(context, select, scope);
    if (select.withClause) for (const cte of scope.ctes.values()) settleCte(context, cte);
    predicate(context, select.limitCount, outer);
    predicate(context, select.limitOffset, outer);
    if (select.lockingClause?.length) {
      context.found.raise('write');
      context.found.notes.add('locks the rows it reads');
    }
    return query;
  });
}

function simpleSelect(context: Context, select: SelectStmt, outer: Scope): Query {
  if (select.valuesLists?.length) return valuesQuery(context, select, outer);
  const items = fromItems(context, select.fromClause, outer);
  const scope: Scope = { parent: outer, items, ctes: new Map() };
  predicate(context, select.whereClause, scope);
  const query = targetColumns(context, select.targetList, scope);
  outputUses(context, select.groupClause, scope, query.columns, 'input');
  predicate(context, select.havingClause, scope);
  for (const node of select.windowClause ?? []) windowUses(context, as(node, 'WindowDef'), scope);
  outputUses(context, select.sortClause, scope, query.columns, 'output');
  if (select.distinctClause) {
    const on = select.distinctClause.filter((node) => Object.keys(node).length > 0);
    if (on.length > 0) outputUses(context, on, scope, query.columns, 'output');
    else for (const column of query.columns) context.found.predicate(column.value);
  }
  const where = select.whereClause !== undefined && items.some((item) => isSelective(context, select.whereClause, item));
  return { columns: query.columns, open: query.open, where };
}

/** The target list, stars expanded as the server does. */
export function targetColumns(context: Context, targets: readonly Node[] | undefined, scope: Scope): Query {
  const columns: Column[] = [];
  let open = false;
  for (const node of targets ?? []) {
    const target = as(node, 'ResTarget');
    const val = target?.val;
    const star = starItems(scope, val);
    if (star) {
      for (const item of star) {
        columns.push(...item.columns);
        open ||= item.open;
      }
      if (star.length === 0) {
        open = true;
        context.found.miss('table for *');
      }
      continue;
    }
    const indirection = as(val, 'A_Indirection');
    if (indirection?.indirection?.some((step) => as(step, 'A_Star'))) {
      const row = valueOf(context, indirection.arg, scope);
      if (row.row) columns.push(...row.row);
      else {
        open = true;
        columns.push({ name: '?column?', value: isTainted(row) ? computed([row]) : row });
      }
      continue;
    }
    columns.push({ name: target?.name ?? outputName(val), value: valueOf(context, val, scope) });
  }
  for (const column of columns) context.found.touch(column.value.taints);
  return { columns, open };
}

/** The FROM entries that a star in the target list stands for; undefined where it is no star. */
function starItems(scope: Scope, val: Node | undefined): readonly Item[] | undefined {
  const fields = as(val, 'ColumnRef')?.fields;
  const last = fields?.at(-1);
  if (!fields || !last || !as(last, 'A_Star')) return undefined;
  const names = strings(fields);
  if (names.length === 0) return scope.items.filter((item) => item.colsVisible && !item.shadow);
  const item = findItem(scope, names.at(-2), names.at(-1) ?? '');
  return item ? [item] : [];
}

/**
 * GROUP BY, ORDER BY and DISTINCT ON may mean an output by its name or position. ORDER BY prefers an output's name,
 * GROUP BY an input's.
 */
function outputUses(context: Context, nodes: readonly Node[] | undefined, scope: Scope, columns: readonly Column[], prefer: 'input' | 'output'): void {
  for (const node of nodes ?? []) {
    const grouping = as(node, 'GroupingSet');
    if (grouping) {
      outputUses(context, grouping.content, scope, columns, prefer);
      continue;
    }
    const row = prefer === 'input' ? as(node, 'RowExpr') : undefined;
    if (row) {
      outputUses(context, row.args, scope, columns, prefer);
      continue;
    }
    const inner = as(node, 'SortBy')?.node ?? node;
    const constant = as(inner, 'A_Const');
    if (constant) {
      const position = constant.ival?.ival;
      context.found.literalsDecide = true;
      const column = position === undefined ? undefined : columns[position - 1];
      if (column) context.found.predicate(column.value);
      continue;
    }
    const fields = as(inner, 'ColumnRef')?.fields;
    const name = fields?.length === 1 ? strings(fields)[0] : undefined;
    if (name === undefined) {
      predicate(context, inner, scope);
      continue;
    }
    const outputs = columns.filter((c) => c.name === name);
    const input = outputs.length === 0 || prefer === 'input' ? findColumn(context, { items: scope.items, ctes: scope.ctes }, name) : undefined;
    if (input) context.found.predicate(input.value);
    else if (outputs.length > 0) for (const column of outputs) context.found.predicate(column.value);
    else predicate(context, inner, scope);
  }
}

function valuesQuery(context: Context, select: SelectStmt, outer: Scope): Query {
  const scope: Scope = { parent: outer, items: [], ctes: new Map() };
  const rows = (select.valuesLists ?? []).map((node) => (as(node, 'List')?.items ?? []).map((inner) => plain(valueOf(context, inner, scope))));
  const width = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const columns: Column[] = [];
  for (let i = 0; i < width; i++) columns.push({ name: `column${i + 1}`, value: oneOf(rows.flatMap((row) => row[i] ?? [])) });
  outputUses(context, select.sortClause, scope, columns, 'output');
  return { columns, open: false };
}

function setOperation(context: Context, select: SelectStmt, scope: Scope): Query {
  const left = analyseQuery(context, select.larg ?? {}, scope);
  const right = analyseQuery(context, select.rarg ?? {}, scope);
  const compares = !select.all || select.op !== 'SETOP_UNION';
  const open = left.open || right.open;
  const width = Math.max(left.columns.length, right.columns.length);
  const columns: Column[] = [];
  for (let i = 0; i < width; i++) {
    const values = [left.columns[i]?.value, right.columns[i]?.value].flatMap((v) => (v ? [plain(v)] : []));
    // Rows are compared with each other: what is in one arm is asked of the other.
    if (compares) {
      for (const value of values) context.found.predicate(value);
      context.found.meet(values);
    }
    columns.push({ name: left.columns[i]?.name ?? right.columns[i]?.name ?? '?column?', value: oneOf(values) });
  }
  outputUses(context, select.sortClause, { items: [], ctes: new Map() }, columns, 'output');
  // Columns that are not listed may stand before those that are: which of them meet is not known.
  return { columns: open ? [] : columns, open };
}

/** A scope in which the WITH list's names are known. Without RECURSIVE a name is known to those after it only. */
export function withCtes(context: Context, clause: WithClause | undefined, outer: Scope): Scope {
  if (!clause?.ctes?.length) return { parent: outer, items: [], ctes: new Map() };
  const ctes = new Map<string, Cte>();
  const scope: Scope = { parent: outer, items: [], ctes };
  for (const node of clause.ctes) {
    const cte = as(node, 'CommonTableExpr');
    if (!cte?.ctequery) continue;
    const name = cte.ctename ?? '';
    const before: Scope = clause.recursive ? scope : { parent: outer, items: [], ctes: new Map(ctes) };
    ctes.set(name, { name, node, scope: before, recursive: clause.recursive ?? false, state: 'new', columns: [], open: false });
  }
  // Without RECURSIVE each is gone through where it stands; with it, on first use.
  if (!clause.recursive) for (const cte of ctes.values()) settleCte(context, cte);
  return scope;
}

/** A CTE's columns, as an entry of FROM. */
export function cteColumns(context: Context, cte: Cte): Query {
  if (cte.state === 'new') settleCte(context, cte);
  return { columns: cte.columns, open: cte.open };
}

export function settleCte(context: Context, cte: Cte): void {
  if (cte.state !== 'new') return;
  const definition = as(cte.node, 'CommonTableExpr');
  if (!definition?.ctequery) return;
  cte.state = 'running';
  const select = as(definition.ctequery, 'SelectStmt');
  if (cte.recursive && select?.op === 'SETOP_UNION' && select.larg) {
    // The first arm gives the columns' names; then round and round until nothing is added.
    const first = analyseQuery(context, select.larg, withCtes(context, select.withClause, cte.scope));
    setCte(context, cte, definition, first);
    for (let round = 0, before = ''; round < MAX_ROUNDS; round++) {
      setCte(context, cte, definition, analyseQuery(context, select, cte.scope));
      const now = JSON.stringify(cte.columns.map((c) => [c.value.taints.map((t) => t.label + t.mask), c.value.keeps]));
      if (now === before) break;
      before = now;
    }
  } else {
    const query = analyseStatement(context, definition.ctequery, cte.scope);
    setCte(context, cte, definition, query ?? { columns: [], open: false });
  }
  cte.state = 'done';
}

function setCte(context: Context, cte: Cte, definition: CommonTableExpr, query: Query): void {
  // What comes out of recursion is no plain column any more, except through the server's own eyes: it says 0 then, too.
  const columns = nameColumns(query.columns, strings(definition.aliascolnames), query.open);
  const all = computed(columns.map((c) => c.value));
  const extra: Column[] = [];
  const search = definition.search_clause;
  if (search) {
    predicatesOf(context, columns, strings(search.search_col_list));
    extra.push({ name: search.search_seq_column ?? '', value: all });
  }
  const cycle = definition.cycle_clause;
  if (cycle) {
    predicatesOf(context, columns, strings(cycle.cycle_col_list));
    extra.push({ name: cycle.cycle_mark_column ?? '', value: plain(all) }, { name: cycle.cycle_path_column ?? '', value: all });
  }
  cte.columns = [...columns, ...extra];
  cte.open = query.open;
}

function predicatesOf(context: Context, columns: readonly Column[], names: readonly string[]): void {
  for (const column of columns) if (names.includes(column.name)) context.found.predicate(column.value);
}
