/**
 * The text that a dry run sends: the statement as it was asked for, with what would change returned from it. It is the
 * same statement: parsed again, it differs in its RETURNING alone.
 */
import type { Node, RangeVar, ReturningClause } from 'libpg-query';
import { Problem } from '../../../contract/problem.ts';
import { as, kindOf } from './sql/nodes.ts';
import type { ParsedStatement, Parser } from './sql/parser.ts';

/** `server_version_num` from which RETURNING gives rows as they were and as they are. */
const RETURNS_OLD_AND_NEW = 180_000;
/** Names that the client's own statement does not use: found out by looking. */
const OLD = 'countersign_before';
const NEW = 'countersign_after';

export type Verb = 'insert' | 'update' | 'delete';

export interface DryRunText {
  readonly verb: Verb;
  readonly sql: string;
  /**
   * What the last columns of the result are: `both` is whether there was a row before, the row before, the row after.
   * `before` and `after` are one row each.
   */
  readonly returns: 'both' | 'before' | 'after';
  readonly target: { readonly schema: string | undefined; readonly name: string };
  /** Columns whose defaults are not used: those that the statement itself gives a value. `all`: no default is used. */
  readonly given: ReadonlySet<string> | 'all';
  /** An INSERT that may update instead. */
  readonly updates: boolean;
  /** Columns that are set. */
  readonly set: ReadonlySet<string>;
}

/** A statement that cannot be tried, and why: a sentence for the approval, without a full stop. */
export function cannot(why: string): Problem {
  return new Problem('no-dry-run', why);
}

/**
 * @param columns names of the target's columns in their order, to tell which an INSERT without a list gives
 * @throws Problem `no-dry-run`
 */
export function dryRunText(
  parser: Parser,
  sql: string,
  serverVersion: number,
  columns: (schema: string | undefined, name: string) => readonly string[],
): DryRunText {
  const statement = only(parser, sql);
  const { node } = statement;
  const insert = as(node, 'InsertStmt');
  const update = as(node, 'UpdateStmt');
  const verb: Verb = insert ? 'insert' : update ? 'update' : 'delete';
  const body = insert ?? update ?? as(node, 'DeleteStmt');
  const relation = body?.relation;
  if (!body || !relation?.relname) throw cannot(`a dry run is for INSERT, UPDATE and DELETE, and this is ${kindOf(node).replace(/Stmt$/, '').toUpperCase()}`);
  if ('withClause' in body && changesInside(body.withClause)) throw cannot('it changes more than one table in one statement');
  const usesDefault = holds(node, 'SetToDefault');
  const updates = insert?.onConflictClause?.action === 'ONCONFLICT_UPDATE';
  const modern = serverVersion >= RETURNS_OLD_AND_NEW;
  if (updates && !modern) throw cannot('before PostgreSQL 18 the server does not tell which rows ON CONFLICT DO UPDATE would add and which it would change');
  const returns = modern && (update || updates) ? 'both' : verb === 'delete' ? 'before' : 'after';
  const text = Buffer.from(sql).subarray(statement.start, statement.end).toString();
  const tried = withReturning(text, relation, body.returningClause, returns, modern, node);
  assertSame(parser, text, tried);
  const schema = relation.schemaname;
  return {
    verb,
    sql: tried,
    returns,
    target: { schema, name: relation.relname },
    given: usesDefault ? new Set() : insert ? givenBy(insert, columns(schema, relation.relname)) : 'all',
    updates,
    set: new Set([...(update?.targetList ?? []), ...(insert?.onConflictClause?.targetList ?? [])].flatMap((target) => as(target, 'ResTarget')?.name ?? [])),
  };
}

function only(parser: Parser, sql: string): ParsedStatement {
  const parsed = parser.parse(sql);
  const [statement] = parsed.ok ? parsed.statements : [];
  if (!parsed.ok || !statement) throw cannot('it could not be read');
  if (parsed.statements.length > 1) throw cannot('several statements were sent together');
  return statement;
}

function changesInside(clause: unknown): boolean {
  return ['InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt'].some((kind) => holds(clause, kind));
}

/** Whether a node of that kind is anywhere inside. */
function holds(value: unknown, kind: string): boolean {
  if (Array.isArray(value)) return value.some((item) => holds(item, kind));
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([key, inner]) => key === kind || holds(inner, kind));
}

/** Columns that an INSERT gives a value; the others take their defaults. */
function givenBy(insert: NonNullable<ReturnType<typeof as<'InsertStmt'>>>, columns: readonly string[]): ReadonlySet<string> {
  if (insert.cols?.length) return new Set(insert.cols.flatMap((column) => as(column, 'ResTarget')?.name ?? []));
  const rows = as(insert.selectStmt, 'SelectStmt')?.valuesLists ?? [];
  const widths = rows.map((row) => as(row, 'List')?.items?.length ?? 0);
  // Of INSERT … SELECT it is not known how many columns it gives.
  return new Set(columns.slice(0, widths.length === 0 ? 0 : Math.min(...widths)));
}

function withReturning(
  text: string,
  relation: RangeVar,
  own: ReturningClause | undefined,
  returns: DryRunText['returns'],
  modern: boolean,
  node: Node,
): string {
  let old = OLD;
  let fresh = NEW;
  let head = modern ? `RETURNING WITH (OLD AS ${OLD}, NEW AS ${NEW}) ` : 'RETURNING ';
  if (own) {
    // The statement returns something itself: ours comes behind it, under the names that are in force there.
    if (own.options?.length) throw cannot('its RETURNING names old and new rows itself');
    old = 'old';
    fresh = 'new';
    head = ', ';
  }
  if (modern && uses(node, new Set([old, fresh]))) throw cannot(`it uses the name ${old} or ${fresh}`);
  const plain = relation.alias?.aliasname
    ? quoted(relation.alias.aliasname)
    : [relation.schemaname, relation.relname].flatMap((name) => (name ? quoted(name) : [])).join('.');
  const before = modern ? old : plain;
  const after = modern ? fresh : plain;
  const list = returns === 'both' ? `${old}.ctid IS NOT NULL, ${before}.*, ${after}.*` : `${returns === 'before' ? before : after}.*`;
  // A comment may run to the end of the text.
  return `${text}\n${head}${list}`;
}

/** Whether a table, an alias or a CTE is called so. */
function uses(value: unknown, names: ReadonlySet<string>): boolean {
  if (Array.isArray(value)) return value.some((item) => uses(item, names));
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([key, inner]) =>
    typeof inner === 'string' ? /^(aliasname|relname|ctename)$/.test(key) && names.has(inner) : uses(inner, names),
  );
}

/** What was appended belongs to the statement and changes nothing else in it. */
function assertSame(parser: Parser, text: string, tried: string): void {
  const before = JSON.stringify(withoutReturning(only(parser, text).node));
  if (JSON.stringify(withoutReturning(only(parser, tried).node)) !== before) throw cannot('what it would change cannot be returned from it');
}

function withoutReturning(node: Node): unknown {
  return Object.values(node as object).map((body: object) => ({ ...body, returningClause: undefined }));
}

export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
