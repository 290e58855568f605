/**
 * Whether a statement can be undone: what a roll-back does not take back, or what could do more than change rows, turns
 * the dry run off. Asked of the server inside the dry run's own transaction, of every relation that the statement would
 * change: the target, its partitions and children, and what foreign keys would change with it.
 */

import type { DryRunLink } from './dryRunLink.ts';
import { cannot, type DryRunText } from './dryRunText.ts';
import { readRow } from './ownQueries.ts';

/** Most rows that the planner may expect to change: each is locked until the roll-back, and leaves a dead row behind. */
const MAX_EXPECTED_ROWS = 50_000;

/** Bits of `pg_trigger.tgtype`. */
const TRIGGER = { insert: 4, delete: 8, update: 16 } as const;

export interface Checked {
  /** Columns of the target's primary key; empty where it has none. */
  readonly key: readonly string[];
}

/** @throws Problem `no-dry-run` with the reason */
export async function checkHarmless(link: DryRunLink, text: DryRunText, target: number, read: readonly number[]): Promise<Checked> {
  const key: string[] = [];
  const defaults: { readonly column: string; readonly what: string }[] = [];
  const found: { readonly what: string; readonly relation: string; readonly name: string }[] = [];
  await link.simple(checksSql(text, target, read), (row) => {
    const [what = '', relation = '', name = ''] = readRow(row).map((value) => value ?? '');
    if (what === 'key') key.push(name);
    else if (what.startsWith('default-')) defaults.push({ column: name, what });
    else found.push({ what, relation, name });
  });
  const [first] = found;
  if (first) throw cannot(reason(first.what, first.relation.replace(/^public\./, ''), first.name));
  const { given } = text;
  if (given !== 'all') {
    const used = defaults.find(({ column }) => !given.has(column));
    if (used?.what === 'default-sequence') throw cannot(`the column ${used.column} takes its value from a sequence, and a roll-back does not put that back`);
    if (used) throw cannot(`the default of the column ${used.column} calls a function that could do more than a roll-back takes back`);
  }
  return { key };
}

function reason(what: string, relation: string, name: string): string {
  switch (what) {
    case 'kind':
      return `${relation} is not a plain table`;
    case 'foreign':
      return `${relation} is a foreign table: what is done on another server may not be taken back`;
    case 'trigger':
      return `${relation} has the trigger ${name}, which could do more than a roll-back takes back`;
    case 'rule':
      return `${relation} has the rule ${name}, which turns the statement into others`;
    case 'rls':
      return `row security is on for ${relation}, and its policies may call functions`;
    case 'set-default':
      return `the foreign key ${name} of ${relation} would set defaults`;
    default:
      return `${relation} uses the ${name}, which could do more than a roll-back takes back`;
  }
}

