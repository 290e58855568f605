/** A layout as statements: the owner of the views, the role that carries the grants, the views, and how all of it goes. */
import type { Privilege } from '../../policy/policy.ts';
import type { AdminFacts } from './inspect.ts';
import type { Granted, Layout, TableLayout } from './layout.ts';
import { hashKeysSql, type MaskGround, maskSql } from './maskSql.ts';
import { identifier, literal, qualified, type RunNames, textArray } from './names.ts';

/** The first version in which a membership says by itself whether it can be inherited from, and whether SET ROLE may use it. */
export const MEMBERSHIP_OPTIONS = 160_000;
/** The first version with `gen_random_uuid` of its own. */
const RANDOM_UUID = 130_000;
/** Grants on one table by two proxies at a time fail with "tuple concurrently updated": layouts take turns. */
const LAYOUT_LOCK = 'select pg_advisory_xact_lock(4849273940284721017)';
const HARMLESS = 'nosuperuser nocreatedb nocreaterole nobypassrls noreplication';

/** A layout in place. */
export interface PlacedLayout {
  readonly layout: Layout;
  readonly owner: string;
  readonly grants: string;
  /** Schema of the masked views → schema of the tables that they stand for. */
  readonly standIns: ReadonlyMap<string, string>;
  /** As the value of `search_path`. */
  readonly searchPath: string;
}

export function placedLayout(layout: Layout, names: RunNames): PlacedLayout {
  const standIns = new Map(layout.maskedSchemas.map((schema, i) => [names.schema(layout.fingerprint, i), schema]));
  // A name without a schema means what it did, masked; after that, masked tables of other schemas.
  const first = [...standIns].filter(([, schema]) => schema === 'public').map(([stand]) => stand);
  const rest = [...standIns.keys()].filter((stand) => !first.includes(stand));
  return {
    layout,
    owner: names.role('owner', layout.fingerprint),
    grants: names.role('grants', layout.fingerprint),
    standIns,
    searchPath: [...first, 'public', ...rest].map(identifier).join(', '),
  };
}

/** One transaction. */
export function createLayoutSql(placed: PlacedLayout, admin: AdminFacts): string {
  const { grants, layout, owner, standIns } = placed;
  const [keySchema] = standIns.keys();
  const keys = layout.hashes && keySchema !== undefined && admin.version >= RANDOM_UUID ? `${identifier(keySchema)}.hash_keys` : undefined;
  const ground: MaskGround = { utf8: admin.utf8, keys };
  const mayBecome = admin.superuser || admin.version >= MEMBERSHIP_OPTIONS ? [] : [`grant ${identifier(owner)}, ${identifier(grants)} to current_user`];
  const statements = [
    'begin',
    LAYOUT_LOCK,
    `create role ${identifier(owner)} nologin noinherit ${HARMLESS}`,
    `create role ${identifier(grants)} nologin noinherit ${HARMLESS}`,
    ...mayBecome,
    ...(admin.open ? [] : [`grant connect on database ${identifier(admin.database)} to ${identifier(grants)}`]),
  ];
  for (const stand of standIns.keys()) {
    statements.push(`create schema ${identifier(stand)} authorization ${identifier(owner)}`);
    statements.push(`grant usage on schema ${identifier(stand)} to ${identifier(grants)}`);
  }
  if (keys !== undefined) statements.push(hashKeysSql(keys), `alter table ${keys} owner to ${identifier(owner)}`);
  for (const schema of new Set(layout.tables.map((table) => table.schema))) {
    // What everybody has already need not be granted, and perhaps cannot be.
    const use = `has_schema_privilege(${literal(grants)}, ${literal(schema)}, 'usage')`;
    statements.push(block(`begin if not ${use} then grant usage on schema ${identifier(schema)} to ${identifier(grants)}; end if; end`));
  }
  const stands = new Map([...standIns].map(([stand, schema]) => [schema, stand]));
  for (const table of layout.tables) {
    statements.push(...grantSql(qualified(table), table.granted, grants));
    if (table.granted.has('insert')) statements.push(sequencesSql(table, grants));
    const stand = stands.get(table.schema);
    if (table.view && stand !== undefined) statements.push(...viewSql(table, table.view, stand, placed, ground));
  }
  statements.push('commit');
  return statements.join(';\n');
}

