/** What a statement other than a query is about, and what it does to the session. */
import type { Node, RangeVar } from 'libpg-query';
import { valueOf } from './expression.ts';
import { relationName, targetKind } from './findings.ts';
import type { Control, Outputs, StatementInfo } from './info.ts';
import { as, kindOf, qualified, strings, walk } from './nodes.ts';
import { type Context, EMPTY_SCOPE } from './scope.ts';
import { verbOf } from './utility.ts';

export interface UtilityDescription {
  readonly session: boolean;
  readonly notes: readonly string[];
  readonly outputs?: Outputs;
  readonly control?: Control;
  readonly creates?: StatementInfo['creates'];
  readonly headline?: string;
}

const NOTHING: UtilityDescription = { session: false, notes: [] };

export function describeUtility(context: Context, node: Node): UtilityDescription {
  const { found } = context;
  switch (kindOf(node)) {
    case 'DeallocateStmt': {
      const body = as(node, 'DeallocateStmt');
      return { session: true, notes: [], control: { kind: 'deallocate', name: body?.isall ? undefined : (body?.name ?? '') } };
    }
    case 'ClosePortalStmt':
      return { session: true, notes: [], control: { kind: 'close', name: as(node, 'ClosePortalStmt')?.portalname } };
    case 'DiscardStmt': {
      const all = as(node, 'DiscardStmt')?.target === 'DISCARD_ALL';
      return { session: true, notes: [], ...(all && { control: { kind: 'discard', all } }) };
    }
    case 'ConstraintsSetStmt':
    case 'UnlistenStmt':
      return { session: true, notes: [] };
    case 'NotifyStmt':
      found.target('channel', as(node, 'NotifyStmt')?.conditionname ?? '');
      found.allLiterals = true;
      return NOTHING;
    case 'ListenStmt': {
      const channel = as(node, 'ListenStmt')?.conditionname ?? '';
      found.target('channel', channel);
      return { session: true, notes: [], control: { kind: 'listen', channel } };
    }
    case 'CallStmt': {
      const call = as(node, 'CallStmt')?.funccall;
      valueOf(context, call && { FuncCall: call }, EMPTY_SCOPE);
      const [schema, name] = qualified(call?.funcname);
      found.changesSession = true;
      found.functions.add(schema === undefined ? name : `${schema}.${name}`);
      if (context.sensitivity.opaqueTaint) found.touch([context.sensitivity.opaqueTaint]);
      return { ...NOTHING, outputs: 'opaque', headline: `CALL ${name}` };
    }
    case 'DoStmt':
      found.changesSession = true;
      found.allLiterals = true;
      if (context.sensitivity.opaqueTaint) found.touch([context.sensitivity.opaqueTaint]);
      return { ...NOTHING, headline: 'DO: a block of code' };
    case 'TruncateStmt':
      found.bulk = true;
      break;
    case 'CreateFunctionStmt': {
      found.allLiterals = true;
      const body = as(node, 'CreateFunctionStmt');
      const [schema, name] = qualified(body?.funcname);
      found.target('function', schema === undefined || schema === 'public' ? name : `${schema}.${name}`);
      return { ...NOTHING, headline: `CREATE ${body?.is_procedure ? 'PROCEDURE' : 'FUNCTION'} ${name}` };
    }
    case 'DropStmt':
      dropTargets(context, node);
      break;
    case 'CreateStmt':
      return createTable(context, node);
    case 'CreateSchemaStmt':
      found.target('schema', as(node, 'CreateSchemaStmt')?.schemaname ?? '');
      for (const element of as(node, 'CreateSchemaStmt')?.schemaElts ?? []) describeUtility(context, element);
      return NOTHING;
    case 'RuleStmt':
      // What a rule will do is judged with the statements that fire it.
      break;
    default:
  }
  tablesIn(context, node);
  rolesIn(context, node);
  namesIn(context, node);
  // A literal in a definition may be a value of a sensitive column: a default, a partial index's condition, a comment.
  if (found.near) found.allLiterals = true;
  const names = [...found.targets.values()].map((t) => t.name);
  return { ...NOTHING, headline: `${verbOf(node)} ${names.slice(0, 3).join(', ')}`.trim() };
}

