import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Client } from 'pg';
import { Secret } from '../../../contract/secret.ts';
import { Vault } from '../../../gateway/credential/vault.ts';
import { VaultLeases } from '../../../gateway/credential/vaultLeases.ts';
import type { PostgresConnection } from '../../../proxy/policy/policy.ts';
import { postgres } from '../../../proxy/protocols/postgres/serve.ts';
import type { Served } from '../../../proxy/protocols/protocol.ts';
import { type TestEngine, testEngine } from '../../support/engine.ts';
import { CANARY, SENSITIVE, SHOP, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { soon } from '../../support/soon.ts';
import { quiet } from '../stores.ts';
import { type FakeVault, fakeVault } from './fakeVaultBySpec.ts';

/** A server by the API's documentation, not Vault; the roles that it makes are real ones on a real PostgreSQL. */
describe('a database whose logins Vault lends', () => {
  let db: TestDatabase;
  let admin: Client;
  let fake: FakeVault;
  let leases: VaultLeases;
  let t: TestEngine;
  let served: Served;
  let seconds = 60;
  const pool: { username: string; password: string }[] = [];
  const made: { username: string; password: string }[] = [];

  before(async () => {
    db = await testDatabase(SHOP);
    admin = await db.direct();
    // A real one makes the role before it answers; here all that will be asked for are there before.
    for (let i = 0; i < 40; i++) pool.push({ username: `v_lent_${process.pid}_${i}`, password: randomBytes(12).toString('hex') });
    for (const { password, username } of pool) {
      await admin.query(`CREATE ROLE ${username} LOGIN PASSWORD '${password}'`);
      await admin.query(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${username}`);
    }
  });
  after(async () => {
    await served?.stop('done');
    await t?.stop();
    await leases?.stop();
    await fake.stop();
    await admin.end();
  });

  it('logs each session in with a login of its own, renews it, and gives it back', async () => {
    fake = await fakeVault((role) => {
      const next = role === 'orders' ? pool[made.length] : undefined;
      if (!next) return undefined;
      made.push(next);
      return { ...next, seconds };
    });
    leases = new VaultLeases(new Vault({ address: fake.address, token: () => new Secret(fake.token) }), quiet);
    t = await testEngine(`version: 1
connections:
  orders:
    protocol: postgres
    via: gateway
    upstream: postgres://127.0.0.1:${db.port}/${db.database}
    credential: { vault: database/creds/orders }
    sensitive: { ${Object.entries(SENSITIVE)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }
`);
    const connection = t.policy().connections.get('orders') as PostgresConnection;
    served = await postgres.serve(connection, {
      ...t.host,
      loopback: false,
      lease: (credential) => leases.issue(credential.lease === 'vault' ? credential.path : ''),
    });
    seconds = 8;
    const client = new Client({ stream: (() => served.connect?.(t.identity())) as never, user: 'x', database: db.database });
    await client.connect();
    const { rows } = await client.query('SELECT current_user AS me, (SELECT email FROM customers WHERE id = 1) AS email');
    assert.equal(rows[0].me, made.at(-1)?.username);
    assert.doesNotMatch(JSON.stringify(rows), CANARY);
    await soon(() => assert.ok(fake.requests.includes('PUT sys/leases/renew')));
    assert.equal(fake.leases.size, 2);
    await client.end();
    await soon(() => assert.equal(fake.leases.size, 1, 'the login was not given back'));
    const written = await t.written();
    for (const { password } of made) assert.ok(!written.includes(password));
  });

  it('ends a session whose login could not be renewed, with a sentence', async () => {
    seconds = 3;
    const client = new Client({ stream: (() => served.connect?.(t.identity())) as never, user: 'x', database: db.database });
    const died = new Promise<Error>((resolve) => client.on('error', resolve));
    await client.connect();
    fake.seal(true);
    assert.match((await died).message, /the login that it was lent has ended/);
    const next = new Client({ stream: (() => served.connect?.(t.identity())) as never, user: 'x', database: db.database });
    next.on('error', () => {});
    await assert.rejects(next.connect(), /Vault at .* is sealed or busy/);
    fake.seal(false);
  });
});
