import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { Router } from 'express';
import { Secret } from '../../../contract/secret.ts';
import { freePort } from '../../../demo/freePort.ts';
import { MAX_BODY_BYTES } from '../../../proxy/http/body.ts';
import { LoopbackServer } from '../../../proxy/http/loopback.ts';
import { ClientLogins } from '../../../proxy/identity/clients.ts';
import { listeners } from '../daemon/listeners.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const clients = new ClientLogins({
  secret: new Secret('s'.repeat(64)),
  person: { issuer: 'os', subject: 'ada', groups: [] },
  clock: { now: () => Date.now() },
  newId: (prefix) => `${prefix}_1`,
});
const bearer = clients.issueBearer('window').reveal();

let port: number;
let server: LoopbackServer;
const errors: unknown[] = [];

before(async () => {
  port = await freePort();
  server = new LoopbackServer({ port, clients, log: { ...quiet, error: (...args) => errors.push(args) }, timeouts: { headersMs: 300, requestMs: 600 } });
  const router = Router();
  router.all('/', (request, response) => void response.json({ mount: 'mcp', surface: response.locals.identity.surface, body: request.body ?? null }));
  router.get('/throws', () => {
    throw new Error('the canary 4111-1111-1111-1111');
  });
  const below = Router();
  below.get('/', (_request, response) => void response.json({ mount: 'mcp/orders' }));
  server.mount('mcp', router);
  server.mount('mcp/orders', below);
  await server.start();
});

after(() => server.stop());

/** Sends bytes as they are and reads until the server hangs up. */
function raw(bytes: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, '127.0.0.1');
    let answer = '';
    socket.setTimeout(30_000, () => socket.destroy(new Error('the server neither answered nor hung up')));
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1');
    });
    socket.on('error', (error) =>
      (error as NodeJS.ErrnoException).code === 'ECONNRESET' || (error as NodeJS.ErrnoException).code === 'EPIPE' ? resolve(answer) : reject(error),
    );
    socket.on('close', () => resolve(answer));
    socket.write(bytes);
  });
}

interface RequestShape {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string | null;
  readonly headers?: readonly string[];
  readonly token?: string | null;
  readonly body?: string;
}

async function status({ method = 'GET', path = '/mcp', host = `127.0.0.1:${port}`, headers = [], token = bearer, body }: RequestShape): Promise<number> {
  const lines = [
    `${method} ${path} HTTP/1.1`,
    ...(host === null ? [] : [`Host: ${host}`]),
    ...(token === null ? [] : [`Authorization: Bearer ${token}`]),
    ...headers,
    ...(body === undefined ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]),
    'Connection: close',
  ];
  const answer = await raw(`${lines.join('\r\n')}\r\n\r\n${body ?? ''}`);
  assert.doesNotMatch(answer, /access-control/i);
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
}

const JSON_TYPE = 'Content-Type: application/json';