function viewSql(
  table: TableLayout,
  { columns, granted }: NonNullable<TableLayout['view']>,
  stand: string,
  placed: PlacedLayout,
  ground: MaskGround,
): readonly string[] {
  const view = qualified({ schema: stand, name: table.name });
  const list = columns.map((column) => {
    const value = `t.${identifier(column.name)}`;
    return `${column.mask === undefined ? value : maskSql({ ...column, value }, column.mask, ground)} as ${identifier(column.name)}`;
  });
  const behind = new Map<Privilege, 'all' | readonly string[]>([...granted, ['select', columns.map((column) => column.name)]]);
  return [
    ...grantSql(qualified(table), behind, placed.owner),
    `create view ${view} with (security_barrier = true) as select ${list.join(',\n')} from ${qualified(table)} t`,
    `alter view ${view} owner to ${identifier(placed.owner)}`,
    ...grantSql(view, new Map([...granted, ['select', 'all']]), placed.grants),
  ];
}

function grantSql(on: string, granted: Granted, to: string): readonly string[] {
  return [...granted].map(
    ([privilege, columns]) => `grant ${privilege}${columns === 'all' ? '' : ` (${columns.map(identifier).join(', ')})`} on ${on} to ${identifier(to)}`,
  );
}

/** A serial column's default needs its sequence; one that the admin login cannot pass on fails at the insert, in the server's words. */
function sequencesSql({ oid }: TableLayout, grants: string): string {
  return block(`declare s regclass; begin
    for s in select d.objid from pg_depend d join pg_class c on c.oid = d.objid
      where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid = ${oid} and d.deptype = 'a'
        and case c.relkind when 'S' then has_sequence_privilege(c.oid, 'usage with grant option') else false end
    loop execute format('grant usage on sequence %s to %I', s, ${literal(grants)}); end loop; end`);
}

/** Between quotes that are escaped rather than dollars: names in it may hold dollars. */
function block(body: string): string {
  return `do${literal(body)}`;
}

/**
 * Takes layouts away: what they own, what was granted to them, themselves. Names that are gone are passed over. One
 * transaction.
 */
export function dropLayoutsSql(roles: readonly string[], schemas: readonly string[]): string {
  const body = `declare name text; begin
      foreach name in array ${textArray(schemas)} loop execute format('drop schema if exists %I cascade', name); end loop;
      for name in select rolname from pg_roles where rolname = any (${textArray(roles)}) loop
        execute format('drop owned by %I', name);
        execute format('drop role %I', name);
      end loop; end`;
  return `begin; ${LAYOUT_LOCK}; ${block(body)}; commit`;
}

/** @param validUntil epoch milliseconds of the server's clock */
export function createSessionRoleSql(role: string, verifier: string, validUntil: number, placed: PlacedLayout, version: number): string {
  const options = version >= MEMBERSHIP_OPTIONS;
  const { sensitive } = placed.layout;
  return [
    `create role ${identifier(role)} login ${options ? 'noinherit' : 'inherit'} ${HARMLESS} connection limit 1 valid until ${literal(new Date(validUntil).toISOString())} password ${literal(verifier)}`,
    `grant ${identifier(placed.grants)} to ${identifier(role)}${options ? ' with inherit true, set false' : ''}`,
    `alter role ${identifier(role)} set search_path = ${placed.searchPath}`,
    // What everybody was granted since the last look, a session's role would be granted, too.
    `select s.i from unnest('{${sensitive.map((s) => s.oid).join(',')}}'::oid[], '{${sensitive.map((s) => s.column).join(',')}}'::int2[]) with ordinality s (oid, number, i)
      where has_column_privilege(${literal(role)}, s.oid, s.number, 'select') order by 1 limit 1`,
  ].join(';\n');
}
