/** The queries behind `loadCatalog`: PostgreSQL 12 and later, readable by any role. */
import type { Attribute, CatalogRows, Relation, RelationKind, Routine } from './catalog.ts';

type Query = (sql: string) => Promise<(string | null)[][]>;

/** Below it is what `initdb` has made. */
export const FIRST_NORMAL_OID = 16_384;

/** Longest that reading waits for a lock of somebody else's, and that one of its statements may take, in milliseconds. */
const LOCK_MS = 250;
const STATEMENT_MS = 20_000;

/** Stands for a definition that could not be read because of a lock. It is no SQL: what it stands for is not understood. */
export const UNREAD = 'unread: locked';

/** Relations that nobody else may look at now, be it that somebody waits for that. */
const LOCKED = `select l.relation from pg_locks l where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and l.pid is distinct from pg_backend_pid()
  and l.database in (0, (select d.oid from pg_database d where d.datname = current_database()))`;

/** Writing a definition out locks what it speaks of, and waits where that is locked. What is locked is left out then. */
interface Guard {
  readonly relation: (oid: string) => string;
  readonly dependent: (catalog: 'pg_rewrite' | 'pg_proc', oid: string) => string;
}
const GUARDED: Guard = {
  relation: (oid) => `when ${oid} in (${LOCKED}) then '${UNREAD}'`,
  dependent: (catalog, oid) =>
    `when ${oid} in (select d.objid from pg_depend d where d.classid = '${catalog}'::regclass and d.refclassid = 'pg_class'::regclass and d.refobjid in (${LOCKED})) then '${UNREAD}'`,
};
const UNGUARDED: Guard = { relation: () => '', dependent: () => '' };

const RELATIONS = (from: number, guard: Guard): string => `
select c.oid, n.nspname, c.relname, c.relkind, c.relhastriggers and exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal),
  case when c.relkind not in ('v', 'm') or n.nspname in ('pg_catalog', 'information_schema') then null ${guard.relation('c.oid')}
    ${guard.dependent('pg_rewrite', 'v.oid')} else pg_get_viewdef(c.oid) end
from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_rewrite v on v.ev_class = c.oid and v.ev_type = '1'
where c.relkind not in ('i', 'I') and c.oid >= ${from}`;

/** A domain over a domain is taken for one over a row. */
const ATTRIBUTES = (from: number, guard: Guard): string => `
select a.attrelid, a.attnum, a.attname, a.atttypid, a.attnotnull,
  case when a.attgenerated = '' then null ${guard.relation('d.adrelid')} else pg_get_expr(d.adbin, d.adrelid) end,
  t.typtype = 'c' or t.typtype = 'd' and b.typtype in ('c', 'd'),
  case when a.attgenerated <> '' then null ${guard.relation('d.adrelid')} else coalesce(pg_get_expr(d.adbin, d.adrelid), pg_get_expr(t.typdefaultbin, 0)) end
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_type t on t.oid = a.atttypid left join pg_type b on b.oid = t.typbasetype
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and c.relkind not in ('i', 'I', 't') and a.attrelid >= ${from}`;

const RULES = (from: number, guard: Guard): string => `
select r.ev_class, r.ev_type, case when false then null ${guard.relation('r.ev_class')} ${guard.dependent('pg_rewrite', 'r.oid')} else pg_get_ruledef(r.oid) end
from pg_rewrite r where r.ev_type in ('2', '3', '4') and r.ev_class >= ${from}`;