/** Names are qualified throughout: it is read with nothing but `pg_catalog` in the search path. */
function checksSql({ given, updates, verb }: DryRunText, target: number, read: readonly number[]): string {
  const cascades = verb === 'insert' && !updates ? 'false' : "(confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))";
  const events = verb === 'insert' ? TRIGGER.insert | (updates ? TRIGGER.update : 0) : TRIGGER[verb];
  const every = TRIGGER.insert | TRIGGER.update | TRIGGER.delete;
  return `
with recursive changed(oid) as (
  select ${target}::oid
  union
  select edge.child from changed join (
    select inhparent, inhrelid from pg_inherits
    union all select confrelid, conrelid from pg_constraint where contype = 'f' and ${cascades}
  ) edge(parent, child) on edge.parent = changed.oid
),
rel as (
  select c.oid, c.oid::regclass::text as name, c.relkind, c.oid in (select oid from changed) as changed
  from pg_class c
  where c.oid in (select oid from changed) or c.oid = any ('{${read.join()}}'::oid[])
),
types(rel, oid) as (
  select attrelid, atttypid from pg_attribute where attrelid in (select oid from changed) and attnum > 0 and not attisdropped
),
domains(rel, oid, base) as (
  select types.rel, t.oid, t.typbasetype from types join pg_type t on t.oid = types.oid where t.typtype = 'd'
  union
  select d.rel, t.oid, t.typbasetype from domains d join pg_type t on t.oid = d.base where t.typtype = 'd'
),
uses(rel, classid, objid) as (
  select conrelid, 'pg_constraint'::regclass::oid, oid from pg_constraint where conrelid in (select oid from changed) and contype in ('c', 'x')
  union all select indrelid, 'pg_class'::regclass::oid, indexrelid from pg_index where indrelid in (select oid from changed)
  union all select d.adrelid, 'pg_attrdef'::regclass::oid, d.oid from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
    where d.adrelid in (select oid from changed) and a.attgenerated <> ''
  union all select d.rel, 'pg_constraint'::regclass::oid, c.oid from domains d join pg_constraint c on c.contypid = d.oid
  union all select d.rel, 'pg_type'::regclass::oid, d.oid from domains d
)
select 'kind', name, '' from rel where oid = ${target}::oid and relkind not in ('r', 'p', 'f')
union all select 'foreign', name, '' from rel where relkind = 'f'
union all select 'trigger', rel.name, t.tgname::text from rel join pg_trigger t on t.tgrelid = rel.oid join pg_proc p on p.oid = t.tgfoid
  where rel.changed and not t.tgisinternal and t.tgenabled <> 'D' and p.pronamespace <> 'pg_catalog'::regnamespace
  and (t.tgtype::int & case when rel.oid = ${target}::oid and rel.relkind = 'r' then ${events} else ${every} end) <> 0
union all select 'rule', rel.name, r.rulename::text from rel join pg_rewrite r on r.ev_class = rel.oid where rel.changed and r.ev_type <> '1' and r.ev_enabled <> 'D'
union all select 'rls', name, '' from rel where relkind in ('r', 'p') and row_security_active(oid)
union all select 'set-default', rel.name, c.conname::text from rel join pg_constraint c on c.conrelid = rel.oid
  where rel.oid <> ${target}::oid and rel.changed and c.contype = 'f' and (c.confdeltype = 'd' or c.confupdtype = 'd') and ${cascades}
union all select 'function', rel.name, pg_describe_object(d.refclassid, d.refobjid, 0) from rel join uses on uses.rel = rel.oid
  join pg_depend d on d.classid = uses.classid and d.objid = uses.objid
  left join pg_class s on d.refclassid = 'pg_class'::regclass and s.oid = d.refobjid and s.relkind = 'S'
  where rel.changed and (d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass) or s.oid is not null)
union all select case when a.attidentity <> '' or pg_get_expr(ad.adbin, ad.adrelid) ~* 'nextval|setval' or s.oid is not null then 'default-sequence' else 'default-function' end, '', a.attname::text
  from pg_attribute a left join pg_attrdef ad on ad.adrelid = a.attrelid and ad.adnum = a.attnum and a.attgenerated = ''
  left join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = ad.oid and d.refclassid in ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_class'::regclass)
    and not (d.refclassid = 'pg_class'::regclass and d.refobjid = a.attrelid)
  left join pg_class s on d.refclassid = 'pg_class'::regclass and s.oid = d.refobjid and s.relkind = 'S'
  where ${given === 'all' ? 'false' : 'true'} and a.attrelid = ${target}::oid and a.attnum > 0 and not a.attisdropped
  and (a.attidentity <> '' or d.refobjid is not null or pg_get_expr(ad.adbin, ad.adrelid) ~* 'nextval|setval')
union all select 'key', '', a.attname::text from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey::int2[])
  where i.indrelid = ${target}::oid and i.indisprimary
`;
}

/** OIDs of the relations that the statement's plan holds locks on: all that it reads or changes. */
export async function plannedRelations(link: DryRunLink): Promise<readonly number[]> {
  const oids: number[] = [];
  await link.simple(
    `select l.relation from pg_locks l join pg_class c on c.oid = l.relation
where l.pid = pg_backend_pid() and l.locktype = 'relation' and c.relkind in ('r', 'p', 'f', 'v', 'm') and c.relnamespace <> 'pg_catalog'::regnamespace`,
    (row) => void oids.push(Number(readRow(row)[0])),
  );
  return oids;
}

/** What EXPLAIN says: how many rows the planner expects to change. @throws Problem `no-dry-run` where those are too many */
export function checkPlan(explained: string): void {
  const plan: unknown = JSON.parse(explained);
  const top = Array.isArray(plan) ? (plan[0] as { readonly Plan?: PlanNode } | undefined)?.Plan : undefined;
  if (!top) throw cannot('the server’s plan for it could not be read');
  const expected = Math.max(
    top['Plan Rows'] ?? 0,
    ...(top.Plans ?? []).filter((child) => child['Parent Relationship'] === 'Outer').map((child) => child['Plan Rows'] ?? 0),
  );
  if (expected > MAX_EXPECTED_ROWS) {
    throw cannot(
      `it would change about ${Math.round(expected).toLocaleString('en')} rows, and trying would lock them all (${MAX_EXPECTED_ROWS.toLocaleString('en')} at most)`,
    );
  }
  if (mentionsSequence(top)) throw cannot('it takes values from a sequence, and a roll-back does not put them back');
}

interface PlanNode {
  readonly 'Plan Rows'?: number;
  readonly 'Parent Relationship'?: string;
  readonly Output?: readonly string[];
  readonly Plans?: readonly PlanNode[];
}

/** What a node computes, as VERBOSE prints it. A literal that says so is taken for it, too. */
function mentionsSequence({ Output = [], Plans = [] }: PlanNode): boolean {
  return Output.some((text) => /\b(nextval|setval)\(/i.test(text)) || Plans.some(mentionsSequence);
}