/** Tables that a definition names. They need not be there. */
function tablesIn(context: Context, node: Node): void {
  const { catalog, found, searchPath, sensitivity } = context;
  const add = (table: RangeVar): void => {
    if (table.relname === undefined) return;
    const relation = catalog.findRelation(table.schemaname, table.relname, searchPath);
    if (relation) {
      found.target(targetKind(relation), relationName(relation));
      if (sensitivity.touchesSensitive(relation)) found.near = true;
    } else found.target('table', table.schemaname === undefined || table.schemaname === 'public' ? table.relname : `${table.schemaname}.${table.relname}`);
  };
  walk(node, (kind, body) => {
    if (kind === 'RangeVar') add(body as RangeVar);
    // Some statements hold their table without a wrapper.
    const inner = body as { relation?: RangeVar; view?: RangeVar; sequence?: RangeVar } | null;
    for (const table of [inner?.relation, inner?.view, inner?.sequence]) if (typeof table === 'object') add(table);
    return true;
  });
  if (as(node, 'CreatedbStmt') || as(node, 'DropdbStmt')) found.target('database', as(node, 'CreatedbStmt')?.dbname ?? as(node, 'DropdbStmt')?.dbname ?? '');
}

function rolesIn(context: Context, node: Node): void {
  walk(node, (kind, body) => {
    const role = body as { rolename?: string; role?: string | { rolename?: string } };
    const name = kind === 'RoleSpec' ? role.rolename : kind === 'CreateRoleStmt' ? role.role : typeof role?.role === 'object' ? role.role.rolename : undefined;
    if (typeof name === 'string') context.found.target('role', name);
    return true;
  });
}

/** Fields in which definitions keep the name of what they are about. */
const NAME_FIELDS: readonly (readonly [field: string, kind: string])[] = [
  ['extname', 'extension'],
  ['pubname', 'publication'],
  ['subname', 'subscription'],
  ['servername', 'server'],
  ['policy_name', 'policy'],
  ['fdwname', 'foreign data wrapper'],
  ['plname', 'language'],
  ['tablespacename', 'tablespace'],
  ['trigname', 'trigger'],
  ['filename', 'file'],
];

function namesIn(context: Context, node: Node): void {
  const body = Object.values(node)[0] as Readonly<Record<string, unknown>> | undefined;
  for (const [field, kind] of NAME_FIELDS) {
    const name = body?.[field];
    if (typeof name === 'string') context.found.target(kind, name);
  }
}

const DROPPED_TABLES: ReadonlySet<string> = new Set(['OBJECT_TABLE', 'OBJECT_VIEW', 'OBJECT_MATVIEW', 'OBJECT_FOREIGN_TABLE', 'OBJECT_SEQUENCE']);

function dropTargets(context: Context, node: Node): void {
  const drop = as(node, 'DropStmt');
  const type = drop?.removeType ?? '';
  for (const object of drop?.objects ?? []) {
    const names = as(object, 'List')?.items ?? as(object, 'ObjectWithArgs')?.objname ?? as(object, 'TypeName')?.names ?? [object];
    const [schema, name] = qualified(names);
    if (DROPPED_TABLES.has(type)) {
      const relation = context.catalog.findRelation(schema, name, context.searchPath);
      context.found.target(relation ? targetKind(relation) : 'table', relation ? relationName(relation) : strings(names).join('.'));
    } else {
      context.found.target(
        type.replace('OBJECT_', '').replaceAll('_', ' ').toLowerCase(),
        schema === undefined || schema === 'public' ? name : `${schema}.${name}`,
      );
    }
  }
  if (drop?.behavior === 'DROP_CASCADE') context.found.notes.add('and everything that depends on it');
}

function createTable(context: Context, node: Node): UtilityDescription {
  const body = as(node, 'CreateStmt');
  const name = body?.relation?.relname ?? '';
  const temporary = body?.relation?.relpersistence === 't' || body?.relation?.schemaname?.startsWith('pg_temp') === true;
  const plain =
    (body?.tableElts ?? []).every((element) => (as(element, 'ColumnDef') && !isGenerated(element)) || as(element, 'Constraint')) &&
    !body?.inhRelations?.length &&
    !body?.ofTypename;
  tablesIn(context, node);
  const columns = (body?.tableElts ?? []).flatMap((element) => as(element, 'ColumnDef')?.colname ?? []);
  return {
    ...NOTHING,
    headline: `CREATE TABLE ${name}`,
    creates: { name, temporary, columns: plain ? columns.map((column) => ({ name: column, taints: [] })) : 'opaque' },
  };
}

/** What is put into another column comes out of it. */
function isGenerated(element: Node): boolean {
  return (as(element, 'ColumnDef')?.constraints ?? []).some((constraint) => as(constraint, 'Constraint')?.contype === 'CONSTR_GENERATED');
}