/** An aggregate is as volatile as the functions it is made of. */
const ROUTINES = (version: number, from: number, guard: Guard): string => `
select p.oid, n.nspname, p.proname, p.prokind,
  case when exists (select from pg_aggregate a join pg_proc f on f.oid in (a.aggtransfn, a.aggfinalfn, a.aggmtransfn, a.aggmfinalfn)
    where a.aggfnoid = p.oid and f.provolatile = 'v') then 'v' else p.provolatile end,
  l.lanname, p.prosecdef, p.proretset, coalesce(nullif(t.typrelid, 0), e.typrelid, 0), p.pronargs, p.pronargdefaults, p.provariadic <> 0,
  array_to_json(p.proargmodes), array_to_json(p.proargnames),
  case when n.nspname in ('pg_catalog', 'information_schema') or l.lanname <> 'sql' or p.prokind = 'a' then null
    ${guard.dependent('pg_proc', 'p.oid')} else ${version >= 140000 ? 'coalesce(pg_get_function_sqlbody(p.oid), p.prosrc)' : 'p.prosrc'} end,
  case when l.lanname = 'plpgsql' and p.prokind in ('f', 'p') then pg_get_functiondef(p.oid) end,
  (select substr(c, 13) from unnest(p.proconfig) c where c like 'search_path=%'),
  t.typtype = 'p' and t.typname in ('record', 'anyelement', 'anyarray', 'anycompatible', 'anycompatiblearray'),
  case when p.prokind = 'a' and n.nspname <> 'pg_catalog' then (select array_to_json(array[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
    a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]::int8[]) from pg_aggregate a where a.aggfnoid = p.oid) end
from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
join pg_type t on t.oid = p.prorettype left join pg_type e on e.oid = t.typelem and t.typlen = -1
where p.oid >= ${from}`;

/** Operators that need a look at the function behind them: extensions' compiled ones that change nothing are left out. */
const OPERATORS = `
select n.nspname, o.oprname, p.oid from pg_operator o join pg_namespace n on n.oid = o.oprnamespace
join pg_proc p on p.oid = o.oprcode join pg_language l on l.oid = p.prolang
where n.nspname <> 'pg_catalog' and (p.provolatile = 'v' or l.lanname not in ('c', 'internal'))`;

const OPERATOR_NAMES = 'select distinct oprname from pg_operator';

const TYPES = `select n.nspname = 'pg_catalog', t.typname from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.typrelid = 0 or n.nspname <> 'pg_catalog'`;

interface Asked {
  readonly sql: string;
  readonly columns: number;
}

/** @param from the lowest OID of what is asked for, where there is much below it that never changes */
const asked = (version: number, from: number, guard: Guard) =>
  ({
    relation: { sql: RELATIONS(from, guard), columns: 6 },
    attribute: { sql: ATTRIBUTES(from, guard), columns: 8 },
    rule: { sql: RULES(from, guard), columns: 3 },
    routine: { sql: ROUTINES(version, from, guard), columns: 19 },
    operator: { sql: OPERATORS, columns: 3 },
    operatorName: { sql: OPERATOR_NAMES, columns: 1 },
    type: { sql: TYPES, columns: 2 },
    inheritance: { sql: 'select inhrelid, inhparent from pg_inherits', columns: 2 },
    schema: { sql: 'select nspname from pg_namespace', columns: 1 },
  }) satisfies Record<string, Asked>;
type RowKind = keyof ReturnType<typeof asked>;

/** Everything that the queries above read, and everything whose name a definition can hold. */
const READ_FROM = [
  'namespace',
  'class',
  'attribute',
  'attrdef',
  'rewrite',
  'trigger',
  'proc',
  'aggregate',
  'type',
  'language',
  'operator',
  'inherits',
  'collation',
  'ts_config',
  'ts_dict',
];

/** What a restart, or another server behind the same address, holds is never taken for the same. */
const WHO = `select session_user, current_setting('server_version_num'), pg_postmaster_start_time(), d.oid from pg_database d where d.datname = current_database()`;

/** Changes with every row that is written: a new version of a row has another transaction or another place. */
const FINGERPRINT = READ_FROM.map(
  (name) => `select '${name}' as relation, count(*), sum(hashtextextended(t.xmin::text || t.ctid::text, 0)) from pg_${name} t`,
).join(' union all ');

const RELATION_KINDS: Readonly<Record<string, RelationKind>> = {
  r: 'table',
  p: 'table',
  v: 'view',
  m: 'matview',
  f: 'foreign',
  S: 'sequence',
  c: 'composite',
  t: 'toast',
};
const VOLATILITIES: Readonly<Record<string, Routine['volatility']>> = { i: 'immutable', s: 'stable', v: 'volatile' };
const ROUTINE_KINDS: Readonly<Record<string, Routine['kind']>> = { f: 'function', p: 'procedure', a: 'aggregate', w: 'window' };
const RULE_EVENTS: Readonly<Record<string, 'insert' | 'update' | 'delete'>> = { '2': 'update', '3': 'insert', '4': 'delete' };

