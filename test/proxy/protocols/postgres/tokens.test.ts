import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import type { Client } from 'pg';
import { Conversation } from '../../../../proxy/pipeline/conversation.ts';
import { FRONT, FrameWriter } from '../../../../proxy/protocols/postgres/frames.ts';
import { CANARY } from '../../../support/postgres.ts';
import { ALLOW_ALL, errorOf, front, type Proxied, proxied } from './proxied.ts';

const TIMEOUT = { timeout: 300_000 };

const SETUP = `
create table customers (id int primary key, name text, email text unique, ssn text, card text, salary numeric, born date, key uuid);
insert into customers values
  (1, 'Ann', 'ann@secret.example', '111-11-1111', '4111111111111111', 51000.50, '1980-02-03', '11111111-2222-3333-4444-555555555555'),
  (2, 'O''Neil', 'o''neil@secret.example', '222-22-2222', '4222222222222', 62000, '1990-01-01', '22222222-2222-3333-4444-555555555555'),
  (3, 'Bob', 'bob@secret.example', '333-33-3333', '5500005555555559', 1, '2000-01-01', '33333333-2222-3333-4444-555555555555');
create table newsletter (id int primary key, address text, note text);
create table log (line text);
create table partly (id int, email text);
create view contacts as select id, email as contact from customers;
create function say(t text) returns text language sql immutable as 'select t';
`;
const SENSITIVE = {
  'customers.email': 'token',
  'customers.ssn': 'redact',
  'customers.card': 'token',
  'customers.salary': 'token',
  'customers.born': 'token',
  'customers.key': 'token',
  'newsletter.address': 'redact',
  'partly.email': 'partial',
};

async function failure(work: Promise<unknown>): Promise<{ code?: string; message: string; position?: string; detail?: string }> {
  return work.then(
    () => assert.fail('no error'),
    (cause: { code?: string; message: string }) => cause,
  );
}

