/** A real proxy before a real shop, with a window whose person answers, and every kind of client that an agent has. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client as McpClient, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as DatabaseClient } from 'pg';
import type { PendingApproval } from '../../contract/approval.ts';
import { METHODS, type OperationDetail, type OperationPage, type OperationSummary, type SurfaceAccess, type VerifyReport } from '../../contract/control.ts';
import type { ProxyFile } from '../../contract/daemon.ts';
import { Entry } from '../../contract/recording.ts';
import type { ControlClient } from '../../proxy/control/client.ts';
import { Home, MAIN, type Running } from '../proxy/daemon/daemonProcess.ts';
import { until } from '../support/soon.ts';
import { type Shop, UPSTREAM } from './shop.ts';

export const SENSITIVE = { 'customers.email': 'partial', 'customers.ssn': 'redact', 'customers.card': 'token' } as const;

export function policyFor(shop: Shop, more = '', sensitive: Readonly<Record<string, string>> = SENSITIVE): string {
  return [
    'version: 1',
    'connections:',
    '  shop:',
    '    protocol: postgres',
    `    upstream: postgres://${UPSTREAM.user}@127.0.0.1:${shop.port}/${shop.database}`,
    '    password: secret:shop',
    `    sensitive: { ${Object.entries(sensitive)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }`,
    more,
    '',
  ].join('\n');
}

export const HAS_PSQL = spawnSync('psql', ['--version']).status === 0;

/** What a client's work came to: its error's text, or `done`. */
export function settled(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'done',
    (error: unknown) => (error instanceof Error ? error.message : String(error)),
  );
}

export class Stage {
  readonly shop: Shop;
  readonly home: Home;
  readonly #clients = new Set<{ destroy(): void }>();
  #proxy: (Running & { readonly at: ProxyFile }) | undefined;
  #person: ControlClient | undefined;
  /** What was recorded until then is another test's, in epoch milliseconds. */
  #since = 0;

  constructor(shop: Shop, options: { readonly policy?: string; readonly env?: Record<string, string> } = {}) {
    this.shop = shop;
    this.home = new Home(options.env);
    this.writePolicy(options.policy ?? policyFor(shop));
  }

  static async open(shop: Shop, options: ConstructorParameters<typeof Stage>[1] = {}): Promise<Stage> {
    const stage = new Stage(shop, options);
    await stage.start();
    return stage;
  }

  get policyFile(): string {
    return join(this.home.path, 'countersign.yaml');
  }

  /** Whole or not at all, as editors do: nobody reads it between two writes. */
  writePolicy(text: string): void {
    writeFileSync(`${this.policyFile}.new`, text);
    renameSync(`${this.policyFile}.new`, this.policyFile);
  }

  get proxy(): Running & { readonly at: ProxyFile } {
    if (!this.#proxy) throw new Error('the proxy was not started');
    return this.#proxy;
  }

  get person(): ControlClient {
    if (!this.#person) throw new Error('no window is attached');
    return this.#person;
  }

  /** Starts the proxy, attaches as a window does, hands over the database's password, and waits until it serves. */
  async start(): Promise<void> {
    this.#proxy = await this.home.start();
    await this.attach();
    await this.ready();
  }

  /** Goes on with a proxy and a window that the test has started itself. */
  adopt(proxy: Running & { readonly at: ProxyFile }, person: ControlClient): void {
    this.#proxy = proxy;
    this.#person = person;
  }

  async attach(window = 'window'): Promise<ControlClient> {
    this.#person = await this.home.attach(this.proxy.at, window);
    await this.#person.until(() => true);
    return this.#person;
  }

  async ready(): Promise<void> {
    await this.person.request(METHODS.putSecret, { name: 'shop', value: UPSTREAM.password });
    await this.person.until(({ connections }) => connections.some(({ name, state }) => name === 'shop' && state === 'ready'));
  }

  /** As the system does it to a process that it wants gone: no handler runs. */
  async kill(): Promise<void> {
    this.proxy.child.kill('SIGKILL');
    await this.proxy.exit;
  }

  async leave(): Promise<void> {
    this.proxy.child.kill('SIGTERM');
    await this.proxy.exit;
  }

  async access(): Promise<SurfaceAccess> {
    return (await this.person.request(METHODS.access)) as SurfaceAccess;
  }

  async environment(): Promise<Record<string, string>> {
    return (await this.access()).environment;
  }

  /** A client as a terminal's variables make it. */
  async terminal(environment?: Record<string, string>): Promise<DatabaseClient> {
    const env = environment ?? (await this.environment());
    const client = new DatabaseClient({ host: env.PGHOST, port: Number(env.PGPORT), database: env.PGDATABASE, user: env.PGUSER, password: env.PGPASSWORD });
    client.on('error', () => undefined);
    this.#clients.add({ destroy: () => socketOf(client).destroy() });
    await client.connect();
    return client;
  }

  /** psql as a person or an agent starts it in a terminal of the editor. */
  async psql(...args: string[]): Promise<{ readonly child: ChildProcess; readonly done: Promise<{ code: number | null; stdout: string; stderr: string }> }> {
    const child = spawn('psql', ['-X', '-v', 'ON_ERROR_STOP=1', ...args], {
      env: { ...process.env, ...(await this.environment()) },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#clients.add({ destroy: () => void child.kill('SIGKILL') });
    child.stdin.on('error', () => undefined);
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    return { child, done: new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr }))) };
  }

