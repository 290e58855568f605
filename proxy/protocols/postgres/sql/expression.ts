/** What an expression's value is made of, and what evaluating it does. */
import type { A_Expr, A_Indirection, CaseExpr, ColumnRef, Node, SubLink, TypeCast } from 'libpg-query';
import { COMPARES, TEXT_TYPES } from './builtins.ts';
import { callValue, effectsOf } from './calls.ts';
import type { Routine } from './catalog.ts';
import { as, isEmpty, kindOf, plainTypeName, qualified, strings } from './nodes.ts';
import { isEquality } from './places.ts';
import { analyseQuery } from './query.ts';
import { type Context, findColumn, findItem, inItem, opaque, rowOf, type Scope } from './scope.ts';
import { CLEAN, computed, isTainted, oneOf, plain, presence, type Value } from './value.ts';

export function valueOf(context: Context, node: Node | undefined, scope: Scope): Value {
  // An absent node in a list is an empty object.
  if (!node || isEmpty(node)) return CLEAN;
  return context.budget.within(() => evaluate(context, node, scope));
}

export function valuesOf(context: Context, nodes: readonly Node[] | undefined, scope: Scope): Value[] {
  return (nodes ?? []).map((node) => valueOf(context, node, scope));
}

/** An expression that decides which rows there are, or their order. */
export function predicate(context: Context, node: Node | undefined, scope: Scope): void {
  if (node) context.found.predicate(valueOf(context, node, scope));
}

export function predicates(context: Context, nodes: readonly Node[] | undefined, scope: Scope): void {
  for (const node of nodes ?? []) predicate(context, node, scope);
}

function evaluate(context: Context, node: Node, scope: Scope): Value {
  const kind = kindOf(node);
  switch (kind) {
    case 'ColumnRef':
      return columnValue(context, as(node, 'ColumnRef') ?? {}, scope);
    case 'A_Const': {
      const constant = as(node, 'A_Const');
      return constant?.isnull || constant?.boolval ? CLEAN : { taints: [], keeps: true, sources: [constant?.location ?? 0] };
    }
    case 'ParamRef': {
      const number = as(node, 'ParamRef')?.number ?? 0;
      return context.params?.[number - 1] ?? { taints: [], keeps: true, sources: number > 0 ? [-number] : [] };
    }
    case 'TypeCast':
      return castValue(context, as(node, 'TypeCast') ?? {}, scope);
    case 'CollateClause':
      return plain(valueOf(context, as(node, 'CollateClause')?.arg, scope));
    case 'NamedArgExpr':
      return valueOf(context, as(node, 'NamedArgExpr')?.arg, scope);
    case 'A_Expr':
      return operatorValue(context, as(node, 'A_Expr') ?? {}, scope);
    case 'BoolExpr':
      return decided(context, valuesOf(context, as(node, 'BoolExpr')?.args, scope));
    case 'BooleanTest':
      return decided(context, [valueOf(context, as(node, 'BooleanTest')?.arg, scope)]);
    case 'NullTest': {
      const value = valueOf(context, as(node, 'NullTest')?.arg, scope);
      context.found.predicate(presence(value));
      // That a stored value is there says nothing of it; that a computed one is there can be a question about it.
      return value.keeps || value.row ? CLEAN : computed([value]);
    }
    case 'FuncCall':
      return callValue(context, as(node, 'FuncCall') ?? {}, scope);
    case 'SubLink':
      return subLinkValue(context, as(node, 'SubLink') ?? {}, scope);
    case 'CaseExpr':
      return caseValue(context, as(node, 'CaseExpr') ?? {}, scope);
    case 'CoalesceExpr': {
      const values = valuesOf(context, as(node, 'CoalesceExpr')?.args, scope);
      return plain(oneOf(values.map(plain)));
    }
    case 'MinMaxExpr':
      // greatest(email, 'm') tells which side of 'm' the value is on.
      return both(context, valuesOf(context, as(node, 'MinMaxExpr')?.args, scope));
    case 'RowExpr': {
      const values = valuesOf(context, as(node, 'RowExpr')?.args, scope);
      return { ...computed(values), row: values.map((value, i) => ({ name: `f${i + 1}`, value })) };
    }
    case 'A_ArrayExpr':
      return computed(valuesOf(context, as(node, 'A_ArrayExpr')?.elements, scope));
    case 'A_Indirection':
      return indirectionValue(context, as(node, 'A_Indirection') ?? {}, scope);
    case 'MultiAssignRef':
      return plain(valueOf(context, as(node, 'MultiAssignRef')?.source, scope));
    case 'SQLValueFunction':
    case 'SetToDefault':
    case 'CurrentOfExpr':
    case 'MergeSupportFunc':
      return CLEAN;
    case 'GroupingFunc':
      predicates(context, as(node, 'GroupingFunc')?.args, scope);
      return CLEAN;
    case 'XmlExpr':
    case 'XmlSerialize':
    case 'JsonFuncExpr':
    case 'JsonParseExpr':
    case 'JsonScalarExpr':
    case 'JsonSerializeExpr':
    case 'JsonObjectConstructor':
    case 'JsonArrayConstructor':
    case 'JsonArrayQueryConstructor':
    case 'JsonObjectAgg':
    case 'JsonArrayAgg':
    case 'JsonIsPredicate':
    case 'JsonValueExpr':
    case 'JsonAggConstructor':
    case 'List':
      return met(context, valuesWithin(context, (node as Record<string, unknown>)[kind], scope));
    default:
      context.found.unresolved(`expression ${kind}`);
      return opaque(context, valuesWithin(context, (node as Record<string, unknown>)[kind], scope));
  }
}

