/** Functions that people wrote: what their bodies do, and what their results may hold. */
import type { Node } from 'libpg-query';
import { effectsOf } from './calls.ts';
import type { Routine } from './catalog.ts';
import { type Findings, routineName } from './findings.ts';
import { as, qualified, strings, walk } from './nodes.ts';
import { type Context, type Item, opaque, type Scope } from './scope.ts';
import { analyseStatement } from './statements.ts';
import { CLEAN, settled, type Taint, unite } from './value.ts';

export interface RoutineResult {
  /** Columns of the result by position, where the body was followed. */
  readonly columns: readonly (readonly Taint[])[] | undefined;
  /** All of the result's taints together. */
  readonly taints: readonly Taint[];
  readonly findings: Findings;
}

export function routineResult(routine: Routine, context: Context): RoutineResult {
  if (routine.language === 'sql' && routine.body !== undefined) return followSql(routine, routine.body, context);
  if (routine.parts) return made(routine.parts, context);
  if (routine.volatility === 'volatile') context.found.raise('execute');
  const closed = routine.language === 'plpgsql' ? plpgsqlIsClosed(routine, context) : routine.language === 'c' && routine.volatility === 'immutable';
  const taints = closed ? [] : opaque(context).taints;
  context.found.touch(taints);
  if (routine.volatility === 'volatile') context.found.changesSession = true;
  return { columns: undefined, taints, findings: context.found };
}

/** An aggregate gives and does what the functions that it is made of do. */
function made(parts: readonly number[], context: Context): RoutineResult {
  const routines = parts.map((oid) => context.catalog.routine(oid));
  const known = routines.filter((routine) => routine !== undefined);
  const { taints } = effectsOf(context, known, []);
  return { columns: undefined, taints: known.length < routines.length ? opaque(context).taints : taints, findings: context.found };
}

/** An SQL function is its statements: the last one's columns are its result. */
function followSql(routine: Routine, body: string, context: Context): RoutineResult {
  const { found } = context;
  const statements = bodyStatements(context, body);
  const scope = parameterScope(routine);
  const inner: Context = { ...context, params: routine.inputs.map(() => CLEAN) };
  let columns: readonly (readonly Taint[])[] | undefined;
  try {
    for (const node of statements ?? []) {
      const query = analyseStatement(inner, node, scope);
      columns = query && !query.open ? query.columns.map((c) => settled(c.value)) : undefined;
    }
  } catch {
    columns = undefined;
    found.unresolved(`function ${routineName(routine)}`);
  }
  if (!statements || statements.length === 0) {
    found.unresolved(`function ${routineName(routine)}`);
    columns = undefined;
  }
  return { columns, taints: columns ? unite(columns) : opaque(context).taints, findings: found };
}

function bodyStatements(context: Context, body: string): readonly Node[] | undefined {
  const { parser } = context.sensitivity;
  const standard = /^\s*(return|begin)\b/i.test(body);
  const parsed = parser.parse(standard ? `create function f() returns void ${body}` : body);
  if (!parsed.ok) return undefined;
  if (!standard) return parsed.statements.map((s) => s.node);
  const inside = as(parsed.statements[0]?.node, 'CreateFunctionStmt')?.sql_body;
  const returned = as(inside, 'ReturnStmt');
  if (returned?.returnval) return [{ SelectStmt: { targetList: [{ ResTarget: { val: returned.returnval } }], op: 'SETOP_NONE' } } as Node];
  const found: Node[] = [];
  const collect = (node: Node): void => {
    const list = as(node, 'List');
    if (list) for (const item of list.items ?? []) collect(item);
    else found.push(node);
  };
  if (inside) collect(inside);
  return found;
}

/** Parameters can be named in the body, with or without the function's name in front. */
function parameterScope(routine: Routine): Scope {
  const item: Item = {
    name: routine.name,
    columns: routine.inputs.filter((name) => name !== '').map((name) => ({ name, value: CLEAN })),
    open: false,
    relVisible: true,
    colsVisible: true,
    shadow: true,
  };
  return { items: [item], ctes: new Map() };
}

/** True where no statement of a PL/pgSQL body can reach a sensitive column. */
function plpgsqlIsClosed(routine: Routine, context: Context): boolean {
  const queries = context.sensitivity.parser.plpgsqlQueries(routine.definition ?? '');
  if (!queries) return false;
  return queries.every(({ sql, dynamic }) => {
    if (dynamic) return false;
    // Conditions and right-hand sides are expressions; an assignment is `name := expression`.
    for (const text of [sql, `select ${sql}`, `select ${sql.replace(/^[^:=]*:?=/, '')}`]) {
      const parsed = context.sensitivity.parser.parse(text);
      if (parsed.ok) return parsed.statements.every((s) => staysClear(s.node, context));
    }
    return false;
  });
}

function staysClear(node: Node, context: Context): boolean {
  let clear = true;
  const { catalog, sensitivity, searchPath } = context;
  walk(node, (kind, body) => {
    const inner = body as { relname?: string; schemaname?: string; funcname?: Node[]; relation?: { relname?: string; schemaname?: string }; args?: Node[] };
    for (const relation of kind === 'RangeVar' ? [inner] : inner?.relation?.relname !== undefined ? [inner.relation] : []) {
      const known = catalog.findRelation(relation.schemaname, relation.relname ?? '', searchPath);
      if (!known || sensitivity.touchesSensitive(known)) clear = false;
    }
    if (kind === 'FuncCall') {
      const [schema, name] = qualified(inner.funcname);
      const routines = catalog.findRoutines(schema, name, inner.args?.length ?? 0, searchPath);
      if (routines.some((r) => (r.schema === 'pg_catalog' ? r.volatility === 'volatile' : sensitivity.routine(r, searchPath).taints.length > 0))) clear = false;
      if (routines.length === 0 && !catalog.isType(strings(inner.funcname).at(-1) ?? '')) clear = false;
    }
    return clear;
  });
  return clear;
}
