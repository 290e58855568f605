/**
 * A call of every function, operator and cast that the server has, with a sensitive column in each place where one fits: what
 * the server itself lists, so that nobody has to think of it.
 */
import type { Client } from 'pg';
import { SECRET_COLUMNS } from './worlds.ts';

/** What stands in the other places, by type. What is not here is a NULL of the type, which many functions make a NULL of. */
const VALUES: Readonly<Record<string, string>> = {
  text: "'a'",
  varchar: "'a'",
  bpchar: "'a'",
  name: "'a'",
  cstring: "'a'",
  char: "'a'",
  int2: '1',
  int4: '1',
  int8: '1',
  oid: '1',
  numeric: '2',
  float4: '1.5',
  float8: '1.5',
  bool: 'true',
  bytea: "'\\x6162'",
  json: `'{"k": [1, "a"]}'`,
  jsonb: `'{"k": [1, "a"]}'`,
  jsonpath: "'$.*'",
  xml: "'<r><b>1</b></r>'",
  _text: "'{a,b}'",
  _int4: "'{1,2}'",
  _int8: "'{1,2}'",
  _float8: "'{0.1,0.5}'",
  anyarray: "array['a', 'b']",
  anycompatiblearray: "array['a', 'b']",
  any: "'a'",
  anyelement: "'a'::text",
  anycompatible: "'a'::text",
  anynonarray: "'a'::text",
  anyrange: "'[1,5)'::int4range",
  inet: "'10.0.0.1'",
  cidr: "'10.0.0.0/8'",
  macaddr: "'08:00:2b:01:02:03'",
  macaddr8: "'08:00:2b:01:02:03:04:05'",
  uuid: "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
  tsvector: "'a:1 b:2'",
  tsquery: "'a'",
  regconfig: "'simple'",
  regdictionary: "'simple'",
  regclass: "'plain'",
  date: "'2020-01-02'",
  time: "'10:00'",
  timetz: "'10:00+00'",
  timestamp: "'2020-01-02'",
  timestamptz: "'2020-01-02 00:00+00'",
  interval: "'1 day'",
  bit: "B'1'",
  varbit: "B'101'",
  point: "'(1,2)'",
  box: "'(1,2),(0,0)'",
  lseg: "'[(1,2),(0,0)]'",
  line: "'{1,2,3}'",
  path: "'[(1,2),(0,0)]'",
  polygon: "'((1,2),(0,0),(3,4))'",
  circle: "'<(1,2),3>'",
  int4range: "'[1,5)'",
  money: "'1'",
};
/** Where secrets are, for what reads by itself what it is told of. */
const POINTING: Readonly<Record<string, string>> = {
  text: "'select word, num, raw from people'",
  name: "'people'",
  regclass: "'people'",
  oid: "'people'::regclass",
  refcursor: "'cu'",
  regtype: "'people'",
  regnamespace: "'public'",
  cstring: "'select word from people'",
  int8: '0',
  int4: '1',
};
/** Types that take whatever is given to them. */
const ANYTHING = /^any/;
const NUMBERS = /^(int2|oid|xid|xid8|cid|money|float4|time|timetz|bit|char|pg_lsn|numrange|int8range)$/;
/** Would wait, end other sessions, or reach what is not this database's. */
const LEAVE =
  /sleep|terminate_backend|cancel_backend|promote|rotate_logfile|wait|binary_upgrade|advisory|lo_export|create_logical|create_physical|copy_\w+slot|drop_replication|switch_wal|backup|import_system|reload_conf|stat_reset|replay/;

interface Routine {
  readonly name: string;
  readonly kind: 'f' | 'a' | 'w' | 'p';
  readonly set: boolean;
  readonly args: readonly string[];
  readonly direct: number;
  readonly aggregate: string;
}

export interface Call {
  readonly sql: string;
  /** May only be run where everything is allowed: it asks about values on purpose. */
  readonly asks: boolean;
  readonly of: string;
}

const byType = new Map(Object.entries(SECRET_COLUMNS).map(([column, type]) => [type, `p.${column}`]));

