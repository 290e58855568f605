/**
 * What a session's role may do, worked out from policy and catalog: which columns of which tables it is granted, and
 * which tables it sees through a masked view. Pure: `layoutSql.ts` writes it down.
 */
import { createHash } from 'node:crypto';
import { Problem } from '../../../contract/problem.ts';
import type { MaskKind } from '../../../contract/verdict.ts';
import type { MaskPlan, Privilege, TableGrant } from '../../policy/policy.ts';
import type { Catalog, Relation, RelationKind } from '../../protocols/postgres/sql/catalog.ts';
import type { ColumnInfo, ServerFacts } from './inspect.ts';
import { PREFIX } from './names.ts';

/** Raised when the views or grants that come of the same policy and catalog change. */
const FORMAT = 1;
const GRANTABLE: ReadonlySet<RelationKind> = new Set(['table', 'view', 'matview', 'foreign']);
/** Foreign tables are left out unless they are named: they reach another server with a login that is not the session's. */
const READ_BY_DEFAULT: ReadonlySet<RelationKind> = new Set(['table', 'view', 'matview']);
const READ_ALL: TableGrant = new Map([['select', 'all']]);
const SYSTEM_SCHEMA = /^(pg_|information_schema$)/;

export interface ViewColumn extends ColumnInfo {
  /** Undefined: shown as it is. */
  readonly mask: MaskKind | undefined;
}

/** Privilege → columns; `all`: the whole table, columns to come included. */
export type Granted = ReadonlyMap<Privilege, 'all' | readonly string[]>;

export interface TableLayout {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** On the table itself; never reading a sensitive column. */
  readonly granted: Granted;
  /** Where something of it is sensitive and may be read: what the masked view shows, and what may be written through it. */
  readonly view?: { readonly columns: readonly ViewColumn[]; readonly granted: Granted };
}

export interface Layout {
  readonly fingerprint: string;
  readonly tables: readonly TableLayout[];
  /** Schemas of which tables have masked views. */
  readonly maskedSchemas: readonly string[];
  readonly hashes: boolean;
  /** Sensitive columns anywhere, which no role of ours may read in place. */
  readonly sensitive: readonly { readonly oid: number; readonly column: number; readonly label: string }[];
}

export interface LayoutOptions {
  readonly catalog: Catalog;
  readonly plan: MaskPlan;
  readonly grants: ReadonlyMap<string, TableGrant> | undefined;
  readonly server: ServerFacts;
  readonly connection: string;
}

/** @throws Problem `cannot-mint`, in a sentence that names the table, column or right that is missing */
export function layoutOf(options: LayoutOptions): Layout {
  const { catalog, plan, server } = options;
  const sensitive = (relation: Relation, number: number): MaskKind | undefined => catalog.maskFor(relation.oid, number, plan)?.mask;
  const tables = chosen(options).flatMap(([relation, grant]) => {
    const columns = relation.columns.flatMap((column): readonly ViewColumn[] => {
      const info = server.columns.get(relation.oid)?.find(({ number }) => number === column.number);
      return info ? [{ ...info, mask: sensitive(relation, column.number) }] : [];
    });
    const table = tableLayout(relation, grant, columns, options.connection);
    const missing = missingRight(table, columns, server);
    if (missing === undefined) return [table];
    // Without grants in the policy, what the admin login cannot pass on is not part of "every table".
    if (options.grants === undefined) return [];
    throw cannotMint(options.connection, missing);
  });
  const sensitiveColumns = [...catalog.relations()].flatMap((relation) => {
    // The views of ours show masks; catalogs that copy values are guarded by the server itself.
    if (relation.schema.startsWith(PREFIX) || SYSTEM_SCHEMA.test(relation.schema) || !GRANTABLE.has(relation.kind)) return [];
    return relation.columns.flatMap(({ number, name }) => {
      const mask = catalog.maskFor(relation.oid, number, plan);
      return mask && !server.extensionRelations.has(relation.oid)
        ? [{ oid: relation.oid, column: number, label: `${relation.schema}.${relation.name}.${name}` }]
        : [];
    });
  });
  const hashes = tables.some((table) => table.view?.columns.some(({ mask, type }) => mask === 'hash' && type !== 'other'));
  const hash = createHash('sha256').update(
    JSON.stringify([FORMAT, tables, server.utf8], (_key, value: unknown) => (value instanceof Map ? [...value] : value)),
  );
  return {
    fingerprint: hash.digest('hex'),
    tables,
    maskedSchemas: [...new Set(tables.filter(({ view }) => view).map(({ schema }) => schema))].sort(
      (a, b) => Number(b === 'public') - Number(a === 'public') || (a < b ? -1 : 1),
    ),
    hashes,
    sensitive: sensitiveColumns,
  };
}

export function cannotMint(connection: string, sentence: string): Problem {
  return new Problem('cannot-mint', `${connection}: no role can be made for this session. ${sentence}`);
}

