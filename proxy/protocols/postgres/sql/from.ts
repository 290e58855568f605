/** Entries of FROM: tables, subqueries, functions, joins. */
import type { Alias, JoinExpr, JsonTable, Node, RangeFunction, RangeVar } from 'libpg-query';
import type { Relation, Routine } from './catalog.ts';
import { isChanged } from './changes.ts';
import { predicate, valueOf, valuesOf, valuesWithin } from './expression.ts';
import { relationName, targetKind } from './findings.ts';
import { as, kindOf, outputName, qualified, strings } from './nodes.ts';
import { cteColumns } from './query.ts';
import { type Context, findCte, type Item, opaque, type Scope } from './scope.ts';
import { analyseStatement } from './statements.ts';
import { CLEAN, type Column, computed, isTainted, oneOf, plain, unite, type Value } from './value.ts';

export function fromItems(context: Context, nodes: readonly Node[] | undefined, outer: Scope): readonly Item[] {
  let items: readonly Item[] = [];
  for (const node of nodes ?? []) items = [...items, ...fromItem(context, node, { parent: outer, items, ctes: new Map() })];
  return items;
}

/** `scope` holds what stands to the left, for LATERAL; without it only what is outside is seen. */
function fromItem(context: Context, node: Node, scope: Scope): readonly Item[] {
  return context.budget.within(() => {
    const kind = kindOf(node);
    switch (kind) {
      case 'RangeVar':
        return [tableItem(context, as(node, 'RangeVar') ?? {}, scope)];
      case 'RangeSubselect': {
        const body = as(node, 'RangeSubselect');
        const inner = body?.lateral ? scope : (scope.parent ?? scope);
        const query = body?.subquery ? analyseStatement(context, body.subquery, inner) : undefined;
        return [entry(query?.columns ?? [], body?.alias, query?.open ?? true)];
      }
      case 'RangeFunction':
        return [functionItem(context, as(node, 'RangeFunction') ?? {}, scope)];
      case 'JoinExpr':
        return joinItems(context, as(node, 'JoinExpr') ?? {}, scope);
      case 'RangeTableSample': {
        const body = as(node, 'RangeTableSample');
        for (const value of valuesOf(context, [...(body?.args ?? []), ...(body?.repeatable ? [body.repeatable] : [])], scope)) context.found.predicate(value);
        return body?.relation ? fromItem(context, body.relation, scope) : [];
      }
      case 'RangeTableFunc': {
        const body = as(node, 'RangeTableFunc');
        const value = asked(context, [body?.docexpr, body?.rowexpr, body?.namespaces, body?.columns], scope);
        const columns = (body?.columns ?? []).flatMap((c) => as(c, 'RangeTableFuncCol') ?? []);
        return [
          entry(
            columns.map((c) => ({ name: c.colname ?? '', value: c.for_ordinality ? CLEAN : value })),
            body?.alias,
            false,
          ),
        ];
      }
      case 'JsonTable': {
        const body = as(node, 'JsonTable') ?? {};
        const value = asked(context, [body.context_item, body.passing, body.columns], scope);
        return [entry(jsonColumns(body.columns, value), body.alias, false)];
      }
      default:
        context.found.unresolved(`FROM ${kind}`);
        return [entry([], undefined, true)];
    }
  });
}

/** What a document is made into rows from: how many rows come out can tell what is in it. */
function asked(context: Context, parts: unknown, scope: Scope): Value {
  const value = computed(valuesWithin(context, parts, scope));
  context.found.predicate(value);
  return value;
}

function entry(columns: readonly Column[], alias: Alias | undefined, open: boolean, name = ''): Item {
  return {
    name: alias?.aliasname ?? name,
    columns: nameColumns(columns, strings(alias?.colnames), open),
    open,
    relVisible: (alias?.aliasname ?? name) !== '',
    colsVisible: true,
  };
}

/**
 * The first columns take the names given; the rest keep theirs. Where there may be columns that are not listed, it is not known
 * which are the first: then none is known by its name.
 */
