import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import * as oauth from 'openid-client';
import { CLI_CLIENT, EDITOR_CLIENT } from '../../../contract/gateway/api.ts';
import type { Provider } from '../../../gateway/identity/browserLogin.ts';
import { soon } from '../../support/soon.ts';
import { Browser } from '../browser.ts';
import { signingJwk, startIdp } from '../idp.ts';
import { type Client, discover, editorSignIn, type Stage, stage } from '../stage.ts';

describe('signing in', () => {
  let on: Stage;
  before(async () => {
    on = await stage();
  });
  after(() => on.stop());
  const host = (): string => new URL(on.url).host;

  it('brings an editor its tokens, with groups and roles from the provider', async () => {
    const ada = await on.signIn('ada');
    const { status, body } = await ada.call('GET', '/v1/me');
    assert.equal(status, 200);
    assert.deepEqual(body.person, { issuer: on.idp.issuer, subject: 'ada', name: 'Ada', groups: ['dev'] });
    assert.deepEqual(body.roles, ['developer']);
  });

  it('brings a browser a cookie that scripts cannot read', async () => {
    const browser = await on.browser('dana');
    const page = await browser.open(`${on.url}/v1/me`);
    assert.equal(page.status, 200);
    assert.deepEqual((JSON.parse(page.text) as { roles: string[] }).roles, ['approver']);
    const begun = await fetch(`${on.url}/login/corp`, { redirect: 'manual' });
    assert.match(begun.headers.getSetCookie().join(), /HttpOnly; SameSite=Lax/);
    await begun.body?.cancel();
  });

  it('lets nobody in who refuses at the provider, or has no role', async () => {
    await assert.rejects(editorSignIn(on.url, on.idp, undefined), /did not sign you in/);
    on.idp.accounts.set('eve', { groups: ['visitors'] });
    await assert.rejects(on.signIn('eve'), /no role for you/);
  });

  it('refreshes, once with each token: one that comes twice ends the login', async () => {
    const ada = await on.signIn('ada');
    const config = await discover(on.url);
    const next = await oauth.refreshTokenGrant(config, ada.refresh);
    assert.equal((await on.client(next.access_token).call('GET', '/v1/me')).status, 200);
    // Two windows of one editor, at the same moment: nothing for the second, and no harm.
    await assert.rejects(oauth.refreshTokenGrant(config, ada.refresh), { error: 'invalid_grant' });
    assert.equal((await on.client(next.access_token).call('GET', '/v1/me')).status, 200);
    await on.gateways[0]!.db.query('UPDATE logins SET refreshed_at = refreshed_at - 60000');
    await assert.rejects(oauth.refreshTokenGrant(config, ada.refresh), { error: 'invalid_grant' });
    await assert.rejects(oauth.refreshTokenGrant(config, next.refresh_token ?? ''), { error: 'invalid_grant' });
    await soon(async () => assert.equal((await on.client(next.access_token).call('GET', '/v1/me')).status, 401));
  });

  it('signs out: the token is worth nothing from then on', async () => {
    const ada = await on.signIn('ada');
    assert.equal((await ada.call('POST', '/v1/me/sign-out', {})).status, 200);
    await soon(async () => assert.equal((await ada.call('GET', '/v1/me')).status, 401));
  });

  it('signs out those whom the provider signs out', async () => {
    const { refresh, token } = await on.signIn('bob');
    assert.ok(refresh);
    const [row] = await on.gateways[0]!.db.query<{ provider_session: string | null }>(
      "SELECT provider_session FROM logins l JOIN people p ON p.id = l.person WHERE p.subject = 'bob' ORDER BY l.created_at DESC LIMIT 1",
    );
    assert.ok(row, 'there is a login');
    // A log-out message that somebody else signed changes nothing.
    const forged = await fetch(`${on.url}/login/corp/backchannel-logout`, {
      method: 'POST',
      body: new URLSearchParams({
        logout_token: `${b64({ alg: 'none' })}.${b64({ iss: on.idp.issuer, aud: 'gateway', sub: 'bob', iat: Math.floor(Date.now() / 1000), jti: 'x', events: { 'http://schemas.openid.net/event/backchannel-logout': {} } })}.`,
      }),
    });
    assert.equal(forged.status, 400);
    await forged.body?.cancel();
    assert.equal((await on.client(token).call('GET', '/v1/me')).status, 200);
    const signed = await on.idp.logoutToken('bob');
    const answer = await fetch(`${on.url}/login/corp/backchannel-logout`, { method: 'POST', body: new URLSearchParams({ logout_token: signed }) });
    assert.equal(answer.status, 200, await answer.text());
    await soon(async () => assert.equal((await on.client(token).call('GET', '/v1/me')).status, 401));

    // One that names a session besides: of a login whose session the provider did not tell, the person counts; of another session, it does not.
    const out = async (session: string): Promise<void> => {
      const message = new URLSearchParams({ logout_token: await on.idp.logoutToken('bob', session) });
      assert.equal((await fetch(`${on.url}/login/corp/backchannel-logout`, { method: 'POST', body: message })).status, 200);
    };
    const [untold, another] = [await on.signIn('bob'), await on.signIn('bob')];
    const { db, identity } = on.gateways[0]!;
    const login = async (client: Client): Promise<string> => (await identity.authenticate(client.token)).basis;
    await db.query('UPDATE logins SET provider_session = NULL WHERE id = $1', [await login(untold)]);
    await db.query("UPDATE logins SET provider_session = 'elsewhere' WHERE id = $1", [await login(another)]);
    await out('here');
    await soon(async () => assert.equal((await untold.call('GET', '/v1/me')).status, 401));
    assert.equal((await another.call('GET', '/v1/me')).status, 200);
    await out('elsewhere');
    await soon(async () => assert.equal((await another.call('GET', '/v1/me')).status, 401));
  });

  it('signs a terminal in with a code that a person types into a browser', async () => {
    const config = await discover(on.url, CLI_CLIENT);
    const device = await oauth.initiateDeviceAuthorization(config, {});
    assert.match(device.user_code, /^[A-Z]{4}-[A-Z]{4}$/);
    on.idp.user = 'ada';
    const browser = new Browser();
    const page = await browser.open(device.verification_uri);
    const confirm = await browser.submit(page, { code: device.user_code.toLowerCase().replace('-', ' ') });
    // Whoever was led here by somebody else's page has not seen the other one: this is where they can compare.
    assert.ok(confirm.text.includes(device.user_code), 'the code that the terminal must show');
    assert.match(confirm.text, /You are Ada/);
    const done = await browser.submit(confirm, { answer: 'allow' });
    assert.match(done.text, /is signed in/);
    const tokens = await oauth.pollDeviceAuthorizationGrant(config, { ...device, interval: 0.01 } as never);
    const terminal = on.client(tokens.access_token);
    assert.equal((await terminal.call('GET', '/v1/me')).status, 200);
    // An agent can read a terminal's tokens: they answer nothing.
    const answer = await terminal.call('POST', '/v1/approvals/app_x/answer', { answer: 'deny', id: 'app_x', digest: 'd' });
    assert.deepEqual([answer.status, answer.body.error], [403, 'forbidden']);
    await assert.rejects(oauth.pollDeviceAuthorizationGrant(config, { ...device, interval: 0.01 } as never), { error: 'invalid_grant' });
  });

  it('does not let a terminal in that a person denies, nor guess codes for long', async () => {
    const config = await discover(on.url, CLI_CLIENT);
    const device = await oauth.initiateDeviceAuthorization(config, {});
    on.idp.user = 'ada';
    const browser = new Browser();
    const confirm = await browser.submit(await browser.open(device.verification_uri_complete ?? ''), {});
    await browser.submit(confirm, { answer: 'deny' });
    await assert.rejects(oauth.pollDeviceAuthorizationGrant(config, { ...device, interval: 0.01 } as never), { error: 'access_denied' });
    const statuses: number[] = [];
    for (let i = 0; i < 14; i++) {
      const response = await fetch(`${on.url}/device`, { method: 'POST', body: new URLSearchParams({ code: 'BCDF-GHJK' }) });
      statuses.push(response.status);
      await response.body?.cancel();
    }
    assert.equal(statuses.at(-1), 429);
  });

  it('sends nobody anywhere but to its own clients and pages', async () => {
    for (const [client, redirect] of [
      [EDITOR_CLIENT, 'https://evil.example/callback'],
      [EDITOR_CLIENT, 'http://127.0.0.1.evil.example:1/callback'],
      [EDITOR_CLIENT, 'http://user@127.0.0.1:1/callback'],
      [EDITOR_CLIENT, 'evil://countersign.countersign/auth'],
      [EDITOR_CLIENT, 'vscode://somebody.else/auth'],
      [EDITOR_CLIENT, 'javascript:alert(1)'],
      [CLI_CLIENT, 'vscode://countersign.countersign/auth'],
      ['another', 'http://127.0.0.1:1/callback'],
    ] as const) {
      const query = new URLSearchParams({
        client_id: client,
        redirect_uri: redirect,
        response_type: 'code',
        state: 'long-enough',
        code_challenge: 'a'.repeat(43),
        code_challenge_method: 'S256',
      });
      const response = await fetch(`${on.url}/oauth/authorize?${query}`, { redirect: 'manual' });
      assert.equal(response.status, 400, redirect);
      assert.equal(response.headers.get('location'), null);
      await response.body?.cancel();
    }
    for (const path of ['//evil.example', '/\\evil.example', 'https://evil.example', '/ok\r\nSet-Cookie: x=1', '/%0d%0aLocation:evil']) {
      on.idp.user = 'ada';
      const browser = new Browser();
      const page = await browser.open(`${on.url}/login?return=${encodeURIComponent(path)}`);
      assert.equal(new URL(page.url).host, host(), path);
    }
  });

  it('does not finish in one browser what was begun in another', async () => {
    on.idp.user = 'ada';
    const begun = new Browser();
    const page = await begun.open(`${on.url}/login`, {}, (at) => at.pathname === '/login/corp/callback');
    assert.ok(page.url.includes('code='));
    const other = await new Browser().open(page.url);
    assert.match(other.text, /not begun in this browser/);
    const first = await begun.open(page.url, {}, (at) => at.pathname === '/');
    assert.equal(new URL(first.url).pathname, '/');
    const again = await begun.open(page.url);
    assert.equal(again.status, 400);
  });

  it('signs no program in that only opens a page in the browser of someone who is signed in: it takes their click', async () => {
    on.idp.user = 'dana';
    const browser = await on.browser('dana');
    for (const [redirect, source, named] of [
      ['http://127.0.0.1:1/callback', 'http://127.0.0.1:1', /A program on this computer \(at 127\.0\.0\.1:1\)/],
      ['http://[::1]:1/callback', 'http:', /at \[::1\]:1/],
      ['vscode://countersign.countersign/auth', 'vscode:', /opens vscode addresses/],
    ] as const) {
      const query = new URLSearchParams({
        client_id: EDITOR_CLIENT,
        redirect_uri: redirect,
        response_type: 'code',
        state: 'state-state',
        code_challenge: 'a'.repeat(43),
        code_challenge_method: 'S256',
      });
      const sentBack = (at: URL): boolean => at.href.startsWith(redirect);
      const asked = await browser.open(`${on.url}/oauth/authorize?${query}`, {}, sentBack);
      assert.equal(browser.stopped, undefined, 'nothing comes back by itself');
      assert.match(asked.text, named);
      assert.match(asked.headers.get('content-security-policy') ?? '', new RegExp(`form-action 'self' ${source.replaceAll('.', '\\.')}$`));
      // Nor by guessing what the page would send.
      const guessed = await browser.open(`${on.url}/login-confirm`, { method: 'POST', body: new URLSearchParams({ ticket: 'x', answer: 'allow' }) }, sentBack);
      assert.equal(guessed.status, 400);
      await browser.submit(asked, { answer: 'deny' }, sentBack);
      const back = new URL(browser.stopped ?? '');
      assert.deepEqual([back.searchParams.get('error'), back.searchParams.get('state'), back.searchParams.get('code')], ['access_denied', 'state-state', null]);
      browser.stopped = undefined;
      // Once: what was denied cannot be allowed after all.
      assert.equal((await browser.submit(asked, { answer: 'allow' }, sentBack)).status, 400);
      const [login] = await on.gateways[0]!.db.query<{ ended_why: string }>('SELECT ended_why FROM logins ORDER BY created_at DESC LIMIT 1');
      assert.equal(login?.ended_why, 'denied');
    }
  });

  it('takes a code once, from who asked for it', async () => {
    on.idp.user = 'ada';
    const config = await discover(on.url);
    const verifier = oauth.randomPKCECodeVerifier();
    const redirectUri = 'http://127.0.0.1:1/callback';
    const begin = async (): Promise<string> => {
      const url = oauth.buildAuthorizationUrl(config, {
        redirect_uri: redirectUri,
        state: 'state-state',
        code_challenge: createHash('sha256').update(verifier).digest('base64url'),
        code_challenge_method: 'S256',
      });
      const browser = new Browser();
      await browser.allow(url.href, (at) => at.href.startsWith(redirectUri));
      return new URL(browser.stopped ?? '').searchParams.get('code') ?? '';
    };
    const token = async (fields: Record<string, string>): Promise<{ status: number; body: Record<string, string> }> => {
      const response = await fetch(`${on.url}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          grant_type: 'authorization_code',
          client_id: EDITOR_CLIENT,
          redirect_uri: redirectUri,
          code_verifier: verifier,
          ...fields,
        }),
      });
      return { status: response.status, body: (await response.json()) as Record<string, string> };
    };
    const code = await begin();
    assert.equal((await token({ code, code_verifier: randomBytes(32).toString('base64url') })).status, 400);
    assert.equal((await token({ code, redirect_uri: 'http://127.0.0.1:2/callback' })).status, 400);
    assert.equal((await token({ code, client_id: CLI_CLIENT })).status, 400);
    const good = await token({ code });
    assert.equal(good.status, 200);
    // A second use means that it is in two hands: what the first got is taken back.
    assert.equal((await token({ code })).status, 400);
    await soon(async () => assert.equal((await on.client(good.body.access_token ?? '').call('GET', '/v1/me')).status, 401));
  });

  it('lets nobody fill the store by beginning again and again where there is a choice of providers', async () => {
    const [gateway] = on.gateways;
    const providers = gateway!.identity.providers as Map<string, Provider>;
    const corp = providers.get('corp');
    assert.ok(corp);
    providers.set('other', corp);
    try {
      await gateway!.db.query('DELETE FROM rate_limits');
      const kept = async (): Promise<number> => (await gateway!.db.query<{ n: number }>('SELECT count(*) AS n FROM login_attempts'))[0]?.n ?? 0;
      const before = await kept();
      const statuses: number[] = [];
      for (let i = 0; i < 40; i++) {
        const response = await fetch(`${on.url}/login`);
        await response.body?.cancel();
        statuses.push(response.status);
      }
      assert.deepEqual([statuses[0], statuses.at(-1)], [200, 429]);
      assert.ok((await kept()) - before <= 32);
    } finally {
      providers.delete('other');
      await gateway!.db.query('DELETE FROM rate_limits');
    }
  });

  it('takes a cookie that cannot be read for none', async () => {
    const response = await fetch(`${on.url}/v1/me`, { headers: { cookie: 'countersign=%' } });
    await response.body?.cancel();
    assert.equal(response.status, 401);
  });

  it('says that the provider is down, and works again when it is back, with other keys', async () => {
    const { port } = on.idp;
    on.idp.user = 'ada';
    const browser = new Browser();
    const back = await browser.open(`${on.url}/login`, {}, (at) => at.pathname === '/login/corp/callback');
    await on.idp.stop();
    const page = await browser.open(back.url);
    assert.equal(page.status, 502);
    assert.match(page.text, /cannot be reached right now/);
    const replaced = await startIdp({ port, redirectUris: [`${on.url}/login/corp/callback`], keys: [await signingJwk('RS256'), await signingJwk('ES256')] });
    for (const [user, account] of on.idp.accounts) replaced.accounts.set(user, account);
    try {
      await soon(async () => assert.ok((await editorSignIn(on.url, replaced, 'ada')).access_token));
    } finally {
      await replaced.stop();
    }
  });
});

function b64(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