/** Values of everything inside a node of which only its parts are of interest. */
export function valuesWithin(context: Context, body: unknown, scope: Scope): Value[] {
  const values: Value[] = [];
  const visit = (inner: unknown): void => {
    if (typeof inner !== 'object' || inner === null) return;
    if (Array.isArray(inner)) {
      for (const item of inner) visit(item);
      return;
    }
    for (const [key, value] of Object.entries(inner)) {
      if (EXPRESSIONS.has(key)) values.push(valueOf(context, inner as Node, scope));
      else if (key === 'SelectStmt') values.push(...analyseQuery(context, value, scope).columns.map((c) => plain(c.value)));
      else visit(value);
    }
  };
  visit(body);
  return values;
}

const EXPRESSIONS: ReadonlySet<string> = new Set([
  'ColumnRef',
  'A_Const',
  'ParamRef',
  'TypeCast',
  'CollateClause',
  'A_Expr',
  'BoolExpr',
  'BooleanTest',
  'NullTest',
  'FuncCall',
  'SubLink',
  'CaseExpr',
  'CoalesceExpr',
  'MinMaxExpr',
  'RowExpr',
  'A_ArrayExpr',
  'A_Indirection',
  'SQLValueFunction',
  'XmlExpr',
  'XmlSerialize',
  'JsonFuncExpr',
  'JsonParseExpr',
  'JsonScalarExpr',
  'JsonSerializeExpr',
  'JsonObjectConstructor',
  'JsonArrayConstructor',
  'JsonArrayQueryConstructor',
  'JsonObjectAgg',
  'JsonArrayAgg',
  'JsonIsPredicate',
]);

/** A value computed from others, which meet in it. */
function met(context: Context, values: readonly Value[]): Value {
  context.found.meet(values);
  return computed(values);
}

/** The answer to a question about values: computed, and a predicate wherever it stands. */
function decided(context: Context, values: readonly Value[]): Value {
  for (const value of values) context.found.predicate(value);
  const { taints, keeps } = met(context, values);
  const equality = taints.length > 0 && values.every((value) => !isTainted(value) || value.equality);
  return { taints, keeps, sources: [], ...(equality && { equality: true }) };
}

/** Compared with each other, and one of them comes out. */
function both(context: Context, values: readonly Value[]): Value {
  return { ...decided(context, values), sources: computed(values).sources };
}