/** All of it in one statement, so that it is one snapshot: a kind, and a row as JSON. What `initdb` has made is left out. */
export function normalCatalogQuery(version: number): string {
  return Object.entries<Asked>(asked(version, FIRST_NORMAL_OID, UNGUARDED))
    .map(([kind, { columns, sql }]) => {
      const names = Array.from({ length: columns }, (_, i) => `c${i}`).join(', ');
      return `select '${kind}', row_to_json(x)::text from (${sql}) x(${names})`;
    })
    .join('\nunion all ');
}

/** What that gave, with what it left out of what was known before. */
export function normalCatalogRows(known: CatalogRows, answer: readonly (readonly (string | null)[])[]): CatalogRows {
  const kinds = Map.groupBy(answer, ([kind]) => kind);
  const rows = toRows((kind) => (kinds.get(kind) ?? []).map(([, json]) => Object.values(JSON.parse(json ?? '{}') as Record<string, unknown>).map(asText)));
  const system = ({ oid }: { readonly oid: number }): boolean => oid < FIRST_NORMAL_OID;
  return {
    ...rows,
    user: known.user,
    serverVersion: known.serverVersion,
    relations: [...known.relations.filter(system), ...rows.relations],
    routines: [...known.routines.filter(system), ...rows.routines],
  };
}

/** As the server itself writes it. */
function asText(value: unknown): string | null {
  if (value === null || typeof value === 'string') return value;
  return typeof value === 'boolean' ? (value ? 't' : 'f') : JSON.stringify(value);
}

function toRows(rowsOf: (kind: RowKind) => (string | null)[][]): Omit<CatalogRows, 'user' | 'serverVersion'> {
  const attributes = Map.groupBy(rowsOf('attribute'), (row) => Number(row[0]));
  const rules = Map.groupBy(rowsOf('rule'), (row) => Number(row[0]));
  const [builtin, types] = [true, false].map((wanted) => rowsOf('type').filter((row) => (row[0] === 't') === wanted));
  const names = (rows: readonly (string | null)[][] = [], at = 0): ReadonlySet<string> => new Set(rows.map((row) => row[at] ?? ''));
  const inOrder = (a: (string | null)[], b: (string | null)[]): number => Number(a[1]) - Number(b[1]);
  return {
    relations: rowsOf('relation').map((row) => toRelation(row, (attributes.get(Number(row[0])) ?? []).toSorted(inOrder), rules.get(Number(row[0])) ?? [])),
    routines: rowsOf('routine').map(toRoutine),
    inheritance: rowsOf('inheritance').map((row) => [Number(row[0]), Number(row[1])] as const),
    operators: rowsOf('operator').map((row) => ({ schema: row[0] ?? '', name: row[1] ?? '', routine: Number(row[2]) })),
    operatorNames: names(rowsOf('operatorName')),
    types: names(types, 1),
    builtinTypes: names(builtin, 1),
    schemas: names(rowsOf('schema')),
  };
}

/** What was read: whole, or without some definitions that were locked. */
export interface Read {
  readonly rows: CatalogRows;
  readonly fingerprint: string;
  readonly partial: boolean;
}

/**
 * @param known the fingerprint of what is known already
 * @param guarded leaves out what is locked, in place of waiting for it and failing
 * @returns undefined where what is known is still what there is
 */
export async function readCatalog(query: Query, known: string | undefined, guarded: boolean): Promise<Read | undefined> {
  await query('begin isolation level repeatable read read only');
  try {
    // pg_get_viewdef leaves out the schema of what is visible: with only pg_catalog visible, every other name is qualified.
    await query(`set local search_path = pg_catalog; set local lock_timeout = ${LOCK_MS}; set local statement_timeout = ${STATEMENT_MS}`);
    const [who] = await query(WHO);
    const prints = await query(`${FINGERPRINT} order by relation`);
    const fingerprint = JSON.stringify([who, prints]);
    // An answer without rows proves nothing.
    if (prints.length === READ_FROM.length && fingerprint === known) return undefined;
    const version = Number(who?.[1] ?? 0);
    const read = new Map<string, (string | null)[][]>();
    for (const [kind, { sql }] of Object.entries<Asked>(asked(version, 0, guarded ? GUARDED : UNGUARDED))) read.set(kind, await query(sql));
    const rows = { user: who?.[0] ?? '', serverVersion: version, ...toRows((kind) => read.get(kind) ?? []) };
    const partial = guarded && [...read.values()].some((all) => all.some((row) => row.includes(UNREAD)));
    return { rows, fingerprint, partial };
  } finally {
    await query('rollback');
  }
}

