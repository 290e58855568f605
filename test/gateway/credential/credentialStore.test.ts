import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Secret } from '../../../contract/secret.ts';
import { CredentialStore } from '../../../gateway/credential/credentialStore.ts';
import type { KeyWrapper } from '../../../gateway/credential/envelope.ts';
import { localKeys } from '../../../gateway/credential/localKeys.ts';
import { transitKeys } from '../../../gateway/credential/transitKeys.ts';
import { Vault } from '../../../gateway/credential/vault.ts';
import type { Database } from '../../../gateway/store/database.ts';
import { migrate } from '../../../gateway/store/migrate.ts';
import { openPostgres } from '../../../gateway/store/postgres.ts';
import { postgresUrl, quiet } from '../stores.ts';
import { fakeVault } from './fakeVaultBySpec.ts';

const BY = { issuer: 'https://idp.example', subject: 'root', groups: [] };
const CANARY = 'correct horse battery staple 4711';
const key = (): Secret => new Secret(randomBytes(32).toString('hex'));

describe('secrets in the gateway’s store', () => {
  let db: Database;
  before(async () => {
    db = openPostgres({ url: await postgresUrl(), log: quiet });
    await migrate(db, quiet);
  });
  after(() => db.close());
  beforeEach(async () => void (await db.query('DELETE FROM credentials')));

  const open = (keys: KeyWrapper): CredentialStore => new CredentialStore(db, keys, quiet);
  const put = (store: CredentialStore, name: string, value: string): Promise<void> => db.transaction((tx) => store.put(tx, name, new Secret(value), BY));
  const stored = async (): Promise<string> => JSON.stringify(await db.query('SELECT * FROM credentials'));

  it('cannot be read there, and open in every replica that has the key', async () => {
    const outer = key();
    const one = open(localKeys([outer]));
    await put(one, 'orders', CANARY);
    assert.equal(one.get('orders'), undefined);
    assert.deepEqual(await one.load(), ['orders']);
    assert.equal(one.get('orders')?.reveal(), CANARY);
    const other = open(localKeys([outer]));
    await other.load();
    assert.equal(other.get('orders')?.reveal(), CANARY);
    const text = await stored();
    for (const form of [CANARY, Buffer.from(CANARY).toString('base64url').slice(4, 30), Buffer.from(CANARY).toString('hex')]) assert.ok(!text.includes(form));
    assert.ok(!JSON.stringify(await one.list()).includes(CANARY));
    await put(one, 'orders', 'another');
    assert.deepEqual(await other.load(), ['orders']);
    assert.equal(other.get('orders')?.reveal(), 'another');
    await db.transaction((tx) => one.remove(tx, 'orders'));
    assert.deepEqual(await other.load(), ['orders']);
    assert.equal(other.get('orders'), undefined);
  });

  it('are the newest everywhere, also where one was removed and put again before anybody looked', async () => {
    const keys = localKeys([key()]);
    const store = open(keys);
    await put(store, 'orders', 'leaked');
    await store.load();
    await db.transaction((tx) => store.remove(tx, 'orders'));
    await put(store, 'orders', 'fresh');
    assert.deepEqual(await store.load(), ['orders']);
    assert.equal(store.get('orders')?.reveal(), 'fresh');
    assert.deepEqual(await store.load(), []);
  });

  it('do not open where they were changed, moved to another name, or put back from before', async () => {
    const keys = localKeys([key()]);
    const store = open(keys);
    await put(store, 'orders', CANARY);
    const [old] = await db.query<{ wrapped: string; sealed: string }>('SELECT wrapped, sealed FROM credentials');
    await put(store, 'orders', 'newer');
    await put(store, 'payroll', 'other');
    const attacks = [
      `UPDATE credentials SET sealed = overlay(sealed placing 'AAAA' from 12) WHERE name = 'orders'`,
      `UPDATE credentials SET wrapped = overlay(wrapped placing 'AAAA' from 12) WHERE name = 'orders'`,
      `UPDATE credentials o SET wrapped = p.wrapped, sealed = p.sealed FROM credentials p WHERE o.name = 'orders' AND p.name = 'payroll'`,
      `UPDATE credentials SET wrapped = '${old?.wrapped}', sealed = '${old?.sealed}' WHERE name = 'orders'`,
    ];
    for (const attack of attacks) {
      await assert.rejects(
        db.transaction(async (tx) => {
          await tx.query(attack);
          const reader = new CredentialStore({ ...db, query: (sql, params) => tx.query(sql, params) }, keys, quiet);
          await reader.load();
          assert.equal(reader.get('orders'), undefined, attack);
          assert.equal(reader.get('payroll')?.reveal(), 'other');
          throw new Error('taken back');
        }),
        /taken back/,
      );
    }
  });
  it('are re-wrapped under a newer key, which then is all that is needed', async () => {
    const [before_, after_] = [key(), key()];
    const old = open(localKeys([before_]));
    await put(old, 'orders', CANARY);
    await put(old, 'payroll', 'x');
    const both = open(localKeys([after_, before_]));
    await both.load();
    assert.equal(both.get('orders')?.reveal(), CANARY);
    assert.equal(await both.rotate(), 2);
    assert.equal(await both.rotate(), 0);
    const only = open(localKeys([after_]));
    await only.load();
    assert.equal(only.get('orders')?.reveal(), CANARY);
    const gone = open(localKeys([before_]));
    await gone.load();
    assert.equal(gone.get('orders'), undefined);
  });

  it('open by a key that never leaves a transit engine (a server by the API’s documentation, not Vault)', async () => {
    const fake = await fakeVault();
    const keys = transitKeys(new Vault({ address: fake.address, token: () => new Secret(fake.token) }), 'transit', 'countersign');
    const store = open(keys);
    await put(store, 'orders', CANARY);
    fake.rotate();
    await store.load();
    assert.equal(store.get('orders')?.reveal(), CANARY);
    assert.equal(await store.rotate(), 1);
    assert.match((await store.list())[0]?.kek ?? '', /:v2$/);
    fake.seal(true);
    const other = open(keys);
    await other.load();
    assert.equal(other.get('orders'), undefined);
    await assert.rejects(put(store, 'new', 'x'), /sealed or busy/);
    fake.seal(false);
    await other.load();
    assert.equal(other.get('orders')?.reveal(), CANARY);
    assert.ok(!fake.requests.join('\n').includes(CANARY));
    await fake.stop();
  });
});
