import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Client } from 'pg';
import { PASSWORD, SHOP, type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { until } from '../../../support/soon.ts';
import { grant, logIn, rolesOf, schemasOf, stageOf } from './stage.ts';

const READ = grant({ select: 'all' });

describe('minting roles', { timeout: 300_000 }, () => {
  let db: TestDatabase;
  let direct: Client;
  const sql = async (text: string): Promise<Record<string, unknown>[]> => (await direct.query<Record<string, unknown>>(text)).rows;
  before(async () => {
    db = await testDatabase(
      `${SHOP} CREATE SCHEMA billing; CREATE TABLE billing.cards (id int, number text, active boolean); INSERT INTO billing.cards VALUES (1, '4111111111110001', true);`,
    );
    direct = await db.direct();
  });
  after(() => direct.end());

  it('makes roles that can do nothing by themselves and die by themselves', async () => {
    const { broker } = stageOf(db, { ttlMs: 90_000 });
    const role = await broker.mint();
    const [row] = await sql(`SELECT r.*, a.rolpassword, extract(epoch FROM r.rolvaliduntil - now())::int AS left,
      (SELECT array_agg(m.set_option OR m.admin_option) FROM pg_auth_members m WHERE m.member = r.oid) AS memberships
      FROM pg_roles r JOIN pg_authid a ON a.oid = r.oid WHERE r.rolname = '${role.user}'`);
    assert.match(role.user, /^countersign_[0-9a-f]{10}_[0-9a-f]{8}_s[0-9a-f]{16}$/);
    for (const right of ['rolsuper', 'rolinherit', 'rolcreaterole', 'rolcreatedb', 'rolreplication', 'rolbypassrls']) assert.equal(row?.[right], false, right);
    assert.equal(row?.rolconnlimit, 1);
    assert.match(String(row?.rolpassword), /^SCRAM-SHA-256\$4096:/);
    assert.ok(Number(row?.left) > 80 && Number(row?.left) <= 90);
    assert.deepEqual(row?.memberships, [false]);
    const first = await logIn(db, role);
    await assert.rejects(logIn(db, role), /too many connections for role/);
    await first.end();
    await broker.stop();
  });

  it('lets nobody in after its time', async () => {
    const { broker } = stageOf(db, { ttlMs: -1000 });
    await assert.rejects(logIn(db, await broker.mint()), /password authentication failed/);
    await broker.stop();
  });

  it('leaves nothing behind: roles, views, grants', async () => {
    const before = await sql(`SELECT relname, relacl::text FROM pg_class WHERE relname IN ('customers', 'orders')`);
    const stage = stageOf(db);
    const roles = await Promise.all([stage.broker.mint(), stage.broker.mint()]);
    const client = await logIn(db, roles[0] as (typeof roles)[number]);
    await client.query('CREATE TEMP TABLE mine AS SELECT 1');
    // The client does not leave by itself: it is ended.
    await Promise.all(roles.map((role) => role.release()));
    assert.equal((await rolesOf(db)).filter((name) => name.includes('_s')).length, 0);
    await stage.broker.stop();
    assert.deepEqual(await rolesOf(db), []);
    assert.deepEqual(await schemasOf(db), []);
    // An access list that was never written and one with the owner's rights alone say the same.
    const owned = (rows: Record<string, unknown>[]): unknown => rows.map((row) => [row.relname, JSON.stringify(row.relacl).includes('countersign')]);
    assert.deepEqual(owned(await sql(`SELECT relname, relacl::text FROM pg_class WHERE relname IN ('customers', 'orders')`)), owned(before));
    assert.deepEqual(
      stage.log.filter(({ event }) => event.includes('left')),
      [],
    );
  });

  it('drops what a role could make for itself', async () => {
    const stage = stageOf(db);
    const role = await stage.broker.mint();
    await sql(`CREATE TABLE gift (i int); ALTER TABLE gift OWNER TO "${role.user}"; GRANT ALL ON orders TO "${role.user}"`);
    await role.release();
    assert.deepEqual(await sql(`SELECT 1 FROM pg_roles WHERE rolname = '${role.user}'`), []);
    await stage.broker.stop();
  });

  it('mints fifty at once, each its own, over one set of views', async () => {
    const { broker } = stageOf(db);
    const roles = await Promise.all(Array.from({ length: 50 }, () => broker.mint()));
    assert.equal(new Set(roles.map(({ user }) => user)).size, 50);
    assert.equal(new Set(roles.map(({ password }) => password.reveal())).size, 50);
    assert.equal((await schemasOf(db)).length, 1);
    const answers = await Promise.all(
      roles.map(async (role) => {
        const client = await logIn(db, role);
        const { rows } = await client.query<{ email: string }>('SELECT email FROM customers WHERE id = 1');
        await client.end();
        await role.release();
        return rows[0]?.email;
      }),
    );
    assert.deepEqual(new Set(answers), new Set(['c•••@secret.example']));
    await broker.stop();
    assert.deepEqual(await rolesOf(db), []);
  });

  it('lets several proxies work on one database at once', async () => {
    const stages = Array.from({ length: 4 }, () => stageOf(db));
    await Promise.all(stages.map(async ({ broker }) => Promise.all([broker.mint(), broker.mint()])));
    await Promise.all(stages.map(({ broker }) => broker.sweep()));
    assert.equal((await rolesOf(db)).length, 4 * 4);
    await Promise.all(stages.map(({ broker }) => broker.stop()));
    assert.deepEqual(await rolesOf(db), []);
  });

  it('sweeps what a killed proxy left, its own alone, and only what is not connected', async () => {
    const installation = randomUUID();
    const stranger = stageOf(db);
    const strangers = await stranger.broker.mint();
    const child = spawn(process.execPath, [new URL('killed.ts', import.meta.url).pathname, db.host, String(db.port), db.database, installation, '3'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const line = await new Promise<string>((resolve) => child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())));
    const left = JSON.parse(line) as { user: string; password: string }[];
    const next = stageOf(db, { installation });
    const mine = await next.broker.mint();
    // The other run lives: what it has is in use.
    assert.equal(await next.broker.sweep(), 0);

    const client = new Client({ host: db.host, port: db.port, database: db.database, ...left[0] });
    await client.connect();
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    await until(
      'the sessions to end',
      async () => (await sql(`SELECT 1 FROM pg_stat_activity WHERE application_name = 'countersign roles' AND datname = '${db.database}'`)).length <= 4,
    );
    await until('the roles to go', async () => {
      await next.broker.sweep();
      return (await rolesOf(db)).filter((name) => left.some(({ user }) => user === name)).length === 1;
    });
    assert.equal((await client.query('SELECT 1')).rowCount, 1);
    await client.end();
    await until('the roles to go', async () => {
      await next.broker.sweep();
      return (await rolesOf(db)).every((name) => !left.some(({ user }) => user === name));
    });
    // Two brokers with two layout roles each, and a session each.
    assert.equal((await rolesOf(db)).length, 6);
    assert.equal((await schemasOf(db)).length, 2);
    await (await logIn(db, strangers)).end();
    await (await logIn(db, mine)).end();
    await Promise.all([next.broker.stop(), stranger.broker.stop()]);
    assert.deepEqual(await rolesOf(db), []);
  });

  it('gets over a lost admin connection', async () => {
    const { broker } = stageOf(db);
    await broker.mint();
    await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'countersign roles' AND datname = '${db.database}'`);
    await until(
      'the sessions to end',
      async () => (await sql(`SELECT 1 FROM pg_stat_activity WHERE application_name = 'countersign roles' AND datname = '${db.database}'`)).length === 0,
    );
    const client = await logIn(db, await broker.mint());
    await client.end();
    await broker.stop();
    assert.deepEqual(await rolesOf(db), []);
  });

  it('writes no password into the server’s log, even where every statement is logged', async () => {
    await sql(`ALTER DATABASE ${db.database} SET log_statement = 'all'`);
    const { broker } = stageOf(db, { sensitive: { 'customers.ssn': 'hash' } });
    const role = await broker.mint();
    const client = await logIn(db, role);
    await client.query('SELECT ssn FROM customers');
    const [keys] = await sql(`SELECT encode(inside, 'hex') AS inside FROM "${(await schemasOf(db))[0]}".hash_keys`);
    await client.end();
    await broker.stop();
    await sql(`ALTER DATABASE ${db.database} RESET log_statement`);
    const log = db.server.log();
    assert.match(log, new RegExp(`create role "${role.user}"`), 'the log was looked at');
    assert.ok(!log.includes(role.password.reveal()));
    assert.ok(!log.includes(PASSWORD));
    assert.ok(!log.includes(String(keys?.inside).slice(0, 32)));
  });

  it('makes the views anew when policy or tables change, and drops the old ones when they are unused', async () => {
    const stage = stageOf(db, { sensitive: { 'customers.ssn': 'redact' } });
    const old = await stage.broker.mint();
    const oldClient = await logIn(db, old);
    stage.sensitive = { 'customers.ssn': 'redact', 'customers.notes': 'redact' };
    const role = await stage.broker.mint();
    const client = await logIn(db, role);
    assert.deepEqual((await client.query('SELECT notes FROM customers WHERE id = 1')).rows, [{ notes: '‹redacted›' }]);
    assert.equal((await oldClient.query('SELECT notes FROM customers WHERE id = 1')).rowCount, 1);
    assert.equal((await schemasOf(db)).length, 2);
    await oldClient.end();
    await old.release();
    await until('the old views to go', async () => (await schemasOf(db)).length === 1);
    await client.end();
    await role.release();
    await sql('ALTER TABLE customers ADD nick text');
    stage.stale();
    const third = await logIn(db, await stage.broker.mint());
    assert.deepEqual((await third.query('SELECT nick, ssn FROM customers WHERE id = 1')).rows, [{ nick: null, ssn: '‹redacted›' }]);
    await third.end();
    await stage.broker.stop();
    await sql('ALTER TABLE customers DROP nick');
    assert.deepEqual(await schemasOf(db), []);
  });

  it('keeps the views where nothing that matters to them has changed', async () => {
    const stage = stageOf(db);
    await stage.broker.mint();
    const schemas = await schemasOf(db);
    // Rewritten rows of the catalog come in another order.
    await sql('CREATE INDEX late ON customers (name); COMMENT ON TABLE orders IS $$x$$; ALTER TABLE orders SET (fillfactor = 90)');
    await sql('VACUUM pg_catalog.pg_class');
    stage.stale();
    await stage.broker.mint();
    assert.deepEqual(await schemasOf(db), schemas);
    await sql('DROP INDEX late');
    await stage.broker.stop();
  });

  it('reads every table and changes none where the policy has no grants; does nothing where they are empty', async () => {
    const open = stageOf(db, { sensitive: { 'billing.cards.number': 'partial', 'billing.cards.active': 'redact' } });
    const reader = await logIn(db, await open.broker.mint());
    assert.ok((await reader.query('SELECT * FROM orders')).rows.length >= 200);
    assert.deepEqual((await reader.query('SELECT * FROM cards')).rows, [{ id: 1, number: '••••0001', active: null }]);
    assert.deepEqual((await reader.query('SELECT id FROM billing.cards')).rows, [{ id: 1 }]);
    await assert.rejects(reader.query('SELECT number FROM billing.cards'), /permission denied/);
    await assert.rejects(reader.query("UPDATE orders SET status = 'x'"), /permission denied/);
    await reader.end();
    const closed = stageOf(db, { grants: {} });
    const nobody = await logIn(db, await closed.broker.mint());
    await assert.rejects(nobody.query('SELECT * FROM orders'), /permission denied/);
    await nobody.end();
    await Promise.all([open.broker.stop(), closed.broker.stop()]);
  });

  it('grants columns', async () => {
    const { broker } = stageOf(db, {
      grants: { 'public.orders': grant({ select: ['id', 'status'], update: ['status'] }), 'public.customers': grant({ select: ['id', 'email'] }) },
    });
    const client = await logIn(db, await broker.mint());
    assert.deepEqual((await client.query('SELECT * FROM customers WHERE id = 2')).rows, [{ id: 2, email: 'c•••@secret.example' }]);
    assert.equal((await client.query("UPDATE orders SET status = 'sent' WHERE id = 1")).rowCount, 1);
    await assert.rejects(client.query('SELECT total FROM orders'), /permission denied/);
    await assert.rejects(client.query('SELECT name FROM public.customers'), /permission denied/);
    await client.end();
    await broker.stop();
  });

  describe('with a login that is not the superuser', () => {
    before(async () => {
      await sql(`CREATE ROLE keeper LOGIN CREATEROLE PASSWORD '${PASSWORD}'; CREATE ROLE helper LOGIN PASSWORD '${PASSWORD}'`);
    });
    after(async () => {
      await sql('DROP OWNED BY keeper; DROP ROLE keeper; DROP ROLE helper');
    });

    const refused = async (options: Parameters<typeof stageOf>[1]): Promise<string> => {
      const { broker } = stageOf(db, { password: PASSWORD, ...options });
      const sentence = await broker.mint().then(
        () => 'it was made',
        (cause: Error) => cause.message,
      );
      await broker.stop();
      return sentence;
    };

    it('says which right is missing, and makes no session', async () => {
      assert.match(await refused({ user: 'helper' }), /helper may not create roles\. Run: ALTER ROLE helper CREATEROLE/);
      const grants = { 'public.customers': READ };
      assert.match(await refused({ user: 'keeper', grants }), /keeper may not pass on SELECT on public\.customers\..*WITH GRANT OPTION/);
      await sql('GRANT SELECT, UPDATE ON customers TO keeper WITH GRANT OPTION');
      assert.match(await refused({ user: 'keeper', grants }), new RegExp(`Run: GRANT CREATE ON DATABASE ${db.database} TO keeper`));
      assert.match(await refused({ user: 'keeper', grants: { 'public.customers': grant({ delete: 'all' }) } }), /pass on DELETE/);
      assert.match(await refused({ user: 'keeper', grants: { 'billing.cards': READ } }), /pass on the use of schema billing/);
      assert.deepEqual(await rolesOf(db), []);
    });

    it('works with CREATEROLE, CREATE and what it can pass on', async () => {
      await sql(`GRANT CREATE ON DATABASE ${db.database} TO keeper; GRANT SELECT, UPDATE ON customers TO keeper WITH GRANT OPTION`);
      const stage = stageOf(db, {
        user: 'keeper',
        password: PASSWORD,
        installation: 'kept',
        grants: { 'public.customers': grant({ select: 'all', update: ['notes'] }) },
      });
      const role = await stage.broker.mint();
      const client = await logIn(db, role);
      assert.deepEqual((await client.query('SELECT email FROM customers WHERE id = 1')).rows, [{ email: 'c•••@secret.example' }]);
      assert.equal((await client.query("UPDATE customers SET notes = 'z' WHERE id = 1")).rowCount, 1);
      // Still connected: it is ended, which before version 16 would need the role's rights.
      await role.release();
      await stage.broker.stop();
      assert.deepEqual(await rolesOf(db), []);
      assert.deepEqual(
        stage.log.filter(({ event }) => event.includes('left')),
        [],
      );
      // Only what it can pass on is "every table".
      const every = stageOf(db, { user: 'keeper', password: PASSWORD });
      const reader = await logIn(db, await every.broker.mint());
      assert.equal((await reader.query('SELECT * FROM customers')).rowCount, 50);
      await assert.rejects(reader.query('SELECT * FROM orders'), /permission denied/);
      await reader.end();
      await every.broker.stop();
    });
  });

  it('refuses where everybody may read a sensitive column in place, also when that came later', async () => {
    const stage = stageOf(db, { grants: { 'public.orders': READ } });
    await stage.broker.mint();
    await sql('GRANT SELECT (email) ON customers TO PUBLIC');
    await assert.rejects(stage.broker.mint(), /public\.customers\.email is masked by policy, but every role.*REVOKE SELECT ON public\.customers FROM PUBLIC/);
    await sql('REVOKE SELECT (email) ON customers FROM PUBLIC; GRANT SELECT ON people TO PUBLIC');
    await assert.rejects(stage.broker.mint(), /public\.people\.contact/);
    await sql('REVOKE SELECT ON people FROM PUBLIC');
    await (await stage.broker.mint()).release();
    await stage.broker.stop();
  });

  it('refuses grants of what is not there', async () => {
    const refused = async (grants: Parameters<typeof stageOf>[1]): Promise<void> => {
      const { broker } = stageOf(db, grants);
      await assert.rejects(broker.mint(), { code: 'cannot-mint', message: /The policy grants .* which is not a/ });
      await broker.stop();
    };
    await refused({ grants: { 'public.costumers': READ } });
    await refused({ grants: { 'public.customers': grant({ select: ['mail'] }) } });
    await refused({ grants: { 'pg_catalog.pg_authid': READ } });
  });

  it('takes any name for what it is', async () => {
    await sql(
      `CREATE SCHEMA "a'b\\c$do$"; CREATE TABLE "a'b\\c$do$"."t""; drop table orders; --" (id serial, "x'y\\" text); INSERT INTO "a'b\\c$do$"."t""; drop table orders; --" ("x'y\\") VALUES ('secret text here')`,
    );
    const table = `a'b\\c$do$.t"; drop table orders; --`;
    const { broker } = stageOf(db, { grants: { [table]: grant({ select: 'all', insert: 'all' }) }, sensitive: { [`${table}.x'y\\`]: 'hash' } });
    const client = await logIn(db, await broker.mint());
    const { rows } = await client.query(`SELECT * FROM "t""; drop table orders; --"`);
    assert.deepEqual(Object.values(rows[0] as object)[0], 1);
    assert.match(String(Object.values(rows[0] as object)[1]), /^‹x_y_·[0-9a-f]{6}›$/);
    await client.end();
    await broker.stop();
    await sql(`DROP SCHEMA "a'b\\c$do$" CASCADE`);
  });

  it('fails with the server’s absence, and stops all the same', async () => {
    const { broker } = stageOf({ ...db, port: 1 });
    await assert.rejects(broker.mint(), { code: 'unreachable' });
    await assert.rejects(broker.sweep());
    await broker.stop();
    await assert.rejects(broker.mint(), { code: 'cannot-mint' });
  });
});
