import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import type { Client } from 'pg';
import { createSessionMasking } from '../../../../proxy/masking/masking.ts';
import { maskDiagnostic } from '../../../../proxy/protocols/postgres/diagnostics.ts';
import { ALLOW_ALL, type Proxied, proxied } from './proxied.ts';

const SETUP = `
create table people (id int primary key, ssn text unique, salary numeric, check (id > 0));
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
    p = await proxied(ALLOW_ALL, { setup: SETUP, sensitive: { 'people.ssn': 'redact', 'people.salary': 'redact', 'watched.ssn': 'redact' } });
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

  it('is told no further than by the SQLSTATE: not in which words it could not be read', async () => {
    const told = async (value: string): Promise<unknown> => {
      const { code, detail, hint, message } = (await failure(`select (${value} || left(ssn, 0))::json from people`)) as Failure & Record<string, unknown>;
      return { code, message, detail, hint };
    };
    const token = await told(`'xylograph'`);
    assert.deepEqual(token, { code: '22P02', message: 'invalid input syntax for type json', detail: undefined, hint: undefined });
    for (const value of [`'10.1.1.1'`, `'1951-03-01'`, `'{'`, `'['`, `'"'`, `''`]) assert.deepEqual(await told(value), token, value);
  });

  it('is not confirmed by showing it because the client wrote the same as a name', async () => {
    assert.match((await failure(`select split_part(ssn, '-', 1)::int as xylograph from people`)).message, /"‹hidden›"/);
    assert.match((await failure(`select split_part(ssn, '-', 1)::regclass as xylograph from people`)).message, /"‹hidden›"/);
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
    assert.equal(await of(`select 1/(length(ssn) - length(ssn)) from people`), 'division by zero');
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
