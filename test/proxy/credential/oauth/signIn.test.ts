/** Signing in upstream, from an agent's refused call to a renewed token, at a real provider and through a real proxy. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { METHODS, type SurfaceAccess } from '../../../../contract/control.ts';
import type { ControlClient } from '../../../../proxy/control/client.ts';
import { Home, type Running } from '../../daemon/daemonProcess.ts';
import { browse, type Protected, protectedServer } from './provider.ts';

let upstream: Protected;
let home: Home;
let proxy: Running;
let person: ControlClient;
/** What the editor keeps for the proxy. */
const kept = new Map<string, string | null>();
const clients: Client[] = [];

before(async () => {
  upstream = await protectedServer();
  home = new Home();
  writeFileSync(
    join(home.path, 'countersign.yaml'),
    `version: 1
defaults: { read: allow, write: allow, execute: allow, send: allow, unknown: allow }
connections:
  notes: { protocol: mcp, upstream: { url: "${upstream.url}" } }
`,
  );
  await begin();
});

after(async () => {
  await Promise.all(clients.map((client) => client.close().catch(() => undefined)));
  await home.remove();
  upstream.stop();
});

async function begin(): Promise<void> {
  const running = await home.start();
  proxy = running;
  person = await home.attach(running.at);
  person.rpc.onNotification(METHODS.keepSecret, ({ name, value }: { name: string; value: string | null }) => void kept.set(name, value));
}

async function agent(): Promise<Client> {
  const access = (await person.request(METHODS.access)) as SurfaceAccess;
  const server = access.mcp.find(({ name }) => name === 'notes');
  assert.ok(server);
  const client = new Client({ name: 'agent', version: '1' });
  await client.connect(new StreamableHTTPClientTransport(new URL(server.url), { requestInit: { headers: server.headers } }));
  clients.push(client);
  return client;
}

const call = async (client: Client, name: string): Promise<string> =>
  client.callTool({ name, arguments: {} }).then(
    (result) => JSON.stringify(result),
    (cause: unknown) => `refused: ${cause instanceof Error ? cause.message : String(cause)}`,
  );
const state = (wanted: string) => person.until(({ connections }) => connections.find(({ name }) => name === 'notes')?.state === wanted);

async function signIn(): Promise<{ readonly page: URL; readonly ended: Awaited<ReturnType<typeof browse>> }> {
  const { listen } = (await person.request(METHODS.signIn, { connection: 'notes' })) as { listen: string };
  const { url } = (await person.request(METHODS.signInPage, { connection: 'notes', redirect: listen })) as { url: string };
  return { page: new URL(url), ended: await browse(url) };
}