function columnValue(context: Context, ref: ColumnRef, scope: Scope): Value {
  const fields = ref.fields ?? [];
  const names = strings(fields);
  const last = fields.at(-1);
  if (last && as(last, 'A_Star')) {
    // `t.*` where one value stands: the whole row.
    const item = names.length > 0 ? findItem(scope, names.at(-2), names.at(-1) ?? '') : undefined;
    return item
      ? rowOf(context, item)
      : opaque(
          context,
          scope.items.map((i) => rowOf(context, i)),
        );
  }
  const [first = '', second, third] = names.length > 3 ? names.slice(-3) : names;
  if (second === undefined) {
    const column = findColumn(context, scope, first);
    if (column) return column.value;
    const item = findItem(scope, undefined, first);
    if (item) return rowOf(context, item);
    return missing(context, first);
  }
  if (third === undefined) {
    const item = findItem(scope, undefined, first);
    if (item) {
      const column = inItem(context, item, second);
      if (column) return column.value;
      // t.f is also how a function of the row may be written.
      return functionOfRow(context, second, rowOf(context, item));
    }
    const column = findColumn(context, scope, first);
    if (column) return fieldOf(context, column.value, second);
    return missing(context, `${first}.${second}`);
  }
  const item = findItem(scope, first, second);
  if (item) return inItem(context, item, third)?.value ?? functionOfRow(context, third, rowOf(context, item));
  const outer = findItem(scope, undefined, first);
  if (outer) {
    const column = inItem(context, outer, second);
    if (column) return fieldOf(context, column.value, third);
  }
  return missing(context, names.join('.'));
}

function missing(context: Context, name: string): Value {
  context.found.miss(`column ${name}`);
  return opaque(context);
}

function functionOfRow(context: Context, name: string, row: Value): Value {
  const routines = context.catalog.findRoutines(undefined, name, 1, context.searchPath);
  if (routines.length === 0) return missing(context, name);
  context.found.touch(row.taints);
  return computed([effectsOf(context, routines, []), row]);
}

function fieldOf(context: Context, value: Value, field: string): Value {
  return value.row?.find((c) => c.name === field)?.value ?? (isTainted(value) ? computed([value]) : value.row ? opaque(context) : plain(value));
}

function castValue(context: Context, cast: TypeCast, scope: Scope): Value {
  const value = valueOf(context, cast.arg, scope);
  const name = plainTypeName(cast.typeName);
  const builtin = name !== undefined && context.catalog.isBuiltinType(name[0], name[1]);
  if (builtin && isNoCast(value, name[1])) return value;
  // A literal keeps its place through a cast, so that `email = 'x'::text` is seen.
  if (!isTainted(value)) return value.origin || value.row ? plain(value) : value;
  return builtin && TEXT_TYPES.has(name[1]) ? plain(value) : computed([value]);
}

/** OIDs of types to which a cast of a column that has the type already does nothing: it stays a plain column. */
const TYPE_OIDS: ReadonlyMap<string, number> = new Map([
  ['bool', 16],
  ['int8', 20],
  ['int2', 21],
  ['int4', 23],
  ['text', 25],
  ['json', 114],
  ['float8', 701],
  ['varchar', 1043],
  ['date', 1082],
  ['timestamp', 1114],
  ['timestamptz', 1184],
  ['numeric', 1700],
  ['uuid', 2950],
  ['jsonb', 3802],
]);

function isNoCast(value: Value, type: string): boolean {
  const { origin } = value;
  const oid = TYPE_OIDS.get(type);
  return origin !== undefined && oid !== undefined && origin.relation.columns.find((c) => c.number === origin.attribute)?.type === oid;
}