function toRelation(row: (string | null)[], attributes: (string | null)[][], rules: (string | null)[][]): Relation {
  return {
    oid: Number(row[0]),
    schema: row[1] ?? '',
    name: row[2] ?? '',
    // A kind that a later server invents is treated as a view that nothing is known of.
    kind: RELATION_KINDS[row[3] ?? ''] ?? 'view',
    triggers: row[4] === 't',
    columns: attributes.map(toAttribute),
    ...(row[5] !== null && row[5] !== undefined && { definition: row[5] }),
    rules: rules.flatMap((rule) => {
      const event = RULE_EVENTS[rule[1] ?? ''];
      return event ? [{ event, definition: rule[2] ?? '' }] : [];
    }),
  };
}

/** Of most defaults it is plain that they hold nothing of a table's. */
const PLAIN_DEFAULT = /^(nextval\('[^']*'::regclass\)|(now|gen_random_uuid|clock_timestamp)\(\))$/;

function toAttribute(row: (string | null)[]): Attribute {
  return {
    number: Number(row[1]),
    name: row[2] ?? '',
    type: Number(row[3]),
    notNull: row[4] === 't',
    ...(row[5] !== null && row[5] !== undefined && { generated: row[5] }),
    ...(row[6] !== 'f' && { composite: true as const }),
    ...((row[7] === UNREAD || row[7]?.includes('(')) && !PLAIN_DEFAULT.test(row[7]) && { default: row[7] }),
  };
}

function toRoutine(row: (string | null)[]): Routine {
  const [
    oid,
    schema,
    name,
    kind,
    volatility,
    language,
    definer,
    returnsSet,
    returnsRow,
    nargs,
    defaults,
    variadic,
    modes,
    names,
    body,
    definition,
    path,
    shapeless,
    parts,
  ] = row;
  const argModes = JSON.parse(modes ?? 'null') as string[] | null;
  const argNames = (JSON.parse(names ?? 'null') as string[] | null) ?? [];
  const outputs = argModes?.flatMap((mode, i) => (mode === 'o' || mode === 't' || mode === 'b' ? [argNames[i] || `column${i + 1}`] : []));
  const inputs = argModes ? argNames.filter((_, i) => argModes[i] === 'i' || argModes[i] === 'b' || argModes[i] === 'v') : argNames;
  const most = Number(nargs);
  return {
    oid: Number(oid),
    schema: schema ?? '',
    name: name ?? '',
    kind: ROUTINE_KINDS[kind ?? ''] ?? 'function',
    // Unheard-of volatility counts as the worst.
    volatility: VOLATILITIES[volatility ?? ''] ?? 'volatile',
    language: language ?? '',
    definer: definer === 't',
    returnsSet: returnsSet === 't',
    shapeless: shapeless === 't',
    searchPath: path === null || path === undefined ? undefined : path.split(',').map((part) => part.trim().replace(/^"(.*)"$/, '$1')),
    namesAtCall: language === 'sql' && volatility !== 'i' && !/^\s*(return|begin)\b/i.test(body ?? ''),
    returnsRow: Number(returnsRow),
    arity: variadic === 't' ? [Math.max(0, most - 1 - Number(defaults)), Number.POSITIVE_INFINITY] : [most - Number(defaults), most],
    inputs,
    outputs: outputs && outputs.length > 0 ? outputs : undefined,
    ...(body !== null && body !== undefined && { body }),
    ...(definition !== null && definition !== undefined && { definition }),
    ...(parts !== null && parts !== undefined && { parts: (JSON.parse(parts) as number[]).filter((part) => part !== 0) }),
  };
}
