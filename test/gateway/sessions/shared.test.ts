import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as DatabaseClient } from 'pg';
import { NARROWEST } from '../../../contract/approval.ts';
import { METHODS, SurfaceAccess } from '../../../contract/control.ts';
import { freePort } from '../../../demo/freePort.ts';
import { verifyRecords } from '../../../gateway/recording/exportRecord.ts';
import type { ControlClient } from '../../../proxy/control/client.ts';
import { Home } from '../../proxy/daemon/daemonProcess.ts';
import { RUDE_SERVER } from '../../proxy/protocols/mcp/servers.ts';
import { NO_PSQL } from '../../proxy/protocols/postgres/proxied.ts';
import { CANARY, PASSWORD, SENSITIVE, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { soon, until } from '../../support/soon.ts';
import { signed } from '../recording/recordings.ts';
import { postgresUrl } from '../stores.ts';
import { network } from '../tunnel/network.ts';
import { type TestGateway, testGateway } from './gateways.ts';

const MCP_TOKEN = 'token-of-the-mcp-server-that-no-laptop-sees';

let database: TestDatabase;
let store: string;
let gateway: TestGateway;
let home: Home;
let window: ControlClient;
const clients: DatabaseClient[] = [];

const policy = (rules = ''): string => `version: 1
defaults: { execute: allow, schema: allow, unknown: allow }
connections:
  shop:
    protocol: postgres
    upstream: postgres://${SUPERUSER}@127.0.0.1:${database.port}/${database.database}
    password: secret:shop
    via: gateway
    sensitive: { ${Object.entries(SENSITIVE)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }
  rude:
    protocol: mcp
    via: gateway
    upstream: { command: [${JSON.stringify(process.execPath)}, -e, ${JSON.stringify(RUDE_SERVER)}], env: { TOKEN: secret:rude } }
${rules}`;

before(async () => {
  database = await testDatabase(SHOP);
  store = await postgresUrl();
});

beforeEach(async () => {
  gateway = await begin();
  home = new Home();
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => undefined)));
  await home.remove();
  await gateway.stop();
});

after(() => sleep(0));

function begin(more: Partial<Parameters<typeof testGateway>[0]> = {}): Promise<TestGateway> {
  return testGateway({
    store,
    policy: policy(),
    secrets: new Map([
      ['shop', PASSWORD],
      ['rude', MCP_TOKEN],
    ]),
    ...more,
  });
}

/** A laptop's proxy whose editor is signed in to the gateway. */
async function signedIn(url = gateway.url, token = gateway.token('ada')): Promise<void> {
  const { at } = await home.start();
  window = await home.attach(at);
  await window.request(METHODS.putGateway, { url, token });
  await window.until(({ connections }) => connections.filter(({ state }) => state === 'ready').length === 2);
}

async function access(): Promise<SurfaceAccess> {
  return SurfaceAccess.parse(await window.request(METHODS.access));
}

async function terminal(): Promise<DatabaseClient> {
  const { environment: env } = await access();
  const client = new DatabaseClient({ host: env.PGHOST, port: Number(env.PGPORT), database: env.PGDATABASE, user: env.PGUSER, password: env.PGPASSWORD });
  client.on('error', () => undefined);
  clients.push(client);
  await client.connect();
  return client;
}

async function psql(args: readonly string[]): Promise<{ out: string; code: number }> {
  const { environment } = await access();
  return new Promise((resolve) => {
    execFile('psql', ['-X', '-v', 'ON_ERROR_STOP=1', ...args], { env: { ...process.env, ...environment } }, (error, stdout, stderr) =>
      resolve({ out: stdout + stderr, code: typeof error?.code === 'number' ? error.code : 0 }),
    );
  });
}