describe('an MCP server that wants a sign-in', { timeout: 300_000 }, () => {
  it('is said to want one when an agent is refused, and the agent is told what to do', async () => {
    const refused = await agent().then(
      (client) => call(client, 'read'),
      (cause: unknown) => String(cause),
    );
    assert.match(refused, /wants a sign-in at 127\.0\.0\.1.* Sign in from the Connections view/);
    const { connections } = await state('needs-sign-in');
    assert.match(connections[0]?.problem ?? '', /wants a sign-in at 127\.0\.0\.1/);
  });

  it('is signed in to by the person, with PKCE, for this server alone, and then serves the agent', async () => {
    const { page, ended } = await signIn();
    assert.equal(page.origin, upstream.issuer);
    assert.equal(page.searchParams.get('code_challenge_method'), 'S256');
    assert.equal(page.searchParams.get('resource'), upstream.url);
    assert.match(page.searchParams.get('scope') ?? '', /notes:read/);
    assert.equal(ended.status, 200, ended.text);
    assert.match(ended.text, /You can close this page/);
    const { connections } = await state('ready');
    assert.equal(connections[0]?.signedIn, true);
    assert.match(await call(await agent(), 'read'), /the notes/);
    assert.equal(upstream.grants[0], 'authorization_code');
  });

  it('has its tokens renewed before they expire, each refresh token used once, however many need it', async () => {
    const client = await agent();
    const results = await Promise.all(Array.from({ length: 6 }, () => call(client, 'read')));
    for (const result of results) assert.match(result, /the notes/);
    assert.deepEqual(
      upstream.grants.filter((grant) => grant.startsWith('refused')),
      [],
    );
    assert.ok(upstream.grants.includes('refresh_token'));
    const { refresh } = JSON.parse(kept.get('oauth.notes') ?? '{}') as { refresh?: string };
    assert.ok(refresh);
  });

  it('asks for more where a call needs more, and keeps what was agreed to before', async () => {
    assert.match(await call(await agent(), 'write'), /wants more than was agreed to \(notes:write\)/);
    const { connections } = await state('needs-sign-in');
    assert.match(connections[0]?.problem ?? '', /wants more than was agreed to \(notes:write\)/);
    const { page, ended } = await signIn();
    assert.match(page.searchParams.get('scope') ?? '', /notes:read.*notes:write/);
    assert.equal(ended.status, 200, ended.text);
    await state('ready');
    assert.match(await call(await agent(), 'write'), /written/);
  });

  it('is signed in to after a restart with what the editor kept', async () => {
    proxy.child.kill('SIGTERM');
    await proxy.exit;
    await begin();
    await person.request(METHODS.putSecret, { name: 'oauth.notes', value: kept.get('oauth.notes') });
    assert.match(await call(await agent(), 'read'), /the notes/);
    assert.doesNotMatch(upstream.grants.join(), /refused/);
  });

  it('never shows a token to an agent, a file, a log, or a policy that names it', async () => {
    const tokens = [...upstream.seen, ...[...kept.values()].flatMap((value) => (value === null ? [] : Object.values(JSON.parse(value) as object)))].filter(
      (value): value is string => typeof value === 'string' && value.length > 30 && !value.startsWith('http'),
    );
    assert.ok(tokens.length >= 2);
    const files = readdirSync(home.path, { recursive: true, encoding: 'utf8' })
      .map((name) => join(home.path, name))
      .filter((path) => statSync(path).isFile());
    for (const path of files) for (const token of tokens) assert.ok(!readFileSync(path, 'latin1').includes(token), path);
    const access = JSON.stringify(await person.request(METHODS.access));
    for (const token of tokens) assert.ok(!access.includes(token));
    // The client's own login never reaches the server.
    const own = ((await person.request(METHODS.access)) as SurfaceAccess).environment.COUNTERSIGN_MCP_TOKEN ?? '';
    assert.ok(own.length > 20 && ![...upstream.seen].some((token) => token.includes(own)));
  });

  it('is signed out of: the token is given back, and nothing is kept', async () => {
    await person.request(METHODS.signOut, { connection: 'notes' });
    await state('needs-sign-in');
    assert.equal(kept.get('oauth.notes'), null);
    assert.match(await agent().then((client) => call(client, 'read'), String), /sign/i);
  });

  it('takes no answer that is not of the sign-in under way', async () => {
    const { listen } = (await person.request(METHODS.signIn, { connection: 'notes' })) as { listen: string };
    assert.equal((await fetch(`${listen}?code=x&state=y`)).status, 404, 'before it has begun');
    const { url } = (await person.request(METHODS.signInPage, { connection: 'notes', redirect: listen })) as { url: string };
    assert.equal((await fetch(`${listen}?code=x&state=guessed`)).status, 400);
    const right = new URL(url).searchParams.get('state') ?? '';
    // Another issuer's answer (RFC 9207): the code would be handed to the wrong token endpoint.
    const mixed = await fetch(`${listen}?${new URLSearchParams({ code: 'x', state: right, iss: 'https://evil.example' })}`);
    assert.equal(mixed.status, 400);
    assert.match(await mixed.text(), /is not from/);
    for (const redirect of ['https://evil.example/', 'javascript:alert(1)//callback', 'http://evil.example/callback', 'x'])
      await assert.rejects(async () => {
        await person.request(METHODS.signIn, { connection: 'notes' });
        await person.request(METHODS.signInPage, { connection: 'notes', redirect });
      }, /cannot be used/);
  });
});
