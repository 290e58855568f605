import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as DatabaseClient } from 'pg';
import type { PendingApproval } from '../../../contract/approval.ts';
import {
  type ConnectionOutput,
  type DoctorCheck,
  METHODS,
  type OperationPage,
  type OperationSummary,
  RuleProposal,
  type SurfaceAccess,
  type VerifyReport,
} from '../../../contract/control.ts';
import { freePort } from '../../../demo/freePort.ts';
import type { ControlClient } from '../../../proxy/control/client.ts';
import { carry } from '../../../proxy/http/stdioBridge.ts';
import { CANARY, PASSWORD, SENSITIVE, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { until } from '../../support/soon.ts';
import { Home, MAIN, type Running } from './daemonProcess.ts';
import { listeners } from './listeners.ts';

const REFUND = "UPDATE orders SET status = 'refunded' WHERE id = 7";

const database: TestDatabase = await testDatabase(SHOP);
let home: Home;
let proxy: Running;
let person: ControlClient;
const clients: DatabaseClient[] = [];

beforeEach(async () => {
  home = new Home();
  writeFileSync(join(home.path, 'countersign.yaml'), policy());
  await begin();
});

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => undefined)));
  await home.remove();
});

function policy(rules = ''): string {
  const sensitive = Object.entries(SENSITIVE).map(([column, mask]) => `${column}: ${mask}`);
  return [
    'version: 1',
    'connections:',
    '  shop:',
    '    protocol: postgres',
    `    upstream: postgres://${SUPERUSER}@127.0.0.1:${database.port}/${database.database}`,
    '    password: secret:shop',
    `    sensitive: { ${sensitive.join(', ')} }`,
    rules,
  ].join('\n');
}

/** Starts the proxy, attaches as a window does, and hands over the database's password. */
async function begin(): Promise<void> {
  const started = await home.start();
  proxy = started;
  person = await home.attach(started.at);
  await person.until(({ connections }) => connections[0]?.state === 'needs-secret');
  await person.request(METHODS.putSecret, { name: 'shop', value: PASSWORD });
  await person.until(({ connections }) => connections[0]?.state === 'ready');
}

async function access(): Promise<SurfaceAccess> {
  return (await person.request(METHODS.access)) as SurfaceAccess;
}

/** A client as a terminal's variables make it. */
async function terminal(change: Partial<Record<string, string>> = {}): Promise<DatabaseClient> {
  const env = { ...(await access()).environment, ...change };
  const client = new DatabaseClient({ host: env.PGHOST, port: Number(env.PGPORT), database: env.PGDATABASE, user: env.PGUSER, password: env.PGPASSWORD });
  client.on('error', () => undefined);
  clients.push(client);
  await client.connect();
  return client;
}

async function asked(): Promise<PendingApproval> {
  const { pending } = await person.until((state) => state.pending.length > 0);
  assert.ok(pending[0]);
  return pending[0];
}

function approve({ id, digest }: PendingApproval, howLong = 'once', what = 'exact'): Promise<unknown> {
  return person.request(METHODS.answer, { answer: 'approve', id, digest, scope: { what, howLong } });
}

/** The newest operation in the record that the test likes: the index follows the files by a moment. */
async function recorded(test: (operation: OperationSummary) => boolean): Promise<OperationSummary> {
  return until('the operation in the record', async () => ((await person.request(METHODS.operations)) as OperationPage).operations.find(test));
}

/** What stands in the database, read past the proxy. */
async function status(id: number): Promise<string> {
  const direct = await database.direct();
  const { rows } = await direct.query('SELECT status FROM orders WHERE id = $1', [id]);
  await direct.end();
  return (rows[0] as { status: string }).status;
}

/** The answer's own text, whether it resolved or not. */
function settled(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'done',
    (error: Error) => error.message,
  );
}

