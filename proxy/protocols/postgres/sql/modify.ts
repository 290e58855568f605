/** INSERT, UPDATE, DELETE and MERGE, wherever they stand. */
import type { DeleteStmt, InsertStmt, MergeStmt, Node, RangeVar, ReturningClause, UpdateStmt } from 'libpg-query';
import type { Relation } from './catalog.ts';
import { ruleOn } from './changes.ts';
import { predicate, valueOf, valuesWithin } from './expression.ts';
import { relationName } from './findings.ts';
import { fromItems, relationItem, temporaryRelations } from './from.ts';
import { as } from './nodes.ts';
import { writtenAs } from './places.ts';
import { analyseQuery, type Query, settleCte, targetColumns, withCtes } from './query.ts';
import { analyseRules } from './rules.ts';
import { type Context, type Item, opaque, type Scope } from './scope.ts';
import { isSelective } from './selective.ts';
import { isTainted, settled, type Taint, type Value } from './value.ts';
import { Written } from './written.ts';

/** What an INSERT, UPDATE, DELETE or MERGE adds to a query's columns. */
export interface Change extends Query {
  readonly bulk: boolean;
  readonly where: boolean;
  /** Columns set or inserted, where they are listed. */
  readonly set: number;
}

const NO_COLUMNS: Query = { columns: [], open: false };

function target(context: Context, table: RangeVar | undefined): Item {
  const item = table && relationItem(context, table);
  return item ?? { doubtful: true, name: table?.alias?.aliasname ?? table?.relname ?? '', columns: [], open: true, relVisible: true, colsVisible: true };
}

/** Columns by their own names: what is written goes to the table, whatever it is called here. */
function taintsOf(context: Context, relation: Relation | undefined, item: Item, column: string): readonly Taint[] {
  if (!relation) return item.columns.find((c) => c.name === column)?.value.taints ?? opaque(context).taints;
  const attribute = relation.columns.find((c) => c.name === column);
  if (!attribute) {
    context.found.miss(`column ${relationName(relation)}.${column}`);
    return [];
  }
  return context.sensitivity.column(relation, attribute.number);
}

/** A value goes into a column: its literals are as sensitive as the column, and sensitive data may move. */
function write(context: Context, item: Item, column: string, value: Value | undefined, written: Written): void {
  const { found } = context;
  const taints = taintsOf(context, item.relation, item, column);
  for (const source of value?.sources ?? []) found.writes.add(source);
  for (const { label } of taints) {
    found.written.add(label);
    found.touched.add(label);
    if (value) found.sensitive(value, label);
  }
  if (!value || !isTainted(value)) return;
  found.touch(value.taints);
  notInto(context, item, value);
  const into = `${item.relation ? relationName(item.relation) : item.name}.${column}`;
  const table = item.relation ? `${item.relation.schema}.${item.relation.name}` : `pg_temp.${item.name}`;
  if (value.taints.some(({ label }) => !taints.some((t) => t.label === label))) {
    written.add(column, value);
    found.flows.push({ table, column, taints: settled(value) });
    // What goes into a view is in its table.
    for (let at = baseOf(context, item.relation, column); at; at = baseOf(context, at.relation, at.column))
      found.flows.push({ table: `${at.relation.schema}.${at.relation.name}`, column: at.column, taints: settled(value) });
  }
  for (const { label } of value.taints) if (!taints.some((t) => t.label === label)) found.notes.add(`copies ${label} into ${into}`.slice(0, 300));
}

function baseOf(context: Context, relation: Relation | undefined, column: string): { readonly relation: Relation; readonly column: string } | undefined {
  const number = relation?.columns.find((c) => c.name === column)?.number;
  const origin = relation && number !== undefined ? context.sensitivity.base(relation, number) : undefined;
  const name = origin?.relation.columns.find((c) => c.number === origin.attribute)?.name;
  return origin && name !== undefined ? { relation: origin.relation, column: name } : undefined;
}

/** What becomes of what is written into something that was made or changed in an open transaction cannot be followed. */
function notInto(context: Context, item: Item, value: Value): void {
  const label = item.doubtful && value.taints[0]?.label;
  if (label !== undefined)
    context.found.refused ??= `Writing ${label} into ${item.name} is refused: it was made or changed in this transaction, so that what becomes of the values cannot be followed. Commit first, then write.`;
}

/** A literal that a column takes unchanged. */
function asItStands(context: Context, item: Item, column: string | undefined, node: Node | undefined): void {
  if (column !== undefined) writtenAs(context, node, taintsOf(context, item.relation, item, column));
}

