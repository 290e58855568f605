import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Client } from 'pg';
import { CANARY, SHOP, type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { grant, logIn, type Stage, stageOf } from './stage.ts';

const SETUP = `${SHOP}
ALTER TABLE customers ADD CONSTRAINT named CHECK (name <> '');
CREATE TABLE tickets (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE tickets_1 PARTITION OF tickets FOR VALUES FROM (0) TO (1000);
INSERT INTO tickets SELECT i, 'canary' || i || '@secret.example' FROM generate_series(1, 20) i;
CREATE MATERIALIZED VIEW customer_copies AS SELECT id, lower(email) AS mail FROM customers;
CREATE FUNCTION invoker(int) RETURNS text LANGUAGE sql AS 'SELECT email FROM public.customers WHERE id = $1';
CREATE FUNCTION definer(int) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT email FROM public.customers WHERE id = $1';
CREATE STATISTICS together (mcv) ON email, ssn FROM customers;
ANALYZE;
`;

/** What a session logged in as the minted role may try; not one may give a canary away, by rows, notices or errors. */
const ATTACKS: readonly string[] = [
  'SELECT * FROM customers',
  'SELECT * FROM public.customers',
  'SELECT email FROM public.customers',
  'SELECT c FROM public.customers c',
  'SELECT row_to_json(c) FROM public.customers c',
  'SELECT c.* FROM public.customers c',
  'SELECT customers FROM customers',
  'SELECT customers::text FROM customers',
  'SELECT row_to_json(customers) FROM customers',
  'SELECT jsonb_agg(to_jsonb(c)) FROM customers c',
  'SELECT string_agg(email, chr(44)), array_agg(ssn) FROM customers',
  'SELECT reverse(email), upper(ssn), encode(convert_to(card, $$UTF8$$), $$base64$$) FROM customers',
  'SELECT email::int FROM customers',
  'SELECT email::int FROM public.customers',
  'SELECT ssn::date FROM customers',
  'SELECT xmlparse(content email) FROM customers',
  "SELECT 1 / (CASE WHEN email LIKE 'canary1%' THEN 0 ELSE 1 END) FROM public.customers",
  "SELECT id FROM public.customers WHERE email LIKE 'canary%'",
  'SELECT id FROM public.customers ORDER BY ssn',
  'SELECT count(*) FROM public.customers GROUP BY card',
  'SELECT ctid, xmin, email FROM public.customers',
  'TABLE public.customers',
  'TABLE people',
  'SELECT * FROM public.people',
  'SELECT contact FROM people',
  'SELECT * FROM customer_copies',
  'SELECT mail FROM public.customer_copies',
  'SELECT * FROM tickets',
  'SELECT body FROM public.tickets',
  'SELECT * FROM tickets_1',
  'SELECT body FROM public.tickets_1',
  'SELECT invoker(1)',
  'COPY customers TO STDOUT',
  'COPY public.customers TO STDOUT',
  'COPY (SELECT email FROM public.customers) TO STDOUT',
  "COPY public.customers TO '/tmp/countersign-canaries'",
  "COPY (SELECT 1) TO PROGRAM 'cat'",
  'DECLARE c CURSOR WITH HOLD FOR SELECT email FROM public.customers; FETCH ALL c',
  'PREPARE p AS SELECT email FROM public.customers; EXECUTE p',
  'EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM customers',
  "EXPLAIN (VERBOSE) SELECT * FROM customers WHERE email = 'x'",
  'CREATE TEMP TABLE stolen AS SELECT * FROM public.customers; SELECT * FROM stolen',
  'CREATE TEMP TABLE kept AS SELECT * FROM customers; SELECT * FROM kept',
  'CREATE TEMP VIEW v AS SELECT email FROM public.customers; SELECT * FROM v',
  "DO $$BEGIN RAISE NOTICE '%', (SELECT string_agg(email, ' ') FROM public.customers); END$$",
  "DO $$BEGIN RAISE NOTICE '%', (SELECT string_agg(email, ' ') FROM customers); END$$",
  'UPDATE customers SET name = NULL WHERE id = 1',
  "UPDATE customers SET name = '' WHERE id = 1",
  "UPDATE public.customers SET name = '' WHERE id = 1",
  'UPDATE public.customers SET name = NULL WHERE id = 1 RETURNING *',
  'UPDATE public.customers SET name = email WHERE id = 1',
  'UPDATE public.customers SET name = name WHERE id = 1 RETURNING email',
  'UPDATE customers SET name = email WHERE id = 2 RETURNING name',
  "UPDATE customers SET email = 'x' WHERE id = 1",
  "UPDATE public.customers SET email = 'x' WHERE id = 1",
  "INSERT INTO public.customers (id, name, email, ssn) VALUES (1, 'x', 'canary', 'y') RETURNING *",
  "INSERT INTO public.customers (id, name, email) VALUES (900, 'x', 'e') ON CONFLICT (email) DO UPDATE SET name = customers.email RETURNING name",
  "INSERT INTO public.customers (id, name, email) VALUES (1, '', 'new@x')",
  'DELETE FROM public.customers RETURNING *',
  'MERGE INTO customers c USING public.customers p ON c.id = p.id WHEN MATCHED THEN UPDATE SET name = p.email',
  'SELECT * FROM pg_stats',
  "SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE tablename = 'customers'",
  'SELECT * FROM pg_stats_ext',
  'SELECT * FROM pg_statistic',
  'SELECT * FROM pg_statistic_ext_data',
  'SELECT * FROM pg_stat_activity',
  'SELECT * FROM pg_authid',
  'SELECT * FROM pg_shadow',
  "SELECT pg_read_file('postgresql.conf')",
  "SELECT pg_ls_dir('.')",
  'SELECT pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname ~ $$^countersign$$',
  "SELECT lo_import('/etc/passwd')",
  'SELECT database_to_xml(true, true, $$$$)',
  "SELECT query_to_xml('SELECT email FROM public.customers', true, true, '')",
  "SELECT table_to_xml('public.customers', true, true, '')",
  'SELECT setting FROM pg_settings',
  'LOCK TABLE public.customers IN ACCESS EXCLUSIVE MODE',
  'ALTER TABLE public.customers ALTER email SET DEFAULT 1',
  'CREATE POLICY p ON public.customers USING (true)',
  'GRANT SELECT ON public.customers TO PUBLIC',
  "CREATE FUNCTION pg_temp.see(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$BEGIN RAISE NOTICE '%', $1; RETURN true; END$$; SELECT id FROM customers WHERE pg_temp.see(email)",
];

/** Ways to be somebody else: all refused by the server. */
const ESCAPES: readonly (readonly [string, RegExp])[] = [
  ['SET ROLE postgres', /permission denied to set role/],
  ['SET SESSION AUTHORIZATION postgres', /permission denied/],
  ['SET ROLE OWNER', /permission denied to set role/],
  ['SET ROLE GRANTS', /permission denied to set role/],
  ['SET ROLE pg_read_all_data', /permission denied to set role/],
  ['GRANT OWNER TO SELF', /permission denied/],
  ['GRANT pg_read_all_data TO SELF', /permission denied/],
  ['ALTER ROLE SELF SUPERUSER', /permission denied/],
  ['ALTER ROLE SELF CONNECTION LIMIT 5', /permission denied/],
  ["ALTER ROLE SELF VALID UNTIL 'infinity'", /permission denied/],
  ['CREATE ROLE another', /permission denied/],
  ['CREATE SCHEMA mine', /permission denied/],
  ['CREATE TABLE public.mine (i int)', /permission denied/],
  ['CREATE TABLE MASK.mine (i int)', /permission denied/],
  ['DROP VIEW MASK.customers', /must be owner/],
  ['CREATE OR REPLACE VIEW MASK.customers AS SELECT * FROM public.customers', /permission denied/],
  ['ALTER VIEW MASK.customers RESET (security_barrier)', /must be owner/],
  ['SELECT * FROM MASK.hash_keys', /permission denied/],
  ['TRUNCATE public.orders', /permission denied/],
  ['DELETE FROM public.orders', /permission denied/],
  ['SET session_replication_role = replica', /permission denied/],
  ['ALTER SYSTEM SET work_mem = 64', /permission denied/],
  ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'countersign roles'", /permission denied/],
];

describe('a minted role, with nothing of ours in between', { timeout: 300_000 }, () => {
  let db: TestDatabase;
  let stage: Stage;
  let client: Client;
  let heard = '';
  before(async () => {
    db = await testDatabase(SETUP);
    stage = stageOf(db, {
      sensitive: { 'customers.email': 'partial', 'customers.ssn': 'hash', 'customers.card': 'token', 'tickets.body': 'redact' },
      grants: {
        'public.customers': grant({ select: 'all', update: 'all', insert: ['id', 'name', 'email'], delete: 'all' }),
        'public.orders': grant({ select: 'all', update: ['status'], insert: 'all' }),
        'public.people': grant({ select: 'all' }),
        'public.customer_copies': grant({ select: 'all' }),
        'public.tickets': grant({ select: 'all' }),
        'public.tickets_1': grant({ select: 'all' }),
      },
    });
    client = await logIn(db, await stage.broker.mint());
    client.on('notice', (notice) => {
      heard += JSON.stringify(Object.values(notice)) + String(notice.message);
    });
  });
  after(async () => {
    await client.end();
    await stage.broker.stop();
  });

  const told = async (sql: string): Promise<string> => {
    heard = '';
    await client.query('BEGIN');
    const answer = await client.query({ text: sql, rowMode: 'array' }).then(
      (result) => JSON.stringify(Array.isArray(result) ? result.map((one: { rows: unknown }) => one.rows) : result.rows),
      (cause: Error) => JSON.stringify([cause.message, Object.values(cause)]),
    );
    await client.query('ROLLBACK');
    return answer + heard;
  };

  for (const sql of ATTACKS) {
    it(`gives no canary away: ${sql.slice(0, 90)}`, { timeout: 120_000 }, async () => {
      // What COPY sends, SELECT of the same sends; this client cannot read a copy.
      const answer = sql.startsWith('COPY') && sql.includes('STDOUT') ? await copied(sql) : await told(sql);
      assert.doesNotMatch(answer, CANARY);
    });
  }

  const copied = async (sql: string): Promise<string> => {
    const what = /^COPY (.*) TO STDOUT$/.exec(sql)?.[1] ?? '';
    return told(what.startsWith('(') ? what.slice(1, -1) : `TABLE ${what}`);
  };

  it('is nobody else, and can make itself nobody else', async () => {
    const { rows: names } = await client.query<{ me: string; mask: string }>(
      `SELECT current_user AS me, (SELECT string_agg(nspname, '') FROM pg_namespace WHERE nspname ~ '^countersign_') AS mask`,
    );
    const { me = '', mask = '' } = names[0] ?? {};
    const direct = await db.direct();
    const { rows: owners } = await direct.query<{ owner: string }>('SELECT viewowner AS owner FROM pg_views WHERE schemaname = $1 LIMIT 1', [mask]);
    await direct.end();
    const owner = owners[0]?.owner ?? '';
    const grants = owner.replace(/_o(\w+)$/, '_g$1');
    for (const [sql, expected] of ESCAPES) {
      const text = sql.replace('OWNER', owner).replace('GRANTS', grants).replace('SELF', me).replace('MASK', mask);
      const failure = await client.query(text).then(
        () => 'it was allowed',
        (cause: Error) => cause.message,
      );
      assert.match(failure, expected, text);
    }
  });

  it('may do what the policy grants', async () => {
    const { rows } = await client.query('SELECT id, name, email, card, notes FROM customers WHERE id = 7');
    assert.deepEqual(rows, [{ id: 7, name: 'Name 7', email: 'c•••@secret.example', card: '‹redacted›', notes: 'likes tea' }]);
    assert.deepEqual((await client.query('SELECT id, name, notes FROM public.customers WHERE id = 7')).rowCount, 1);
    assert.equal((await client.query("UPDATE customers SET notes = 'x' WHERE id = 7")).rowCount, 1);
    assert.equal((await client.query("UPDATE public.customers SET notes = 'y' WHERE id = 7")).rowCount, 1);
    assert.equal((await client.query("UPDATE orders SET status = 'held' WHERE id = 7")).rowCount, 1);
    assert.equal((await client.query('INSERT INTO orders (customer) VALUES (7) RETURNING id')).rowCount, 1);
    assert.equal((await client.query('DELETE FROM customers WHERE id > 1000')).rowCount, 0);
    await assert.rejects(client.query('UPDATE orders SET total = 0 WHERE id = 7'), /permission denied/);
  });

  it('sees equal hashes for equal values, and other hashes for others', async () => {
    const { rows } = await client.query<{ ssn: string }>('SELECT a.ssn FROM customers a JOIN customers b ON a.ssn = b.ssn WHERE a.id < 10 ORDER BY a.id');
    assert.equal(new Set(rows.map((row) => row.ssn)).size, 9);
    for (const { ssn } of rows) assert.match(ssn, /^‹ssn·[0-9a-f]{6}›$/);
  });

  it('reaches what a SECURITY DEFINER function gives to everybody: the documented hole', async () => {
    assert.match(await told('SELECT definer(1)'), CANARY);
    assert.deepEqual(stage.log.find(({ event }) => event === 'postgres-role.definers')?.fields, { connection: 'shop', functions: ['public.definer'] });
  });
});
