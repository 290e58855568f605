/** What a session does one after the other: data is moved by one statement and looked at by another. */
import type { Chance } from './chance.ts';
import { Grammar } from './grammar.ts';
import { type Protocol, type Step, tokenPlace } from './worlds.ts';

const PROTOCOLS: readonly Protocol[] = ['simple', 'simple', 'text', 'binary'];
const COPY_OPTIONS = ['', ' with (format csv, header)', ' with (format csv, force_quote *)', " with (delimiter '|', null 'z')", ' with (format binary)'];
const SETTINGS = [
  "set datestyle = 'German'",
  'set extra_float_digits = 0',
  'set bytea_output = escape',
  'set client_min_messages = debug1',
  'set search_path = pg_temp, public',
  'set search_path = public, pg_catalog',
  'set enable_hashjoin = off',
  "set intervalstyle = 'iso_8601'",
  'set xmloption = document',
  "set timezone = 'Asia/Tokyo'",
  'reset all',
  'set debug_print_plan = on',
  "set my.own = 'x'",
  'set plan_cache_mode = force_generic_plan',
];

/** @param number its own, for names that nobody else uses */
export function chainOf(chance: Chance, number: number): readonly Step[] {
  const { below, once, pick } = chance;
  const grammar = new Grammar(chance);
  const steps: Step[] = [];
  const add = (sql: string, protocol: Protocol = pick(PROTOCOLS)): void => void steps.push({ sql, protocol });
  if (!once(5)) {
    add(grammar.query([], 1 + below(4)));
    return steps;
  }
  const transaction = once(2);
  if (transaction) add('begin');
  let savepoint = false;
  for (let i = 2 + below(6); i > 0; i--) {
    const name = `t${number}_${i}`;
    switch (below(transaction && savepoint ? 22 : 21)) {
      case 0:
        add(
          `create temp table ${name} (a text, b text${once(3) ? ", c text generated always as (a || '!') stored" : ''}${once(6) ? ', n serial' : ''}${once(6) ? ', d text default word_of(1)' : ''})`,
        );
        grammar.relations.set(name, ['a', 'b']);
        break;
      case 1: {
        add(
          `create ${pick(['temp ', 'temp ', ''])}table ${name}${once(3) ? '' : '(a, b)'} as ${pick([grammar.query([], 2), 'table people', 'select * from contacts', 'execute ps'])}`,
        );
        grammar.relations.set(name, ['a', 'b', 'word']);
        break;
      }
      case 2:
        add(`create ${pick(['temp ', ''])}view ${name}(a, b) as ${grammar.query([], 2)}`);
        grammar.relations.set(name, ['a', 'b']);
        break;
      case 3:
      case 4:
      case 5:
        add(grammar.returning());
        break;
      case 6:
        add(
          `insert into keyed (id, a, b) ${grammar.query([], 3).replace(/^select /, 'select 1, ')} on conflict (id) do update set ${pick(['a = excluded.a', 'b = keyed.a || excluded.b', '(a, b) = (excluded.b, excluded.a)'])} returning ${pick(['*', 'a', 'b', 'keyed', "a || ''"])}`,
        );
        break;
      case 7:
        add(`prepare ps${once(2) ? ' (text)' : ''} as ${grammar.query([], 2)}`);
        add(`execute ps${once(2) ? " ('a')" : ''}`);
        break;
      case 8:
        add(`declare cu ${pick(['', 'scroll ', 'no scroll ', 'binary '])}cursor ${once(2) ? 'with hold ' : ''}for ${grammar.query([], 2)}`);
        add(pick(['fetch all from cu', 'fetch 2 from cu', 'move 1 in cu', 'fetch last from cu', 'fetch absolute 1 from cu']));
        add(pick(['fetch backward all from cu', 'close cu', 'fetch first from cu', 'select * from pg_cursors']));
        break;
      case 9:
        add(`copy (${once(4) ? grammar.returning() : grammar.query([], 2)}) to stdout${pick(COPY_OPTIONS)}`);
        break;
      case 10: {
        const [relation] = pick([...grammar.relations]);
        add(
          pick([
            `table ${relation}`,
            `select * from ${relation}`,
            `copy ${relation} to stdout${pick(COPY_OPTIONS)}`,
            `select x from ${relation} x`,
            `select x::text from ${relation} x`,
            `select to_jsonb(x) from ${relation} x`,
            `select (x).* from ${relation} x`,
            `copy ${relation} (${pick(['a', 'b'])}) from stdin`,
            `copy ${relation} (a) from stdin where word_of(1) like '${pick(['z%', 'h%'])}'`,
            `insert into ${relation} (${pick(['a', 'b'])}) values ('i') returning *`,
          ]),
        );
        break;
      }
      case 11:
        add(
          `explain (${pick(['analyze, verbose', 'verbose', 'analyze, format json', 'verbose, settings, format xml', 'generic_plan, verbose'])}) ${pick([grammar.query([], 2), grammar.returning()])}`,
        );
        break;
      case 12:
        add(pick(SETTINGS));
        break;
      case 13:
        add(
          pick([
            'show my.own',
            'show application_name',
            "select current_setting('my.own', true)",
            "select name, setting from pg_settings where name like '%own%'",
            'select query from pg_stat_activity',
            'select statement from pg_prepared_statements',
            'select statement from pg_cursors',
            'select current_query()',
            "select attname, most_common_vals::text, histogram_bounds::text from pg_stats where schemaname = 'public'",
          ]),
        );
        break;
      case 14: {
        const own = [...grammar.relations].filter(([relation]) => relation.startsWith('t'));
        const [relation = 'spare'] = own.length > 0 ? pick(own) : [];
        add(
          pick([
            `alter table ${relation} rename a to z`,
            `alter table ${relation} rename to ${relation}r`,
            `alter table ${relation} alter b type text using ${pick(['a', 'a || b', '(a || word_of(1))', 'upper(a)'])}`,
            `alter table ${relation} alter ${pick(['a', 'b'])} set default word_of(2)`,
            `alter table ${relation} add column d text default 'd' || word_of(1)`,
            `alter domain short set default word_of(1)`,
            `alter table ${relation} add column d text default 'x'`,
            `alter table ${relation} drop column b`,
            `create index on ${relation} (upper(a))`,
            `analyze ${relation}`,
            `create rule r${i} as on insert to ${relation} do also insert into spare values (new.a, new.b)`,
            `alter table ${relation} add check (length(a) < 3)`,
            `alter table ${relation} add unique (a)`,
            `alter view ${relation} alter a set default 'q'`,
            `create or replace temp view ${relation}(a, b) as ${grammar.query([], 2)}`,
          ]),
        );
        grammar.relations.set(`${relation}r`, ['a', 'b', 'z']);
        if (once(2)) grammar.relations.set(relation, ['a', 'b', 'z', 'd']);
        break;
      }
      case 15:
        add(
          pick([
            `select set_config(${once(2) ? "'my.own'" : "'application_name'"}, (${grammar.value([{ alias: 'p', columns: ['word', 'email'] }])})::text, false) from people p where p.id = 1`,
            `select pg_notify('ch', (${grammar.value([{ alias: 'p', columns: ['word', 'name'] }])})::text) from people p`,
            'listen ch',
            `select setval('counter', p.pin) from people p where id = 1`,
            "select nextval('counter'), currval('counter')",
            'select last_value from counter',
            `select lo_from_bytea(0, p.raw) from people p where id = 1`,
          ]),
        );
        break;
      case 16:
        // Several statements in one text.
        add(
          pick([
            `${grammar.query([], 1)}; ${pick([grammar.query([], 2), grammar.returning(), 'table spare'])}`,
            `create table ${name} (a text, b text${once(2) ? " default 'd'" : ''}); insert into ${name} (a, b) ${grammar.query([], 2)}; select a || '', ${name} from ${name}`,
            `create table ${name}(a, b) as ${grammar.query([], 2)}; update ${name} set b = a; ${pick([`table ${name}`, `select b || a from ${name}`])}`,
            `begin; alter table spare add column z text; update spare set z = (${grammar.value([{ alias: 'p', columns: ['word', 'email', 'name'] }])})::text from people p; select z || '', spare from spare; rollback; table spare`,
            `create table ${name} (a text); create rule r${i} as on insert to ${name} do also insert into spare ${grammar.query([], 2)}; insert into ${name} values ('x'); table spare`,
            `begin; drop table if exists ${name}; create table ${name}(a, b) as ${grammar.query([], 2)}; savepoint s; alter table ${name} drop column b; rollback to s; select b || '' from ${name}; commit`,
          ]),
          'simple',
        );
        grammar.relations.set(name, ['a', 'b']);
        break;
      case 17:
        if (transaction) {
          add('savepoint sp');
          savepoint = true;
        } else add(pick(['discard temp', 'discard plans', 'refresh materialized view copied', 'deallocate all', 'begin', 'commit', 'rollback']));
        break;
      case 20: {
        // Tokens where values belong, and where they do not.
        const token = (): string => `'${tokenPlace(chance)}'`;
        const back = (): string =>
          pick(['id, name', 'email', `email || ''`, grammar.value([{ alias: 'people', columns: ['email', 'code', 'word'] }]), 'people']);
        add(
          pick([
            `update people set ${pick(['email', 'word', 'code', 'city', 'shout'])} = ${token()} where ${pick(['id = 1', `email = ${token()}`])} returning ${back()}`,
            `insert into people (id, ${pick(['email', 'word', 'city'])}) values (${50 + below(40)}, ${token()}) returning ${back()}`,
            `insert into people (id, name, email) select ${50 + below(40)}, ${token()}, ${token()} returning ${back()}`,
            `delete from people where email = ${token()} and id > 9 returning ${back()}`,
            `merge into people using plain on people.email = ${token()} when matched then update set city = ${pick(['people.email', token()])} returning ${back()}`,
            `select ${back()} from people where email = ${token()} and word = ${token()}`,
            `select ${token()}, id from people where email = ${token()}`,
            `prepare pt as select ${back()} from people where email = ${token()}`,
            'execute pt',
            `declare ct cursor for select email from people where email = ${token()}`,
            `create ${pick(['temp ', ''])}view ${name}(a, b) as select name, email from people where email = ${token()}`,
            `explain (verbose, analyze) select id from people where email = ${token()}`,
            `select * from contacts where remark = ${token()}`,
            `with q as (select email as a from people) select a, count(*) from q where a = ${token()} group by a`,
            `select current_query(), id from people where email = ${token()}`,
            `copy (select id, email from people where email = ${token()}) to stdout`,
            `set my.own = ${token()}`,
            `select id from people where email = ${token()}::${pick(['text', 'varchar(3)', 'name', 'int'])}`,
            `select id from people where born = ${token()} or uid = ${token()} or dbl = ${token()}`,
          ]),
        );
        break;
      }
      case 21:
        add(pick(['rollback to sp', 'release sp', 'rollback to sp']));
        break;
      default:
        add(grammar.query([], 1 + below(3)));
    }
    // What failed must not end everything that comes after it in the transaction.
    if (transaction && once(2)) add(savepoint ? 'rollback to sp' : 'savepoint sp');
    savepoint ||= transaction;
  }
  if (transaction) add(once(3) ? 'commit' : 'rollback', 'simple');
  if (once(2))
    add(
      pick([
        'table spare',
        "select a || '', b || '' from spare",
        "select w || '' from vault",
        'copy keyed to stdout',
        'select spare from spare',
        'select a || b from keyed',
      ]),
    );
  return steps;
}