function everyFile(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

const OPTIONS = { timeout: 300_000 };

describe('an agent in a terminal', OPTIONS, () => {
  it('reads masked rows, and nothing that was masked is in any file of the proxy', async () => {
    const client = await terminal();
    const { rows } = await client.query('SELECT id, name, email, ssn, card FROM customers ORDER BY id LIMIT 3');
    assert.equal(rows.length, 3);
    assert.equal((rows[0] as { name: string }).name, 'Name 1');
    assert.doesNotMatch(JSON.stringify(rows), CANARY);
    assert.doesNotMatch(await settled(client.query('SELECT email::int FROM customers')), CANARY);
    await client.end();

    const read = await recorded((operation) => operation.headline.startsWith('SELECT') && operation.outcome === 'done');
    assert.equal(read.actor.agent.kind, 'terminal');
    assert.equal(read.masked, 9);
    proxy.child.kill('SIGTERM');
    assert.equal((await proxy.exit).code, 0);
    const files = everyFile(home.path);
    assert.ok(files.some((file) => file.endsWith('.jsonl') && statSync(file).size > 0));
    for (const file of files) {
      const text = readFileSync(file, 'latin1');
      assert.doesNotMatch(text, CANARY, file);
      assert.ok(!text.includes(PASSWORD) && !text.includes(home.secret), file);
    }
  });

  it('has a write run once a person approved it, and no sooner', async () => {
    const client = await terminal();
    const running = client.query(REFUND);
    const question = await asked();
    assert.equal(question.facts.headline, 'UPDATE orders');
    assert.equal(question.payload, REFUND);
    assert.equal(await status(7), 'paid');
    // A click on what is not on the screen does nothing.
    assert.deepEqual(await approve({ ...question, digest: '0'.repeat(64) }), { result: 'stale' });
    assert.deepEqual(await approve({ ...question, id: 'app_none' }), { result: 'unknown' });
    assert.equal(await status(7), 'paid');
    assert.deepEqual(await approve(question), { result: 'accepted' });
    assert.equal((await running).rowCount, 1);
    assert.equal(await status(7), 'refunded');
    assert.deepEqual(await approve(question), { result: 'already-decided' });
    // What a rule would have let through, by the record: nothing is changed by asking.
    const proposal = RuleProposal.nullable().parse(await person.request(METHODS.proposeRule, { operation: question.operation }));
    assert.ok(proposal?.helps, JSON.stringify(proposal));
    assert.match(proposal.rule, /statement: UPDATE/);
    assert.equal(proposal.history.latest.find(({ operation }) => operation === question.operation)?.became, 'approved');
    await (await database.direct()).query("UPDATE orders SET status = 'paid' WHERE id = 7");
  });

  it('gets a person’s note with a denial, on a connection that goes on', async () => {
    const client = await terminal();
    const running = settled(client.query(REFUND));
    const { id, digest } = await asked();
    assert.deepEqual(await person.request(METHODS.answer, { answer: 'deny', id, digest, note: 'Ask accounting first.' }), { result: 'accepted' });
    assert.match(await running, /Ask accounting first\./);
    assert.equal((await client.query('SELECT 1 AS one')).rows.length, 1);
    assert.equal(await status(7), 'paid');
  });

  it('is not let in with another password, another name or none', async () => {
    const { PGUSER = '', PGPASSWORD = '' } = (await access()).environment;
    const wrong = [
      { PGPASSWORD: PGPASSWORD.slice(1) },
      { PGPASSWORD: '' },
      { PGUSER: 'postgres' },
      { PGUSER: 'postgres', PGPASSWORD },
      { PGUSER: PGUSER.replace('terminal', 'mcp') },
    ];
    for (const change of wrong) await assert.rejects(terminal(change), JSON.stringify(Object.keys(change)));
  });

  it('is cut when the grant that let it through is ended', async () => {
    const client = await terminal();
    const ended = new Promise((resolve) => client.once('end', resolve));
    const running = client.query(REFUND);
    await approve(await asked(), 'session');
    await running;
    assert.equal((await client.query(REFUND)).rowCount, 1);
    const { grants } = await person.until((state) => state.grants.length === 1);
    assert.deepEqual(await person.request(METHODS.endGrant, { id: grants[0]?.id }), { ended: true });
    await ended;
    assert.equal((await person.until((state) => state.grants.length === 0)).grants.length, 0);
    await (await database.direct()).query("UPDATE orders SET status = 'paid' WHERE id = 7");
  });
});

describe('an agent with an MCP client', OPTIONS, () => {
  it('reads masked rows through our own server, with the token that the window was given', async () => {
    const [endpoint] = (await access()).mcp;
    assert.ok(endpoint);
    const client = new Client({ name: 'test-agent', version: '1' });
    await client.connect(new StreamableHTTPClientTransport(new URL(endpoint.url), { requestInit: { headers: endpoint.headers } }));
    const { tools } = await client.listTools();
    assert.ok(tools.some(({ name }) => name === 'query'));
    const result = await client.callTool({ name: 'query', arguments: { connection: 'shop', sql: 'SELECT * FROM customers LIMIT 2' } });
    assert.ok(!result.isError, JSON.stringify(result));
    assert.match(JSON.stringify(result), /Name 1/);
    assert.doesNotMatch(JSON.stringify(result), CANARY);
    await client.close();

    const other = await fetch(endpoint.url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' });
    assert.equal(other.status, 401);
  });
});

describe('an agent that only speaks stdio', OPTIONS, () => {
  it('reaches our own server through the bridge, as one session that ends with it', async () => {
    const { environment } = await access();
    const env = Object.fromEntries(Object.entries({ ...process.env, ...environment }).filter((entry): entry is [string, string] => entry[1] !== undefined));
    const client = new Client({ name: 'stdio-agent', version: '1' });
    await client.connect(
      new StdioClientTransport({ command: process.execPath, args: ['--disable-warning=ExperimentalWarning', MAIN, 'mcp', 'countersign'], env }),
    );
    const result = await client.callTool({ name: 'query', arguments: { connection: 'shop', sql: 'SELECT name, ssn FROM customers ORDER BY id LIMIT 2' } });
    assert.match(JSON.stringify(result), /Name 2/);
    assert.doesNotMatch(JSON.stringify(result), CANARY);
    const running = client.callTool({ name: 'execute', arguments: { connection: 'shop', sql: REFUND } });
    const { id, digest } = await asked();
    await person.request(METHODS.answer, { answer: 'deny', id, digest, note: 'Not from here.' });
    assert.match(JSON.stringify(await running), /Not from here\./);
    await client.close();
  });

  it('is told in its own protocol that there is no proxy, or not which server it means', async () => {
    const { environment } = await access();
    const token = environment.COUNTERSIGN_MCP_TOKEN ?? '';
    const endpoint = `http://127.0.0.1:${await freePort()}/mcp`;
    const output = new PassThrough();
    const input = Readable.from(['{"jsonrpc":"2.0","id":1,"method":"tools/list"}\n', 'nonsense\n', '{"jsonrpc":"2.0","method":"notifications/x"}\n']);
    await carry({ endpoint, token, input, output });
    const lines = String(output.read())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { id: number | null; error: { message: string } });
    assert.deepEqual(lines.map(({ id }) => id).sort(), [null, 1].sort());
    assert.match(lines.find(({ id }) => id === 1)?.error.message ?? '', /does not answer/);
    const unknown = new PassThrough();
    await carry({
      endpoint: `${environment.COUNTERSIGN_MCP_URL}/none`,
      token,
      input: Readable.from(['{"jsonrpc":"2.0","id":2,"method":"tools/list"}\n']),
      output: unknown,
    });
    assert.match(String(unknown.read()), /"id":2,"error".*404/);
  });
});

describe('a proxy that ends in the middle of an ask', OPTIONS, () => {
  it('denies what waits when it is told to leave: nothing runs, the client gets an error, the record is whole', async () => {
    const client = await terminal();
    const running = settled(client.query(REFUND));
    await asked();
    await person.request(METHODS.shutdown, { reason: 'replaced' });
    assert.match(await running, /shutting down|terminat/i);
    assert.equal((await proxy.exit).code, 0);
    assert.equal(await status(7), 'paid');
    await begin();
    const report = (await person.request(METHODS.verify)) as VerifyReport;
    assert.deepEqual([report.ok, report.problems], [true, []]);
    assert.equal((await recorded(({ headline }) => headline === 'UPDATE orders')).outcome, 'denied');
  });

  it('has executed nothing when it is killed, and the next start closes the record', async () => {
    const client = await terminal();
    const running = settled(client.query(REFUND));
    await asked();
    proxy.child.kill('SIGKILL');
    assert.match(await running, /terminated|closed|reset/i);
    await proxy.exit;
    assert.equal(await status(7), 'paid');
    await begin();
    const report = (await person.request(METHODS.verify)) as VerifyReport;
    assert.deepEqual([report.ok, report.problems], [true, []]);
    assert.equal((await recorded(({ headline }) => headline === 'UPDATE orders')).outcome, 'lost');
    // The same login works on the same port, and the question is asked anew.
    const again = await terminal();
    assert.equal((await again.query('SELECT 1 AS one')).rows.length, 1);
  });

  it('keeps a client that is connected from losing the proxy when the last window goes', async () => {
    await home.remove();
    // Long enough for the first window to attach on a busy machine, too: a proxy that nobody comes to leaves as well.
    const graceMs = 3_000;
    home = new Home({ COUNTERSIGN_GRACE_MS: String(graceMs) });
    writeFileSync(join(home.path, 'countersign.yaml'), policy());
    await begin();
    const client = await terminal();
    person.close();
    await new Promise((resolve) => setTimeout(resolve, graceMs + 500));
    assert.equal((await client.query('SELECT 1 AS one')).rows.length, 1);
    await client.end();
    assert.equal((await proxy.exit).code, 0);
  });
});

describe('the policy of a running proxy', OPTIONS, () => {
  const file = (): string => join(home.path, 'countersign.yaml');
  const rule = 'rules:\n  - id: no-orders\n    match: { effect: read, target: orders }\n    verdict: deny\n    say: Orders are closed today.\n';

  it('is followed when its file changes, and a broken one leaves the last good one in force and says so', async () => {
    const client = await terminal();
    await client.query('SELECT 1 FROM orders LIMIT 1');
    writeFileSync(`${file()}.new`, policy(rule));
    renameSync(`${file()}.new`, file());
    await person.until(({ policy: { rules } }) => rules > 0);
    assert.match(await settled(client.query('SELECT 1 FROM orders LIMIT 1')), /no-orders.*Orders are closed today/);
    writeFileSync(file(), `${policy(rule)}\nnonsense: [`);
    const { policy: view } = await person.until(({ policy: { problems } }) => problems.length > 0);
    assert.equal(view.problems[0]?.file, file());
    assert.match(await settled(client.query('SELECT 1 FROM orders LIMIT 1')), /no-orders/);
  });

  it('of a workspace tightens it while the window has that folder open', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-workspace-'));
    writeFileSync(join(folder, 'countersign.yaml'), `version: 1\n${rule}`);
    const client = await terminal();
    await person.request(METHODS.workspace, { folders: [{ path: folder, trusted: false }] });
    assert.match(await settled(client.query('SELECT 1 FROM orders LIMIT 1')), /no-orders/);
    await person.request(METHODS.workspace, { folders: [] });
    assert.equal(await settled(client.query('SELECT 1 FROM orders LIMIT 1')), 'done');
    rmSync(folder, { recursive: true });
  });

  it('ends sessions whose masks it changes', async () => {
    const client = await terminal();
    const ended = new Promise((resolve) => client.once('end', resolve));
    writeFileSync(file(), policy().replace('customers.email: partial', 'customers.email: redact'));
    await ended;
    await person.until(({ connections }) => connections[0]?.state === 'ready' && connections[0].sensitive['customers.email'] === 'redact');
    const { rows } = await (await terminal()).query('SELECT email FROM customers LIMIT 1');
    assert.match((rows[0] as { email: string }).email, /redacted/);
  });

  it('adds and removes connections, each at its own loopback port', async () => {
    const port = await freePort();
    const second = policy().replace(
      'connections:\n',
      `connections:\n  other:\n    protocol: postgres\n    upstream: postgres://127.0.0.1:1/x\n    port: ${port}\n`,
    );
    writeFileSync(file(), second);
    const { connections } = await person.until((state) => state.connections.some(({ name, state: is }) => name === 'other' && is === 'failed'));
    assert.ok(connections.find(({ name }) => name === 'other')?.problem);
    if (process.platform === 'linux') for (const { address } of listeners(proxy.child.pid ?? 0)) assert.equal(address, '127.0.0.1');
    const { checks } = (await person.request(METHODS.doctor)) as { checks: DoctorCheck[] };
    assert.deepEqual(
      checks.filter(({ id }) => id.startsWith('connection:')).map(({ id, state }) => [id, state]),
      [
        ['connection:other', 'failed'],
        ['connection:shop', 'ok'],
      ],
    );
    writeFileSync(file(), policy());
    await person.until((state) => state.connections.length === 1);
  });
});

