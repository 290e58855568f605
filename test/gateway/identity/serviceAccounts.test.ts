import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { decodeJwt, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { run } from '../../../cli/run.ts';
import { People } from '../../../gateway/identity/people.ts';
import { ServiceAccounts } from '../../../gateway/identity/serviceAccounts.ts';
import type { Bus } from '../../../gateway/store/bus.ts';
import type { Database } from '../../../gateway/store/database.ts';
import { soon } from '../../support/soon.ts';
import { type Client, type Stage, stage } from '../stage.ts';
import { quiet, temporaryFolder } from '../stores.ts';

/** An issuer of workloads' tokens, as CI systems have one: a description, and keys. */
async function ciIssuer(): Promise<{
  url: string;
  sign(claims: Record<string, unknown>, seconds?: number, forged?: boolean): Promise<string>;
  stop(): Promise<void>;
}> {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const other = await generateKeyPair('RS256', { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: 'ci-1', alg: 'RS256', use: 'sig' };
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(request.url === '/keys' ? { keys: [jwk] } : { issuer: url, jwks_uri: `${url}/keys` }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    sign: (claims, seconds = 300, forged = false) =>
      new SignJWT({ iss: url, aud: 'countersign', sub: 'ci', ...claims })
        .setProtectedHeader({ alg: 'RS256', kid: 'ci-1' })
        .setIssuedAt()
        .setExpirationTime(Math.floor(Date.now() / 1000) + seconds)
        .sign(forged ? other.privateKey : privateKey),
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

/** Runs the command line. */
async function countersign(...args: string[]): Promise<{ code: number; said: string }> {
  const said: string[] = [];
  const say = (line: string): void => void said.push(line);
  const code = await run(args, { out: say, error: say, input: () => Promise.resolve(''), cwd: '/' });
  return { code, said: said.join('\n') };
}

describe('a service account', () => {
  let on: Stage;
  let ci: Awaited<ReturnType<typeof ciIssuer>>;
  let root: Client;
  before(async () => {
    ci = await ciIssuer();
    on = await stage({ identity: { workloads: [{ id: 'ci', issuer: ci.url, audience: 'countersign' }] } });
    root = await on.signIn('root');
  });
  after(async () => {
    await on.stop();
    await ci.stop();
  });

  async function token(fields: Record<string, string>, headers: Record<string, string> = {}): Promise<{ status: number; body: Record<string, string> }> {
    const response = await fetch(`${on.url}/oauth/token`, { method: 'POST', body: new URLSearchParams(fields), headers });
    return { status: response.status, body: (await response.json()) as Record<string, string> };
  }
  const exchange = (subject: string): ReturnType<typeof token> =>
    token({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: subject,
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    });

  it('proves itself with a secret that is shown once and kept as a hash', async () => {
    const { body } = await root.call('POST', '/v1/service-accounts', { name: 'nightly', connections: ['orders'], maxSeconds: 120 });
    const { account, secret } = body as { account: { id: string }; secret: string };
    const good = await token({ grant_type: 'client_credentials', client_id: account.id, client_secret: secret });
    assert.equal(good.status, 200);
    assert.ok(Number(good.body.expires_in) <= 120);
    const me = await on.client(good.body.access_token ?? '').call('GET', '/v1/me');
    assert.deepEqual([me.body.kind, (me.body.person as { subject: string }).subject], ['service', 'service:nightly']);
    assert.equal((await token({ grant_type: 'client_credentials', client_id: account.id, client_secret: `${secret}x` })).status, 401);
    const rows = await on.gateways[0]!.db.query('SELECT * FROM service_accounts');
    assert.ok(!JSON.stringify(rows).includes(secret));
    assert.equal((await root.call('POST', '/v1/service-accounts', { name: 'nightly', connections: ['orders'] })).status, 409);
  });

  it('proves itself with its workload’s token, by issuer and claims, once', async () => {
    const made = await root.call('POST', '/v1/service-accounts', {
      name: 'deploy',
      connections: ['orders'],
      workload: { issuer: 'ci', claims: { repository: 'shop/api', ref: 'refs/heads/*' } },
    });
    assert.equal(made.status, 200);
    assert.equal(made.body.secret, undefined);
    const good = await ci.sign({ repository: 'shop/api', ref: 'refs/heads/main' });
    const answer = await exchange(good);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    assert.equal((await exchange(good)).status, 400, 'twice');
    // The last letter of a signature has bits to spare: the same proof, spelt otherwise.
    const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    const respelt = good.slice(0, -1) + letters[letters.indexOf(good.at(-1) ?? '') ^ 1];
    for (const same of [respelt, `${good}=`, `${good}==`]) assert.equal((await exchange(same)).status, 400, 'twice, spelt otherwise');
    await on.gateways[0]!.db.query('DELETE FROM rate_limits');
    for (const [what, bad] of Object.entries({
      'another repository': await ci.sign({ repository: 'evil/api', ref: 'refs/heads/main' }),
      'a claim that is missing': await ci.sign({ repository: 'shop/api' }),
      'a pattern that would reach further': await ci.sign({ repository: 'shop/api', ref: 'refs/heads/x/refs/tags' }),
      'another audience': await ci.sign({ repository: 'shop/api', ref: 'refs/heads/main', aud: 'other' }),
      expired: await ci.sign({ repository: 'shop/api', ref: 'refs/heads/main' }, -300),
      forged: await ci.sign({ repository: 'shop/api', ref: 'refs/heads/main' }, 300, true),
      'another issuer': await ci.sign({ repository: 'shop/api', ref: 'refs/heads/main', iss: 'http://127.0.0.1:1' }),
    })) {
      assert.equal((await exchange(bad)).status, 400, what);
      // Bad proofs are counted; the walk over them must not be what is refused.
      await on.gateways[0]!.db.query('DELETE FROM rate_limits');
    }
  });

  it('that was switched off gets in again when it is switched on, and no token of before does', async () => {
    const { body } = await root.call('POST', '/v1/service-accounts', { name: 'resting', connections: ['orders'] });
    const { account, secret } = body as { account: { id: string }; secret: string };
    const grant = { grant_type: 'client_credentials', client_id: account.id, client_secret: secret };
    const of = async (): Promise<Client> => on.client((await token(grant)).body.access_token ?? '');
    const before = await of();
    assert.equal((await before.call('GET', '/v1/me')).status, 200);
    assert.equal((await root.call('POST', `/v1/service-accounts/${account.id}/enable`, {})).status, 404, 'it is on');
    assert.equal((await root.call('POST', `/v1/service-accounts/${account.id}/disable`, {})).status, 200);
    await soon(async () => assert.equal((await before.call('GET', '/v1/me')).status, 401));
    assert.equal((await token(grant)).status, 401);
    assert.equal((await root.call('POST', `/v1/service-accounts/${account.id}/enable`, {})).status, 200);
    await soon(async () => assert.equal((await (await of()).call('GET', '/v1/me')).status, 200));
    assert.equal((await before.call('GET', '/v1/me')).status, 401, 'issued before it was switched off');
    const lines = await on.gateways[0]!.db.query<{ line: string }>("SELECT line FROM audit WHERE chain = 'gateway' ORDER BY seq");
    assert.match(lines.at(-1)?.line ?? '', /"type":"account.enabled"/);
  });

  it('puts the organisation’s policy from CI, over what it put itself, and never over what somebody else has changed', async () => {
    const workload = { issuer: 'ci', claims: { repository: 'platform/policy', ref: 'refs/heads/main' } };
    const make = async (more: object): Promise<number> =>
      (await root.call('POST', '/v1/service-accounts', { name: 'policy', publisher: true, workload, ...more })).status;
    assert.equal(await make({ workload: undefined }), 400, 'a secret');
    assert.equal(await make({ workload: { issuer: 'ci', claims: { repository: 'platform/policy', ref: 'refs/heads/*' } } }), 400, 'any branch');
    assert.equal(await make({ connections: ['orders'] }), 400, 'connections, too');
    assert.equal(await make({}), 200);
    const folder = temporaryFolder();
    const [file, tokenFile] = [join(folder, 'countersign.yaml'), join(folder, 'token')];
    const put = async (text: string, claims: object, ...more: string[]): ReturnType<typeof countersign> => {
      writeFileSync(file, text);
      writeFileSync(tokenFile, await ci.sign({ ...claims, jti: randomUUID() }));
      return await countersign('gateway', 'policy', 'put', file, '--gateway', on.url, '--token-file', tokenFile, ...more);
    };
    const main = workload.claims;
    assert.deepEqual(await put('version: 1\n', main), { code: 0, said: 'Version 1 is in force.' });
    assert.deepEqual(await put('version: 1\n', main), { code: 0, said: 'Version 1 is this policy already, and in force.' });
    assert.deepEqual(await put('version: 1\ndefaults: { write: deny }\n', main), { code: 0, said: 'Version 2 is in force.' });
    const broken = await put('version: 1\ndefaults: { write: perhaps }\n', main);
    assert.deepEqual([broken.code, /countersign\.yaml:2:\d+: /.test(broken.said)], [1, true], broken.said);
    assert.equal((await put('version: 1\n', { ...main, ref: 'refs/heads/mine' })).code, 1, 'another branch');
    assert.equal((await root.call('PUT', '/v1/policy', { text: 'version: 1\ndefaults: { write: ask }\n', comment: 'an emergency', over: 2 })).status, 200);
    const lost = await put('version: 1\n', main);
    assert.equal(lost.code, 1);
    assert.match(lost.said, /^Version 3 is in force, which Root put on .* \(“an emergency”\)\. .*--over 3$/);
    assert.equal((await put('version: 1\n', main, '--over', '2')).code, 1, 'the one that it has missed');
    assert.deepEqual(await put('version: 1\n', main, '--over', '3', '--comment', 'with the emergency'), { code: 0, said: 'Version 4 is in force.' });
    const db = on.gateways[0]!.db;
    const [line] = await db.query<{ line: string }>("SELECT line FROM audit WHERE chain = 'gateway' ORDER BY seq DESC LIMIT 1");
    const { body } = JSON.parse(line?.line ?? '{}') as { body: { type: string; by: { subject: string }; comment: string } };
    assert.deepEqual([body.type, body.by.subject, body.comment], ['policy.put', 'service:policy', 'with the emergency']);
    // What is not a workload that may: people but in the console, accounts that use connections, runs of agents, whoever stands on this one.
    const text = { text: 'version: 1\n', comment: 'x', over: 4 };
    const own = (await exchange(await ci.sign({ ...main, jti: randomUUID() }))).body.access_token ?? '';
    const other = (await exchange(await ci.sign({ repository: 'shop/api', ref: 'refs/heads/main', jti: randomUUID() }))).body.access_token ?? '';
    assert.ok(own && other);
    assert.equal((await on.client(other).call('PUT', '/v1/policy', text)).status, 403);
    for (const path of ['/v1/policy', '/v1/connections', '/v1/sessions', '/v1/policy/history/4'])
      assert.equal((await on.client(own).call('GET', path)).status, 403, path);
    const asRun = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: own,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    };
    assert.equal((await token({ ...asRun, actor: JSON.stringify({ agent: { kind: 'script', name: 'x' }, run: 'r' }) })).status, 400);
  });

  it('and a login are not kept as ones that stand when they end while they are read', async () => {
    const { config, db } = on.gateways[0]!;
    const { body } = await root.call('POST', '/v1/service-accounts', { name: 'ending', connections: ['orders'] });
    const { id } = body.account as { id: string };
    const login = String(decodeJwt((await on.signIn('ada')).token)['basis']);
    const told = new Map<string, (event: { subject: string }) => void>();
    const bus = { on: (topic: string, hear: (event: { subject: string }) => void) => void told.set(topic, hear) } as unknown as Bus;
    for (const [topic, subject, table] of [
      ['login', login, 'logins SET ended_at'],
      ['account', id, 'service_accounts SET disabled_at'],
    ] as const) {
      let ended = false;
      // What was read comes back after the word of its end has come and gone.
      const late = async <T extends object>(sql: string, params?: readonly unknown[]): Promise<T[]> => {
        const rows = await db.query<T>(sql, params);
        if (!ended) {
          await db.query(`UPDATE ${table} = ms() WHERE id = $1`, [subject]);
          told.get(topic)?.({ subject });
        }
        ended = true;
        return rows;
      };
      const slow: Database = { ...db, query: late };
      const known = topic === 'login' ? new People(slow, config, bus) : new ServiceAccounts(slow, config, bus, quiet);
      assert.ok(await known.live(subject), 'it stood when it was read');
      assert.equal(await known.live(subject), undefined, topic);
    }
  });

  it('is refused for a while after too many bad proofs, also of those that cannot be read', async () => {
    for (const headers of [{}, { authorization: `Basic ${Buffer.from('%:%').toString('base64')}` }]) {
      await on.gateways[0]!.db.query('DELETE FROM rate_limits');
      const statuses: number[] = [];
      for (let i = 0; i < 14; i++) statuses.push((await token({ grant_type: 'client_credentials', client_id: 'nobody', client_secret: 'x' }, headers)).status);
      assert.equal(statuses[0], 401);
      assert.equal(statuses.at(-1), 429);
    }
  });
});