  async mcp(name = 'test-agent'): Promise<McpClient> {
    const [endpoint] = (await this.access()).mcp;
    if (!endpoint) throw new Error('no MCP endpoint is offered');
    const client = new McpClient({ name, version: '1' });
    await client.connect(new StreamableHTTPClientTransport(new URL(endpoint.url), { requestInit: { headers: endpoint.headers } }));
    this.#clients.add({ destroy: () => void client.close().catch(() => undefined) });
    return client;
  }

  /** An agent that only speaks stdio, through the bridge that our command line is for it. */
  async stdio(): Promise<McpClient> {
    const env = Object.fromEntries(
      Object.entries({ ...process.env, ...(await this.environment()) }).filter((entry): entry is [string, string] => entry[1] !== undefined),
    );
    const client = new McpClient({ name: 'stdio-agent', version: '1' });
    await client.connect(
      new StdioClientTransport({ command: process.execPath, args: ['--disable-warning=ExperimentalWarning', MAIN, 'mcp', 'countersign'], env }),
    );
    this.#clients.add({ destroy: () => void client.close().catch(() => undefined) });
    return client;
  }

  /** Resolves when that many questions wait for the person. */
  async asked(count = 1): Promise<PendingApproval[]> {
    return (await this.person.until(({ pending }) => pending.length >= count)).pending;
  }

  async unasked(): Promise<void> {
    await this.person.until(({ pending }) => pending.length === 0);
  }

  async approve({ id, digest }: PendingApproval): Promise<unknown> {
    return this.person.request(METHODS.answer, { answer: 'approve', id, digest, scope: { what: 'exact', howLong: 'once' } });
  }

  async deny({ id, digest }: PendingApproval, note?: string): Promise<unknown> {
    return this.person.request(METHODS.answer, { answer: 'deny', id, digest, ...(note !== undefined && { note }) });
  }

  async operations(filter = ''): Promise<OperationSummary[]> {
    return ((await this.person.request(METHODS.operations, { filter, limit: 500 })) as OperationPage).operations;
  }

  async detail(operation: string): Promise<OperationDetail | null> {
    return (await this.person.request(METHODS.operation, { operation })) as OperationDetail | null;
  }

  /** The operations that the test likes, once there are as many as it wants: the index follows the files by a moment. */
  async recorded(test: (operation: OperationSummary) => boolean, count = 1): Promise<OperationSummary[]> {
    let found: OperationSummary[] = [];
    await until('the operations in the record', async () => {
      found = (await this.operations()).filter((operation) => operation.at > this.#since && test(operation));
      return found.length >= count;
    });
    return found;
  }

  async verify(): Promise<VerifyReport> {
    return (await this.person.request(METHODS.verify)) as VerifyReport;
  }

  /** Every file under the proxy's folder. */
  files(): string[] {
    return readdirSync(this.home.path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name));
  }

  /** What each session's file says, in order, as it lies on the disk. */
  sessions(): Entry[][] {
    return this.files()
      .filter((file) => file.includes('sessions') && file.endsWith('.jsonl'))
      .map((file) =>
        readFileSync(file, 'utf8')
          .split('\n')
          .slice(0, -1)
          .map((line) => Entry.parse(JSON.parse(line))),
      );
  }

  /** For the next test on the same proxy: nobody is connected any more, and `recorded` tells of nothing that was before. */
  fresh(): void {
    this.#hangUp();
    this.#since = Date.now();
  }

  #hangUp(): void {
    for (const client of this.#clients) client.destroy();
    this.#clients.clear();
  }

  async close(): Promise<void> {
    this.#hangUp();
    await this.home.remove();
  }
}

/** The socket under a `pg` client, for tests that stop reading it or tear it down. */
export function socketOf(client: DatabaseClient): import('node:net').Socket {
  return (client as unknown as { connection: { stream: import('node:net').Socket } }).connection.stream;
}

/** More than any buffer on the way takes in: whoever asks for it and does not read holds the statement where it is. */
export const ENDLESS = "SELECT i, repeat('row ', 250) FROM generate_series(1, 400000) AS i";

/** Begins to read a result that is never read to its end; resolves when rows have come. */
export async function midResult(client: DatabaseClient): Promise<{ readonly outcome: Promise<string> }> {
  const socket = socketOf(client);
  const outcome = settled(client.query(ENDLESS));
  let bytes = 0;
  await new Promise<void>((resolve) => {
    const count = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes < 100_000) return;
      socket.off('data', count).pause();
      resolve();
    };
    socket.on('data', count);
  });
  return { outcome };
}