describe('an MCP server that does not start', OPTIONS, () => {
  it('is shown so, with its last words, in the snapshot, the doctor and on demand', async () => {
    const code = "console.error('no licence for card 4111 1111 1111 1111'); process.exit(3)";
    writeFileSync(
      join(home.path, 'countersign.yaml'),
      policy().replace('connections:\n', `connections:\n  tool: { protocol: mcp, upstream: { command: ${JSON.stringify([process.execPath, '-e', code])} } }\n`),
    );
    await person.until((state) => state.connections.some(({ name }) => name === 'tool'));
    const { mcp } = await access();
    const at = mcp.find(({ name }) => name === 'tool');
    assert.ok(at);
    const client = new Client({ name: 'claude-code', version: '1' });
    await assert.rejects(client.connect(new StreamableHTTPClientTransport(new URL(at.url), { requestInit: { headers: at.headers } })), /exit code 3/);
    const { connections } = await person.until((state) => state.connections.some(({ name, state: is }) => name === 'tool' && is === 'failed'));
    const view = connections.find(({ name }) => name === 'tool');
    assert.match(view?.problem ?? '', /ended \(exit code 3\).* It wrote: no licence for card ‹.*›$/);
    assert.equal(view?.output, true);
    const { checks } = (await person.request(METHODS.doctor)) as { checks: DoctorCheck[] };
    const check = checks.find(({ id }) => id === 'connection:tool');
    assert.equal(check?.state, 'failed');
    assert.match(check.detail, /Its last lines:\n\[\d+\] no licence for card ‹.*›\n\[\d+\] ended \(exit code 3\)$/);
    const { lines } = (await person.request(METHODS.connectionOutput, { connection: 'tool' })) as ConnectionOutput;
    assert.deepEqual(
      lines.map(({ by }) => by),
      ['server', 'countersign'],
    );
    for (const said of [view, check, lines]) assert.doesNotMatch(JSON.stringify(said), /4111 1111|1111 1111/);
    assert.deepEqual(await person.request(METHODS.connectionOutput, { connection: 'nobody' }), { lines: [] });
  });
});