export function nameColumns(columns: readonly Column[], names: readonly string[], open = false): readonly Column[] {
  if (open && names.length > 0) return [];
  return names.length === 0 ? columns : columns.map((column, i) => ({ name: names[i] ?? column.name, value: column.value }));
}

function tableItem(context: Context, table: RangeVar, scope: Scope): Item {
  const name = table.relname ?? '';
  const cte = table.schemaname === undefined ? findCte(scope, name) : undefined;
  if (cte) {
    const query = cteColumns(context, cte);
    return entry(query.columns, table.alias, query.open, name);
  }
  return relationItem(context, table) ?? entry([], table.alias, true, name);
}

/** A table as the catalog knows it; recorded as a target, or as a miss. */
export function relationItem(context: Context, table: RangeVar): Item | undefined {
  const { catalog, found, searchPath, sensitivity } = context;
  const name = table.relname ?? '';
  const temporary = temporaryItem(context, table);
  if (temporary) return temporary;
  const relation = catalog.findRelation(table.schemaname, name, searchPath);
  if (!relation) {
    const written = table.schemaname === undefined ? name : `${table.schemaname}.${name}`;
    found.target('table', written);
    found.miss(`table ${written}`);
    return undefined;
  }
  found.target(targetKind(relation), relationName(relation));
  if (relation.kind === 'foreign') found.notes.add(`${relationName(relation)} is on another server`);
  if (sensitivity.touchesSensitive(relation)) found.near = true;
  const behind = sensitivity.behind(relation);
  if (behind) found.include(behind);
  // Large objects, statistics and the like: looking at all is a use.
  if (relation.schema === 'pg_catalog' || relation.kind === 'toast') {
    for (const column of relation.columns) found.touch(sensitivity.column(relation, column.number));
  }
  const doubtful = isChanged(context, name, behind?.targets.values()) || isChanged(context, relation.name);
  if (doubtful) found.changed(relationName(relation));
  const columns = relationColumns(context, relation).map((c) =>
    doubtful ? { name: c.name, value: { ...opaque(context, [c.value]), ...(c.value.origin && { origin: c.value.origin }) } } : c,
  );
  return {
    name: table.alias?.aliasname ?? name,
    ...(table.alias === undefined && { schema: relation.schema }),
    ...(doubtful && { doubtful }),
    columns: nameColumns(columns, strings(table.alias?.colnames)),
    relation,
    open: doubtful || relation.kind === 'sequence' || (relation.columns.length === 0 && relation.kind !== 'table'),
    relVisible: true,
    colsVisible: true,
  };
}

/**
 * A temporary relation comes before all others, unless the search path says where. It may be gone meanwhile (rolled
 * back, dropped by a function): then a table that it shadows is meant, so what that one holds counts as well.
 */
function temporaryItem(context: Context, table: RangeVar): Item | undefined {
  const { catalog, found, searchPath, sensitivity } = context;
  const name = table.relname ?? '';
  const inTemporary = table.schemaname?.startsWith('pg_temp') === true;
  if (table.schemaname !== undefined && !inTemporary) return undefined;
  const known = context.temporary.get(name);
  if (!known) return undefined;
  const place = inTemporary ? -1 : searchPath.indexOf('pg_temp');
  if (place >= 0 && catalog.findRelation(undefined, name, searchPath.slice(0, place))) return undefined;
  found.target('table', name);
  const shadowed = inTemporary ? undefined : catalog.findRelation(undefined, name, searchPath);
  const behind = shadowed && sensitivity.touchesSensitive(shadowed) ? shadowed : undefined;
  if (behind) found.near = true;
  const doubtful = isChanged(context, name);
  if (doubtful) found.changed(name);
  // What is more than a plain table hands on what it is given in ways that are not followed here.
  if (known === 'opaque' || doubtful || temporaryRelations(context, name).some((relation) => isLinked(context, relation)))
    return { ...entry([], table.alias, true, name), temporary: name, ...(doubtful && { doubtful }) };
  const columns = known.map((c) => {
    const other = behind?.columns.find((o) => o.name === c.name);
    const taints = unite([c.taints, other && behind ? sensitivity.column(behind, other.number) : []]);
    return { name: c.name, value: { taints, keeps: true, sources: [] } };
  });
  return { ...entry(columns, table.alias, behind !== undefined, name), temporary: name };
}

