import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import type { Client } from 'pg';
import { createSessionMasking } from '../../../../proxy/masking/masking.ts';
import { maskDiagnostic } from '../../../../proxy/protocols/postgres/diagnostics.ts';
import { ALLOW_ALL, type Proxied, proxied } from './proxied.ts';

const SETUP = `
create table people (id int primary key, ssn text unique, salary numeric, pin varchar(4), check (id > 0));
insert into people values (1, 'xylograph-vermilion', 9081726354);
create table orders (id int);
create function tell() returns trigger language plpgsql as $$ begin raise 'no' using column = new.ssn, constraint = new.salary::text; end $$;
create table watched (ssn text, salary numeric);
create trigger tell before insert on watched for each row execute function tell();
`;
const SECRET = /xylograph|vermilion|908172|354/;

interface Failure {
  readonly code?: string;
  readonly message: string;
  readonly detail?: string;
}

suite('what errors say of values', { timeout: 300_000 }, () => {
  let p: Proxied;
  let client: Client;
  before(async () => {
    p = await proxied(ALLOW_ALL, {
      setup: SETUP,
      sensitive: { 'people.ssn': 'redact', 'people.salary': 'redact', 'people.pin': 'redact', 'watched.ssn': 'redact' },
    });
    client = await p.client();
  });
  after(() => p.stop());

  const failure = (sql: string, values?: unknown[]): Promise<Failure> =>
    client.query({ text: sql, ...(values && { values }) }).then(
      () => assert.fail(`no error: ${sql}`),
      (cause: Failure) => cause,
    );

  it('is hidden where the value itself holds the quotes that end it', async () => {
    for (const value of [
      `'"' || ssn || '"'`,
      `'" ' || ssn || ' "'`,
      `'""' || ssn || '""'`,
      `'people" ' || ssn || ' "orders'`,
      `'people" of relation "' || ssn`,
      `'people" of relation "orders" ' || ssn || ' "people'`,
      `'orders" violates check constraint "' || ssn`,
      `'a) already exists. ' || ssn`,
      `'=(' || ssn || ')'`,
      `'contains (' || ssn || ').'`,
      `E'«\\n' || ssn || E'\\n»'`,
    ]) {
      for (const type of ['int', 'text[]', 'regclass', 'json', 'int4range', 'uuid', 'regtype', 'point', 'xml']) {
        const { detail = '', message } = await failure(`select (${value} || '{[(<a')::${type} from people`);
        assert.doesNotMatch(message + detail, SECRET, `${value} as ${type}`);
      }
    }
    const { detail = '', message } = await failure(`select ('"people"" ' || ssn || ' ""orders"')::regclass from people`);
    assert.doesNotMatch(message + detail, SECRET);
  });

  it('is hidden where it is no text and stands in no quotes', async () => {
    for (const sql of [
      `select get_byte('x'::bytea, (salary / 10)::int) from people`,
      'select setseed(salary::float8) from people',
      'select make_date((salary / 10)::int, 1, 1) from people',
      'select chr((salary / 10)::int) from people',
      'select txid_status(salary::bigint) from people',
      `select (ssn || '(text,text)')::regoperator from people`,
      'select ssn::regoper from people',
      `select array_fill(1, array[(salary / 10)::int]) from people`,
      `select set_bit('x'::bytea, salary::bigint, 1) from people`,
      'select salary::int from people',
      'select (salary::text || ssn)::numeric from people',
    ]) {
      const { detail = '', message } = await failure(sql);
      assert.doesNotMatch(message + detail, SECRET, sql);
    }
  });

  it('is told no further than that it failed: not by the SQLSTATE, the words, or the place', async () => {
    const told = async (sql: string): Promise<unknown> => {
      const { message, ...rest } = (await failure(sql)) as Failure & Record<string, unknown>;
      return { message, ...Object.fromEntries(Object.entries(rest).filter(([name, value]) => value !== undefined && name !== 'length' && name !== 'name')) };
    };
    const known = await told(`select ssn::json from people`);
    assert.deepEqual(Object.keys(known as object).toSorted(), ['code', 'message', 'severity']);
    assert.equal((known as Failure).code, '22000');
    // Each row fails to be read in another way.
    const ways: Readonly<Record<string, readonly string[]>> = {
      json: ['xylograph', '10.1.1.1', '1951-03-01', '{', '[', '"', ''],
      timestamp: ['xylograph', '1951-13-45', '1951-02-31', '5874898-01-01', '9081726354.5', '1951-01-01 25:00', '1951-01-01 nowhere/zone', ''],
      date: ['xylograph', '1951-13-45', '5874898-01-01', ''],
      interval: ['xylograph', '99999999999999999 years', ''],
      int: ['xylograph', '9081726354', ''],
      numeric: ['xylograph', '1e999999'],
      float8: ['xylograph', '1e999'],
      'numeric(3, 1)': ['xylograph', '9081'],
      regclass: ['xylograph', 'nowhere.xylograph', 'people."', 'a.b.c.d', ''],
      regtype: ['xylograph', 'nowhere.xylograph', 'varchar(', ''],
      regproc: ['xylograph', 'nowhere.xylograph', 'abs'],
      inet: ['xylograph', '10.0.0.0/99'],
      'int[]': ['xylograph', '{x}', '{{1},2}', '{9081726354}'],
      int4range: ['xylograph', '[9,8)', '[x,8)'],
      xml: ['<a', '<a></b>'],
      jsonpath: ['$.', '$[*'],
      tsquery: ['a &', '!'],
      'bit(3)': ['xylograph', '1012'],
    };
    for (const [type, values] of Object.entries(ways))
      for (const value of values) assert.deepEqual(await told(`select ('${value}' || left(ssn, 0))::${type} from people`), known, `${value} as ${type}`);
    for (const sql of [
      // The sweep's: a number that is too large for one of its readings and too long for another.
      'select salary::float8::text::timestamp from people',
      `select 1 / (length(ssn) - length(ssn)) from people`,
      `select repeat(ssn, 999999999) from people`,
      `select (ssn || '(') ~ ssn, substring(ssn from 1 for -1) from people`,
      `select to_date(ssn, 'YYYY-MM-DD') from people`,
      `select to_timestamp(ssn, 'HH24 HH12') from people`,
      `select to_number(ssn, '9G9') from people`,
      `select decode(ssn, 'hex') from people`,
      `select decode('a', ssn) from people`,
      `select convert_from(ssn::bytea, ssn) from people`,
      `select make_date(-salary::int8::text::int, 1, 1) from people`,
      `insert into people (id, pin) select 7, ssn from people`,
      `alter table people alter ssn type varchar(3)`,
      `alter table people alter ssn type int using ssn::int`,
      `create index on people ((ssn::int))`,
      `update people set ssn = ssn::int::text where id = 1`,
      `insert into people (id, ssn) select 8, ssn::int::text from people`,
    ])
      assert.deepEqual(await told(sql), known, sql);
  });

  it('is not confirmed because the client wrote the same as a name', async () => {
    for (const type of ['int', 'regclass']) assert.equal((await failure(`select split_part(ssn, '-', 1)::${type} as xylograph from people`)).code, '22000');
  });

  it('says all of what is wrong with what the client wrote itself', async () => {
    const of = async (sql: string, values?: unknown[]): Promise<unknown> => {
      const { code, message } = await failure(sql, values);
      return [code, message];
    };
    assert.deepEqual(await of(`insert into people (id, pin) values (3, '12345')`), ['22001', 'value too long for type character varying(4)']);
    assert.deepEqual(await of(`update people set pin = '12345' where id = 1`), ['22001', 'value too long for type character varying(4)']);
    assert.deepEqual(await of('select ssn from people where id = $1', ['abc']), ['22P02', 'invalid input syntax for type integer: "‹hidden›"']);
    assert.deepEqual(await of(`select ssn from people where id = 'abc'`), ['22P02', 'invalid input syntax for type integer: "‹hidden›"']);
    assert.deepEqual(await of('alter table people drop column nowhere'), ['42703', 'column "nowhere" of relation "people" does not exist']);
    assert.equal(((await of(`select id / 0 from people`)) as string[])[0], '22012');
  });

  it('still says what a person needs: names of the schema, and what is wrong with the statement', async () => {
    const of = async (sql: string): Promise<string> => (await failure(sql)).message;
    assert.equal(await of('select ssn, nowhere from people'), 'column "nowhere" does not exist');
    assert.equal(await of('select ssn from people, nobody'), 'relation "nobody" does not exist');
    assert.equal(await of(`insert into people (ssn) values ('x')`), 'null value in column "id" of relation "people" violates not-null constraint');
    assert.equal(await of(`insert into people values (-1, 'x')`), 'new row for relation "people" violates check constraint "people_id_check"');
    const twice = await failure(`insert into people values (2, 'xylograph-vermilion')`);
    assert.deepEqual(
      [twice.message, twice.detail],
      ['duplicate key value violates unique constraint "people_ssn_key"', 'Key (ssn)=(‹hidden›) already exists.'],
    );
  });

  it('is taken out of the fields for names where code raised it', async () => {
    const error = (await failure(`insert into watched select ssn, salary from people`)) as Failure & Record<string, unknown>;
    assert.doesNotMatch(JSON.stringify({ ...error, message: error.message }), SECRET);
  });

  it('is hidden in what a server says in another language', () => {
    const masking = createSessionMasking({ plan: { columns: new Map(), detectors: new Map(), otherwise: 'redact' }, hashKey: Buffer.alloc(32, 1) });
    for (const text of [
      'ungültige Eingabesyntax für Typ integer: »%«',
      'la sintaxis de entrada no es válida para tipo integer: «%»',
      'неверно: „%“',
      '型の入力構文が無効です: 「%」',
    ]) {
      for (const value of ['xylograph', 'people« xylograph »orders', '"people" xylograph "orders"']) {
        const { fields } = maskDiagnostic(
          new Map([
            ['V', 'ERROR'],
            ['C', '22P02'],
            ['M', text.replace('%', value)],
          ]),
          'sensitive',
          { own: () => '', isRelation: (name) => name === 'people' || name === 'orders' },
          masking,
        );
        assert.doesNotMatch(fields.get('M') ?? '', SECRET);
      }
    }
  });
});
