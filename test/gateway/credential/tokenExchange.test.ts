import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import type { Actor } from '../../../contract/actor.ts';
import { Secret } from '../../../contract/secret.ts';
import { TokenExchanges } from '../../../gateway/credential/tokenExchange.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import type { TokenExchange } from '../../../proxy/policy/policy.ts';
import type { UpstreamCredentials } from '../../../proxy/protocols/mcp/upstream/credentials.ts';
import { soon } from '../../support/soon.ts';
import { type ExchangingProvider, exchangingProvider } from './exchangingProvider.ts';

const GATEWAY = 'https://gateway.example';
const UPSTREAM = new URL('https://mcp.example/mcp');
const SECRET = `canary-client-${randomBytes(12).toString('hex')}`;

/** A real authorization server with the grant of RFC 8693, which believes the gateway's key and nobody else. */
describe('tokens that are exchanged for each person', () => {
  const gatewayKey = generateKeyPairSync('ed25519');
  let server: ExchangingProvider;
  before(async () => {
    server = await exchangingProvider({ issuer: GATEWAY, secret: SECRET, key: async () => gatewayKey.publicKey });
  });
  after(() => server.stop());
  beforeEach(() => Object.assign(server, { seconds: 600, refuse: undefined, isAway: false }));

  const logged: string[] = [];
  const say = (event: string, fields: Readonly<Record<string, unknown>> = {}): void => void logged.push(`${event} ${JSON.stringify(fields)}`);
  const log: Log = { info: say, warn: say, error: say };
  let offset = 0;
  const exchanges = (secret: string | undefined = SECRET, key = gatewayKey.privateKey): TokenExchanges =>
    new TokenExchanges({
      issuer: GATEWAY,
      keys: { signing: () => ({ kid: 'token-1', key }) },
      secret: () => (secret === undefined ? undefined : new Secret(secret)),
      clock: { now: () => Date.now() + offset },
      log,
    });
  const settings = (more: Partial<TokenExchange> = {}): TokenExchange => ({
    issuer: server.issuer,
    client: { id: 'gateway', secret: { from: 'secret', name: 'exchange' } },
    audience: 'https://mcp.example',
    scopes: ['issues:read'],
    as: 'person',
    ...more,
  });
  const actor = (subject: string): Actor =>
    ({ person: { issuer: 'https://idp.example', subject, groups: [] }, agent: { kind: 'claude-code', name: 'Claude Code' } }) as never;
  const session = (from: TokenExchanges, subject: string, more: Partial<TokenExchange> = {}): { credentials: UpstreamCredentials; end: AbortController } => {
    const end = new AbortController();
    return { end, credentials: from.credentials({ connection: 'issues', url: UPSTREAM, settings: settings(more), actor: actor(subject), signal: end.signal }) };
  };
  const bearer = async (credentials: UpstreamCredentials): Promise<string> =>
    ((await credentials.headers(UPSTREAM)).Authorization ?? '').replace('Bearer ', '');
  const account = (token: string): Promise<string | undefined> => server.account(token);

  it('are each person’s own, kept while sessions use them, and given back after the last', async () => {
    const all = exchanges();
    const [ada1, ada2, bob] = [session(all, 'ada'), session(all, 'ada'), session(all, 'bob')];
    const [a1, a2, b] = await Promise.all([bearer(ada1.credentials), bearer(ada2.credentials), bearer(bob.credentials)]);
    assert.equal(await account(a1), 'ada');
    assert.equal(a1, a2);
    assert.equal(await account(b), 'bob');
    assert.equal(server.vouched.length, 2);
    assert.equal(server.asked[0]?.audience, 'https://mcp.example');
    assert.equal(server.asked[0]?.scope, 'issues:read');
    assert.equal(server.asked[0]?.subject_token_type, 'urn:ietf:params:oauth:token-type:jwt');
    ada1.end.abort();
    assert.equal(await bearer(ada2.credentials), a1);
    ada2.end.abort();
    await soon(async () => assert.equal(await account(a1), undefined, 'not given back'));
    assert.equal(all.size, 1);
    await all.stop();
    assert.equal(await account(b), undefined);
    await assert.rejects(bearer(ada1.credentials));
  });

  it('are asked for with what counts at that server alone, for a minute, and opens nothing at the gateway', async () => {
    const all = exchanges();
    await bearer(session(all, 'dana').credentials);
    const token = server.vouched.at(-1) ?? '';
    const claims = decodeJwt(token);
    assert.deepEqual([claims.iss, claims.aud, claims.sub, claims.sub_iss], [GATEWAY, server.issuer, 'dana', 'https://idp.example']);
    assert.deepEqual(claims.act, { sub: 'Claude Code', kind: 'claude-code' });
    assert.equal((claims.exp ?? 0) - (claims.iat ?? 0), 60);
    // A token of the gateway's own is `at+jwt`, and for the gateway.
    assert.equal(decodeProtectedHeader(token).typ, 'JWT');
    await bearer(session(all, 'dana', { as: 'gateway' }).credentials);
    assert.deepEqual([decodeJwt(server.vouched.at(-1) ?? '').sub, decodeJwt(server.vouched.at(-1) ?? '').act], [GATEWAY, undefined]);
    await all.stop();
  });

  it('are exchanged anew before they end, and when their server has ended them; not without end', async () => {
    const all = exchanges();
    const { credentials } = session(all, 'ada');
    const first = await bearer(credentials);
    offset = 575_000;
    const second = await bearer(credentials);
    assert.notEqual(second, first);
    offset = 0;
    await server.end(second);
    assert.equal(await credentials.refused(UPSTREAM, 401, undefined), true);
    const third = await bearer(credentials);
    assert.equal(await account(third), 'ada');
    assert.equal(await credentials.refused(UPSTREAM, 403, undefined), false);
    await all.stop();
  });

  it('go to their server and nowhere else', async () => {
    const all = exchanges();
    const { credentials } = session(all, 'ada');
    for (const url of ['https://mcp.example.evil/mcp', 'http://mcp.example/mcp', 'https://mcp.example/other'])
      assert.deepEqual(await credentials.headers(new URL(url)), {});
    await all.stop();
  });

  it('are refused and missed with a sentence, and without a word of what the server said', async () => {
    const all = exchanges();
    const now = (from = all, who = 'ada', more: Partial<TokenExchange> = {}): Promise<string> => bearer(session(from, who, more).credentials);
    server.refuse = 'invalid_target';
    await assert.rejects(now(), { code: 'exchange-refused', message: /gives no token for this \(invalid_target\). It does not know this `audience`/ });
    server.refuse = undefined;
    await assert.rejects(now(exchanges('wrong')), { code: 'exchange-refused', message: /invalid_client.*its secret is wrong/ });
    await assert.rejects(now(exchanges(SECRET, generateKeyPairSync('ed25519').privateKey)), {
      code: 'exchange-refused',
      message: /does not believe who the gateway says you are/,
    });
    const without = new TokenExchanges({
      issuer: GATEWAY,
      keys: { signing: () => ({ kid: 'k', key: gatewayKey.privateKey }) },
      secret: () => undefined,
      clock: { now: () => Date.now() },
      log,
    });
    await assert.rejects(now(without), { code: 'needs-secret', message: /"exchange" is not in the gateway’s store/ });
    await assert.rejects(now(all, 'ada', { issuer: 'http://127.0.0.1:9' }), {
      code: 'exchange-away',
      message: /127.0.0.1:9 does not say where its token endpoint is/,
    });
    server.isAway = true;
    await assert.rejects(now(all, 'carol'), { code: 'exchange-away', message: /does not answer/ });
    server.isAway = false;
    assert.equal(await account(await now(all, 'carol')), 'carol');
    await all.stop();
    const text = logged.join('\n');
    assert.ok(!text.includes('canary') && server.vouched.every((token) => !text.includes(token)), text);
  });
});
