import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import type { Client } from 'pg';
import postgresJs from 'postgres';
import { Conversation } from '../../../../proxy/pipeline/conversation.ts';
import { FRONT, FrameWriter } from '../../../../proxy/protocols/postgres/frames.ts';
import { readArrayBinary, readArrayText, writeArrayBinary, writeArrayText } from '../../../../proxy/protocols/postgres/textArrays.ts';
import { LOGIN } from '../../../support/engine.ts';
import { ALLOW_ALL, errorOf, front, type Proxied, proxied, type RawClient, row } from './proxied.ts';

const SETUP = `
create table customers (id int primary key, email text unique, card varchar(30), salary numeric, key uuid, nick name);
insert into customers values
  (1, 'ann@secret.example', '4111111111111111', 51000.50, '11111111-2222-3333-4444-555555555555', 'ann'),
  (2, E'o''"neil\\\\,{}@secret.example', '4222222222222', 62000, '22222222-2222-3333-4444-555555555555', 'neil'),
  (3, 'NULL', '5500005555555559', 1, '33333333-2222-3333-4444-555555555555', 'bob');
create table bags (id int, tags text[], note text);
create table partly (id int, email text);
`;
const SENSITIVE = {
  'customers.email': 'token',
  'customers.card': 'token',
  'customers.salary': 'token',
  'customers.key': 'token',
  'partly.email': 'partial',
  'bags.tags': 'token',
};
const TEXT_ARRAY = 1009;