suite('tokens that come back to PostgreSQL', TIMEOUT, () => {
  let p: Proxied;
  let client: Client;
  let direct: Client;
  const token = new Map<string, string>();
  const of = (column: string, id = 1): string => token.get(`${column}${id}`) ?? assert.fail(column);
  before(async () => {
    p = await proxied(ALLOW_ALL, { setup: SETUP, sensitive: SENSITIVE });
    client = await p.client();
    direct = await p.db.direct();
    const { rows } = await client.query('select id, email, card, salary::text as unused, salary, born::text, born as day, key from customers order by id');
    for (const row of rows as Record<string, string>[]) for (const [column, text] of Object.entries(row)) token.set(`${column}${row['id']}`, text);
    // What drivers make of masked numbers and dates is theirs: these come as text.
    const raw: { rows: unknown } = await client.query({
      text: 'select id, salary, born, key from customers',
      types: { getTypeParser: () => (text: string) => text },
    });
    for (const row of raw.rows as Record<string, string>[]) for (const [column, text] of Object.entries(row)) token.set(`${column}${row['id']}`, text);
  });
  after(async () => {
    await direct.end();
    await p.stop();
  });

  it('are stable, typed and say nothing', () => {
    assert.match(of('email'), /^‹email·1·[a-z]{5}›$/);
    assert.match(of('salary'), /^‹salary·1·[a-z]{5}›$/);
    assert.match(of('born'), /^‹born·1·[a-z]{5}›$/);
  });

  it('find their row by a literal or a parameter, in text and binary, with every type that can be compared', async () => {
    for (const column of ['email', 'card', 'salary', 'born', 'key']) {
      for (const id of [1, 2, 3]) {
        const simple = await client.query(`select id from customers where ${column} = '${of(column, id)}'`);
        assert.deepEqual(simple.rows, [{ id }], column);
        const extended = await client.query(`select id from customers where ${column} = $1`, [of(column, id)]);
        assert.deepEqual(extended.rows, [{ id }], column);
      }
    }
    const binary = await client.query({ text: 'select id from customers where email = $1', values: [Buffer.from(of('email', 2))] });
    assert.deepEqual(binary.rows, [{ id: 2 }]);
    const one = of('email');
    const two = of('email', 2);
    for (const where of [
      `email in ('${one}', '${two}')`,
      `'${one}' = email or email = E'${two}'`,
      `email = any (array['${one}', '${two}'])`,
      `email is not distinct from '${one}' or email = '${two}'::text`,
      `id in (select id from contacts where contact in ('${one}', '${two}'))`,
    ])
      assert.deepEqual((await client.query(`select id from customers where ${where} order by id`)).rows, [{ id: 1 }, { id: 2 }], where);
    const joined = await client.query(`select c.id, d.name from customers c join customers d on d.id = c.id and d.email = '${one}'`);
    assert.deepEqual(joined.rows, [{ id: 1, name: 'Ann' }]);
    // In ASCII, too.
    const ascii = one.replace('‹', '<').replace('›', '>').replaceAll('·', '.');
    assert.deepEqual((await client.query(`select id from customers where email = '${ascii}'`)).rows, [{ id: 1 }]);
  });

  it('are known in another session of the conversation, and in no other conversation', async () => {
    const other = await p.client();
    assert.deepEqual((await other.query('select id from customers where email = $1', [of('email')])).rows, [{ id: 1 }]);
    const foreign = await p.inside({ conversation: new Conversation('con-other') });
    const where = `where email = '${of('email')}'`;
    assert.match((await failure(foreign.query(`select id from customers ${where}`))).message, /no token of this conversation/);
    assert.match((await failure(foreign.query('select id from customers where email = $1', [of('email')]))).message, /no token of this conversation/);
  });

  it('are written into masked columns, as the values they stand for', async () => {
    await client.query(`insert into newsletter values (1, '${of('email', 2)}', 'hello'), (2, $1, 'x')`.replace('$1', `'${of('email')}'`));
    await client.query('insert into newsletter (id, address) values ($1, $2)', [3, of('email', 3)]);
    await client.query(`update newsletter set address = '${of('email', 3)}' where id = 2`);
    const { rows } = await direct.query('select id, address from newsletter order by id');
    assert.deepEqual(rows, [
      { id: 1, address: "o'neil@secret.example" },
      { id: 2, address: 'bob@secret.example' },
      { id: 3, address: 'bob@secret.example' },
    ]);
    const back = await client.query(`update customers set email = '${of('email')}' where id = 1 returning email`);
    assert.deepEqual(back.rows, [{ email: of('email') }]);
    await direct.query('truncate newsletter');
  });

  it('are refused wherever their value could be read or asked about, with nothing sent', async () => {
    const t = of('email');
    const statements = [
      `select '${t}'`,
      `select '${t}' as x from customers`,
      `select say('${t}')`,
      `select length('${t}')`,
      `select '${t}' || 'x'`,
      `select id from customers where email like '${t}'`,
      `select id from customers where email like '${t}%'`,
      `select id from customers where email ~ '${t}'`,
      `select id from customers where email > '${t}'`,
      `select id from customers where email between '${t}' and 'z'`,
      `select id from customers where email <> '${t}'`,
      `select id from customers where lower(email) = '${t}'`,
      `select id from customers where email || '' = '${t}'`,
      `select id from customers where email = lower('${t}')`,
      `select id from customers where email = '${t}x'`,
      `select id from customers where email = ' ${t}'`,
      `select id from customers where email = U&'\\2039email\\00b71\\00b7${t.slice(9, 14)}\\203a' and name = '${t}'`,
      `select id from customers where email = $$${t}$$`,
      `select id from customers where email = '${t}'::varchar(3)`,
      `select id from customers where name = '${t}'`,
      `select line from log where line = '${t}'`,
      `select id from partly where email = '${t}'`,
      `select id from newsletter where address = '${t}'`,
      `select id from customers where ssn = '${t}'`,
      `select id from customers -- ${t}`,
      `select id /* ${t} */ from customers`,
      `select id as "${t}" from customers`,
      `select id from customers order by email = '${t}' || ''`,
      `with x as (select '${t}' as v) select id from customers, x where email = v`,
      `select id from customers where (email, id) = ('${t}', 1)`,
      `insert into log values ('${t}')`,
      `insert into log select '${t}'`,
      `insert into newsletter (id, note) values (9, '${t}')`,
      `insert into newsletter (id, address) values (9, '${t}' || '')`,
      `insert into partly values (9, '${t}')`,
      `update log set line = '${t}'`,
      `update customers set name = '${t}' where id = 1`,
      `explain select id from customers where email = '${t}'`,
      `explain analyze select id from customers where email = '${t}'`,
      `prepare q as select id from customers where email = '${t}'`,
      `declare c cursor with hold for select id from customers where email = '${t}'`,
      `create table stolen as select '${t}' as x`,
      `create view stolen as select id from customers where email = '${t}'`,
      `create temp table stolen as select id from customers where email = '${t}'`,
      `do $x$ begin raise notice '${t}'; end $x$`,
      `copy (select id from customers where email = '${t}') to stdout`,
      `comment on table log is '${t}'`,
      `set application_name = '${t}'`,
      `notify log, '${t}'`,
    ];
    for (const sql of statements) {
      for (const mode of ['simple', 'extended'] as const) {
        const { code, message } = await failure(mode === 'simple' ? client.query(sql) : client.query({ text: sql, values: [] }));
        assert.equal(code, '42501', `${sql}: ${message}`);
        assert.doesNotMatch(message, CANARY, sql);
        assert.doesNotMatch(message, /secret\.example/, sql);
      }
    }
    for (const [sql, values] of [
      ['select $1::text', [t]],
      ['select id from customers where email = $1 and name = $1', [t]],
      ['select id from customers where email like $1', [t]],
      ['select id from customers where email = $1', [`${t} `]],
      ['insert into log values ($1)', [t]],
      ['select id from customers where email = $1 || $2', [t, '']],
    ] as const)
      assert.equal((await failure(client.query(sql, [...values] as unknown[]))).code, '42501', sql);
    assert.deepEqual((await direct.query('select (select count(*) from log)::int as a, (select count(*) from newsletter)::int as b')).rows, [{ a: 0, b: 0 }]);
  });

  it('are refused when they were altered, with a sentence that says so', async () => {
    const t = of('email');
    for (const altered of [t.replace('·1·', '·2·'), t.replace('email', 'card'), t.replace(/·[a-z]+›/, '·bbbbb›'), '‹email·1›', t.toUpperCase()]) {
      const { code, message } = await failure(client.query(`select id from customers where email = '${altered}'`));
      assert.equal(code, '42501');
      assert.match(message, /is no token of this conversation: it was altered or made up/);
    }
  });

  it('leave errors pointing into the text that the client wrote, and quoting the token', async () => {
    const t = of('email', 2);
    for (const sql of [
      `select id from customers where email = '${t}' and nowhere = 1`,
      `select 'é', id from customers where email in ('${t}', '${of('email')}') and nowhere = 1`,
    ]) {
      for (const values of [undefined, []]) {
        const error = await failure(client.query({ text: sql, ...(values && { values }) }));
        assert.equal(error.code, '42703', error.message);
        assert.equal(Number(error.position), Array.from(sql.slice(0, sql.indexOf('nowhere'))).length + 1);
      }
    }
    const duplicate = await failure(client.query(`insert into customers (id, email) values (9, '${t}')`));
    assert.equal(duplicate.code, '23505');
    assert.equal(duplicate.detail, `Key (email)=(${t}) already exists.`);
    const bound = await failure(client.query('insert into customers (id, email) values (9, $1)', [t]));
    assert.equal(bound.detail, `Key (email)=(${t}) already exists.`);
  });

  it('stay in prepared statements that are read again from the server, and are not shown by it', async () => {
    const named = { name: 'by-token', text: `select id from customers where email = '${of('email')}' and id > $1`, values: [0] };
    assert.deepEqual((await client.query(named)).rows, [{ id: 1 }]);
    // Makes the session read its names again.
    await client.query(`select set_config('x.y', 'z', false)`);
    assert.deepEqual((await client.query(named)).rows, [{ id: 1 }]);
    assert.deepEqual((await client.query(`execute "by-token"(0)`)).rows, [{ id: 1 }]);
    for (const sql of [
      'select statement from pg_prepared_statements',
      `select current_query(), id from customers where email = '${of('email')}'`,
      `select query, id from pg_stat_activity, customers where email = '${of('email')}'`,
    ]) {
      const { rows } = await client.query(sql);
      assert.ok(rows.length > 0, sql);
      assert.doesNotMatch(JSON.stringify(rows), /secret\.example/, sql);
    }
  });

  it('are in the record and in front of a person as tokens', async () => {
    const kept = Buffer.from(await p.t.written(), 'latin1').toString();
    assert.match(kept, new RegExp(`where email = '${of('email')}'`));
    assert.match(kept, new RegExp(`"params":\\["${of('email')}"\\]`));
    assert.doesNotMatch(kept, /secret\.example|4111111111111111/);
  });

  it('do not pass in the data of a COPY, wherever it is cut', async () => {
    const raw = await p.raw();
    const copyData = (bytes: Uint8Array): Buffer => new FrameWriter().begin(FRONT.copyData).bytes(bytes).end().take();
    const ascii = of('email').replace('‹', '<').replace('›', '>').replaceAll('·', '.');
    for (const data of [of('email'), '‹redacted›', 'x‹email·a1b2c3›', ascii]) {
      const line = Buffer.from(`some text ${data} and more\n`);
      for (let cut = 9; cut < 30; cut += 4) {
        raw.send(front.query('copy log from stdin'));
        await raw.until('G');
        raw.send(copyData(line.subarray(0, cut)), front.flush(), copyData(line.subarray(cut)), front.copyData('more\n'), front.copyDone());
        const error = (await raw.until('Z')).find(({ type }) => type === 'E');
        assert.match(errorOf(error ?? assert.fail('no error')).get('M') ?? '', /holds a token or a mask/);
      }
    }
    raw.send(front.query('copy log from stdin'));
    await raw.until('G');
    raw.send(copyData(Buffer.from('plain < text, “quoted” • and more\n')), front.copyDone());
    await raw.until('Z');
    assert.deepEqual((await direct.query('select line from log')).rows, [{ line: 'plain < text, “quoted” • and more' }]);
    await direct.query('truncate log');
  });
});
