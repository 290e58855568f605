/** What a transaction has made or changed itself is understood by what it is, and by nothing that was taken back. */
import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import { soon } from '../../../support/soon.ts';
import { ALLOW_ALL, describe, front, type Proxied, proxied, type RawClient, row } from './proxied.ts';

const SETUP = `create table customers (id int primary key, name text, ssn text);
insert into customers values (1, 'Ann', 'xylograph-1'), (2, 'Bob', 'xylograph-2');
create view shown as select id, name as v from customers;
create table other (a text); create view over_other as select a from other;`;
const SECRET = /xylograph/;

suite('a look inside of a transaction', { timeout: 120_000 }, () => {
  let p: Proxied;
  before(async () => {
    p = await proxied(ALLOW_ALL, { setup: SETUP, sensitive: { 'customers.ssn': 'redact' } });
  });
  after(() => p.stop());

  const ask = async (raw: RawClient, sql: string): Promise<string> => {
    raw.send(front.query(sql));
    return describe(await raw.until('Z'));
  };
  const rows = async (raw: RawClient, sql: string): Promise<unknown[]> => {
    raw.send(front.query(sql));
    return (await raw.until('Z')).filter(({ type }) => type === 'D').map(row);
  };
  /** Effects of the statements that a session has sent, as they were decided on. */
  const effects = async (verb: string): Promise<unknown[]> =>
    (await p.t.entries()).flatMap((entry) => ('facts' in entry && entry.facts.verb === verb ? [entry.facts.effect] : []));

  it('shows what is there, with its masks, and nothing unmasked', async () => {
    const raw = await p.raw();
    await ask(raw, 'begin');
    await ask(raw, 'create table made (a text, b text)');
    await ask(raw, "insert into made values ('plain', 'x')");
    assert.deepEqual(await rows(raw, 'select a, b from made'), [['plain', 'x']]);
    await ask(raw, 'create or replace view shown as select id, ssn as v from customers');
    for (const sql of [
      'select v from shown',
      "select v || '' from shown",
      'select s from shown s',
      'select upper(v) from shown order by id',
      'select max(v) from shown',
    ])
      assert.doesNotMatch(JSON.stringify(await rows(raw, sql)), SECRET, sql);
    await ask(raw, 'alter table customers rename ssn to tax');
    for (const sql of ['select tax from customers', "select tax || '' from customers", 'select customers from customers'])
      assert.doesNotMatch(JSON.stringify(await rows(raw, sql)), SECRET, sql);
    await ask(raw, 'update made set b = c.tax from customers c where c.id = 1');
    for (const sql of ['select b from made', "select b || '' from made", 'select made from made'])
      assert.doesNotMatch(JSON.stringify(await rows(raw, sql)), SECRET, sql);
    await ask(raw, 'rollback');
    assert.deepEqual(await rows(raw, 'select v from shown order by id'), [['Ann'], ['Bob']]);
  });

  it('forgets what a savepoint takes back', async () => {
    const raw = await p.raw();
    await ask(raw, 'begin; create or replace view shown as select id, ssn as v from customers; savepoint s');
    assert.doesNotMatch(JSON.stringify(await rows(raw, "select v || '' from shown")), SECRET);
    await ask(raw, 'create or replace view shown as select id, name as v from customers');
    assert.deepEqual(await rows(raw, "select v || '!' from shown order by id"), [['Ann!'], ['Bob!']]);
    await ask(raw, 'rollback to s');
    assert.doesNotMatch(JSON.stringify(await rows(raw, "select v || '' from shown")), SECRET);
    // Also where both come in one text, or in one pipeline.
    await ask(raw, 'create or replace view shown as select id, name as v from customers');
    assert.deepEqual(await rows(raw, "select v || '!' from shown order by id"), [['Ann!'], ['Bob!']]);
    assert.doesNotMatch(JSON.stringify(await rows(raw, "rollback to s; select v || '' from shown")), SECRET);
    await ask(raw, 'create or replace view shown as select id, name as v from customers');
    assert.deepEqual(await rows(raw, "select v || '!' from shown order by id"), [['Ann!'], ['Bob!']]);
    const pipelined = ['create or replace view shown as select id, ssn as v from customers', "select v || '' from shown"];
    raw.send(...pipelined.flatMap((sql) => [front.parse('', sql), front.bind('', ''), front.execute()]), front.sync());
    assert.doesNotMatch((await raw.until('Z')).map(({ body }) => body.toString()).join(), SECRET);
    await ask(raw, 'rollback');
    await ask(raw, 'begin; create or replace view shown as select id, ssn as v from customers');
    raw.send(front.query('rollback'), front.query('begin'), front.query("select v || '' from shown order by id"));
    for (let i = 0; i < 2; i++) await raw.until('Z');
    assert.deepEqual((await raw.until('Z')).filter(({ type }) => type === 'D').map(row), [['Ann'], ['Bob']]);
    await ask(raw, 'rollback');
  });

  it("is not led astray by what the session has put in the catalog's place", async () => {
    const raw = await p.raw();
    await ask(raw, 'begin; create or replace view shown as select id, ssn as v from customers; create view clean as select id, name as v from customers');
    const names = "(case c.relname when 'shown' then 'clean' when 'clean' then 'shown' else c.relname::text end)::name";
    await ask(raw, `create temp view pg_class as select oid, ${names} as relname, relnamespace, relkind, relhastriggers from pg_catalog.pg_class c`);
    await ask(raw, 'create table made_up (a text)');
    assert.equal(await ask(raw, 'select a from made_up'), 'T C:SELECT 0 Z:T');
    for (const sql of ["select v || '' from shown", 'select v from shown', "select v || '' from shown, made_up"])
      assert.doesNotMatch(JSON.stringify(await rows(raw, sql)), SECRET, sql);
    await ask(raw, 'rollback');
  });

  it('is not taken where SQL sees less than the server does', async () => {
    const raw = await p.raw();
    await ask(raw, 'begin isolation level repeatable read; create table kept (a text)');
    const before = (await effects('SELECT')).filter((effect) => effect === 'unknown').length;
    await ask(raw, 'select a from kept');
    assert.equal((await effects('SELECT')).filter((effect) => effect === 'unknown').length, before + 1);
    await ask(raw, 'rollback');
  });

  it('heeds what others commit meanwhile', async () => {
    const raw = await p.raw();
    await ask(raw, 'begin; create table mine (a text)');
    assert.equal(await ask(raw, 'select a from mine'), 'T C:SELECT 0 Z:T');
    const other = await p.raw();
    await ask(other, 'create or replace view over_other as select ssn as a from customers');
    assert.doesNotMatch(JSON.stringify(await rows(raw, "select a || '' from over_other")), SECRET);
    assert.equal(await ask(raw, 'select a from mine'), 'T C:SELECT 0 Z:T');
    await ask(raw, 'rollback');
    await ask(other, 'create or replace view over_other as select a from other');
  });

  it('leaves neither settings nor locks behind, and a transaction that goes on where it fails', async () => {
    const raw = await p.raw();
    const direct = await p.db.direct();
    await ask(
      raw,
      "begin; set local lock_timeout = '7s'; declare c cursor for select id from customers order by id; savepoint theirs; create table mine (a text)",
    );
    assert.equal(await ask(raw, 'select a from mine'), 'T C:SELECT 0 Z:T');
    const locks = await direct.query("select 1 from pg_locks l join pg_class c on c.oid = l.relation where c.relname in ('other', 'over_other', 'customers')");
    assert.equal(locks.rowCount, 1, 'the cursor alone holds a lock');
    assert.deepEqual(await rows(raw, "select current_setting('lock_timeout'), current_setting('search_path')"), [['7s', '"$user", public']]);
    // Definitions of views cannot be read while somebody else has locked what they are made of.
    await direct.query('begin; lock table other in access exclusive mode');
    await ask(raw, 'create table mine_too (a text)');
    assert.equal(await ask(raw, 'select a from mine_too'), 'T C:SELECT 0 Z:T');
    await direct.query('rollback');
    assert.deepEqual(await rows(raw, 'fetch next from c'), [['1']]);
    assert.equal(await ask(raw, 'rollback to theirs'), 'C:ROLLBACK Z:T');
    assert.equal(await ask(raw, 'rollback'), 'C:ROLLBACK Z:I');
    await direct.end();
  });

  it('is taken for drivers that prepare what they send, too', async () => {
    const client = await p.client();
    await client.query('begin');
    await client.query('create table typed (id int, v text)');
    await client.query('insert into typed values ($1, $2)', [1, 'a']);
    assert.deepEqual((await client.query({ name: 'q', text: 'select id, v from typed where id = $1', values: [1] })).rows, [{ id: 1, v: 'a' }]);
    await client.query('alter table typed add column w text default $$z$$');
    assert.deepEqual((await client.query('select * from typed where id = $1', [1])).rows, [{ id: 1, v: 'a', w: 'z' }]);
    await client.query('rollback');
    assert.equal((await client.query('select 1 as one')).rows[0]?.one, 1);
  });

  it('costs nothing where a statement is clear', async () => {
    const raw = await p.raw();
    let marks = 0;
    /** How often the server was asked to look since the last time, as its log has it. */
    const looks = async (): Promise<number> => {
      const from = `mark ${marks} of the looks`;
      const mark = `mark ${++marks} of the looks`;
      await ask(raw, `select '${mark}'`);
      await soon(() => assert.ok(p.db.server.log().includes(mark)));
      const log = p.db.server.log();
      assert.ok(marks === 1 || log.includes(from), 'the log still holds the mark before');
      return log.slice(log.lastIndexOf(from)).split('RELEASE SAVEPOINT countersign_').length - 1;
    };
    await ask(raw, "set log_statement = 'all'; set log_min_duration_statement = -1");
    await looks();
    for (const sql of [
      'select id, name from customers',
      'begin',
      'select id, name from customers',
      'create table plain_made (a text)',
      // Nothing of these uses what was made.
      'select id, name from customers where id = 1',
      'select ssn from customers',
      'update customers set name = name where id = 1',
      'create index on customers (name)',
      'savepoint s',
      'rollback to s',
    ])
      await ask(raw, sql);
    assert.equal(await looks(), 0);
    for (let i = 0; i < 3; i++) await ask(raw, 'select a from plain_made');
    await ask(raw, "insert into plain_made values ('x')");
    assert.equal(await looks(), 1, 'one for all that use what was made');
    await ask(raw, 'create table more_made (a text)');
    await ask(raw, 'select id from customers');
    assert.equal(await looks(), 0);
    await ask(raw, 'rollback');
    await ask(raw, 'select id, name from customers');
    assert.equal(await looks(), 0);
    await ask(raw, "set log_statement = 'none'");
  });
});