/** Everything that the laptop's proxy keeps, as one text. */
function laptop(): string {
  return readdirSync(home.path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
    .join('\n');
}

describe('a shared connection', () => {
  it('is served at a port of the laptop like a local one: read, masked, asked about and recorded at the gateway', async () => {
    await signedIn();
    const client = await terminal();
    const { rows } = await client.query('SELECT id, email, ssn FROM customers ORDER BY id LIMIT 3');
    assert.equal(rows.length, 3);
    assert.doesNotMatch(JSON.stringify(rows), CANARY);
    assert.equal(rows[0].ssn, '‹redacted›');
    const updated = client.query("UPDATE orders SET status = 'refunded' WHERE id = 7");
    const pending = await until('the question', () => gateway.approvals.pending()[0]);
    assert.equal(pending.actor.person.issuer, 'https://idp.example');
    assert.equal(pending.actor.person.subject, 'ada');
    assert.equal(pending.actor.agent.kind, 'terminal');
    gateway.approvals.answer({ answer: 'approve', id: pending.id, digest: pending.digest, scope: NARROWEST }, pending.actor.person);
    assert.equal((await updated).rowCount, 1);
    await assert.rejects(client.query('DELETE FROM orders'), /Denied by rule no-mass-change/);
    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
    await client.end();
    // The record is the gateway's, and in the person's own chain; the laptop has none of it.
    const sessions = await gateway.db.query<{ person: string; connection: string; login: string }>('SELECT person, connection, login FROM sessions');
    assert.deepEqual([...sessions], [{ person: 'per_ada', connection: 'shop', login: 'log_ada' }]);
    await signed(gateway.db);
    const report = await verifyRecords(gateway.db, gateway.recordKey);
    assert.deepEqual(report.problems, []);
    assert.doesNotMatch(laptop(), /UPDATE orders/);
  });

  it('works with psql: results, errors, COPY, a cancelled statement', { skip: NO_PSQL }, async () => {
    await signedIn();
    const shown = await psql(['-Atc', 'SELECT count(*) FROM orders', '-c', 'COPY (SELECT id, email FROM customers WHERE id = 1) TO STDOUT']);
    assert.equal(shown.code, 0, shown.out);
    assert.match(shown.out, /^200\n1\t/);
    assert.doesNotMatch(shown.out, CANARY);
    assert.match((await psql(['-c', 'SELECT nothing FROM nowhere'])).out, /does not exist/);
    const slow = await psql(['-c', "SET statement_timeout = '10s'", '-c', 'SELECT pg_sleep(0.2)']);
    assert.equal(slow.code, 0, slow.out);
    const client = await terminal();
    const waiting = client.query('SELECT pg_sleep(120)').catch((cause: Error) => cause.message);
    const direct = await database.direct();
    await soon(async () =>
      assert.equal((await direct.query("SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(120)' AND wait_event = 'PgSleep'")).rowCount, 1),
    );
    await direct.end();
    const other = await terminal();
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const { environment: env } = await access();
    const { connect } = await import('node:net');
    const socket = connect(Number(env.PGPORT), '127.0.0.1').on('error', () => undefined);
    const request = Buffer.alloc(16);
    request.writeInt32BE(16, 0);
    request.writeInt32BE(80_877_102, 4);
    request.writeInt32BE(processID, 8);
    request.writeInt32BE(secretKey, 12);
    socket.write(request);
    assert.match(JSON.stringify(await waiting), /canceling statement|cancel/i);
    await other.end();
  });

  it('is reached by our own MCP tools, and MCP servers of the gateway at their paths', async () => {
    await signedIn();
    const { mcp } = await access();
    const connected = async (name: string): Promise<Client> => {
      const entry = mcp.find((one) => one.name === name);
      assert.ok(entry, `${name} is offered`);
      const client = new Client({ name: 'claude-code', version: '1' });
      await client.connect(new StreamableHTTPClientTransport(new URL(entry.url), { requestInit: { headers: entry.headers } }));
      return client;
    };
    const own = await connected('countersign');
    const read = await own.callTool({ name: 'query', arguments: { connection: 'shop', sql: 'SELECT email FROM customers WHERE id = 1' } });
    assert.ok(!read.isError, JSON.stringify(read));
    assert.doesNotMatch(JSON.stringify(read), CANARY);
    await own.close();

    const rude = await connected('rude');
    const { tools } = await rude.listTools();
    assert.deepEqual(
      tools.map(({ name }) => name),
      ['do'],
    );
    await rude.close();
    const sessions = await gateway.db.query<{ connection: string; person: string }>("SELECT connection, person FROM sessions WHERE person = 'per_ada'");
    assert.ok(sessions.some(({ connection }) => connection === 'rude'));
  });

  it('is reached by “countersign connect” and its name: a program, an address, MCP on standard input and output', { skip: NO_PSQL }, async () => {
    await signedIn();
    const { environment } = await access();
    const countersign = (args: readonly string[], input = ''): Promise<{ out: string; code: number }> =>
      new Promise((resolve) => {
        const main = join(import.meta.dirname, '../../../cli/main.ts');
        const child = execFile(
          process.execPath,
          ['--disable-warning=ExperimentalWarning', main, 'connect', ...args],
          { env: { ...process.env, ...environment } },
          (error, stdout, stderr) => resolve({ out: stdout + stderr, code: typeof error?.code === 'number' ? error.code : 0 }),
        );
        child.stdin?.end(input);
      });
    assert.deepEqual(await countersign(['shop', '--', 'psql', '-XAtc', 'SELECT count(*) FROM orders']), { out: '200\n', code: 0 });
    assert.match((await countersign(['shop', '--url'])).out, /^postgres:\/\/terminal\./);
    const hello = {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'x', version: '1' } },
    };
    assert.match((await countersign(['rude'], `${JSON.stringify(hello)}\n`)).out, /"serverInfo"/);
  });

  it('says why it does not work: signed out, not offered, the gateway gone', async () => {
    const { at } = await home.start();
    window = await home.attach(at);
    writeFileSync(join(home.path, 'countersign.yaml'), policy());
    const shown = await window.until(({ connections }) => connections.some(({ name, state }) => name === 'shop' && state === 'failed'));
    assert.match(shown.connections[0]?.problem ?? '', /signed in to none/);
    await assert.rejects(terminal(), /signed in to none/);

    await window.request(METHODS.putGateway, { url: gateway.url, token: gateway.token('bob', { connections: [] }) });
    await window.until(({ connections }) => /does not offer you shop/.test(connections[0]?.problem ?? ''));
    await assert.rejects(terminal(), /does not offer you shop/);

    await window.request(METHODS.putGateway, { url: gateway.url, token: gateway.token('ada') });
    // The same gateway, another person: their token lasts no longer, so it must be handed over as a sign-out first.
    await window.request(METHODS.putGateway, null);
    await window.request(METHODS.putGateway, { url: gateway.url, token: gateway.token('ada') });
    await window.until(({ connections }) => connections[0]?.state === 'ready');
    const client = await terminal();
    const died = new Promise<Error>((resolve) => client.once('error', resolve));
    await client.query('SELECT 1');
    await gateway.path.stop('This gateway is being updated.', 0);
    assert.match((await died).message, /being updated/);
    await window.until(({ connections }) => connections[0]?.state === 'failed');
    await assert.rejects(terminal(), /being updated|cannot be reached/);
  });

  it('does not say where a database is that cannot be reached', async () => {
    await gateway.stop();
    const port = await freePort();
    gateway = await begin({ policy: policy().replaceAll(`127.0.0.1:${database.port}/`, `127.0.0.1:${port}/`) });
    const { at } = await home.start();
    window = await home.attach(at);
    await window.request(METHODS.putGateway, { url: gateway.url, token: gateway.token('ada') });
    await window.until(({ connections }) => connections.some(({ name, state }) => name === 'shop' && state === 'failed'));
    await assert.rejects(terminal(), (cause: Error) => {
      assert.match(cause.message, /cannot reach shop/);
      return !cause.message.includes(String(port));
    });
    assert.ok(gateway.logged.join('\n').includes(String(port)), 'who runs the gateway reads where');
  });

  it('ends with its sign-in: at once where that is revoked', async () => {
    await signedIn();
    const client = await terminal();
    await client.query('SELECT 1');
    const died = new Promise<Error>((resolve) => client.once('error', resolve));
    assert.equal(gateway.path.cut('log_ada', 'An administrator ended your sign-in. Sign in again.'), 1);
    assert.match((await died).message, /administrator ended your sign-in/);
    await window.until(({ gateway: view }) => view?.state === 'signed-out');
    await assert.rejects(terminal(), /administrator ended your sign-in/);
    const open = (): Promise<unknown[]> => gateway.db.query('SELECT 1 FROM sessions WHERE closed_at IS NULL AND owner = $1', [gateway.replica.id]);
    await soon(async () => assert.deepEqual(await open(), []));
  });

  it('outlives a network that was cut for a moment', async () => {
    const net = await network(gateway.port);
    await signedIn(`http://127.0.0.1:${net.port}`);
    const client = await terminal();
    await client.query('CREATE TEMP TABLE kept (n int)').catch(() => undefined);
    const pid = (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    for (let i = 0; i < 3; i++) {
      const answer = client.query(`SELECT pg_sleep(0.1), pg_backend_pid() AS pid, repeat('x', 100000) AS big`);
      await sleep(50);
      net.cut();
      assert.equal((await answer).rows[0].pid, pid);
    }
    await net.stop();
  });

  it('keeps its secret from the laptop: files, log, records, snapshots, errors', async () => {
    await signedIn();
    const client = await terminal();
    await client.query('SELECT count(*) FROM orders');
    await assert.rejects(client.query('SELECT nothing'));
    gateway.setPolicy(policy().replace('secret:shop', 'secret:gone'));
    const failed = await window.until(({ connections }) => connections.some(({ name, state }) => name === 'shop' && state === 'failed'));
    const doctor = await window.request(METHODS.doctor);
    const seen = [laptop(), JSON.stringify(failed), JSON.stringify(doctor), JSON.stringify(await access())].join('\n');
    for (const secret of [PASSWORD, MCP_TOKEN]) assert.ok(!seen.includes(secret), `${secret} is on the laptop`);
    // Nor where the database is.
    // Behind a host: a process's number or a moment may begin with the same digits.
    assert.doesNotMatch(seen, new RegExp(`[\\w.\\]]:${database.port}\\b`), 'the address of the database is on the laptop');
    const stored =
      JSON.stringify(await gateway.db.query('SELECT line FROM entries')) +
      JSON.stringify(await gateway.db.query('SELECT line FROM audit')) +
      gateway.logged.join('\n');
    for (const secret of [PASSWORD, MCP_TOKEN]) assert.ok(!stored.includes(secret), `${secret} is in the store or the log`);
  });
});

describe('a gateway whose store is away', () => {
  it('ends what is open, refuses what comes with a sentence, and recovers by itself', async () => {
    await gateway.stop();
    const url = new URL(store);
    const net = await network(Number(url.port));
    url.port = String(net.port);
    gateway = await begin({ store: url.href, patienceMs: 500 });
    await signedIn();
    const client = await terminal();
    const died = new Promise<Error>((resolve) => client.once('error', resolve));
    net.cut(true);
    await assert
      .rejects(client.query("UPDATE orders SET status = 'x' WHERE id = 1"), /store is out of reach|cannot write its record|ended/)
      .catch(() => undefined);
    assert.match((await died).message, /store is out of reach|ended this session|terminat/i);
    await assert.rejects(terminal(), /store is out of reach|lost its place/);
    net.mend();
    const again = await soon(terminal);
    assert.equal((await again.query('SELECT 1 AS one')).rows[0].one, 1);
    await net.stop();
  });
});