/** A sensitive value of a type: a column, or one made into it. */
function secret(type: string): string {
  const column = byType.get(type);
  if (column !== undefined) return column;
  if (type === 'anyarray' || type === 'anycompatiblearray') return 'p.words';
  if (type === 'anyrange' || type === 'anycompatiblerange') return 'p.rng';
  if (type === '"any"' || ANYTHING.test(type) || type === 'record') return type === 'record' ? 'p' : 'p.word';
  if (type === 'timestamp') return 'p.seen::timestamp';
  if (type === 'tsquery') return 'plainto_tsquery(p.word)';
  return NUMBERS.test(type) ? `p.pin::text::${type}` : `p.word::${type}`;
}

function other(type: string): string {
  const value = VALUES[type];
  if (type === '"any"') return "'a'";
  if (value === undefined) return `null::${type}`;
  return ANYTHING.test(type) ? value : `${value}::${type === 'char' ? '"char"' : type}`;
}

const FROM = 'from people p where p.id < 3';

function around(value: string, of: string, nest: string): Call[] {
  return [
    { of, asks: false, sql: `select ${value} ${FROM}` },
    {
      of,
      asks: false,
      sql: `select (${value})::text, array[${value}], row(${value}), ${nest}((${value})::text), case when p.id = 1 then ${value} end, coalesce(${value}, null) ${FROM}`,
    },
    { of, asks: false, sql: `select x.y from people p, lateral (select ${value} as y) x where p.id < 3` },
    { of, asks: false, sql: `select count(${value}), count(*) filter (where (${value}) is not null) ${FROM}` },
  ];
}

function calls(routine: Routine, args: readonly string[], nest: string): Call[] {
  const of = `${routine.name}(${routine.args.join(', ')})`;
  const name = `pg_catalog."${routine.name}"`;
  const plain = `${name}(${args.join(', ')})`;
  if (routine.kind === 'p') return [];
  if (routine.kind === 'a') {
    const call =
      routine.aggregate === 'n'
        ? plain
        : `${name}(${args.slice(0, routine.direct).join(', ')}) within group (order by ${args.slice(routine.direct).join(', ') || '1'})`;
    const more: Call[] =
      routine.aggregate === 'n'
        ? [
            { of, asks: false, sql: `select ${plain} over (order by p.id rows between 1 preceding and current row) ${FROM}` },
            { of, asks: true, sql: `select ${name}(distinct ${args.join(', ')}) filter (where p.word > 'a') ${FROM}` },
          ]
        : [];
    return [
      { of, asks: false, sql: `select ${call} ${FROM}` },
      { of, asks: false, sql: `select (${call})::text, ${nest}((${call})::text), row(${call}) ${FROM}` },
      { of, asks: false, sql: `select x.* from (select p.city, ${call} as y from people p where p.id < 3 group by p.city) x` },
      ...more,
    ];
  }
  if (routine.kind === 'w')
    return [
      { of, asks: false, sql: `select ${plain} over (order by p.id) ${FROM}` },
      { of, asks: false, sql: `select (${plain} over w)::text, row(${plain} over w) ${FROM} window w as (partition by p.city order by p.id)` },
    ];
  const inFrom: Call[] = [
    { of, asks: false, sql: `select x.* from people p, lateral ${plain} x where p.id < 3` },
    { of, asks: false, sql: `select x, to_jsonb(x) from people p, lateral ${plain} with ordinality x where p.id < 3` },
  ];
  return [
    ...around(plain, of, nest),
    ...inFrom,
    { of, asks: true, sql: `select count(*), min((${plain})::text) ${FROM} group by ${plain} having count(*) > 0 order by ${plain}` },
    { of, asks: true, sql: `select p.name ${FROM} order by ${plain}` },
  ];
}

/** Every call, a place at a time, and one with a sensitive column everywhere. */
export async function sweep(client: Client, pick: <T>(from: readonly T[]) => T): Promise<Call[]> {
  const { rows: routines } = await client.query<{ name: string; kind: Routine['kind']; set: boolean; args: string[]; direct: number; aggregate: string }>(`
    select p.proname as name, p.prokind as kind, p.proretset as set,
      array(select t.typname::text from unnest(p.proargtypes) with ordinality a(oid, n) join pg_type t on t.oid = a.oid order by n) as args,
      coalesce(a.aggnumdirectargs, 0) as direct, coalesce(a.aggkind::text, 'n') as aggregate
    from pg_proc p left join pg_aggregate a on a.aggfnoid = p.oid where p.pronamespace = 'pg_catalog'::regnamespace and p.pronargs > 0
    order by p.proname, p.oid`);
  const nests = [
    'reverse',
    'md5',
    'to_json',
    'quote_literal',
    'length',
    'ascii',
    'upper',
    'to_tsvector',
    'hashtext',
    'concat',
    'convert_to',
    'json_build_array',
  ];
  const found: Call[] = [];
  for (const routine of routines) {
    if (LEAVE.test(routine.name) || routine.args.includes('internal')) continue;
    const fixed = routine.args.map((type) => (type === 'any' ? '"any"' : type));
    const each = fixed.map((_, at) => fixed.map((type, i) => (i === at ? secret(type) : other(type))));
    const all = fixed.length > 1 ? [fixed.map(secret)] : [];
    for (const args of [...each, ...all]) found.push(...calls(routine, args, pick(nests)));
  }
  found.push(...(await pointing(client)), ...(await operators(client, pick(nests))), ...(await casts(client)));
  return found;
}

