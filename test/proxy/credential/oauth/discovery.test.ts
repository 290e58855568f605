/** A server chooses what its metadata says: none of it may lead us anywhere else, or out of HTTP. */
import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Secret } from '../../../../contract/secret.ts';
import { challengeOf, discover, isWithin, scopesOf } from '../../../../proxy/credential/oauth/discovery.ts';
import { clientFor } from '../../../../proxy/credential/oauth/registration.ts';
import { checkedAddress, SafeFetch } from '../../../../proxy/credential/oauth/safeFetch.ts';

let server: Server;
let origin: string;
let answers: Record<string, unknown> = {};
const asked: string[] = [];

before(async () => {
  server = createServer((request, response) => {
    asked.push(request.url ?? '');
    const answer = answers[request.url ?? ''];
    if (answer === undefined) return void response.writeHead(404).end();
    if (typeof answer === 'string') return void response.writeHead(302, { location: answer }).end();
    response.writeHead(200, { 'content-type': 'application/json' });
    return void response.end(JSON.stringify(answer));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
after(() => {
  server.close();
  server.closeAllConnections();
});
beforeEach(() => {
  asked.length = 0;
});

const AT = { resource: '/.well-known/oauth-protected-resource/mcp', server: '/.well-known/oauth-authorization-server' };
const good = () => ({
  issuer: origin,
  authorization_endpoint: `${origin}/authorize`,
  token_endpoint: `${origin}/token`,
  code_challenge_methods_supported: ['S256'],
});
const look = (challenge = {}) => {
  const fetch = new SafeFetch(new URL(`${origin}/mcp`));
  return discover(new URL(`${origin}/mcp`), challenge, fetch).finally(() => fetch.close());
};

describe('where to sign in', () => {
  it('is found by the resource’s description, and by the issuer’s own where there is none', async () => {
    answers = { [AT.resource]: { resource: `${origin}/mcp`, authorization_servers: [origin], scopes_supported: ['a', 'b"c', 7] }, [AT.server]: good() };
    const found = await look();
    assert.equal(found.resource, `${origin}/mcp`);
    assert.deepEqual(found.scopes, ['a']);
    answers = { [AT.server]: good() };
    assert.equal((await look()).server.issuer, origin);
  });

  it('is found below an issuer’s path as RFC 8414 and OpenID Connect each have it', async () => {
    const issuer = `${origin}/tenant`;
    for (const at of [
      '/.well-known/oauth-authorization-server/tenant',
      '/.well-known/openid-configuration/tenant',
      '/tenant/.well-known/openid-configuration',
    ]) {
      answers = { [AT.resource]: { resource: `${origin}/mcp`, authorization_servers: [issuer] }, [at]: { ...good(), issuer } };
      assert.equal((await look()).server.issuer, issuer, at);
    }
  });

  it('is not a shell, a script or a file', async () => {
    for (const endpoint of [
      'a:$(calc.exe)?response_type=code',
      `${origin}/authorize$(touch /tmp/x)`,
      `${origin}/authorize';calc;'`,
      `${origin}/authorize|calc`,
      `${origin}/authorize\`id\``,
      'file:///etc/passwd',
      'javascript:alert(1)',
      'vscode://evil.extension/run',
      'http://evil.example/authorize',
      `http://user:pass@127.0.0.1/authorize`,
      7,
      undefined,
    ]) {
      answers = { [AT.server]: { ...good(), authorization_endpoint: endpoint } };
      await assert.rejects(look(), { code: 'oauth-address' }, String(endpoint));
      answers = { [AT.server]: { ...good(), token_endpoint: endpoint } };
      await assert.rejects(look(), { code: 'oauth-address' }, String(endpoint));
    }
  });

  it('is not named by a description of another resource, which would have us fetch that one’s tokens for this one', async () => {
    for (const resource of ['https://bank.example/', `${origin}/other`, `${origin}/mcp2`, undefined]) {
      answers = { [AT.resource]: { resource, authorization_servers: [origin] }, [AT.server]: good() };
      await assert.rejects(look(), /Countersign/, String(resource));
    }
  });

  it('is not an issuer under a wrong name, or one without PKCE', async () => {
    answers = { [AT.server]: { ...good(), issuer: 'https://other.example' } };
    await assert.rejects(look(), { code: 'oauth-issuer' });
    answers = { [AT.server]: { ...good(), code_challenge_methods_supported: ['plain'] } };
    await assert.rejects(look(), { code: 'oauth-pkce' });
    answers = { [AT.server]: { ...good(), code_challenge_methods_supported: undefined } };
    await assert.rejects(look(), { code: 'oauth-pkce' });
  });

  it('is not fetched without end, nor by a redirect to somewhere else', async () => {
    answers = { [AT.server]: { ...good(), more: 'x'.repeat(300 * 1024) } };
    await assert.rejects(look(), { code: 'message-too-long' });
    answers = { [AT.server]: 'http://169.254.169.254/latest/meta-data/' };
    await assert.rejects(look(), { code: 'redirected' });
    answers = {};
    await assert.rejects(look(), /does not say where/);
  });

  it('never lies inside this machine, or its network link, for a server elsewhere', () => {
    const far = new URL('https://mcp.example/');
    for (const address of [
      'http://login.example/',
      'https://127.0.0.1/',
      'https://localhost:8443/',
      'https://[::1]/',
      'https://169.254.169.254/latest',
      'https://[::ffff:169.254.169.254]/',
      'https://2130706433/',
      'https://0x7f.1/',
      'https://[fe80::1]/',
      'https://0.0.0.0/',
      'https://login.example/#x',
      'https://u:p@login.example/',
      `https://login.example/${'a'.repeat(3000)}`,
    ])
      assert.throws(() => checkedAddress(address, far, 'signing in'), { code: 'oauth-address' }, address);
    assert.equal(checkedAddress('https://login.example/a?b=c', far, 'signing in').href, 'https://login.example/a?b=c');
  });
});

describe('a challenge', () => {
  it('is read as far as it is one', () => {
    assert.deepEqual(challengeOf('Bearer error="insufficient_scope", scope="a b", resource_metadata="https://h/x"'), {
      metadata: 'https://h/x',
      scope: 'a b',
      error: 'insufficient_scope',
    });
    assert.deepEqual(challengeOf('Basic realm="Bearer"'), {});
    assert.deepEqual(challengeOf(`Bearer scope="${'a'.repeat(9000)}"`), {});
    assert.deepEqual(challengeOf(undefined), {});
    assert.deepEqual(scopesOf('a a b\u0000c "d" e'), ['a', 'e']);
  });
});

describe('a token', () => {
  it('goes to its resource and below it, and nowhere beside it', () => {
    const resource = new URL('https://h.example/mcp');
    for (const yes of ['https://h.example/mcp', 'https://h.example/mcp/', 'https://h.example/mcp/x?y']) assert.ok(isWithin(new URL(yes), resource), yes);
    for (const no of ['https://h.example/mcp2', 'https://h.example/', 'http://h.example/mcp', 'https://h.example:8443/mcp', 'https://evil.example/mcp'])
      assert.ok(!isWithin(new URL(no), resource), no);
  });
});

describe('how we are known to an authorization server', () => {
  const redirect = new URL('http://127.0.0.1:1/callback');
  const fetch = () => new SafeFetch(new URL(`${origin}/mcp`));

  it('is what policy says, else a metadata document, else a registration', async () => {
    const all = { ...good(), client_id_metadata_document_supported: true, registration_endpoint: `${origin}/register` };
    const metadata = 'https://example.org/client.json';
    assert.deepEqual(await clientFor(all, redirect, { id: 'mine', metadata }, fetch()), { id: 'mine' });
    assert.deepEqual(await clientFor(all, redirect, { metadata }, fetch()), { id: metadata });
    assert.deepEqual(asked, []);
    await assert.rejects(clientFor(all, redirect, {}, fetch()), { code: 'oauth-client' });
    assert.deepEqual(asked, ['/register']);
    await assert.rejects(clientFor(good(), redirect, { metadata }, fetch()), /lets no client register/);
  });

  it('is nothing to another one than policy names: its secret is not shown there', async () => {
    const client = { id: 'mine', secret: new Secret('of-the-right-one') };
    await assert.rejects(clientFor(good(), redirect, { ...client, issuer: 'https://login.example.org' }, fetch()), {
      code: 'oauth-issuer',
      message: /is known to login\.example\.org\. Nothing was sent there/,
    });
    assert.equal((await clientFor(good(), redirect, { ...client, issuer: origin }, fetch())).id, 'mine');
  });
});
