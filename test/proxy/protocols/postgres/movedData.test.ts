import assert from 'node:assert/strict';
import { afterEach, before, beforeEach, it, describe as suite } from 'node:test';
import { Canaries } from '../../../faults/canaries.ts';
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { soon } from '../../../support/soon.ts';
import { ALLOW_ALL, front, type Proxied, proxied, type RawClient, READY_MS } from './proxied.ts';

const SETUP = `
drop schema public cascade; drop schema if exists hr cascade; create schema public; create schema hr;
create table customers (id int primary key, name text, ssn text, city text);
insert into customers values (1, 'Ann', 'xylograph-vermilion-1', 'Rome'), (2, 'Bob', 'xylograph-vermilion-2', 'Oslo');
create table staging (a text, b text, c text);
`;
const canaries = new Canaries([], ['xylograph-vermilion-1', 'xylograph-vermilion-2']);

/** Sensitive data goes somewhere, and is looked at there. */
const CHAINS: readonly (readonly string[])[] = [
  ['insert into staging (a) select ssn from customers', 'select a from staging', 'select upper(a) from staging'],
  ['update customers set city = ssn', 'select city from customers'],
  ['create table x1 as select ssn as q from customers', 'select q from x1', "select q || '' from x1"],
  ['create temp table x2 as select ssn as q from customers', 'select q from x2', "select q || '' from x2"],
  ['select ssn as q into temp x3 from customers', 'select q from x3', "select q || '' from x3"],
  ['create table x5 (like customers)', 'insert into x5 select * from customers', 'select ssn from x5', 'select upper(ssn) from x5'],
  ['create temp table customers as select id, ssn as name from customers', 'select name from customers', "select name || '' from customers"],
  ['alter table customers rename column ssn to s2', 'select s2 from customers', "select s2 || '' from customers"],
  ['alter table customers rename to cc', 'select ssn from cc', "select ssn || '' from cc"],
  ['alter table customers set schema hr', 'select ssn from hr.customers', "select ssn || '' from hr.customers"],
  [
    'alter table customers rename to c2',
    'alter table c2 rename column ssn to s2',
    'alter table c2 set schema hr',
    'select s2 from hr.c2',
    'select upper(s2) from hr.c2',
  ],
  ['alter table customers add column s3 text', 'update customers set s3 = ssn', 'select s3 from customers', 'select upper(s3) from customers'],
  ['create view v9 as select ssn as z from customers', 'select z from v9', "select z || '' from v9"],
  ['create rule r6 as on update to customers do also insert into staging (b) values (new.ssn)', 'update customers set city = city', 'select b from staging'],
  ['create rule r7 as on update to customers do also insert into staging (c) values (old.ssn)', "update customers set city = 'x'", 'select c from staging'],
  ['prepare pq as select ssn from customers', 'execute pq', 'create temp table eq as execute pq', 'select * from eq'],
];

/** Errors that quote what they were given, each in its own way; all must fail or be masked. */
const ERRORS = [
  'ssn::xid',
  'ssn::regclass',
  'ssn::inet',
  "to_date(ssn, 'YYYY')",
  'nextval(ssn)',
  'format(ssn)',
  'to_regclass(ssn)',
  "jsonb_path_query('{}', ssn::jsonpath)",
]
  .concat([
    "'a' ~ (ssn || '[')",
    "pg_input_error_info(ssn, 'integer')",
    "has_table_privilege(ssn, 'select')",
    'convert_to(ssn, ssn)',
    "to_tsquery(ssn || ' &&& ')",
  ])
  .concat([
    'xmlparse(document ssn)',
    "xmlparse(document '<a>' || ssn)",
    'timezone(ssn, now())',
    'date_trunc(ssn, now())',
    'current_setting(ssn)',
    'ssn::json',
    'current_query()',
  ])
  .map((expression) => `select ${expression} from customers`);

suite('sensitive data that was moved', { timeout: 600_000 }, () => {
  let p: Proxied;
  let database: TestDatabase;
  before(async () => {
    database = await testDatabase(SETUP);
  });
  // One that has followed nothing yet: what it followed once, it masks for good.
  beforeEach(async () => {
    p = await proxied(ALLOW_ALL, { database, sensitive: { 'customers.ssn': 'redact' } });
  });
  afterEach(async () => {
    const written = await p.t.written();
    await p.stop();
    assert.deepEqual(canaries.in(written), []);
  });

  /** A session that knows the tables as they are now. A proxy that has read for too long says so, and asks to come again in a moment. */
  const anew = (): Promise<RawClient> => {
    p.served.retry?.();
    return soon(() => p.raw(), READY_MS);
  };

  for (const mode of ['one by one', 'in a transaction', 'in one query', 'in one pipeline'] as const) {
    it(`stays masked where it went: ${mode}`, async () => {
      const direct = await p.db.direct();
      for (const chain of CHAINS) {
        await direct.query(SETUP);
        const raw = await anew();
        const from = raw.received.length;
        const send = async (...parts: readonly Buffer[]): Promise<void> => {
          raw.send(...parts);
          await raw.until('Z');
        };
        if (mode === 'in one query') await send(front.query(chain.join('; ')));
        else if (mode === 'in one pipeline') {
          // A name that means something else by now ends the session: as good as a refusal.
          await send(...chain.flatMap((sql) => [front.parse('', sql), front.bind('', ''), front.execute()]), front.sync()).catch(() => {});
        } else for (const sql of mode === 'one by one' ? chain : ['begin', ...chain, 'commit']) await send(front.query(sql));
        const got = raw.received.slice(from);
        assert.deepEqual(canaries.in(Buffer.concat(got.map(({ body }) => body))), [], chain.join('; '));
        raw.stream.destroy();
      }
      await direct.end();
    });
  }

  it('is not in what errors quote without quotes', async () => {
    const direct = await p.db.direct();
    await direct.query(SETUP);
    await direct.end();
    const raw = await anew();
    for (const sql of ERRORS) {
      const from = raw.received.length;
      raw.send(front.query(sql));
      await raw.until('Z');
      assert.deepEqual(canaries.in(Buffer.concat(raw.received.slice(from).map(({ body }) => body))), [], sql);
    }
  });
});