suite('arrays of tokens', { timeout: 300_000 }, () => {
  let p: Proxied;
  let client: Client;
  let direct: Client;
  const tokens = new Map<string, string>();
  const of = (column: string, id: number): string => tokens.get(`${column}${id}`) ?? assert.fail(column);
  before(async () => {
    p = await proxied(ALLOW_ALL, { setup: SETUP, sensitive: SENSITIVE });
    client = await p.client();
    direct = await p.db.direct();
    const { rows } = await client.query({
      text: 'select id, email, card, salary, key from customers',
      types: { getTypeParser: () => (text: string) => text } as never,
    });
    for (const one of rows as Record<string, string>[]) for (const [column, text] of Object.entries(one)) tokens.set(`${column}${one['id']}`, text);
  });
  after(async () => {
    await direct.end();
    await p.stop();
  });

  const ids = async (sql: string, values: unknown[] = []): Promise<number[]> =>
    (await client.query(sql, values)).rows.map(({ id }: { id: number }) => id).sort();

  async function refused(sql: string, values?: unknown[], by = client): Promise<string> {
    const error = await by.query({ text: sql, ...(values && { values }) }).then(
      () => assert.fail(`no error: ${sql}`),
      (cause: { code?: string; message: string; detail?: string }) => cause,
    );
    assert.doesNotMatch(`${error.message} ${error.detail ?? ''}`, /secret\.example/, sql);
    assert.equal(error.code, '42501', `${sql}: ${error.message}`);
    return error.message;
  }

  /** As other drivers do: the type and the format are the client's choice. */
  async function bound(raw: RawClient, sql: string, param: Buffer, format: 0 | 1, type: number): Promise<string[] | string> {
    const bind = new FrameWriter().begin(FRONT.bind).text('').text('').int16(1).int16(format).int16(1).int32(param.length).bytes(param).int16(0).end().take();
    raw.send(front.parse('', sql, type === 0 ? [] : [type]), bind, front.describe('P', ''), front.execute(), front.sync());
    const got = await raw.until('Z');
    const error = got.find(({ type: kind }) => kind === 'E');
    if (error) return `${errorOf(error).get('C')} ${errorOf(error).get('M')} ${errorOf(error).get('W') ?? ''}`;
    return got.filter(({ type: kind }) => kind === 'D').map((message) => row(message)[0] ?? '');
  }
  const binary = (elements: readonly (string | null)[], elementType = 25): Buffer =>
    writeArrayBinary({ elementType, elements: elements.map((element) => (element === null ? null : Buffer.from(element))) });

  it('find their rows, as a parameter, with every type that can be compared, cast or not', async () => {
    for (const [column, type] of [
      ['email', 'text'],
      ['card', 'varchar'],
      ['salary', 'numeric'],
      ['key', 'uuid'],
    ] as const) {
      const both = [of(column, 1), of(column, 2)];
      assert.deepEqual(await ids(`select id from customers where ${column} = any ($1)`, [both]), [1, 2], column);
      assert.deepEqual(await ids(`select id from customers where ${column} = any ($1::${type}[])`, [both]), [1, 2], column);
      assert.deepEqual(await ids(`select id from customers where id > $2 and ${column} = any (cast($1 as ${type}[]))`, [both, 1]), [2], column);
      assert.deepEqual(await ids(`select id from customers where ${column} in ($1, $2)`, both), [1, 2], column);
    }
    assert.deepEqual(await ids('select id from customers where email = any ($1)', [[of('email', 3), null, 'nobody']]), [3]);
    assert.deepEqual(await ids('update customers set nick = nick where email = any ($1) returning id', [[of('email', 2)]]), [2]);
    assert.deepEqual(await ids('select id from customers where card = any ($1) or email = any ($2)', [[of('card', 1)], [of('email', 3)]]), [1, 3]);
  });

  it('find their rows as a literal, quoted or not, cast or not, and together with what is no token', async () => {
    const [one, two, three] = [of('email', 1), of('email', 2), of('email', 3)];
    for (const literal of [`'{${one},${two}}'`, `'{"${one}", "${two}"}'`, `E'{"${one}",${two},NULL}'`, `'{${one},nobody,"${two}"}'::text[]`]) {
      assert.deepEqual(await ids(`select id from customers where email = any (${literal})`), [1, 2], literal);
    }
    assert.deepEqual(await ids(`select id from customers where email = any ('{${three}}')`), [3]);
    const ascii = one.replace('‹', '<').replace('›', '>').replaceAll('·', '.');
    assert.deepEqual(await ids(`select id from customers where email = any ('{${ascii}}')`), [1]);
  });

  it('find their rows in binary format, whether the client names the type or not', async () => {
    const raw = await p.raw();
    const sql = 'select id from customers where email = any ($1)';
    for (const type of [0, TEXT_ARRAY]) {
      assert.deepEqual(await bound(raw, sql, binary([of('email', 1), of('email', 2), null]), 1, type), ['1', '2']);
      assert.deepEqual(await bound(raw, sql, Buffer.from(writeArrayText([of('email', 3)])), 0, type), ['3']);
    }
    assert.deepEqual(await bound(raw, 'select id from customers where card = any ($1)', binary([of('card', 1)], 1043), 1, 1015), ['1']);
    const named = 'select id from customers where email = any ($1::text[])';
    assert.deepEqual(await bound(raw, named, binary([of('email', 2), 'nobody']), 1, 0), ['2']);
  });

  it('find their rows through drivers that write arrays themselves', async () => {
    const sql = postgresJs({ host: '127.0.0.1', port: p.port, database: p.db.database, user: LOGIN.user, password: LOGIN.password, max: 1 });
    const both = [of('email', 1), of('email', 2)];
    assert.deepEqual([...(await sql`select id from customers where email = any (${both}) order by id`)], [{ id: 1 }, { id: 2 }]);
    assert.deepEqual([...(await sql`select id from customers where email in ${sql(both)} order by id`)], [{ id: 1 }, { id: 2 }]);
    await sql.end();
  });

  it('are refused where a value could be read, asked about or moved, with nothing sent', async () => {
    const [t, c] = [of('email', 1), of('card', 1)];
    for (const sql of [
      'select $1::text[]',
      'select unnest($1::text[])',
      'select id from customers where email = any ($1) and cardinality($1) > 0',
      'select id from customers where email = any ($1 || $1)',
      'select id from customers where email = any (array_append($1, $1[1]))',
      'select id from customers where email <> all ($1)',
      'select id from customers where email = all ($1)',
      'select id from customers where email like any ($1)',
      'select id from customers where email > any ($1)',
      'select id from customers where lower(email) = any ($1)',
      'select id from customers where nick = any ($1)',
      'select id from customers where card = any ($1)',
      'select id from partly where email = any ($1)',
      'select id from customers where email in (select unnest($1::text[]))',
      'insert into bags (id, tags) values (1, $1)',
      'update bags set tags = $1',
      `insert into bags (id, note) select 1, unnest($1::text[])`,
      'select id from customers where email = any ($1::varchar(3)[])',
      'select id from customers where email = any (($1)[1:2])',
    ])
      assert.match(await refused(sql, [[t, 'x']]), /cannot stand|longer value|could not be read/, sql);
    for (const literal of [
      `'{${t}x}'`,
      `'{" ${t}"}'`,
      `'{{${t}}}'`,
      `'[1:1]={${t}}'`,
      `'{${t}'`,
      `'${t}'`,
      `'{${t}} '`,
      `'{${t},}'`,
      `'{"${t}"x}'`,
      `'{\\${t}}'`,
      `$$\{${t}}$$`,
      `U&'{${t}}'`,
      `'{${t}}'::varchar(3)[]`,
      `'{${t}}'::text`,
      `'{${c}}'`,
    ])
      await refused(`select id from customers where email = any (${literal})`);
    assert.match(await refused('select id from customers where email = any ($1)', [[c]]), /does not let customers\.email take it/);
    await refused('select id from customers where email = any ($1)', [[[t]]]);
    await refused('select id from customers where email = any ($1)', [[`${t} `]]);
    await refused('select id from customers where email = any ($1)', [t]);
    await refused('select id from customers where email = $1', [[t]]);
    assert.deepEqual((await direct.query('select count(*)::int as n from bags')).rows, [{ n: 0 }]);
  });

  it('are refused when one of them was altered or belongs to somebody else', async () => {
    const t = of('email', 1);
    for (const altered of [t.replace('·1·', '·2·'), t.replace('email', 'card'), t.replace(/·[a-z]+›/, '·bbbbb›'), '‹email·1›']) {
      assert.match(
        await refused('select id from customers where email = any ($1)', [[t, altered]]),
        /is no token of this conversation: it was altered or made up/,
      );
      assert.match(await refused(`select id from customers where email = any ('{${t},${altered}}')`), /is no token of this conversation/);
      const raw = await p.raw();
      assert.match(
        String(await bound(raw, 'select id from customers where email = any ($1)', binary([t, altered]), 1, TEXT_ARRAY)),
        /42501 .*is no token of this conversation/,
      );
    }
    const foreign = await p.inside({ conversation: new Conversation('con-other') });
    assert.match(await refused('select id from customers where email = any ($1)', [[t]], foreign), /is no token of this conversation/);
  });

  it('are refused in binary arrays that are not what they say', async () => {
    const raw = await p.raw();
    const whole = binary([of('email', 1), 'x']);
    const changed = (at: number, value: number): Buffer => {
      const copy = Buffer.from(whole);
      copy.writeInt32BE(value, at);
      return copy;
    };
    for (const bytes of [
      whole.subarray(0, -1),
      Buffer.concat([whole, Buffer.of(0)]),
      changed(0, 2),
      changed(0, 0),
      changed(4, 2),
      changed(12, 3),
      changed(12, 1),
      changed(12, -1),
      changed(20, 5),
      binary([of('email', 1)], 17),
      binary([of('email', 1)], 23),
    ])
      assert.match(String(await bound(raw, 'select id from customers where email = any ($1)', bytes, 1, TEXT_ARRAY)), /^42501 .*could not be read/);
    // In a place that takes one value, an array is none.
    assert.match(String(await bound(raw, 'select id from customers where email = $1', whole, 1, 0)), /^42501 /);
    assert.match(String(await bound(raw, 'insert into bags (id, tags) values (1, $1)', whole, 1, TEXT_ARRAY)), /^42501 /);
  });

  it('stay tokens in errors', async () => {
    const [email, salary] = [of('email', 2), of('salary', 1)];
    for (const [sql, values] of [
      ['select id from customers where salary = any ($1)', [[salary, 'no number']]],
      [`select id from customers where salary = any ('{${salary},no number}')`, []],
      ['select id from customers where email = any ($1) and nowhere = 1', [[email]]],
      ['select id, 1 / (id - id) from customers where email = any ($1)', [[email]]],
    ] as const) {
      const error = await client.query(sql, [...values]).then(
        () => assert.fail('no error'),
        (cause: Error & { detail?: string; where?: string; position?: string }) => cause,
      );
      assert.doesNotMatch(JSON.stringify([error.message, error.detail, error.where]), /secret\.example|51000/, sql);
      if (error.position !== undefined && sql.includes('nowhere')) assert.equal(Number(error.position), sql.indexOf('nowhere') + 1);
    }
  });

  it('are recorded as tokens by themselves, and not at all beside what is none', async () => {
    await client.query('select id from customers where email = any ($1) -- pure', [[of('email', 1), of('email', 2)]]);
    await client.query('select id from customers where email = any ($1) -- mixed', [[of('email', 1), 'zoe@secret.example']]);
    await client.query(`select id from customers where email = any ('{${of('email', 1)},zoe@secret.example}')`);
    const kept = Buffer.from(await p.t.written(), 'latin1').toString();
    assert.doesNotMatch(kept, /secret\.example/);
    assert.ok(kept.includes(JSON.stringify([writeArrayText([of('email', 1), of('email', 2)])])));
  });

  it('count as masks when they are written back, in binary too', async () => {
    const raw = await p.raw();
    const sql = 'insert into bags (id, tags) values (7, $1)';
    const strict = await proxied('defaults: { write: allow }', { database: p.db, sensitive: SENSITIVE });
    const guarded = await strict.raw();
    for (const format of [0, 1] as const) {
      const bytes = format === 0 ? Buffer.from('{"‹redacted›"}') : binary(['a', '‹redacted›']);
      assert.match(String(await bound(guarded, sql, bytes, format, TEXT_ARRAY)), /^42501 /);
    }
    await strict.stop();
    raw.stream.destroy();
  });
});

it('array literals are read as the server reads them, or not at all', () => {
  for (const [text, elements] of [
    ['{}', []],
    ['{ }', []],
    ['{a}', ['a']],
    ['{ a b , "c d" }', ['a b', 'c d']],
    ['{NULL,null,"NULL"}', [null, null, 'NULL']],
    ['{"a\\"b","c\\\\d"}', ['a"b', 'c\\d']],
    ['{""}', ['']],
  ] as const) {
    assert.deepEqual(readArrayText(text), elements);
    assert.deepEqual(readArrayText(writeArrayText(elements)), elements);
  }
  for (const text of ['', '{', '}', '{a', 'a}', '{a}}', '{{a}}', '{a,}', '{,a}', '{a"b"}', '{"a"b}', '{\\a}', '[0:0]={a}', '{a} ', ' {a}', '{"a}', '{"a\\"}'])
    assert.equal(readArrayText(text), undefined, text);
  assert.equal(readArrayBinary(Buffer.alloc(12)), undefined);
});