const LOCKS = `${SETUP}
create table busy (id serial primary key, v text default 'x' || lower('Y'), w text generated always as (upper(v)) stored);
insert into busy (v) values ('plain');
create view over_busy as select v from busy;
create materialized view kept_busy as select v from busy;
create function of_busy() returns text language sql stable begin atomic select v from busy limit 1; end;
create rule also as on insert to busy do also insert into other values (new.v);`;
/** Far above what it takes on a busy machine, and below what it took to give up a catalog that is locked. */
const SOON_MS = 12_000;

suite('a catalog that somebody keeps locked', { timeout: 120_000 }, () => {
  let p: Proxied;
  before(async () => {
    p = await proxied(ALLOW_ALL, { setup: LOCKS, sensitive: { 'customers.ssn': 'redact' } });
  });
  after(() => p.stop());

  const ask = async (raw: RawClient, sql: string): Promise<string> => {
    raw.send(front.query(sql));
    return describe(await raw.until('Z'));
  };
  let stales = 0;
  /** The next statement makes the catalog be read again. */
  const changed = async (raw: RawClient): Promise<void> => {
    assert.equal(await ask(raw, `create table stale_${++stales} (a text)`), 'C:CREATE TABLE Z:I');
  };
  const quickly = async <T>(what: string, work: Promise<T>): Promise<T> => {
    const from = Date.now();
    const result = await work;
    assert.ok(Date.now() - from < SOON_MS, `${what} took ${Date.now() - from} ms`);
    return result;
  };

  it('holds up neither others nor whoever migrates, and what is locked is not understood', async () => {
    const migrating = await p.raw();
    const raw = await p.raw();
    assert.equal(await ask(migrating, 'begin; alter table busy add column more int'), 'C:BEGIN C:ALTER TABLE Z:T');
    await changed(raw);
    assert.equal(await quickly('another client', ask(raw, 'select id, name from customers')), 'T D D C:SELECT 2 Z:I');
    raw.send(front.query("select ssn || '' from customers"));
    assert.doesNotMatch(JSON.stringify((await raw.until('Z')).filter(({ type }) => type === 'D').map(row)), SECRET);
    assert.equal(await quickly('whoever migrates', ask(migrating, 'select id, more from busy')), 'T D C:SELECT 1 Z:T');
    await changed(raw);
    assert.equal(await quickly('whoever migrates', ask(migrating, "insert into other values ('x')")), 'C:INSERT 0 1 Z:T');
    // A new client gets in, too.
    const late = await quickly('a new client', p.raw());
    // These wait for the lock at the server. What they are was decided without their definitions.
    const waiting = await Promise.all(
      ['select v from over_busy', 'select v from kept_busy', 'select of_busy()', 'select v from busy', 'select w from busy'].map(async (sql) => ({
        sql,
        by: await p.raw(),
      })),
    );
    for (const { by, sql } of waiting) by.send(front.query(sql));
    assert.equal(await ask(late, "insert into busy (v) values ('y')"), 'E:42501 Z:I', 'its rule cannot be read');
    assert.equal(await ask(migrating, 'rollback'), 'C:ROLLBACK Z:I');
    for (const { by, sql } of waiting) {
      const got = await by.until('Z');
      assert.doesNotMatch(JSON.stringify(got.filter(({ type }) => type === 'D').map(row)), /plain|PLAIN/, sql);
    }
    const facts = (await p.t.entries()).flatMap((entry) =>
      'facts' in entry && entry.facts.targets.some(({ name }) => name === 'over_busy') ? [entry.facts] : [],
    );
    assert.deepEqual([facts.at(-1)?.effect], ['unknown']);
    // As soon as it can be read again, it is.
    await soon(async () => {
      raw.send(front.query('select v from over_busy'));
      assert.deepEqual((await raw.until('Z')).filter(({ type }) => type === 'D').map(row), [['plain']]);
    });
    assert.equal(await ask(late, "insert into busy (v) values ('y')"), 'C:INSERT 0 1 Z:I');
  });

  it('lets a statement fail where nothing can be said of it, and the session go on', async () => {
    const direct = await p.db.direct();
    const raw = await p.raw();
    await ask(raw, 'begin');
    const other = await p.raw();
    await changed(other);
    await direct.query('begin; lock table pg_ts_dict in access exclusive mode');
    assert.equal(await quickly('a statement', ask(other, 'select id from customers')), 'E:55P03 Z:I');
    other.send(front.parse('', 'select id from customers'), front.bind('', ''), front.execute(), front.sync());
    assert.equal(describe(await quickly('the same, prepared', other.until('Z'))), 'E:55P03 Z:I');
    other.send(front.parse('named', 'select id from customers'), front.describe('S', 'named'), front.sync());
    assert.equal(describe(await quickly('a Parse by itself', other.until('Z'))), 'E:55P03 Z:I');
    assert.equal(await quickly('in a transaction', ask(raw, 'select id from customers')), 'E:55P03 Z:E');
    await direct.query('rollback');
    await direct.end();
    assert.equal(await ask(other, 'select id from customers'), 'T D D C:SELECT 2 Z:I');
    assert.equal(await ask(raw, 'rollback'), 'C:ROLLBACK Z:I');
    assert.equal(await ask(raw, 'select id from customers'), 'T D D C:SELECT 2 Z:I');
  });
});