function changed(context: Context, item: Item, event: 'insert' | 'update' | 'delete'): void {
  const { found } = context;
  found.changes.add(`${event.toUpperCase()} ${item.relation ? relationName(item.relation) : item.name}`);
  const { relation } = item;
  if (!relation) return;
  if (context.changed?.has(ruleOn(relation.name)) && context.sensitivity.touchesSensitive(relation))
    found.refused ??= `Changing ${relationName(relation)} is refused: it got a rule in this transaction, which may put values of its masked columns elsewhere. Commit first.`;
  if (relation.triggers) found.notes.add(`${relationName(relation)} has triggers`);
  if (relation.schema === 'pg_catalog' || relation.kind === 'toast') found.raise('admin');
}

/** After what it writes is known: its rules see the same row. */
function rewritten(context: Context, item: Item, written: Written, ...events: readonly ('insert' | 'update' | 'delete')[]): void {
  const relations = item.relation ? [item.relation] : item.temporary !== undefined ? temporaryRelations(context, item.temporary) : [];
  for (const relation of relations) for (const event of new Set(events)) if (analyseRules(context, relation, event, written)) written.returnsOther = true;
}

export function insert(context: Context, stmt: InsertStmt, outer: Scope): Change {
  const { found } = context;
  found.raise('write');
  const scope = withCtes(context, stmt.withClause, outer);
  const item = target(context, stmt.relation);
  const written = new Written();
  changed(context, item, 'insert');
  const named = (stmt.cols ?? []).flatMap((node) => as(node, 'ResTarget')?.name ?? []);
  const columns = named.length > 0 ? named : item.columns.map((c) => c.name);
  const select = as(stmt.selectStmt, 'SelectStmt');
  const rows = select ? analyseQuery(context, select, scope) : NO_COLUMNS;
  // With fewer values than columns, the rest take their defaults.
  const given = rows.open ? columns.length : rows.columns.length;
  columns.slice(0, named.length > 0 ? undefined : given).forEach((column, i) => {
    write(context, item, column, rows.open ? opaque(context) : rows.columns[i]?.value, written);
  });
  if (item.open && named.length === 0) {
    for (const { value } of rows.columns) {
      written.add(undefined, value);
      notInto(context, item, value);
    }
  }

  const targets = (stmt.cols ?? []).map((node) => as(node, 'ResTarget'));
  for (const row of select?.valuesLists ?? []) {
    (as(row, 'List')?.items ?? []).forEach((node, i) => {
      if (!targets[i]?.indirection?.length) asItStands(context, item, columns[i], node);
    });
  }

  const conflict = stmt.onConflictClause;
  if (conflict) {
    const excluded: Item = { ...written.after(context, item), name: 'excluded', colsVisible: false, shadow: true };
    const inner: Scope = { parent: scope, items: [item, excluded], ctes: new Map() };
    for (const value of valuesWithin(context, conflict.infer, inner)) found.predicate(value);
    for (const node of conflict.infer?.indexElems ?? []) {
      const column = item.columns.find((c) => c.name === as(node, 'IndexElem')?.name);
      if (column) found.predicate(column.value);
    }
    if (conflict.action === 'ONCONFLICT_UPDATE') changed(context, item, 'update');
    setColumns(context, item, conflict.targetList, inner, written);
    predicate(context, conflict.whereClause, inner);
  }
  settleAll(context, scope);
  rewritten(context, item, written, 'insert', ...(conflict?.action === 'ONCONFLICT_UPDATE' ? (['update'] as const) : []));
  return { ...returning(context, stmt.returningClause, item, written, [], scope), bulk: false, where: false, set: named.length };
}

export function update(context: Context, stmt: UpdateStmt, outer: Scope): Change {
  context.found.raise('write');
  const scope = withCtes(context, stmt.withClause, outer);
  const item = target(context, stmt.relation);
  const written = new Written();
  changed(context, item, 'update');
  const others = joined(context, item, stmt.fromClause, scope);
  const inner: Scope = { parent: scope, items: [item, ...others], ctes: new Map() };
  const set = setColumns(context, item, stmt.targetList, inner, written);
  predicate(context, stmt.whereClause, inner);
  const where = isSelective(context, stmt.whereClause, item);
  settleAll(context, scope);
  rewritten(context, item, written, 'update');
  return { ...returning(context, stmt.returningClause, item, written, others, scope), bulk: !where, where, set };
}

export function remove(context: Context, stmt: DeleteStmt, outer: Scope): Change {
  context.found.raise('delete');
  const scope = withCtes(context, stmt.withClause, outer);
  const item = target(context, stmt.relation);
  changed(context, item, 'delete');
  const others = joined(context, item, stmt.usingClause, scope);
  const inner: Scope = { parent: scope, items: [item, ...others], ctes: new Map() };
  predicate(context, stmt.whereClause, inner);
  const where = isSelective(context, stmt.whereClause, item);
  settleAll(context, scope);
  const written = new Written();
  rewritten(context, item, written, 'delete');
  return { ...returning(context, stmt.returningClause, item, written, others, scope), bulk: !where, where, set: 0 };
}

