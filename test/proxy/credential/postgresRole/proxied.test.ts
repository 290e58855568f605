import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client } from 'pg';
import { Secret } from '../../../../contract/secret.ts';
import type { PostgresConnection } from '../../../../proxy/policy/policy.ts';
import { postgres } from '../../../../proxy/protocols/postgres/serve.ts';
import type { Served } from '../../../../proxy/protocols/protocol.ts';
import { LOGIN, type TestEngine, testEngine } from '../../../support/engine.ts';
import { CANARY, PASSWORD, SENSITIVE, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { soon } from '../../../support/soon.ts';
import { rolesOf, schemasOf } from './stage.ts';

const RULES = `defaults: { write: allow, delete: allow, schema: allow, admin: allow, execute: allow, unknown: allow }
rules:
  - { id: no-mass-change, match: { effect: [delete], bulk: true, connection: none }, verdict: deny }
  - { id: no-touching-orders, match: { effect: write, target: orders }, verdict: deny }
  - { id: no-touching-customers, match: { effect: delete, target: customers }, verdict: deny }
`;

describe('a connection that mints roles, through the proxy', { timeout: 300_000 }, () => {
  let db: TestDatabase;
  let t: TestEngine;
  let served: Served;
  before(async () => {
    db = await testDatabase(
      `${SHOP} CREATE FUNCTION definer(int) RETURNS text LANGUAGE sql SECURITY DEFINER AS 'SELECT email FROM public.customers WHERE id = $1';`,
    );
    t = await testEngine(`version: 1
connections:
  orders:
    protocol: postgres
    upstream: postgres://127.0.0.1:${db.port}/${db.database}
    user: ${SUPERUSER}
    tls: disable
    credential: { mint: postgres-role, admin: secret:upstream, grants: { customers: [select, update, delete], orders: [select] } }
    sensitive: { ${Object.entries(SENSITIVE)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }
${RULES}`);
    served = await postgres.serve(t.policy().connections.get('orders') as PostgresConnection, t.host);
  });
  after(async () => {
    await served.stop('the test is over');
    await t.stop();
  });
  const connect = async (): Promise<Client> => {
    const client = new Client({ host: '127.0.0.1', port: served.environment?.port ?? 0, database: db.database, user: LOGIN.user, password: LOGIN.password });
    client.on('error', () => {});
    await client.connect();
    return client;
  };

  it('waits for the secret of the login that makes roles', async () => {
    await assert.rejects(connect(), /needs the secret "upstream"/);
    assert.deepEqual(served.state.state, 'needs-secret');
    t.secrets.set('upstream', new Secret(PASSWORD));
    served.retry?.();
    await (await connect()).end();
  });

  it('logs in as a role of the session’s own, which goes with it', async () => {
    const [one, two] = await Promise.all([connect(), connect()]);
    const who = async (client: Client): Promise<string> => (await client.query<{ u: string }>('SELECT session_user AS u')).rows[0]?.u ?? '';
    const [first, second] = await Promise.all([who(one), who(two)]);
    assert.match(first, /^countersign_.*_s/);
    assert.notEqual(first, second);
    await one.end();
    for (let i = 0; (await rolesOf(db)).includes(first); i++) {
      assert.ok(i < 2000, 'the role is still there');
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    assert.ok((await rolesOf(db)).includes(second));
    await two.end();
  });

  it('shows the server’s masks as they are, whatever is made from them', async () => {
    const client = await connect();
    const { rows } = await client.query('SELECT id, name, email, ssn, card FROM customers WHERE id = 3');
    assert.deepEqual(rows, [{ id: 3, name: 'Name 3', email: 'c•••@secret.example', ssn: '‹redacted›', card: '‹redacted›' }]);
    assert.deepEqual((await client.query('SELECT upper(email) AS e, row_to_json(c) ->> $$ssn$$ AS s FROM customers c WHERE id = 3')).rows, [
      { e: 'C•••@SECRET.EXAMPLE', s: '‹redacted›' },
    ]);
    assert.deepEqual((await client.query('SELECT c.email FROM customers c UNION SELECT email FROM customers')).rows, [{ email: 'c•••@secret.example' }]);
    assert.deepEqual((await client.query("SELECT count(*)::int AS n FROM customers WHERE email LIKE 'canary%'")).rows, [{ n: 0 }]);
    for (const sql of ['SELECT email::int FROM customers', 'SELECT * FROM public.customers', 'SELECT email FROM public.customers', 'SELECT * FROM people']) {
      await assert.rejects(client.query(sql), (cause: Error) => !CANARY.test(JSON.stringify([cause.message, Object.values(cause)])), sql);
    }
    await client.end();
  });

  it('knows masked views by the names of their tables: rules on tables hold', async () => {
    const client = await connect();
    await assert.rejects(client.query("UPDATE orders SET status = 'x' WHERE id = 1"), /no-touching-orders/);
    await assert.rejects(client.query('DELETE FROM customers WHERE id = 1'), /no-touching-customers/);
    await assert.rejects(client.query('DELETE FROM public.customers WHERE id = 1'), /no-touching-customers/);
    assert.equal((await client.query("UPDATE customers SET notes = 'n' WHERE id = 1")).rowCount, 1);
    await client.end();
  });

  it('masks what the server alone would give away: a function that runs with its owner’s rights', async () => {
    const client = await connect();
    const { rows } = await client.query('SELECT definer(1) AS d');
    assert.equal(rows.length, 1);
    assert.doesNotMatch(JSON.stringify(rows), CANARY);
    await client.end();
  });

  it('never falls back to the login that makes roles', async () => {
    const direct = await db.direct();
    await direct.query('GRANT SELECT ON customers TO PUBLIC');
    await assert.rejects(connect(), /no role can be made for this session\. public\.customers\.\w+ is masked by policy/);
    await direct.query('REVOKE SELECT ON customers FROM PUBLIC');
    await direct.end();
    await (await connect()).end();
  });

  it('leaves no role, no view and no connection when it stops', async () => {
    await connect();
    await served.stop('a new policy');
    assert.deepEqual([await rolesOf(db), await schemasOf(db)], [[], []]);
    const direct = await db.direct();
    const others =
      "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    await soon(async () => assert.deepEqual((await direct.query(others)).rows, []));
    await direct.end();
  });
});
