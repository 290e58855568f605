import assert from 'node:assert/strict';
import { createHmac, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose';
import * as oauth from 'openid-client';
import { ApiError, ENDPOINTS, type Endpoint, type EndpointId } from '../../../contract/gateway/api.ts';
import { AUTHORIZATION, CALLERS, type Caller } from '../../../gateway/api/authorization.ts';
import { tell } from '../../../gateway/store/bus.ts';
import { connectionsOf } from '../../../gateway/tunnel/principals.ts';
import { soon } from '../../support/soon.ts';
import { type Client, type Stage, stage } from '../stage.ts';

const BODIES: Partial<Record<EndpointId, unknown>> = {
  putPolicy: { text: 'version: 1\n', comment: 'x', over: 999 },
  explainPolicy: { person: { subject: 'x' }, agent: 'script', connection: 'x', operation: { kind: 'sql', text: 'SELECT 1' } },
  checkPolicy: { text: 'version: 1\n' },
  answer: { answer: 'deny', id: 'app_x', digest: 'd' },
  requestAccess: { connection: 'none', effects: ['read'], targets: ['*'], minutes: 5, reason: 'x' },
  newEdge: { name: 'walker' },
  newServiceAccount: { name: 'walker', connections: ['none'] },
};

describe('the authorization table', () => {
  let on: Stage;
  const clients = new Map<Caller, Client>();
  before(async () => {
    on = await stage({
      identity: { workloads: [{ id: 'ci', issuer: 'http://127.0.0.1:1', audience: 'countersign' }] },
      config: { metrics: { token: 'env:METRICS_TOKEN' } },
      env: { METRICS_TOKEN: 'of the metrics' },
    });
    clients.set('developer', await on.signIn('ada'));
    clients.set('approver', await on.signIn('dana'));
    clients.set('auditor', await on.signIn('olga'));
    clients.set('admin', await on.signIn('root'));
    const made = await clients.get('admin')!.call('POST', '/v1/service-accounts', { name: 'ci', connections: ['orders'] });
    const { account, secret } = made.body as { account: { id: string }; secret: string };
    const config = await oauth.discovery(new URL(on.url), account.id, secret, undefined, { algorithm: 'oauth2', execute: [oauth.allowInsecureRequests] });
    const service = await oauth.clientCredentialsGrant(config);
    clients.set('service', on.client(service.access_token));
    const puts = await clients.get('admin')!.call('POST', '/v1/service-accounts', {
      name: 'policy',
      publisher: true,
      workload: { issuer: 'ci', claims: { repository: 'platform/policy' } },
    });
    const { id } = puts.body.account as { id: string };
    const publisher = await on.gateways[0]!.identity.tokens.issue({ sub: id, kind: 'service', basis: id, generation: 0 }, 600);
    clients.set('publisher', on.client(publisher.token));
    clients.set('run', on.client(await runToken(on.url, clients.get('developer')!.token)));
  });
  after(() => on.stop());

  it('has what many ask for at once looked up once: keys that no token names, the whole record, whom a question concerns', async () => {
    const { db } = on.gateways[0]!;
    const asked: string[] = [];
    const query = db.query.bind(db);
    db.query = async (sql, params) => {
      asked.push(sql);
      return await query(sql, params);
    };
    const times = (part: string): number => asked.splice(0).filter((sql) => sql.includes(part)).length;
    // Anybody can name a key that is none.
    const forged = `${Buffer.from('{"alg":"EdDSA","kid":"token-none"}').toString('base64url')}.e30.AA`;
    const statuses = await Promise.all(Array.from({ length: 40 }, async () => (await on.client(forged).call('GET', '/v1/me')).status));
    assert.ok(statuses.every((status) => status === 401));
    assert.ok(times('FROM keys') <= 3, 'a forged token has the keys read again');
    const auditor = clients.get('auditor')!;
    const reports = await Promise.all(Array.from({ length: 5 }, async () => (await auditor.call('POST', '/v1/audit/verify', {})).status));
    assert.deepEqual(reports, [200, 200, 200, 200, 200]);
    assert.equal(times('SELECT DISTINCT chain FROM sessions'), 1, 'the whole record was read by each of them');
    const stop = new AbortController();
    const headers = { authorization: `Bearer ${clients.get('developer')!.token}` };
    const streams = await Promise.all(Array.from({ length: 15 }, async () => await fetch(`${on.url}/v1/events`, { headers, signal: stop.signal })));
    assert.ok(streams.every(({ status }) => status === 200));
    asked.splice(0);
    await query(
      `INSERT INTO approvals (id, kind, state, digest, policy_version, connection, requester, question, approvers, quorum, fresh_login, deadline)
       VALUES ('app_seen', 'access', 'denied', 'd', 'v', 'orders', 'nobody', '{"requester":{"issuer":"i","subject":"s","groups":[]},"headline":"h","protocol":"postgres"}', '["group:dev"]', 1, false, ms())`,
    );
    await db.transaction((tx) => tell(tx, 'approval', 'app_seen'));
    const reader = streams[0]!.body!.getReader();
    for (let text = ''; !text.includes('app_seen'); ) text += Buffer.from((await reader.read()).value ?? new Uint8Array()).toString();
    assert.ok(times('FROM approvals WHERE id = $1') <= 2, 'it was read for each stream');
    stop.abort();
    db.query = query;
  });

  for (const [id, endpoint] of Object.entries(ENDPOINTS) as [EndpointId, Endpoint][]) {
    it(`${endpoint.method} ${endpoint.path} is open to ${AUTHORIZATION[id].join(', ')} and to nobody else`, async () => {
      const path = endpoint.path.replace(':id', 'app_x');
      // These end what the walk stands on; their own tests call them.
      const last = id === 'signOut' || id === 'rotateKeys';
      const body = endpoint.method === 'GET' || endpoint.method === 'DELETE' ? undefined : (BODIES[id] ?? {});
      for (const caller of CALLERS) {
        const allowed = AUTHORIZATION[id].includes(caller);
        if (allowed && (last || id === 'events')) continue;
        const { status } = await clients.get(caller)!.call(endpoint.method, path, body);
        if (allowed) assert.ok(![401, 403].includes(status) || (id === 'requestAccess' && status === 403), `${caller}: ${status}`);
        else assert.equal(status, 403, caller);
      }
      const anonymous = await fetch(`${on.url}${path}`, {
        method: endpoint.method,
        ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      assert.equal(anonymous.status, 401);
      assert.equal(ApiError.parse(await anonymous.json()).error, 'not-signed-in');
    });
  }

  it('says the same of what is not there and of what is somebody else’s', async () => {
    const db = on.gateways[0]!.db;
    const [bob] = await db.query<{ id: string }>("INSERT INTO people (id, issuer, subject) VALUES ('per_other', 'x', 'other') RETURNING id");
    await db.query(
      `INSERT INTO sessions (id, conversation, chain, person, actor, connection, protocol, surface, owner) SELECT 'ses_other', 'con_x', $1, $1, $2::jsonb, 'orders', 'postgres', 'terminal', id FROM replicas LIMIT 1`,
      [bob!.id, JSON.stringify({ person: { issuer: 'x', subject: 'other' }, agent: { kind: 'script', name: 's' } })],
    );
    const ada = clients.get('developer')!;
    for (const path of ['/v1/sessions/ses_other', '/v1/sessions/ses_other/entries', '/v1/approvals/app_other']) {
      const theirs = await ada.call('GET', path);
      const none = await ada.call('GET', path.replace('other', 'none'));
      assert.deepEqual([theirs.status, theirs.body], [none.status, none.body]);
      assert.equal(theirs.status, 404);
    }
    assert.equal((await ada.call('POST', '/v1/sessions/ses_other/end', {})).status, 404);
    assert.deepEqual((await ada.call('GET', '/v1/sessions')).body, { sessions: [], more: false });
    assert.equal(((await clients.get('auditor')!.call('GET', '/v1/sessions')).body.sessions as unknown[]).length, 1);
    // An admin sees that it is there and not what was said.
    assert.equal((await clients.get('admin')!.call('GET', '/v1/sessions/ses_other')).status, 200);
    assert.equal((await clients.get('admin')!.call('GET', '/v1/sessions/ses_other/entries')).status, 403);
  });

  it('refuses tokens that are forged, expired, for others, of another kind, or unsigned', async () => {
    const { token } = clients.get('developer')!;
    const claims = decodeJwt(token);
    const { kid } = decodeProtectedHeader(token);
    const jwks = (await (await fetch(`${on.url}/oauth/jwks`)).json()) as { keys: { kid: string }[] };
    const publicPem = createPublicKey({ key: jwks.keys.find((key) => key.kid === kid) as never, format: 'jwk' }).export({
      type: 'spki',
      format: 'pem',
    }) as string;
    const { key } = on.gateways[0]!.identity.keys.signing('token');
    const signed = async (change: Record<string, unknown>, header: Record<string, unknown> = {}, by = key): Promise<string> =>
      await new SignJWT({ ...claims, ...change }).setProtectedHeader({ alg: 'EdDSA', kid: kid ?? '', typ: 'at+jwt', ...header }).sign(by);
    const b64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const hs256 = `${b64({ alg: 'HS256', kid, typ: 'at+jwt' })}.${b64(claims)}`;
    const bad: Record<string, string> = {
      'another key': await signed({}, {}, generateKeyPairSync('ed25519').privateKey),
      'an unknown key': await signed({}, { kid: 'token-unknown' }),
      'the policy’s key': await signed({}, { kid: on.gateways[0]!.identity.keys.signing('policy').kid }, on.gateways[0]!.identity.keys.signing('policy').key),
      expired: await signed({ exp: Math.floor(Date.now() / 1000) - 120 }),
      'another audience': await signed({ aud: 'https://other.example' }),
      'no audience': await signed({ aud: undefined }),
      'another issuer': await signed({ iss: 'https://other.example' }),
      'another type': await signed({}, { typ: 'JWT' }),
      'no expiry': await signed({ exp: undefined }),
      'somebody else’s login': await signed({ sub: 'per_other' }),
      'no algorithm': `${b64({ alg: 'none', kid, typ: 'at+jwt' })}.${b64(claims)}.`,
      'the public key as a secret': `${hs256}.${createHmac('sha256', publicPem).update(hs256).digest('base64url')}`,
      'a changed claim': token
        .split('.')
        .map((part, i) => (i === 1 ? b64({ ...claims, kind: 'service' }) : part))
        .join('.'),
      'the provider’s own token': 'a.b.c',
    };
    assert.equal((await on.client(await signed({})).call('GET', '/v1/me')).status, 200, 'the harness itself signs well');
    for (const [what, one] of Object.entries(bad)) assert.equal((await on.client(one).call('GET', '/v1/me')).status, 401, what);
  });

  it('gives a run of an agent a token of its own, that says who acts for whom and opens no more', async () => {
    const run = clients.get('run')!;
    const { body } = await run.call('GET', '/v1/me');
    assert.deepEqual([body.kind, body.agent, (body.person as { subject: string }).subject], ['run', 'Claude Code', 'ada']);
    const claims = decodeJwt(run.token) as { act: { sub: string; agent: { kind: string } }; exp: number };
    assert.deepEqual([claims.act.sub, claims.act.agent.kind], ['run-1', 'claude-code']);
    assert.ok(claims.exp - Date.now() / 1000 <= 300);
    await assert.rejects(runToken(on.url, run.token), /cannot be exchanged again/);
  });

  it('lets a run use what its person may use, and nothing where that is nothing', async () => {
    const { identity } = on.gateways[0]!;
    const used = async (caller: Caller): Promise<readonly string[] | undefined> =>
      connectionsOf(await identity.authenticate(await runToken(on.url, clients.get(caller)!.token)));
    assert.equal(await used('developer'), undefined);
    for (const caller of ['approver', 'auditor', 'admin'] as const) assert.deepEqual(await used(caller), [], caller);
    const scoped = new URLSearchParams({ scope: 'orders' });
    assert.deepEqual(connectionsOf(await identity.authenticate(await runToken(on.url, clients.get('auditor')!.token, scoped))), []);
    assert.deepEqual(connectionsOf(await identity.authenticate(await runToken(on.url, clients.get('developer')!.token, scoped))), ['orders']);
  });

  it('keeps a browser’s cookie from pages of other sites, and from frames', async () => {
    const browser = await on.browser('root');
    const me = await browser.open(`${on.url}/v1/me`);
    const { csrf } = JSON.parse(me.text) as { csrf: string };
    const post = async (headers: Record<string, string>): Promise<number> =>
      (
        await browser.open(`${on.url}/v1/policy/check`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', ...headers },
          body: '{"text":"version: 1\\n"}',
        })
      ).status;
    assert.equal(await post({ 'x-csrf-token': csrf, origin: on.url, 'sec-fetch-site': 'same-origin' }), 200);
    assert.equal(await post({ origin: on.url }), 403, 'no token');
    assert.equal(await post({ 'x-csrf-token': 'x', origin: on.url }), 403, 'another token');
    assert.equal(await post({ 'x-csrf-token': csrf, origin: 'https://evil.example' }), 403, 'another origin');
    assert.equal(await post({ 'x-csrf-token': csrf, origin: 'null' }), 403, 'no origin');
    assert.equal(await post({ 'x-csrf-token': csrf, 'sec-fetch-site': 'cross-site' }), 403, 'another site');
    assert.equal((await browser.open(`${on.url}/v1/events`, { headers: { 'sec-fetch-site': 'cross-site' } })).status, 403, 'reading, too');
    assert.equal(await post({ 'content-type': 'text/plain', 'x-csrf-token': csrf }), 400, 'a type that needs no asking');
    for (const path of ['/login/nowhere', '/device', '/v1/me', '/readyz']) {
      const { headers } = await browser.open(`${on.url}${path}`);
      assert.match(headers.get('content-security-policy') ?? '', /frame-ancestors 'none'/, path);
      assert.equal(headers.get('x-frame-options'), 'DENY');
    }
  });

  it('gives its metrics to who has their token', async () => {
    const ask = async (authorization?: string): Promise<number> =>
      (await fetch(`${on.url}/metrics`, { headers: authorization ? { authorization } : {} })).status;
    assert.equal(await ask('Bearer of the metrics'), 200);
    for (const other of [undefined, 'Bearer of the metric', 'Bearer of the metrics!', 'of the metrics', 'bearer of the metrics'])
      assert.equal(await ask(other), 401);
  });

  it('answers under its own name only', async () => {
    const { request } = await import('node:http');
    const status = await new Promise<number | undefined>((resolve) =>
      request(`${on.url}/v1/me`, { headers: { host: 'rebound.example' } }, (response) => resolve(response.statusCode)).end(),
    );
    assert.equal(status, 421);
  });

  it('ends an account that is disabled, and a person’s logins, at once', async () => {
    const root = clients.get('admin')!;
    const bob = await on.signIn('bob');
    const people = (await root.call('GET', '/v1/people')).body.people as { id: string; person: { subject: string } }[];
    const id = people.find(({ person }) => person.subject === 'bob')!.id;
    assert.equal((await root.call('POST', `/v1/people/${id}/disable`, {})).status, 200);
    await soon(async () => assert.equal((await bob.call('GET', '/v1/me')).status, 401));
    await assert.rejects(on.signIn('bob'), /has been ended/);
    assert.equal((await root.call('POST', `/v1/people/${id}/enable`, {})).status, 200);
    await on.signIn('bob');
    const accounts = (await root.call('GET', '/v1/service-accounts')).body.accounts as { id: string; name: string }[];
    assert.ok(!JSON.stringify(accounts).includes('secret_hash'));
    assert.equal((await root.call('POST', `/v1/service-accounts/${accounts.find(({ name }) => name === 'ci')!.id}/disable`, {})).status, 200);
    await soon(async () => assert.equal((await clients.get('service')!.call('GET', '/v1/me')).status, 401));
  });

  it('goes on with new keys, and believes the old ones’ tokens for a while', async () => {
    const root = clients.get('admin')!;
    assert.equal((await root.call('POST', '/v1/keys/rotate', {})).status, 200);
    assert.equal((await root.call('GET', '/v1/me')).status, 200);
    const ada = await on.signIn('ada');
    assert.notEqual(decodeProtectedHeader(ada.token).kid, decodeProtectedHeader(root.token).kid);
    assert.equal((await ada.call('GET', '/v1/me')).status, 200);
  });
});

async function runToken(url: string, token: string, more = new URLSearchParams()): Promise<string> {
  const response = await fetch(`${url}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      actor: JSON.stringify({ agent: { kind: 'claude-code', name: 'Claude Code' }, run: 'run-1' }),
      requested_seconds: '300',
      ...Object.fromEntries(more),
    }),
  });
  const body = (await response.json()) as { access_token?: string; error_description?: string };
  if (body.access_token === undefined) throw new Error(body.error_description);
  return body.access_token;
}