/** Temporary relations of that name: this session's, and other sessions'. */
export function temporaryRelations({ catalog }: Context, name: string): readonly Relation[] {
  return [...catalog.relations()].filter((relation) => relation.name === name && relation.schema.startsWith('pg_temp'));
}

function isLinked({ catalog, sensitivity }: Context, relation: Relation): boolean {
  const { columns, oid, rules } = relation;
  const given = columns.some((c) => c.generated !== undefined || (c.default !== undefined && sensitivity.column(relation, c.number).length > 0));
  return given || rules.length > 0 || catalog.inheritance.some((pair) => pair.includes(oid));
}

export function relationColumns(context: Context, relation: Relation): readonly Column[] {
  return relation.columns.map((column) => ({
    name: column.name,
    value: { taints: context.sensitivity.column(relation, column.number), keeps: true, origin: { relation, attribute: column.number }, sources: [] },
  }));
}

function jsonColumns(nodes: JsonTable['columns'], value: Value): readonly Column[] {
  return (nodes ?? []).flatMap((node) => {
    const column = as(node, 'JsonTableColumn');
    if (!column) return [];
    if (column.coltype === 'JTC_NESTED') return jsonColumns(column.columns, value);
    return [{ name: column.name ?? '', value: column.coltype === 'JTC_FOR_ORDINALITY' ? CLEAN : value }];
  });
}

function functionItem(context: Context, range: RangeFunction, scope: Scope): Item {
  const columns: Column[] = [];
  let open = false;
  for (const node of range.functions ?? []) {
    const [call, definitions] = as(node, 'List')?.items ?? [];
    if (!call) continue;
    const several = unnested(context, call, scope);
    if (several) {
      columns.push(...several);
      continue;
    }
    const value = valueOf(context, call, scope);
    const named = as(definitions, 'List')?.items ?? range.coldeflist;
    const listed = named?.length ? named.flatMap((d) => as(d, 'ColumnDef')?.colname ?? []) : undefined;
    const shape = listed?.map((name) => ({ name, value: plain(value) })) ?? functionColumns(context, call, value, range.alias);
    if (shape) columns.push(...shape);
    else {
      open = true;
      context.found.touch(opaque(context).taints);
    }
  }
  if (range.ordinality) columns.push({ name: 'ordinality', value: CLEAN });
  const only = range.functions?.length === 1 ? as(range.functions[0], 'List')?.items?.[0] : undefined;
  // Where one's columns are not known, it is not known where the others' stand.
  return entry(open ? [] : columns, range.alias, open, only ? outputName(only) : '');
}

/** In FROM, unnest of several arrays is one function for each (transformRangeFunction). */
function unnested(context: Context, call: Node, scope: Scope): readonly Column[] | undefined {
  const body = as(call, 'FuncCall');
  const [schema, name] = qualified(body?.funcname);
  const args = body?.args ?? [];
  if (name !== 'unnest' || (schema !== undefined && schema !== 'pg_catalog') || args.length < 2) return undefined;
  return args.map((arg) => ({ name, value: asked(context, arg, scope) }));
}

/** Columns of a function in FROM; undefined where they cannot be known. */
function functionColumns(context: Context, call: Node, value: Value, alias: Alias | undefined): readonly Column[] | undefined {
  const scalar: readonly Column[] = [{ name: alias?.aliasname ?? outputName(call), value: plain(value) }];
  const body = as(call, 'FuncCall');
  // CURRENT_DATE and the like may stand in FROM too.
  if (!body) return scalar;
  const [schema, name] = qualified(body.funcname);
  const routines = context.catalog.findRoutines(schema, name, body.args?.length ?? 0, context.searchPath);
  if (routines.length === 0) return undefined;
  if (name === 'unnest' && !isTainted(value)) return scalar;
  const shapes = routines.map((routine) => routineColumns(context, routine, value));
  if (shapes.every((s) => s === 'scalar')) return scalar;
  // Overloads of different shapes: nothing is known but what they agree on.
  const lists = shapes.flatMap((s) => (s === undefined || s === 'scalar' ? [] : [s]));
  const [first = []] = lists;
  if (lists.length < shapes.length || !lists.every((l) => l.length === first.length && l.every((c, i) => c.name === first[i]?.name))) return undefined;
  return first.map((c, i) => ({ name: c.name, value: oneOf(lists.flatMap((l) => l[i]?.value ?? [])) }));
}