function operatorValue(context: Context, expr: A_Expr, scope: Scope): Value {
  const left = valuesOf(context, expr.lexpr ? [expr.lexpr] : [], scope);
  const right = listValues(context, expr.rexpr, scope);
  const values = [...left, ...right];
  const [schema, name] = qualified(expr.name);
  let result = computed(values);
  const routines = operatorRoutines(context, schema, name);
  if (routines.length > 0) result = computed([effectsOf(context, routines, []), result]);
  context.found.meet(values);
  const compares = (expr.kind !== 'AEXPR_OP' && expr.kind !== 'AEXPR_NULLIF') || COMPARES.test(name) || routines.length > 0;
  if (expr.kind === 'AEXPR_NULLIF') return both(context, values);
  if (!compares) return result;
  const [asked] = left;
  if (routines.length === 0 && asked && isEquality(context, name, expr, asked, right)) {
    const { taints } = result;
    context.found.predicate({ taints, keeps: false, sources: [], equality: true });
    return { taints, keeps: false, sources: [], equality: true };
  }
  for (const value of values) context.found.predicate(value);
  // A comparison's result is no literal of the statement's any more.
  return { taints: result.taints, keeps: result.keeps, sources: [] };
}

/** Names that the grammar gives to BETWEEN and the like stand for built-in operators. */
const KEYWORD_OPERATORS = /^(NOT )?BETWEEN( SYMMETRIC)?$/;

function operatorRoutines(context: Context, schema: string | undefined, name: string): readonly Routine[] {
  if (name === '' || KEYWORD_OPERATORS.test(name)) return [];
  const routines = context.catalog.findOperators(schema, name === '!=' ? '<>' : name);
  if (!routines) context.found.miss(`operator ${name}`);
  return routines ?? [];
}

/** IN and BETWEEN hold a list on the right. */
function listValues(context: Context, node: Node | undefined, scope: Scope): Value[] {
  const list = as(node, 'List');
  return list ? valuesOf(context, list.items, scope) : node ? [valueOf(context, node, scope)] : [];
}

function caseValue(context: Context, expr: CaseExpr, scope: Scope): Value {
  const subject = valueOf(context, expr.arg, scope);
  const conditions: Value[] = [subject];
  const results: Value[] = [];
  for (const node of expr.args ?? []) {
    const when = as(node, 'CaseWhen');
    conditions.push(valueOf(context, when?.expr, scope));
    results.push(plain(valueOf(context, when?.result, scope)));
  }
  results.push(plain(valueOf(context, expr.defresult, scope)));
  if (expr.arg) context.found.meet(conditions);
  for (const condition of conditions) context.found.predicate(condition);
  const asked = computed(conditions);
  const result = oneOf(results);
  return isTainted(asked) ? computed([result, asked]) : result;
}

function indirectionValue(context: Context, expr: A_Indirection, scope: Scope): Value {
  let value = valueOf(context, expr.arg, scope);
  for (const step of expr.indirection ?? []) {
    const field = as(step, 'String')?.sval;
    if (field !== undefined) value = fieldOf(context, value, field);
    else if (as(step, 'A_Star')) value = plain(value);
    else value = met(context, [value, ...valuesWithin(context, step, scope)]);
  }
  return value;
}

function subLinkValue(context: Context, link: SubLink, scope: Scope): Value {
  const select = as(link.subselect, 'SelectStmt');
  if (!select) {
    context.found.unresolved('subquery');
    return opaque(context);
  }
  const query = analyseQuery(context, select, scope);
  const columns = query.columns.map((c) => c.value);
  const inner = query.open ? opaque(context, columns) : undefined;
  const type: string = link.subLinkType ?? '';
  switch (type) {
    case 'EXISTS_SUBLINK':
      return CLEAN;
    case 'EXPR_SUBLINK':
      return inner ?? (columns.length === 1 && columns[0] ? plain(columns[0]) : { ...computed(columns), row: query.columns });
    case 'ANY_SUBLINK':
    case 'ALL_SUBLINK':
    case 'ROWCOMPARE_SUBLINK': {
      const [schema, name] = qualified(link.operName);
      const routines = operatorRoutines(context, schema, name);
      const side = routines.length > 0 ? [effectsOf(context, routines, [])] : [];
      return decided(context, [valueOf(context, link.testexpr, scope), ...(inner ? [inner] : columns), ...side]);
    }
    case 'MULTIEXPR_SUBLINK':
    case 'ARRAY_SUBLINK':
      return inner ?? computed(columns);
    default:
      context.found.unresolved('subquery');
      return opaque(context, columns);
  }
}
