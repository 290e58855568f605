/** What the server says of the admin login and of the tables that it may pass on. */
import type { Privilege } from '../../policy/policy.ts';
import { PRIVILEGES } from '../../policy/policy.ts';
import type { MaskableType } from './maskSql.ts';

export type Query = (sql: string) => Promise<readonly (readonly (string | null)[])[]>;

/** Of the admin login, read once a connection. */
export interface AdminFacts {
  readonly user: string;
  /** `server_version_num`: 180004. */
  readonly version: number;
  readonly superuser: boolean;
  readonly createsRoles: boolean;
  readonly createsSchemas: boolean;
  /** Whether everybody may connect to this database; otherwise each role must be let in. */
  readonly open: boolean;
  readonly database: string;
  readonly utf8: boolean;
  /** Epoch milliseconds of the server's clock. */
  readonly now: number;
}

export interface ColumnInfo {
  readonly number: number;
  readonly name: string;
  readonly type: MaskableType;
  /** As SQL. */
  readonly sqlType: string;
  /** What the admin login may pass on of this column. */
  readonly grantable: ReadonlySet<Privilege>;
}

export interface ServerFacts {
  readonly user: string;
  readonly version: number;
  readonly utf8: boolean;
  /** Relation → its columns in order. */
  readonly columns: ReadonlyMap<number, readonly ColumnInfo[]>;
  /** Relation → what the admin login may pass on of the whole. */
  readonly grantable: ReadonlyMap<number, ReadonlySet<Privilege>>;
  /** Schemas of which everybody has the use, or the admin login may pass it on. */
  readonly usableSchemas: ReadonlySet<string>;
  readonly extensionRelations: ReadonlySet<number>;
  /** SECURITY DEFINER functions that every role may call: they do what their owners may do. */
  readonly definers: readonly string[];
}

export async function inspectAdmin(query: Query): Promise<AdminFacts> {
  const [row] = await query(`select current_user, current_setting('server_version_num'), r.rolsuper, r.rolcreaterole,
    has_database_privilege(current_database(), 'create'),
    exists (select from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where d.datname = current_database() and a.grantee = 0 and a.privilege_type = 'CONNECT'),
    current_database(), current_setting('server_encoding') = 'UTF8', (extract(epoch from clock_timestamp()) * 1000)::bigint
    from pg_roles r where r.rolname = current_user`);
  const yes = (i: number): boolean => row?.[i] === 't';
  return {
    user: row?.[0] ?? '',
    version: Number(row?.[1]),
    superuser: yes(2),
    createsRoles: yes(2) || yes(3),
    createsSchemas: yes(4),
    open: yes(5),
    database: row?.[6] ?? '',
    utf8: yes(7),
    now: Number(row?.[8]),
  };
}

const flags = (test: (privilege: string) => string, privileges: readonly Privilege[]): string =>
  `concat(${privileges.map((privilege) => `case when ${test(`'${privilege} with grant option'`)} then '${privilege} ' end`).join(', ')})`;

const NOT_SYSTEM = `n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relkind in ('r', 'p', 'v', 'm', 'f')`;

/** Everything a layout needs beside the catalog. */
export async function inspectServer(query: Query, admin: AdminFacts): Promise<ServerFacts> {
  const columns = new Map<number, ColumnInfo[]>();
  for (const [oid, number, name, type, sqlType, grantable] of await query(`
    select a.attrelid, a.attnum, a.attname,
      case when base.typcategory = 'S' then 'text' when base.typname in ('json', 'jsonb') and base.typnamespace = 'pg_catalog'::regnamespace then base.typname else 'other' end,
      format_type(a.atttypid, a.atttypmod),
      ${flags((p) => `has_column_privilege(a.attrelid, a.attnum, ${p})`, ['select', 'insert', 'update'])}
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    join pg_type t on t.oid = a.atttypid join pg_type base on base.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
    where a.attnum > 0 and not a.attisdropped and ${NOT_SYSTEM} order by a.attrelid, a.attnum`)) {
    const info: ColumnInfo = {
      number: Number(number),
      name: name ?? '',
      type: type === 'text' || type === 'json' || type === 'jsonb' ? type : 'other',
      sqlType: sqlType ?? 'text',
      grantable: privileges(grantable),
    };
    const known = columns.get(Number(oid));
    if (known) known.push(info);
    else columns.set(Number(oid), [info]);
  }
  const grantable = await query(
    `select c.oid, ${flags((p) => `has_table_privilege(c.oid, ${p})`, PRIVILEGES)}, exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
     from pg_class c join pg_namespace n on n.oid = c.relnamespace where ${NOT_SYSTEM}`,
  );
  const schemas = await query(`select n.nspname from pg_namespace n where has_schema_privilege(n.oid, 'usage with grant option')
    or exists (select from aclexplode(n.nspacl) a where a.grantee = 0 and a.privilege_type = 'USAGE')`);
  const definers = await query(`select n.nspname || '.' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.prosecdef and n.nspname <> 'pg_catalog'
    and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0 and a.privilege_type = 'EXECUTE')
    and exists (select from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a where a.grantee = 0 and a.privilege_type = 'USAGE')
    order by 1 limit 100`);
  return {
    user: admin.user,
    version: admin.version,
    utf8: admin.utf8,
    columns,
    grantable: new Map(grantable.map((row) => [Number(row[0]), privileges(row[1])])),
    usableSchemas: new Set(schemas.map((row) => row[0] ?? '')),
    extensionRelations: new Set(grantable.filter((row) => row[2] === 't').map((row) => Number(row[0]))),
    definers: definers.map((row) => row[0] ?? ''),
  };
}

function privileges(text: string | null | undefined): ReadonlySet<Privilege> {
  const words = (text ?? '').split(' ');
  return new Set(PRIVILEGES.filter((privilege) => words.includes(privilege)));
}