describe('the loopback server', () => {
  it('answers a client with a token at its own address', async () => {
    assert.equal(await status({}), 200);
    assert.equal(await status({ host: `localhost:${port}` }), 200);
    assert.equal(await status({ method: 'POST', headers: [JSON_TYPE], body: '{"a":1}' }), 200);
    assert.equal(await status({ method: 'POST', headers: ['Content-Type: application/json; charset=utf-8'], body: '{}' }), 200);
  });

  it('gives the longest mounted path the request', async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/mcp/orders`, { headers: { Authorization: `Bearer ${bearer}` } });
    assert.deepEqual(await answer.json(), { mount: 'mcp/orders' });
  });

  it('refuses every Host but its own', async () => {
    const hosts = [
      `evil.example:${port}`,
      'evil.example',
      '127.0.0.1',
      'localhost',
      '127.0.0.1:1',
      `0.0.0.0:${port}`,
      `[::1]:${port}`,
      `[::ffff:127.0.0.1]:${port}`,
      `127.1:${port}`,
      `2130706433:${port}`,
      `0x7f.0.0.1:${port}`,
      `LOCALHOST:${port}`,
      `localhost.:${port}`,
      `127.0.0.1:${port}@evil.example`,
      `user@127.0.0.1:${port}`,
      `127.0.0.1:0${port}`,
      `evil.example:80, 127.0.0.1:${port}`,
      `localhost.evil.example:${port}`,
      '',
      null,
    ];
    for (const host of hosts) assert.equal(await status({ host }), 421, `Host: ${host}`);
    assert.equal(await status({ headers: [`Host: 127.0.0.1:${port}`] }), 421, 'two Host headers, both right');
    assert.equal(await status({ headers: ['host: evil.example'] }), 421, 'two Host headers');
  });

  it('refuses every Origin, also null, repeated, empty and oddly written ones', async () => {
    const origins = ['http://evil.example', 'null', 'NULL', '', `http://127.0.0.1:${port}`, `http://localhost:${port}`, 'vscode-webview://x', 'file://'];
    for (const origin of origins) {
      assert.equal(await status({ headers: [`Origin: ${origin}`] }), 403, `Origin: ${origin}`);
      assert.equal(await status({ headers: [`oRiGiN: ${origin}`] }), 403, `oRiGiN: ${origin}`);
    }
    assert.equal(await status({ headers: ['Origin: null', 'Origin: null'] }), 403);
    for (const site of ['cross-site', 'same-site', 'same-origin']) assert.equal(await status({ headers: [`Sec-Fetch-Site: ${site}`] }), 403, site);
  });

  it('refuses an unauthenticated or wrongly authenticated client', async () => {
    const terminal = clients.issueLogin('window');
    const wrong = [
      null,
      '',
      'x',
      'null',
      bearer.slice(0, -1),
      `${bearer}A`,
      bearer.toUpperCase(),
      'a'.repeat(5_000),
      `${terminal.user}.${terminal.password.reveal()}`,
      terminal.password.reveal(),
    ];
    for (const token of wrong) assert.equal(await status({ token }), 401, `token ${token?.slice(0, 20)}`);
    assert.equal(await status({ headers: [`Authorization: Bearer ${bearer}`] }), 401, 'two Authorization headers');
    assert.equal(await status({ token: null, headers: [`Authorization: Basic ${bearer}`] }), 401);
    assert.equal(await status({ token: null, path: `/mcp?access_token=${bearer}` }), 401);
    assert.equal(await status({ token: null, headers: [`Cookie: token=${bearer}`] }), 401);
  });

  it('refuses what a web page can send without being asked: a text/plain or form POST, whatever it holds', async () => {
    const body = '{"jsonrpc":"2.0"}';
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'text/json',
      'application/json-patch+json',
      'application/json, text/plain',
    ]) {
      assert.equal(await status({ method: 'POST', headers: [`Content-Type: ${type}`], body }), 415, type);
    }
    assert.equal(await status({ method: 'POST', body }), 415, 'no type');
    assert.equal(await status({ method: 'POST', headers: [JSON_TYPE, 'Content-Type: text/plain'], body }), 415, 'two types');
  });

  it('answers no preflight, no other method, no upgrade and no absolute target', async () => {
    for (const method of ['OPTIONS', 'PUT', 'PATCH', 'HEAD', 'TRACE']) assert.equal(await status({ method }), 405, method);
    const upgrade = await raw(
      `GET /mcp HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer ${bearer}\r\n\r\n`,
    );
    assert.doesNotMatch(upgrade, / 101 | 200 /);
    assert.doesNotMatch(await raw(`CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`), / 200 /);
    assert.equal(await status({ path: `http://127.0.0.1:${port}/mcp` }), 400);
    assert.equal(await status({ path: 'http://evil.example/mcp' }), 400);
  });

  it('says no more than 404 about a path that nothing is mounted at', async () => {
    for (const path of ['/', '/MCP', '/mcpx', '/mcp/other/../../secret', '/approve', '/%6dcp%2f..']) {
      const answer = await raw(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${bearer}\r\nConnection: close\r\n\r\n`);
      assert.match(answer, /^HTTP\/1\.1 404 /, path);
      assert.match(answer, /\{"error":"Nothing is here\."\}$/);
    }
  });

  it('caps bodies and headers, and survives bodies that are no JSON', async () => {
    const large = await raw(
      `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${bearer}\r\n${JSON_TYPE}\r\nContent-Length: ${MAX_BODY_BYTES + 1}\r\n\r\n{}`,
    );
    assert.match(large, /^HTTP\/1\.1 413 /);
    const chunk = `${(64 * 1024).toString(16)}\r\n${'a'.repeat(64 * 1024)}\r\n`;
    const chunked = await raw(
      `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${bearer}\r\n${JSON_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(MAX_BODY_BYTES / (64 * 1024) + 2)}`,
    );
    assert.ok(chunked === '' || chunked.startsWith('HTTP/1.1 413 '), chunked.slice(0, 100));
    assert.equal(await status({ method: 'POST', headers: [JSON_TYPE], body: '{"a":' }), 400);
    assert.equal(await status({ method: 'POST', headers: [JSON_TYPE], body: '' }), 400);
    assert.equal(await status({ method: 'POST', headers: [JSON_TYPE, 'Content-Encoding: gzip'], body: '{}' }), 415);
    assert.equal(await status({ headers: [`X-Long: ${'a'.repeat(40_000)}`] }), 400);
    assert.match(await raw(Buffer.from(Array.from({ length: 4_096 }, (_, i) => (i * 7_919) % 256))), /^HTTP\/1\.1 400 /);
    assert.equal(await status({}), 200);
  });

  it('hangs up on a client that dribbles its headers or its body', async () => {
    for (const start of [
      'GET /mcp HTTP/1.1\r\n',
      `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${bearer}\r\n${JSON_TYPE}\r\nContent-Length: 1000\r\n\r\n{`,
    ]) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
      socket.resume();
      socket.write(start);
      const drip = setInterval(() => socket.write('a'), 50);
      await closed;
      clearInterval(drip);
    }
    assert.equal(await status({}), 200);
  });

  it('shows nothing of the inside of an error', async () => {
    const answer = await raw(`GET /mcp/throws HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${bearer}\r\nConnection: close\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 500 /);
    assert.doesNotMatch(answer, /canary|4111|\.ts|node_modules/);
    assert.equal(errors.length, 1);
  });

  it('sends headers that keep an answer out of caches and pages, and does not name its software', async () => {
    const answer = await raw(`GET /mcp HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${bearer}\r\nConnection: close\r\n\r\n`);
    assert.match(answer, /cache-control: no-store/i);
    assert.match(answer, /x-content-type-options: nosniff/i);
    assert.match(answer, /content-security-policy: default-src 'none'/i);
    assert.doesNotMatch(answer, /x-powered-by|express/i);
  });

  it('forgets a path whose router was taken away', async () => {
    const mounted = server.mount(
      'gone',
      Router().get('/', (_request, response) => void response.json({})),
    );
    assert.equal(await status({ path: '/gone' }), 200);
    assert.throws(() => server.mount('gone', Router()));
    mounted.dispose();
    assert.equal(await status({ path: '/gone' }), 404);
    for (const path of ['', '/x', 'x/', 'a/../b', 'a b', ':id', '*']) assert.throws(() => server.mount(path, Router()), path);
  });

  it('listens on the loopback address alone', { skip: process.platform === 'linux' ? false : 'needs /proc' }, () => {
    assert.deepEqual(
      listeners(process.pid).filter((listener) => listener.port === port),
      [{ address: '127.0.0.1', port }],
    );
  });

  it('says that its port is taken rather than taking another', async () => {
    const squatter = createServer();
    const taken = await new Promise<number>((resolve) => squatter.listen(0, '127.0.0.1', () => resolve((squatter.address() as { port: number }).port)));
    const late = new LoopbackServer({ port: taken, clients, log: quiet });
    await assert.rejects(late.start(), { code: 'EADDRINUSE' });
    assert.equal(late.listening, false);
    await new Promise<void>((resolve) => squatter.close(() => resolve()));
    await late.start();
    assert.equal(late.listening, true);
    await late.stop();
  });
});
