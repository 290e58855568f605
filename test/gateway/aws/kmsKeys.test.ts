import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Secret } from '../../../contract/secret.ts';
import { awsCredentials, renewed } from '../../../gateway/aws/login.ts';
import { loadConfig } from '../../../gateway/config/load.ts';
import { CredentialStore } from '../../../gateway/credential/credentialStore.ts';
import type { KeyWrapper } from '../../../gateway/credential/envelope.ts';
import { keysFor } from '../../../gateway/credential/keys.ts';
import { kmsKeys } from '../../../gateway/credential/kmsKeys.ts';
import { localKeys } from '../../../gateway/credential/localKeys.ts';
import { checkPlaces } from '../../../gateway/main.ts';
import type { Database } from '../../../gateway/store/database.ts';
import { migrate } from '../../../gateway/store/migrate.ts';
import { openPostgres } from '../../../gateway/store/postgres.ts';
import { postgresUrl, quiet, temporaryFolder } from '../stores.ts';
import { type FakeAws, fakeAws, KMS_KEY, REGION, ROLE } from './fakeAwsBySpec.ts';

const BY = { issuer: 'https://idp.example', subject: 'root', groups: [] };
const CANARY = 'correct horse battery staple 4712';
const OTHER_KEY = KMS_KEY.replace('1111', '9999');

/** Servers by the documentation of AWS, whose signatures are checked for real: see fakeAwsBySpec.ts. */
describe('secrets that are sealed with a key of AWS KMS', () => {
  let aws: FakeAws;
  let db: Database;
  let url: string;
  before(async () => {
    aws = await fakeAws();
    url = await postgresUrl();
    db = openPostgres({ url, log: quiet });
    await migrate(db, quiet);
  });
  after(async () => {
    await db.close();
    await aws.stop();
  });

  const kms = (more: { key?: string; oldKeys?: string[]; secret?: string; endpoint?: string } = {}): KeyWrapper =>
    kmsKeys({
      key: 'alias/countersign',
      oldKeys: [],
      region: REGION,
      endpoint: aws.endpoint,
      credentials: async () => ({ accessKeyId: aws.accessKeyId, secretAccessKey: new Secret(more.secret ?? aws.secretAccessKey) }),
      ...more,
    });
  const put = (keys: KeyWrapper, name: string): Promise<void> =>
    db.transaction((tx) => new CredentialStore(db, keys, quiet).put(tx, name, new Secret(CANARY), BY));
  const opened = async (keys: KeyWrapper, name: string): Promise<string | undefined> => {
    const store = new CredentialStore(db, keys, quiet);
    await store.load();
    return store.get(name)?.reveal();
  };

  it('open with it, in every replica, and with no other key; the store names the key and cannot choose it', async () => {
    await put(kms(), 'orders');
    assert.equal(await opened(kms(), 'orders'), CANARY);
    const [row] = await db.query<{ kek: string }>('SELECT * FROM credentials');
    assert.equal(row?.kek, `kms:${KMS_KEY}`);
    assert.ok(!JSON.stringify(row).includes(CANARY));
    // Another key of the same account, which the gateway's rights would reach.
    await db.query('UPDATE credentials SET kek = $1', [`kms:${OTHER_KEY}`]);
    const before = aws.kmsCalls.filter((call) => call === 'Decrypt').length;
    assert.equal(await opened(kms(), 'orders'), undefined);
    assert.equal(aws.kmsCalls.filter((call) => call === 'Decrypt').length, before);
    await db.query('UPDATE credentials SET kek = $1', [`kms:${KMS_KEY}`]);
    await db.query("UPDATE credentials SET wrapped = overlay(wrapped placing 'AAAA' from 20)");
    assert.equal(await opened(kms(), 'orders'), undefined);
    await db.query('DELETE FROM credentials');
  });

  it('are put under another key by rotating, and open under the old one until then', async () => {
    await put(kms(), 'orders');
    aws.alias = OTHER_KEY;
    assert.equal(await opened(kms(), 'orders'), undefined, 'the alias stands for another key, and nobody named the old one');
    const both = kms({ oldKeys: [KMS_KEY] });
    assert.equal(await opened(both, 'orders'), CANARY);
    assert.equal(await new CredentialStore(db, both, quiet).rotate(), 1);
    assert.equal(await opened(kms(), 'orders'), CANARY);
    aws.alias = KMS_KEY;
    await db.query('DELETE FROM credentials');
  });

  it('say why where KMS is away or refuses, without a word of what it answered', async () => {
    await put(kms(), 'orders');
    const wrapped = (keys: KeyWrapper): Promise<unknown> => keys.wrap(randomBytes(32));
    await assert.rejects(wrapped(kms({ endpoint: 'http://127.0.0.1:9/' })), { code: 'kms-away', message: /AWS KMS at 127.0.0.1:9 is out of reach/ });
    await assert.rejects(wrapped(kms({ secret: 'wrong' })), { code: 'kms-refused', message: /InvalidSignatureException.*secret access key is wrong/ });
    await assert.rejects(
      wrapped(kms({ key: 'alias/nothing' })),
      (cause: Error) => /there is no such key/.test(cause.message) && !cause.message.includes('canary'),
    );
    aws.refuse = { status: 503, code: 'KMSInternalException' };
    await assert.rejects(wrapped(kms()), { code: 'kms-away' });
    assert.equal(await opened(kms(), 'orders'), undefined);
    aws.refuse = undefined;
    assert.equal(await opened(kms(), 'orders'), CANARY);
    await db.query('DELETE FROM credentials');
  });

  it('take over what the gateway’s own key sealed, as the configuration says, and the check tries the key', async () => {
    const file = join(temporaryFolder(), 'gateway.yaml');
    const env = { KEY: randomBytes(32).toString('hex'), DATABASE_URL: url, ID: aws.accessKeyId, SECRET: aws.secretAccessKey };
    const config = {
      version: 1,
      publicUrl: 'https://gateway.example',
      key: 'env:KEY',
      aws: { region: REGION, login: { accessKeyId: 'env:ID', secretAccessKey: 'env:SECRET' }, kms: { key: KMS_KEY }, endpoints: { kms: aws.endpoint } },
    };
    writeFileSync(file, JSON.stringify(config));
    const loaded = loadConfig(file, env);
    assert.ok(loaded.ok);
    await put(localKeys([new Secret(env.KEY)]), 'orders');
    const keys = keysFor(loaded.config, env, undefined);
    assert.equal(await opened(keys, 'orders'), CANARY);
    assert.equal(await new CredentialStore(db, keys, quiet).rotate(), 1);
    assert.equal(await opened(kms({ key: KMS_KEY }), 'orders'), CANARY);
    const said: string[] = [];
    const io = { out: (line: string) => void said.push(line), error: (line: string) => void said.push(`! ${line}`) };
    assert.equal(await checkPlaces(file, env, io), 0, said.join('\n'));
    assert.match(said.join('\n'), /AWS KMS seals and opens/);
    assert.equal(await checkPlaces(file, { ...env, SECRET: 'wrong' }, io), 1);
    assert.match(said.join('\n'), /^! AWS KMS refused/m);
    assert.ok(!said.join('\n').includes('canary'));
  });
});

