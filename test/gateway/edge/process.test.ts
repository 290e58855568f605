import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type Server as HttpServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { TLSSocket } from 'node:tls';
import { Secret } from '../../../contract/secret.ts';
import { freePort } from '../../../demo/freePort.ts';
import type { EdgeArguments } from '../../../gateway/edge/process/config.ts';
import { checkEdge } from '../../../gateway/edge/process/main.ts';
import { openSecrets } from '../../../gateway/secrets.ts';
import { selfSigned } from '../../../proxy/protocols/postgres/certificate.ts';
import type { Uplink } from '../../../proxy/uplink/uplink.ts';
import { CANARY, PASSWORD, SENSITIVE, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { soon } from '../../support/soon.ts';
import { type Stage, stage } from '../stage.ts';
import { listen } from '../tunnel/network.ts';
import { bring, laptop, newKeys, through } from './edges.ts';

const MAIN = join(import.meta.dirname, '../../../cli/main.ts');
const FLAGS = ['--disable-warning=ExperimentalWarning', MAIN, 'gateway'];

function countersign(args: readonly string[], env: Readonly<Record<string, string>>): Promise<{ out: string; error: string; code: number }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...FLAGS, ...args], { env: { ...process.env, ...env }, timeout: 60_000 }, (failure, out, error) =>
      resolve({ out, error, code: typeof failure?.code === 'number' ? failure.code : failure ? -1 : 0 }),
    );
  });
}

/** A database that speaks TLS, and what came to it before that. */
async function encrypted(
  port: number,
  tls: { readonly cert: string; readonly key: string },
): Promise<{ readonly server: Server; readonly port: number; readonly clear: Buffer[] }> {
  const clear: Buffer[] = [];
  const server = createServer((raw) => {
    raw.on('error', () => {});
    raw.once('data', (asked) => {
      clear.push(asked);
      raw.write('S');
      const secure = new TLSSocket(raw, { isServer: true, ...tls });
      const inside = connect(port, '127.0.0.1');
      for (const socket of [secure, inside]) socket.on('error', () => {});
      secure.pipe(inside).pipe(secure);
      secure.once('close', () => inside.destroy());
      inside.once('close', () => secure.destroy());
    });
  });
  return { server, port: await listen(server), clear };
}

/** An MCP server with one tool, which tells what it was called with. */
async function mcpServer(): Promise<{ readonly server: HttpServer; readonly port: number; readonly called: string[] }> {
  const called: string[] = [];
  const answer = async (asked: IncomingMessage, response: ServerResponse): Promise<void> => {
    const said = await text(asked);
    if (asked.method !== 'POST') return void response.writeHead(405).end();
    const { id, method, params } = JSON.parse(said) as { id?: number; method: string; params?: { protocolVersion?: string; name?: string } };
    called.push(`${method} ${asked.headers.host} ${asked.headers.authorization ?? ''}`);
    if (id === undefined) return void response.writeHead(202).end();
    const result =
      method === 'initialize'
        ? { protocolVersion: params?.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'inside', version: '1' } }
        : method === 'tools/list'
          ? { tools: [{ name: 'look', inputSchema: { type: 'object' }, annotations: { readOnlyHint: true } }] }
          : { content: [{ type: 'text', text: 'seen inside, card 4111 1111 1111 1111' }] };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ jsonrpc: '2.0', id, result }));
    return undefined;
  };
  const server = createHttp((asked, response) => void answer(asked, response));
  return { server, port: await listen(server), called };
}

