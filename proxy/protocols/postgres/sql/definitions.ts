/**
 * Expressions in definitions. Some put values where no query says so: a column's default, what a column's type is changed USING.
 * Where that makes a column of masked ones, it is as sensitive as they are; where it could not be followed, it is refused. Others
 * are conditions: how large a partial index is tells how many rows meet its own, a policy's decides which rows there are.
 */
import type { ColumnDef, Node, RangeVar } from 'libpg-query';
import { predicates, valueOf } from './expression.ts';
import { Findings } from './findings.ts';
import { relationItem } from './from.ts';
import { as, walk } from './nodes.ts';
import { type Context, EMPTY_SCOPE, type Scope } from './scope.ts';
import type { Taint } from './value.ts';

/** @param schema where a table without one is made */
export function followExpressions(context: Context, node: Node, schema: string): void {
  const made = as(node, 'CreateStmt');
  for (const element of made?.tableElts ?? []) columnDefault(context, made?.relation, as(element, 'ColumnDef'), schema, false);
  const altered = as(node, 'AlterTableStmt');
  for (const one of altered?.cmds ?? []) {
    const command = as(one, 'AlterTableCmd');
    const column = as(command?.def, 'ColumnDef');
    const kind: string = command?.subtype ?? '';
    if (kind === 'AT_AddColumn') columnDefault(context, altered?.relation, column, schema);
    else if (kind === 'AT_AlterColumnType') into(context, altered?.relation, command?.name, column?.raw_default, schema);
    else if (kind === 'AT_ColumnDefault') {
      if (altered?.objtype === 'OBJECT_VIEW') refuse(context, command?.def, `the default of ${altered.relation?.relname ?? 'a view'}`);
      else into(context, altered?.relation, command?.name, command?.def, schema);
    }
  }
  const domain = as(node, 'AlterDomainStmt');
  if (domain) refuse(context, domain.def, 'the default of a domain');
  if (as(node, 'CreateDomainStmt')) eachDefault(node, (expression) => refuse(context, expression, 'the default of a domain'));
  for (const parameter of as(node, 'CreateFunctionStmt')?.parameters ?? [])
    refuse(context, as(parameter, 'FunctionParameter')?.defexpr, 'the default of a parameter');
}

export function askedByDefinition(context: Context, node: Node): void {
  const index = as(node, 'IndexStmt');
  const policy = as(node, 'CreatePolicyStmt') ?? as(node, 'AlterPolicyStmt');
  const table = index?.relation ?? policy?.table;
  const conditions = [index?.whereClause, policy?.qual, policy?.with_check].filter((condition) => condition !== undefined);
  if (!table || conditions.length === 0) return;
  const found = new Findings();
  const item = relationItem({ ...context, found }, table);
  // What is not there yet holds nothing.
  if (item) predicates({ ...context, found }, conditions, { items: [item], ctes: new Map() });
  for (const label of found.predicates) {
    context.found.predicates.add(label);
    context.found.touched.add(label);
    context.found.allLiterals = true;
  }
  context.found.onlyEquality &&= found.onlyEquality;
}

function columnDefault(context: Context, table: RangeVar | undefined, column: ColumnDef | undefined, schema: string, known = true): void {
  for (const constraint of column?.constraints ?? []) eachDefault(constraint, (expression) => into(context, table, column?.colname, expression, schema, known));
}

function eachDefault(within: Node, found: (expression: Node | undefined) => void): void {
  walk(within, (kind, body) => {
    const constraint = body as { readonly contype?: string; readonly raw_expr?: Node };
    if (kind === 'Constraint' && constraint.contype === 'CONSTR_DEFAULT') found(constraint.raw_expr);
    return true;
  });
}

/** The column holds what the expression gives. */
function into(context: Context, table: RangeVar | undefined, column: string | undefined, expression: Node | undefined, schema: string, known = true): void {
  if (!table?.relname || column === undefined || !expression) return;
  const found = new Findings();
  const item = known ? relationItem({ ...context, found }, table) : undefined;
  const before = item?.columns.find(({ name }) => name === column)?.value.taints ?? [];
  const taints = given({ ...context, found }, expression, item ? { items: [item], ctes: new Map() } : EMPTY_SCOPE).filter(
    ({ label }) => !before.some((taint) => taint.label === label),
  );
  // What a default gives is followed once more when the catalog has it; what a column was made of is nowhere to be seen later.
  if (known && refersTo(expression) && (found.doubtful || found.misses.size > 0)) context.found.changed(table.relname);
  if (taints.length === 0) return;
  const temporary = table.relpersistence === 't' || item?.temporary !== undefined;
  const place = temporary ? 'pg_temp' : (item?.relation?.schema ?? table.schemaname ?? schema);
  context.found.flows.push({ table: `${place}.${table.relname}`, column, taints });
  for (const { label } of taints) context.found.notes.add(`copies ${label} into ${table.relname}.${column}`.slice(0, 300));
}

/** Names columns: of the row that is changed. */
function refersTo(expression: Node): boolean {
  let found = false;
  walk(expression, (kind) => {
    found ||= kind === 'ColumnRef';
    return !found;
  });
  return found;
}

function refuse(context: Context, expression: Node | undefined, where: string): void {
  const [taint] = expression ? given({ ...context, found: new Findings() }, expression, EMPTY_SCOPE) : [];
  if (taint)
    context.found.refused ??= `A value of ${taint.label} is refused in ${where}: it would get where it can be read unmasked. Give it something that does not come from a masked column.`;
}

/** Sensitive columns whose values it gives. What is not understood of it (most functions that make ids) is left to who allows it. */
function given(context: Context, expression: Node, scope: Scope): readonly Taint[] {
  const { opaqueTaint } = context.sensitivity;
  return valueOf(context, expression, scope)
    .taints.filter((taint) => taint !== opaqueTaint)
    .map(({ label }) => ({ label, mask: 'redact' }));
}