describe('the gateway’s own keys for AWS', () => {
  let aws: FakeAws;
  before(async () => {
    aws = await fakeAws();
  });
  after(() => aws.stop());

  it('come from the machine’s own identity, by a token in a file, and are exchanged anew before they end', async () => {
    const file = join(temporaryFolder(), 'token');
    writeFileSync(file, `${aws.webIdentity}\n`);
    const sts = { region: REGION, endpoint: aws.endpoint };
    for (const get of [
      awsCredentials({ role: ROLE, webIdentity: `file:${file}` }, {}, sts),
      awsCredentials(undefined, { AWS_ROLE_ARN: ROLE, AWS_WEB_IDENTITY_TOKEN_FILE: file }, sts),
    ]) {
      const before = aws.assumed.length;
      const [one, two] = await Promise.all([get(), get()]);
      assert.equal(one.accessKeyId, two.accessKeyId);
      assert.equal(aws.assumed.length, before + 1, 'one question for both');
      assert.equal(one.secretAccessKey.reveal(), aws.lent.get(one.accessKeyId)?.secretAccessKey);
      assert.equal(one.sessionToken?.reveal(), aws.lent.get(one.accessKeyId)?.sessionToken);
      assert.ok(!JSON.stringify(one).includes('canary'));
    }
    assert.equal(aws.assumed.at(-1)?.get('RoleSessionName'), 'countersign-gateway');
    writeFileSync(file, 'another token');
    await assert.rejects(awsCredentials({ role: ROLE, webIdentity: `file:${file}` }, {}, sts)(), {
      code: 'aws-refused',
      message: /InvalidIdentityToken.*identity provider that IAM knows/,
    });
    await assert.rejects(awsCredentials(undefined, {}, sts)(), { code: 'secret-missing', message: /no keys for AWS/ });
  });

  it('stay in use to their end where new ones cannot be had, and not beyond it', async () => {
    let now = 0;
    let good = true;
    const get = renewed(
      async () => {
        if (!good) throw new Error('away');
        return { accessKeyId: `A${now}`, secretAccessKey: new Secret('s'), expiresAt: now + 900_000 };
      },
      () => now,
    );
    assert.equal((await get()).accessKeyId, 'A0');
    good = false;
    now = 800_000;
    assert.equal((await get()).accessKeyId, 'A0');
    now = 900_001;
    await assert.rejects(get(), /away/);
    good = true;
    assert.equal((await get()).accessKeyId, 'A900001');
  });
});