function routineColumns(context: Context, routine: Routine, value: Value): readonly Column[] | 'scalar' | undefined {
  const spread = (names: readonly string[]): readonly Column[] => {
    const followed = routine.schema === 'pg_catalog' ? undefined : context.sensitivity.routine(routine, context.searchPath).columns;
    // Followed column by column only where no argument brought anything.
    const own = followed?.length === names.length && isTainted(value) ? followed : undefined;
    const brought = own ? value.taints.filter((t) => !own.some((list) => list.some((o) => o.label === t.label))) : [];
    return names.map((name, i) => ({
      name,
      value: own ? { taints: [...(own[i] ?? []), ...brought], keeps: brought.length === 0, sources: [] } : plain(value),
    }));
  };
  if (routine.outputs && routine.outputs.length > 1) return spread(routine.outputs);
  if (routine.returnsRow > 0) {
    const relation = context.catalog.relation(routine.returnsRow);
    return relation ? spread(relation.columns.map((c) => c.name)) : undefined;
  }
  if (routine.outputs?.length === 1) return [{ name: routine.outputs[0] ?? '', value: plain(value) }];
  return routine.shapeless ? undefined : 'scalar';
}

function joinItems(context: Context, join: JoinExpr, scope: Scope): readonly Item[] {
  const left = join.larg ? fromItem(context, join.larg, scope) : [];
  const beside: Scope = { ...(scope.parent && { parent: scope.parent }), items: [...scope.items, ...left], ctes: scope.ctes };
  const right = join.rarg ? fromItem(context, join.rarg, beside) : [];
  const leftColumns = left.filter((i) => i.colsVisible).flatMap((i) => i.columns);
  const rightColumns = right.filter((i) => i.colsVisible).flatMap((i) => i.columns);
  const open = [...left, ...right].some((i) => i.colsVisible && i.open);
  const shared = join.isNatural ? leftColumns.map((c) => c.name).filter((n) => rightColumns.some((c) => c.name === n)) : strings(join.usingClause);
  const merged = [...new Set(shared)].map((name) => mergedColumn(context, join, name, leftColumns, rightColumns));
  const columns = [...merged, ...leftColumns.filter((c) => !shared.includes(c.name)), ...rightColumns.filter((c) => !shared.includes(c.name))];

  const on: Scope = { ...(scope.parent && { parent: scope.parent }), items: [...left, ...right], ctes: scope.ctes };
  predicate(context, join.quals, on);
  const hide = (item: Item): Item => ({ ...item, colsVisible: false, relVisible: item.relVisible && join.alias === undefined });
  const whole: Item = { ...entry(columns, join.alias, open), colsVisible: true };
  const using = join.join_using_alias ? [{ ...entry(merged, join.join_using_alias, false), colsVisible: false }] : [];
  return [...left.map(hide), ...right.map(hide), ...using, whole];
}

/** The one column that USING makes of two: the left one's value, but for outer joins on the right. */
function mergedColumn(context: Context, join: JoinExpr, name: string, left: readonly Column[], right: readonly Column[]): Column {
  const l = left.find((c) => c.name === name)?.value;
  const r = right.find((c) => c.name === name)?.value;
  for (const value of [l, r]) if (value) context.found.predicate(value);
  if (!l || !r) return { name, value: l ?? r ?? CLEAN };
  context.found.meet([l, r]);
  const taints = oneOf([plain(l), plain(r)]);
  const side = join.jointype === 'JOIN_RIGHT' ? r : join.jointype === 'JOIN_FULL' ? undefined : l;
  // Both sides' masks count, whichever side is shown: they are equal.
  return { name, value: side?.origin ? { ...taints, origin: side.origin } : taints };
}