/** Calls that hold no value and may bring one. */
async function pointing(client: Client): Promise<Call[]> {
  const { rows } = await client.query<{ name: string; args: string[] }>(`
    select p.proname as name, array(select t.typname::text from unnest(p.proargtypes) with ordinality a(oid, n) join pg_type t on t.oid = a.oid order by n) as args
    from pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.prokind = 'f' and not 'internal'::regtype = any (p.proargtypes::oid[]) order by p.proname, p.oid`);
  return rows.flatMap(({ args, name }) => {
    if (LEAVE.test(name)) return [];
    const of = `${name}(${args.join(', ')}), pointing`;
    const call = `pg_catalog."${name}"(${args.map((type) => POINTING[type] ?? other(type === 'any' ? '"any"' : type)).join(', ')})`;
    return [
      { of, asks: true, sql: `select ${call}` },
      { of, asks: true, sql: `select x, x::text from ${call} x` },
    ];
  });
}

async function operators(client: Client, nest: string): Promise<Call[]> {
  const { rows } = await client.query<{ name: string; l: string | null; r: string }>(`
    select o.oprname as name, l.typname::text as l, r.typname::text as r from pg_operator o left join pg_type l on l.oid = o.oprleft join pg_type r on r.oid = o.oprright
    where o.oprnamespace = 'pg_catalog'::regnamespace order by o.oid`);
  return rows.flatMap(({ l, name, r }) => {
    const of = `${l ?? ''} ${name} ${r}`;
    const written = `operator(pg_catalog.${name})`;
    const values =
      l === null
        ? [`${written} ${secret(r)}`]
        : [`${secret(l)} ${written} ${other(r)}`, `${other(l)} ${written} ${secret(r)}`, `${secret(l)} ${name} ${secret(r)}`];
    return values.flatMap((value) => [
      ...around(`(${value})`, of, nest),
      { of, asks: true, sql: `select count(*) ${FROM} and (${value}) is not null group by (${value})` },
      { of, asks: false, sql: `select case when (${value}) is null then 1 else 2 end, nullif((${value})::text, 'x') ${FROM}` },
    ]);
  });
}

/** Every sensitive column as every type, in each way in which a cast is written. */
async function casts(client: Client): Promise<Call[]> {
  const { rows } = await client.query<{ name: string }>(`
    select format_type(t.oid, null) as name from pg_type t where t.typtype in ('b', 'd', 'e', 'r', 'm', 'p', 'c') and (t.typrelid = 0 or t.typnamespace <> 'pg_catalog'::regnamespace)
      and t.typnamespace <> 'information_schema'::regnamespace`);
  return rows.flatMap(({ name }) =>
    Object.keys(SECRET_COLUMNS).flatMap((column): Call[] => {
      const of = `${column}::${name}`;
      const calls: Call[] = [
        { of, asks: false, sql: `select p.${column}::${name} ${FROM}` },
        { of, asks: false, sql: `select p.${column}::text::${name}, array[p.${column}::text]::${name.endsWith('[]') ? name : `${name}[]`} ${FROM}` },
      ];
      if (/^\w+$/.test(name)) calls.push({ of, asks: false, sql: `select "${name}"(p.${column}) ${FROM}` });
      return calls;
    }),
  );
}

/** Everything that the server shows of itself. */
export async function shownByServer(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(`
    select format('%I.%I', n.nspname, c.relname) as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('pg_catalog', 'information_schema') and c.relkind in ('r', 'v') order by 1`);
  return rows.flatMap(({ name }) => [`select * from ${name}`, `select x::text from ${name} x`]);
}
