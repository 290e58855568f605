/**
 * Places where a literal or parameter is known to be nothing but a value of a sensitive column: compared with it for
 * equality, or written into it. There alone a token may be turned back into its value.
 */
import type { A_Expr, Node } from 'libpg-query';
import type { MaskKind } from '../../../../contract/verdict.ts';
import type { LiteralPlace } from './info.ts';
import { as, elementTypeName, plainTypeName } from './nodes.ts';
import type { Context } from './scope.ts';
import { isTainted, strictest, type Taint, type Value } from './value.ts';

/** Of `=` and `<>`, which are one question. */
const COMPARISONS: ReadonlySet<string> = new Set(['AEXPR_OP', 'AEXPR_DISTINCT', 'AEXPR_NOT_DISTINCT', 'AEXPR_IN', 'AEXPR_OP_ANY', 'AEXPR_OP_ALL']);
/** In which a token finds its value: that others are not it is nothing that needs one. */
const FINDS: ReadonlySet<string> = new Set(['AEXPR_OP', 'AEXPR_NOT_DISTINCT', 'AEXPR_IN', 'AEXPR_OP_ANY']);

/** A comparison of one sensitive column with literals and parameters alone, by which nothing is learned but whether they are equal. */
export function isEquality(context: Context, name: string, expr: A_Expr, left: Value, right: readonly Value[]): boolean {
  const kind: string = expr.kind ?? '';
  if ((name !== '=' && name !== '<>') || !COMPARISONS.has(kind)) return false;
  const places = name === '=' && FINDS.has(kind);
  const several = kind === 'AEXPR_OP_ANY' || kind === 'AEXPR_OP_ALL';
  const [only] = right;
  if (isColumn(expr.lexpr, left) && !right.some(isTainted)) return compares(context, left, operands(expr.rexpr), several && !isList(expr.rexpr), places);
  if (kind !== 'AEXPR_IN' && !several && only && isColumn(expr.rexpr, only) && !isTainted(left))
    return compares(context, only, operands(expr.lexpr), false, places);
  return false;
}

function isColumn(node: Node | undefined, value: Value): boolean {
  return as(node, 'ColumnRef') !== undefined && isTainted(value) && value.keeps && value.row === undefined;
}

function compares(context: Context, column: Value, nodes: readonly Node[], array: boolean, places: boolean): boolean {
  const literals = nodes.map((node) => literalAt(context, node, array));
  if (places) for (const literal of literals) if (literal) put(context, literal, 'compare', column.taints, array);
  return literals.every((literal) => literal !== undefined) && nodes.length > 0;
}

/** What stands on one side: the members of a list or an array, or the one expression. */
function operands(node: Node | undefined): readonly Node[] {
  return members(node) ?? (node ? [node] : []);
}

function isList(node: Node | undefined): boolean {
  return members(node) !== undefined;
}

function members(node: Node | undefined): readonly Node[] | undefined {
  return as(node, 'List')?.items ?? as(node, 'A_ArrayExpr')?.elements ?? as(as(node, 'TypeCast')?.arg, 'A_ArrayExpr')?.elements;
}

interface Literal {
  /** Byte offset. */
  readonly location: number;
  readonly param?: number;
}

/** A literal or parameter by itself, or cast to a built-in type as a whole; `array`: to an array of one. */
function literalAt(context: Context, node: Node, array = false): Literal | undefined {
  const cast = as(node, 'TypeCast');
  if (cast) {
    const name = array ? elementTypeName(cast.typeName) : plainTypeName(cast.typeName);
    if (!name || !cast.arg || !context.catalog.isBuiltinType(name[0], name[1])) return undefined;
    return literalAt(context, cast.arg, array);
  }
  const constant = as(node, 'A_Const');
  if (constant) return { location: constant.location ?? 0 };
  const param = as(node, 'ParamRef');
  // Inside a function's body, a parameter is the function's.
  return param && !context.params ? { location: param.location ?? 0, param: param.number ?? 0 } : undefined;
}

/** A value that is written into a column as it stands. */
export function writtenAs(context: Context, node: Node | undefined, taints: readonly Taint[]): void {
  const literal = node && literalAt(context, node);
  if (literal) put(context, literal, 'write', taints);
}

function put(context: Context, literal: Literal, use: LiteralPlace['use'], taints: readonly Taint[], array = false): void {
  const [first] = taints;
  if (!first) return;
  const mask: MaskKind = strictest(taints.map((taint) => taint.mask));
  context.found.places.push({ ...literal, use, ...(array && { array }), label: first.label, mask });
}
