/** Small readings of libpg-query's tree, whose nodes are objects with one key that names their kind. */
import type { Node, TypeName } from 'libpg-query';

export type NodeKind = Node extends infer N ? (N extends unknown ? keyof N : never) : never;
export type Body<K extends NodeKind> = Extract<Node, Record<K, unknown>> extends infer N ? (N extends Record<K, infer B> ? B : never) : never;

/** A plain string: there are hundreds of kinds, and every use has a default for those that it does not know. */
export function kindOf(node: Node): string {
  for (const key in node) return key;
  throw new Error('a tree node without a kind');
}

export function isEmpty(node: object): boolean {
  for (const _ in node) return false;
  return true;
}

/** The node's body if it is of that kind. */
export function as<K extends NodeKind>(node: Node | undefined, kind: K): Body<K> | undefined {
  return node === undefined ? undefined : (node as Partial<Record<K, Body<K>>>)[kind];
}

/** Texts of a list of String nodes; a star or an index is left out. */
export function strings(nodes: readonly Node[] | undefined): string[] {
  return (nodes ?? []).flatMap((node) => as(node, 'String')?.sval ?? []);
}

/** `[schema, name]` of a possibly qualified name; a database name in front is left out. */
export function qualified(nodes: readonly Node[] | undefined): readonly [string | undefined, string] {
  const parts = strings(nodes);
  return [parts.at(-2), parts.at(-1) ?? ''];
}

/** Name of a type without its schema, where it is no array and has no modifier. */
export function plainTypeName(type: TypeName | undefined): readonly [string | undefined, string] | undefined {
  if (!type || type.arrayBounds?.length || type.typmods?.length || type.setof || type.pct_type) return undefined;
  return qualified(type.names);
}

/** The same of the elements, where it is an array of one dimension. */
export function elementTypeName(type: TypeName | undefined): readonly [string | undefined, string] | undefined {
  if (type?.arrayBounds?.length !== 1) return undefined;
  const { arrayBounds: _bounds, ...element } = type;
  return plainTypeName(element);
}

/** Every node directly or indirectly inside, until `enter` returns false. Lists and wrapped bodies are looked through. */
export function walk(value: unknown, enter: (kind: NodeKind, body: unknown) => boolean): void {
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    for (const item of value) walk(item, enter);
    return;
  }
  for (const [key, inner] of Object.entries(value)) {
    // Node kinds start with a capital letter, fields do not.
    const isKind = key.charCodeAt(0) < 91;
    if (isKind && !enter(key as NodeKind, inner)) continue;
    walk(inner, enter);
  }
}

/** Structurally equal, places in the text left out; `literals: false` takes any two literals for equal. */
export function sameTree(a: unknown, b: unknown, literals: boolean): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  const left = Object.entries(a).filter(([key]) => key !== 'location' && !key.endsWith('_start') && !key.endsWith('_end'));
  const right = b as Record<string, unknown>;
  const size = Object.keys(b).filter((key) => key !== 'location' && !key.endsWith('_start') && !key.endsWith('_end')).length;
  if (left.length !== size) return false;
  return left.every(([key, inner]) => key in right && ((key === 'A_Const' && !literals) || sameTree(inner, right[key], literals)));
}

/** A tree as text, places left out; without `literals`, any two literals look the same. */
export function treeText(node: unknown, literals: boolean): string {
  return JSON.stringify(node ?? null, (key: string, value: unknown) => (key === 'location' || (key === 'A_Const' && !literals) ? undefined : value));
}

/** The column name that the server gives an output without an alias (`FigureColname` in parse_target.c). */
export function outputName(node: Node | undefined): string {
  return figure(node)[0] ?? '?column?';
}

type Figured = readonly [name: string | undefined, strength: 0 | 1 | 2];

const FIXED_NAMES: Readonly<Record<string, string>> = {
  A_ArrayExpr: 'array',
  RowExpr: 'row',
  CoalesceExpr: 'coalesce',
  XmlSerialize: 'xmlserialize',
  GroupingFunc: 'grouping',
  MergeSupportFunc: 'merge_action',
  JsonParseExpr: 'json',
  JsonScalarExpr: 'json_scalar',
  JsonSerializeExpr: 'json_serialize',
  JsonObjectConstructor: 'json_object',
  JsonArrayConstructor: 'json_array',
  JsonArrayQueryConstructor: 'json_array',
  JsonObjectAgg: 'json_objectagg',
  JsonArrayAgg: 'json_arrayagg',
};

function figure(node: Node | undefined): Figured {
  if (!node) return [undefined, 0];
  const kind = kindOf(node);
  const fixed = FIXED_NAMES[kind];
  if (fixed !== undefined) return [fixed, 2];
  switch (kind) {
    case 'ColumnRef':
      return named(strings(as(node, 'ColumnRef')?.fields).at(-1));
    case 'A_Indirection': {
      const body = as(node, 'A_Indirection');
      const name = strings(body?.indirection).at(-1);
      return name === undefined ? figure(body?.arg) : named(name);
    }
    case 'FuncCall':
      return named(strings(as(node, 'FuncCall')?.funcname).at(-1));
    case 'A_Expr':
      return as(node, 'A_Expr')?.kind === 'AEXPR_NULLIF' ? ['nullif', 2] : [undefined, 0];
    case 'TypeCast': {
      const body = as(node, 'TypeCast');
      const inner = figure(body?.arg);
      return inner[1] > 1 ? inner : [strings(body?.typeName?.names).at(-1), 1];
    }
    case 'CollateClause':
      return figure(as(node, 'CollateClause')?.arg);
    case 'CaseExpr': {
      const inner = figure(as(node, 'CaseExpr')?.defresult);
      return inner[1] > 1 ? inner : ['case', 1];
    }
    case 'MinMaxExpr':
      return [as(node, 'MinMaxExpr')?.op === 'IS_LEAST' ? 'least' : 'greatest', 2];
    case 'SubLink':
      return figureSubLink(as(node, 'SubLink'));
    case 'SQLValueFunction':
      return [
        (as(node, 'SQLValueFunction')?.op ?? '')
          .replace(/^SVFOP_/, '')
          .replace(/_N$/, '')
          .toLowerCase(),
        2,
      ];
    case 'XmlExpr':
      return [(as(node, 'XmlExpr')?.op ?? '').replace(/^IS_/, '').toLowerCase(), 2];
    case 'JsonFuncExpr':
      return [(as(node, 'JsonFuncExpr')?.op ?? '').replace(/_OP$/, '').toLowerCase(), 2];
    default:
      return [undefined, 0];
  }
}

function named(name: string | undefined): Figured {
  return [name, name === undefined ? 0 : 2];
}

function figureSubLink(body: Body<'SubLink'> | undefined): Figured {
  const type: string = body?.subLinkType ?? '';
  switch (type) {
    case 'EXISTS_SUBLINK':
      return ['exists', 2];
    case 'ARRAY_SUBLINK':
      return ['array', 2];
    case 'EXPR_SUBLINK': {
      // Set operations take their names from the leftmost arm.
      let query = as(body?.subselect, 'SelectStmt');
      while (query?.larg) query = query.larg;
      const target = as(query?.targetList?.[0], 'ResTarget');
      return target?.name === undefined ? [figure(target?.val)[0], 2] : [target.name, 2];
    }
    default:
      return [undefined, 0];
  }
}
