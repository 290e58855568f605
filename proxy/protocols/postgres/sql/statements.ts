/** A statement that may stand inside another: in a CTE, a function's body, a rule, EXPLAIN, PREPARE, DECLARE, COPY. */
import type { Node } from 'libpg-query';
import { insert, merge, remove, update } from './modify.ts';
import { as, kindOf } from './nodes.ts';
import { analyseQuery, type Query } from './query.ts';
import type { Context, Scope } from './scope.ts';
import { utilityEffect } from './utility.ts';

/** Columns that come out, if it is a statement from which columns can come. */
export function analyseStatement(
  context: Context,
  node: Node,
  scope: Scope,
): (Query & { readonly bulk?: boolean; readonly where?: boolean; readonly set?: number }) | undefined {
  const kind = kindOf(node);
  switch (kind) {
    case 'SelectStmt':
      return analyseQuery(context, as(node, 'SelectStmt') ?? {}, scope);
    case 'InsertStmt':
      return insert(context, as(node, 'InsertStmt') ?? {}, scope);
    case 'UpdateStmt':
      return noteBulk(context, update(context, as(node, 'UpdateStmt') ?? {}, scope));
    case 'DeleteStmt':
      return noteBulk(context, remove(context, as(node, 'DeleteStmt') ?? {}, scope));
    case 'MergeStmt':
      return noteBulk(context, merge(context, as(node, 'MergeStmt') ?? {}, scope));
    default: {
      const effect = utilityEffect(node);
      context.found.raise(effect);
      if (effect === 'unknown') context.found.unresolved(`statement ${kind}`);
      return undefined;
    }
  }
}

function noteBulk<C extends { readonly bulk: boolean }>(context: Context, change: C): C {
  if (change.bulk) context.found.bulk = true;
  return change;
}
