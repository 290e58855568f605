/** What a transaction has made or changed itself is understood by what it is, and by nothing that was taken back. */
import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
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
});
