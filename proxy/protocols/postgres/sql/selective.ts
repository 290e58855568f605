/**
 * Whether a WHERE can leave a row of the target out while keeping another. What is true of every row, or decided once
 * for all of them, cannot: then an UPDATE or DELETE is a bulk change.
 */
import type { A_Expr, Node } from 'libpg-query';
import { as, kindOf, sameTree, strings, treeText, walk } from './nodes.ts';
import type { Context, Item } from './scope.ts';

export function isSelective(context: Context, node: Node | undefined, target: Item): boolean {
  return node !== undefined && context.budget.within(() => judge(context, node, target));
}

function judge(context: Context, node: Node, target: Item): boolean {
  const kind = kindOf(node);
  switch (kind) {
    case 'BoolExpr': {
      const body = as(node, 'BoolExpr');
      const args = body?.args ?? [];
      if (body?.boolop === 'AND_EXPR') return args.some((arg) => isSelective(context, arg, target));
      if (body?.boolop === 'NOT_EXPR') return args.every((arg) => isSelective(context, arg, target));
      // `x or false` is x; `x is null or x is not null` is everything.
      const open = args.filter((arg) => !isFalse(arg));
      if (coverEverything(context, open)) return false;
      return open.every((arg) => isSelective(context, arg, target));
    }
    case 'CurrentOfExpr':
      return true;
    case 'A_Expr':
      return refersTo(node, target) && !isTrivial(context, as(node, 'A_Expr') ?? {}, target);
    case 'NullTest': {
      const body = as(node, 'NullTest');
      const column = columnOf(body?.arg, target);
      if (column === undefined || body?.nulltesttype !== 'IS_NOT_NULL') return refersTo(node, target);
      // Never null: a NOT NULL column, a system column.
      const attribute = target.relation?.columns.find((c) => c.name === column);
      return attribute !== undefined && !attribute.notNull;
    }
    case 'CaseExpr': {
      const body = as(node, 'CaseExpr');
      const results = [...(body?.args ?? []).map((arg) => as(arg, 'CaseWhen')?.result), body?.defresult];
      return refersTo(node, target) && !results.every((result) => isTrue(result));
    }
    case 'SubLink': {
      const body = as(node, 'SubLink');
      const inner = as(body?.subselect, 'SelectStmt');
      // `id in (select id from the same table)` keeps everything.
      const from = inner?.fromClause?.length === 1 ? as(inner.fromClause[0], 'RangeVar') : undefined;
      const same = from !== undefined && from.relname === target.relation?.name && !inner?.whereClause && !inner?.havingClause && !inner?.limitCount;
      return !same && refersTo(node, target);
    }
    default:
      return refersTo(node, target);
  }
}

/** Comparisons that hold for every row. */
function isTrivial(context: Context, expr: A_Expr, target: Item): boolean {
  const { lexpr: left, rexpr: right } = expr;
  const list = as(right, 'List')?.items;
  if (list) return expr.kind === 'AEXPR_IN' && list.some((item) => same(context, left, item));
  const array = as(right, 'A_ArrayExpr')?.elements;
  if (array && expr.kind === 'AEXPR_OP_ANY') return array.some((item) => same(context, left, item));
  if (same(context, left, right)) return true;
  if (expr.kind === 'AEXPR_LIKE' || expr.kind === 'AEXPR_ILIKE') {
    const pattern = as(right, 'A_Const')?.sval?.sval;
    if (pattern !== undefined) context.found.literalsDecide = true;
    return pattern !== undefined && /^%+$/.test(pattern);
  }
  // A table is one table: its tableoid picks nothing out.
  return columnOf(left, target) === 'tableoid' || columnOf(right, target) === 'tableoid';
}

/** The same text on both sides. Where only literals could tell them apart, literals decide. */
function same(context: Context, a: Node | undefined, b: Node | undefined): boolean {
  if (!a || !b || !sameTree(a, b, false)) return false;
  let literal = false;
  walk(a, (kind) => {
    literal ||= kind === 'A_Const';
    return true;
  });
  if (literal) context.found.literalsDecide = true;
  return sameTree(a, b, true);
}

/** Among the arms of an OR there are two of which one always holds (NULLs apart). One pass, however many arms. */
function coverEverything(context: Context, arms: readonly Node[]): boolean {
  const exact = new Map<string, Set<string>>();
  const loose = new Map<string, Set<string>>();
  for (const arm of arms) {
    for (const [subject, says] of claims(arm)) {
      const [full, bare] = [treeText(subject, true), treeText(subject, false)];
      // The same but for literals: of this shape, one text covers everything and another does not.
      if (opposes(loose, bare, says) && full !== bare) context.found.literalsDecide = true;
      if (opposes(exact, full, says)) return true;
    }
  }
  return false;
}

/** What an arm says, of what: `x is null`, `a > b`, and of any condition that it holds or does not. */
function claims(arm: Node): readonly (readonly [subject: unknown, says: string])[] {
  const not = as(arm, 'BoolExpr');
  if (not?.boolop === 'NOT_EXPR') return [[not.args?.[0], 'not']];
  const test = as(arm, 'NullTest');
  if (test) return [[test.arg, test.nulltesttype ?? '']];
  const expr = as(arm, 'A_Expr');
  if (expr?.kind === 'AEXPR_OP') {
    return [
      [arm, 'is'],
      [[expr.lexpr, expr.rexpr], strings(expr.name)[0] ?? ''],
    ];
  }
  return [[arm, 'is']];
}

const OPPOSITES: ReadonlyMap<string, readonly string[]> = new Map([
  ['is', ['not']],
  ['not', ['is']],
  ['IS_NULL', ['IS_NOT_NULL']],
  ['IS_NOT_NULL', ['IS_NULL']],
  ['=', ['<>']],
  ['<>', ['=']],
  ['<', ['>=']],
  ['>', ['<=']],
  ['<=', ['>', '>=']],
  ['>=', ['<', '<=']],
  ['~~', ['!~~']],
  ['!~~', ['~~']],
  ['~', ['!~']],
  ['!~', ['~']],
]);

function opposes(seen: Map<string, Set<string>>, subject: string, says: string): boolean {
  const before = seen.get(subject);
  if (before && (OPPOSITES.get(says) ?? []).some((opposite) => before.has(opposite))) return true;
  seen.set(subject, (before ?? new Set()).add(says));
  return false;
}

function isTrue(node: Node | undefined): boolean {
  return as(node, 'A_Const')?.boolval?.boolval === true;
}

function isFalse(node: Node): boolean {
  const constant = as(node, 'A_Const');
  return constant?.boolval !== undefined && constant.boolval.boolval !== true;
}

function columnOf(node: Node | undefined, target: Item): string | undefined {
  const names = strings(as(node, 'ColumnRef')?.fields);
  if (names.length === 1) return names[0];
  return names.length === 2 && names[0] === target.name ? names[1] : undefined;
}

/** Mentions a column of the target, in itself or from inside a subquery. */
function refersTo(node: Node, target: Item): boolean {
  let found = false;
  walk(node, (kind, body) => {
    if (kind === 'ColumnRef') {
      const names = strings((body as { fields?: Node[] }).fields);
      const [first, second] = names;
      if (second === undefined) found ||= first === target.name || target.open || target.columns.some((c) => c.name === first) || first === 'ctid';
      else found ||= first === target.name || names.at(-2) === target.name;
    }
    return !found;
  });
  return found;
}