describe('countersign gateway --join', () => {
  let on: Stage;
  let database: TestDatabase;
  let tls: Awaited<ReturnType<typeof encrypted>>;
  let mcp: Awaited<ReturnType<typeof mcpServer>>;
  let uplink: Uplink;
  let config: string;
  let args: string[];
  let health: string;
  const children: ChildProcess[] = [];

  before(async () => {
    database = await testDatabase(SHOP);
    const certificate = selfSigned(Date.now());
    tls = await encrypted(database.port, certificate);
    mcp = await mcpServer();
    on = await stage();
    config = join(on.folder, `gateway-${new URL(on.url).port}.yaml`);
    const ca = join(on.folder, 'ca.pem');
    writeFileSync(ca, certificate.cert);
    const secrets = await openSecrets(config, on.env);
    for (const [name, value] of [
      ['shop', PASSWORD],
      ['mcp', 'Bearer of-the-mcp-server'],
    ] as const)
      await secrets.put(name, new Secret(value), { issuer: 'os', subject: 'root', groups: [] });
    await secrets.close();
    const policy = `version: 1
connections:
  shop:
    protocol: postgres
    via: gateway
    edge: plant
    upstream: postgres://${SUPERUSER}@localhost:${tls.port}/${database.database}
    tls: { mode: verify-full, ca: ${ca} }
    password: secret:shop
    sensitive: { ${Object.entries(SENSITIVE)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }
  elsewhere: { protocol: postgres, via: gateway, edge: plant, upstream: 'postgres://app@localhost:${database.port}/shop' }
  tools: { protocol: mcp, via: gateway, edge: plant, upstream: { url: 'http://localhost:${mcp.port}/mcp', headers: { Authorization: secret:mcp } } }
rules:
  - { id: tools, match: { connection: tools }, verdict: allow }
`;
    const root = await on.signIn('root');
    assert.equal((await root.call('PUT', '/v1/policy', { text: policy, comment: 'behind an edge', over: 0 })).status, 200);
    const port = await freePort();
    health = `http://127.0.0.1:${port}`;
    args = ['--join', on.url, '--data', join(on.folder, 'edge'), '--allow', `localhost:${tls.port}`, '--allow', `localhost:${mcp.port}`];
  });

  after(async () => {
    for (const child of children) child.kill('SIGKILL');
    await uplink?.stop('the test is over');
    tls.server.close();
    mcp.server.closeAllConnections();
    mcp.server.close();
    await on.stop();
  });

  const start = (...more: string[]): ChildProcess => {
    const child = spawn(process.execPath, [...FLAGS, ...args, ...more], {
      env: { ...process.env, COUNTERSIGN_EDGE_LISTEN: new URL(health).host },
      stdio: 'ignore',
    });
    children.push(child);
    return child;
  };
  const ask = async (path: string): Promise<{ status: number; text: string }> => {
    const response = await fetch(`${health}${path}`);
    return { status: response.status, text: await response.text() };
  };
  const ready = (): Promise<void> => soon(async () => assert.equal((await ask('/readyz')).status, 200), 90_000);

  it('says what is wrong with what it is told, and where it would lead', () => {
    const said: string[] = [];
    const io = { out: (line: string) => void said.push(line), error: (line: string) => void said.push(line) };
    const check = (edge: EdgeArguments): { code: number; text: string } => {
      said.length = 0;
      return { code: checkEdge(edge, {}, io), text: said.join('\n') };
    };
    const good = check({ join: on.url, allow: ['orders.internal:5432', '10.20.0.0/16:5432'] });
    assert.equal(good.code, 0, good.text);
    assert.match(good.text, /led to orders\.internal:5432, 10\.20\.0\.0\/16:5432, and nowhere else/);
    const none = check({ join: on.url });
    assert.equal(none.code, 1);
    assert.match(none.text, /`allow` is missing: an edge leads nowhere/);
    const bad = check({ join: 'http://gateway.example', allow: ['0.0.0.0/0:5432'], data: 'relative' });
    assert.equal(bad.code, 1);
    assert.match(bad.text, /begins with `https:/);
    assert.match(bad.text, /allows nearly everything/);
    assert.match(bad.text, /absolute path/);
  });

  it('joins by a token that an admin made, once, and says how it stands', async () => {
    const added = await countersign(['edge', 'add', 'plant', '--config', config], on.env);
    assert.equal(added.code, 0, added.error);
    assert.match(added.out, /^csjoin_[\w-]{43}\n$/);
    const file = join(on.folder, 'join-token');
    writeFileSync(file, added.out);
    start('--token-file', file);
    await ready();
    assert.equal((await ask('/healthz')).status, 200);
    assert.match((await ask('/metrics')).text, /^countersign_edge_replicas_connected 1$/m);
    const kept = join(on.folder, 'edge', 'edge.json');
    assert.equal(statSync(kept).mode & 0o777, 0o600);
    assert.ok(!readFileSync(kept, 'utf8').includes(added.out.trim()), 'the token is not kept');
    const root = await on.signIn('root');
    assert.match(JSON.stringify((await root.call('GET', '/v1/edges')).body), /The edge plant is connected\./);
    assert.match((await bring(on.url, added.out.trim(), newKeys())).body.sentence ?? '', /used already, by another key/);
  });

  it('carries what the gateway encrypts for the database and checks by its name, and says at once where it is not let', async () => {
    const ada = await on.signIn('ada');
    uplink = laptop(on.url, ada.token);
    await soon(() => assert.equal(uplink.offered.find(({ name }) => name === 'shop')?.state, 'ready'));
    const client = await through(uplink, 'shop', database.database);
    const { rows } = await client.query('SELECT email, ssn FROM customers ORDER BY id LIMIT 3');
    assert.equal(rows.length, 3);
    assert.doesNotMatch(JSON.stringify(rows), CANARY);
    await client.end();
    // Before TLS nothing passes but the question for it.
    assert.ok(tls.clear.length > 0 && tls.clear.every((asked) => asked.length === 8));
    await soon(() => assert.match(uplink.offered.find(({ name }) => name === 'elsewhere')?.problem ?? '', /does not let itself be led to where elsewhere is/));
    await assert.rejects(through(uplink, 'elsewhere', 'shop'), /its own configuration does not allow it/);
    await soon(async () => {
      const { text: metrics } = await ask('/metrics');
      assert.match(metrics, /^countersign_edge_dials_total\{outcome="connected"\} [1-9]/m);
      assert.match(metrics, /^countersign_edge_bytes_total\{direction="in"\} [1-9]\d{3}/m);
    });
  });

  it('leads to MCP servers, too', async () => {
    const say = async (body: object, session?: string): Promise<{ text: string; session: string | undefined }> => {
      const stream = uplink.open({
        connection: 'tools',
        kind: 'http',
        surface: 'mcp',
        agent: { kind: 'claude-code', name: 'Claude Code' },
        conversation: 'run',
      });
      return await new Promise((resolve, reject) => {
        const sent = request(
          {
            createConnection: () => stream as never,
            method: 'POST',
            path: '/mcp/tools',
            headers: {
              'content-type': 'application/json',
              accept: 'application/json, text/event-stream',
              ...(session !== undefined && { 'mcp-session-id': session, 'mcp-protocol-version': '2025-06-18' }),
            },
          },
          (response: IncomingMessage) => {
            text(response).then((said) => resolve({ text: said, session: response.headers['mcp-session-id']?.toString() }), reject);
          },
        );
        sent.once('error', reject);
        const late = setTimeout(() => sent.destroy(new Error(`no answer to ${JSON.stringify(body)}`)), 60_000);
        sent.once('close', () => clearTimeout(late));
        sent.end(JSON.stringify({ jsonrpc: '2.0', ...body }));
      });
    };
    const hello = { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'x', version: '1' } };
    const { session, text: welcome } = await say({ id: 1, method: 'initialize', params: hello });
    assert.match(welcome, /"result"/);
    await say({ method: 'notifications/initialized' }, session);
    assert.match((await say({ id: 2, method: 'tools/list' }, session)).text, /look/);
    const answer = await say({ id: 3, method: 'tools/call', params: { name: 'look', arguments: {} } }, session);
    assert.match(answer.text, /seen inside/);
    assert.doesNotMatch(answer.text, /4111 1111 1111 1111/);
    assert.ok(mcp.called.includes(`tools/call localhost:${mcp.port} Bearer of-the-mcp-server`), mcp.called.join('\n'));
  });

  it('ends when it is told to, and starts again without a token', async () => {
    const first = children.at(-1)!;
    const left = new Promise((resolve) => first.once('exit', resolve));
    first.kill('SIGTERM');
    assert.equal(await left, 0);
    await soon(() => assert.match(uplink.offered.find(({ name }) => name === 'shop')?.problem ?? '', /no edge of that name is connected/), 40_000);
    start();
    await ready();
    await soon(() => assert.equal(uplink.offered.find(({ name }) => name === 'shop')?.state, 'ready'));
    const root = await on.signIn('root');
    assert.equal((await root.call('POST', '/v1/edges/plant/revoke', {})).status, 200);
    await soon(async () => assert.match((await ask('/readyz')).text, /revoked/));
  });
});