function chosen({ catalog, connection, grants }: LayoutOptions): readonly (readonly [Relation, TableGrant])[] {
  if (grants === undefined) {
    return (
      [...catalog.relations()]
        .filter(({ kind, schema }) => READ_BY_DEFAULT.has(kind) && !SYSTEM_SCHEMA.test(schema) && !schema.startsWith(PREFIX))
        // The server gives them in no order of its own, and the same tables must make the same layout.
        .sort((x, y) => x.oid - y.oid)
        .map((relation) => [relation, READ_ALL])
    );
  }
  return [...grants].map(([key, grant]) => {
    const dot = key.indexOf('.');
    const schema = key.slice(0, dot);
    const relation = catalog.findRelation(schema, key.slice(dot + 1), []);
    if (!relation || !GRANTABLE.has(relation.kind) || SYSTEM_SCHEMA.test(schema) || schema.startsWith(PREFIX)) {
      throw cannotMint(
        connection,
        `The policy grants ${key}, which is not a table of this database. Correct \`credential: { grants: … }\`; spelling and case must be the server's.`,
      );
    }
    return [relation, grant];
  });
}

function tableLayout(relation: Relation, grant: TableGrant, columns: readonly ViewColumn[], connection: string): TableLayout {
  const { oid, schema, name } = relation;
  const known = new Set(columns.map((column) => column.name));
  for (const named of grant.values()) {
    const unknown = named === 'all' ? undefined : named.find((column) => !known.has(column));
    if (unknown !== undefined) {
      throw cannotMint(
        connection,
        `The policy grants ${schema}.${name}.${unknown}, which is not a column of that table. Correct \`credential: { grants: … }\`.`,
      );
    }
  }
  if (columns.every(({ mask }) => mask === undefined)) return { oid, schema, name, granted: grant };

  const named = (privilege: Privilege): readonly string[] | undefined => {
    const wanted = grant.get(privilege);
    if (wanted === undefined) return undefined;
    if (wanted !== 'all') return columns.map((c) => c.name).filter((c) => wanted.includes(c));
    // Everything, but a sensitive column is written only where policy names it.
    return columns.filter(({ mask }) => privilege === 'select' || mask === undefined).map((c) => c.name);
  };
  const plain = new Set(columns.filter(({ mask }) => mask === undefined).map((column) => column.name));
  const readable = named('select');
  const shown = columns.filter((column) => readable?.includes(column.name));
  const onTable = new Map<Privilege, 'all' | readonly string[]>();
  const onView = new Map<Privilege, 'all' | readonly string[]>();
  const add = (to: Map<Privilege, 'all' | readonly string[]>, privilege: Privilege, list: readonly string[] | undefined): void => {
    if (list && list.length > 0) to.set(privilege, list);
  };
  add(
    onTable,
    'select',
    readable?.filter((column) => plain.has(column)),
  );
  for (const privilege of ['insert', 'update'] as const) {
    const list = named(privilege);
    add(onTable, privilege, list);
    add(
      onView,
      privilege,
      list?.filter((column) => plain.has(column) && readable?.includes(column)),
    );
  }
  if (grant.has('delete')) {
    onTable.set('delete', 'all');
    onView.set('delete', 'all');
  }
  return { oid, schema, name, granted: onTable, ...(shown.length > 0 && { view: { columns: shown, granted: onView } }) };
}

/** Which right to a table the admin login has not, or cannot pass on. */
function missingRight(table: TableLayout, columns: readonly ViewColumn[], server: ServerFacts): string | undefined {
  const name = `${table.schema}.${table.name}`;
  if (!server.usableSchemas.has(table.schema)) {
    return `The login ${server.user} may not pass on the use of schema ${table.schema}. Run: GRANT USAGE ON SCHEMA ${table.schema} TO ${server.user} WITH GRANT OPTION.`;
  }
  const needed = new Map<Privilege, Set<string>>();
  const need = (privilege: Privilege, list: 'all' | readonly string[]): void => {
    const set = needed.get(privilege) ?? new Set();
    needed.set(privilege, set);
    for (const column of list === 'all' ? columns.map((c) => c.name) : list) set.add(column);
  };
  for (const [privilege, list] of table.granted) need(privilege, list);
  if (table.view)
    need(
      'select',
      table.view.columns.map((column) => column.name),
    );
  for (const [privilege, list] of needed) {
    const whole = server.grantable.get(table.oid)?.has(privilege) ?? false;
    if (
      whole ||
      (privilege !== 'delete' &&
        table.granted.get(privilege) !== 'all' &&
        [...list].every((one) => columns.find((c) => c.name === one)?.grantable.has(privilege)))
    )
      continue;
    const right = privilege.toUpperCase();
    return `The login ${server.user} may not pass on ${right} on ${name}. Make it the table's owner, or run: GRANT ${right} ON ${name} TO ${server.user} WITH GRANT OPTION.`;
  }
  return undefined;
}