export function merge(context: Context, stmt: MergeStmt, outer: Scope): Change {
  const { found } = context;
  found.raise('write');
  const scope = withCtes(context, stmt.withClause, outer);
  const item = target(context, stmt.relation);
  const source = joined(context, item, stmt.sourceRelation ? [stmt.sourceRelation] : [], scope);
  const inner: Scope = { parent: scope, items: [item, ...source], ctes: new Map() };
  predicate(context, stmt.joinCondition, inner);
  const joinWhere = isSelective(context, stmt.joinCondition, item);
  let bulk = false;
  let set = 0;
  const written = new Written();
  for (const node of stmt.mergeWhenClauses ?? []) {
    const when = as(node, 'MergeWhenClause');
    if (!when) continue;
    predicate(context, when.condition, inner);
    const narrowed = isSelective(context, when.condition, item);
    if (when.commandType === 'CMD_DELETE' || when.commandType === 'CMD_UPDATE') {
      changed(context, item, when.commandType === 'CMD_DELETE' ? 'delete' : 'update');
      // Rows without a match in the source are as many as the table has.
      const matched = when.matchKind !== 'MERGE_WHEN_NOT_MATCHED_BY_SOURCE';
      if (!narrowed && !(matched && joinWhere)) bulk = true;
    }
    if (when.commandType === 'CMD_DELETE') found.raise('delete');
    if (when.commandType === 'CMD_UPDATE') set += setColumns(context, item, when.targetList, inner, written);
    if (when.commandType === 'CMD_INSERT') {
      changed(context, item, 'insert');
      const names = (when.targetList ?? []).flatMap((t) => as(t, 'ResTarget')?.name ?? []);
      const columns = names.length > 0 ? names : item.columns.map((c) => c.name);
      (when.values ?? []).forEach((value, i) => {
        const column = columns[i];
        const given = valueOf(context, value, inner);
        if (column !== undefined) write(context, item, column, given, written);
        else notInto(context, item, given);
        if (!as(when.targetList?.[i], 'ResTarget')?.indirection?.length) asItStands(context, item, column, value);
      });
    }
  }
  settleAll(context, scope);
  // MERGE returns the source's columns first.
  return { ...returning(context, stmt.returningClause, item, written, source, scope, true), bulk, where: joinWhere, set };
}

function joined(context: Context, item: Item, nodes: readonly Node[] | undefined, scope: Scope): readonly Item[] {
  // FROM beside a target may look at the target laterally.
  return fromItems(context, nodes, { parent: scope, items: [{ ...item, colsVisible: false }], ctes: new Map() });
}

/** SET and the like: how many columns are set. */
function setColumns(context: Context, item: Item, targets: readonly Node[] | undefined, scope: Scope, written: Written): number {
  for (const node of targets ?? []) {
    const column = as(node, 'ResTarget');
    if (!column) continue;
    const several = as(column.val, 'MultiAssignRef');
    const value = several ? assigned(context, several.source, (several.colno ?? 1) - 1, scope) : valueOf(context, column.val, scope);
    write(context, item, column.name ?? '', value, written);
    if (!column.indirection?.length) asItStands(context, item, column.name, column.val);
  }
  return targets?.length ?? 0;
}

/** `(a, b) = (1, 2)` and `(a, b) = (select …)`: the value for one of them. */
function assigned(context: Context, source: Node | undefined, index: number, scope: Scope): Value {
  const value = valueOf(context, source, scope);
  return value.row?.[index]?.value ?? value;
}

function returning(
  context: Context,
  clause: ReturningClause | undefined,
  target: Item,
  written: Written,
  others: readonly Item[],
  outer: Scope,
  sourceFirst = false,
): Query {
  if (!clause?.exprs?.length) return NO_COLUMNS;
  const item = written.after(context, target);
  const names = { old: 'old', new: 'new' };
  for (const node of clause.options ?? []) {
    const option = as(node, 'ReturningOption');
    if (option?.option === 'RETURNING_OPTION_OLD') names.old = option.value ?? 'old';
    if (option?.option === 'RETURNING_OPTION_NEW') names.new = option.value ?? 'new';
  }
  const shadow = (name: string): Item => ({ ...item, name, colsVisible: false, shadow: true });
  const visible = sourceFirst ? [...others, item] : [item, ...others];
  const taken = new Set(visible.map((i) => i.name));
  const shadows = [shadow(names.old), shadow(names.new)].filter((s) => !taken.has(s.name));
  const query = targetColumns(context, clause.exprs, { parent: outer, items: [...visible, ...shadows], ctes: new Map() });
  // As many as the target has, and none of them what its name says.
  return written.returnsOther ? { columns: query.columns.map((c) => ({ name: c.name, value: opaque(context, [c.value]) })), open: query.open } : query;
}

function settleAll(context: Context, scope: Scope): void {
  for (const cte of scope.ctes.values()) settleCte(context, cte);
}