describe('a proxy that cannot record', OPTIONS, () => {
  it('serves nothing and says why', async () => {
    proxy.child.kill('SIGTERM');
    await proxy.exit;
    const recordings = join(home.path, 'recordings');
    renameSync(recordings, `${recordings}.away`);
    writeFileSync(recordings, 'in the way');
    const { at } = await home.start();
    person = await home.attach(at);
    const snapshot = await person.until(() => true);
    assert.match(snapshot.halted ?? '', /recordings/);
    assert.equal((await access()).environment.PGHOST, undefined);
    const { checks } = (await person.request(METHODS.doctor)) as { checks: DoctorCheck[] };
    assert.equal(checks.find(({ id }) => id === 'record')?.state, 'failed');
  });

  it('ends live sessions the moment its record cannot be written', {
    skip: process.platform === 'win32' ? 'an open folder cannot be moved' : false,
  }, async () => {
    const client = await terminal();
    const ended = new Promise((resolve) => client.once('end', resolve));
    renameSync(join(home.path, 'recordings'), join(home.path, 'away'));
    writeFileSync(join(home.path, 'recordings'), 'in the way');
    // A second session cannot be recorded, so there is none, and the first ends too.
    await assert.rejects(terminal());
    await ended;
    const { halted } = await person.until((state) => state.halted !== undefined);
    assert.match(halted ?? '', /recordings/);
    mkdirSync(join(home.path, 'kept'));
  });
});
