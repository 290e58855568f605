/**
 * Two ways to one and the same database: straight to it, and through a real proxied connection whose policy allows
 * everything and names nothing sensitive. Each way has a server of its own that starts out the same, down to the OIDs
 * that it gives out next, so that whatever a client sees by one way it must see by the other.
 */
import { execFile } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { Client } from 'pg';
import { freePort } from '../../demo/freePort.ts';
import { type RunningPostgres, SUPERUSER } from '../../demo/postgres.ts';
import { ALLOW_ALL, type Proxied, proxied } from '../proxy/protocols/postgres/proxied.ts';
import { startCluster } from '../support/cluster.ts';
import { LOGIN } from '../support/engine.ts';
import { PASSWORD, type TestDatabase } from '../support/postgres.ts';
import { removeFolder } from './removeFolder.ts';

const DATABASE = 'peers';
/** Longest that one client may run, in milliseconds. */
const CLIENT_TIMEOUT_MS = 400_000;
/** Most that a client may print, in bytes. */
const MAX_OUTPUT_BYTES = 64 << 20;

export interface Way {
  readonly name: 'direct' | 'proxied';
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export interface Ways {
  readonly direct: Way;
  readonly proxied: Way;
  readonly proxy: Proxied;
  /** Runs it by each way, one after the other: what runs at once would disturb each other's timing. */
  each<T>(work: (way: Way) => Promise<T>): Promise<{ readonly direct: T; readonly proxied: T }>;
}

async function server(setup: string): Promise<TestDatabase> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-peer-'));
  const settings = ['fsync=off', 'max_connections=100', 'shared_buffers=32MB', 'autovacuum=off', 'max_prepared_transactions=10'];
  const running: RunningPostgres = await startCluster({ folder, port: await freePort(), password: PASSWORD, settings });
  after(async () => {
    await running.stop('immediate');
    removeFolder(folder);
  });
  const connect = async (database: string): Promise<Client> => {
    const client = new Client({ host: '127.0.0.1', port: running.port, database, user: SUPERUSER, password: PASSWORD });
    client.on('error', () => {});
    await client.connect();
    return client;
  };
  const admin = await connect('postgres');
  await admin.query(`CREATE DATABASE ${DATABASE}`);
  await admin.end();
  if (setup !== '') {
    const client = await connect(DATABASE);
    await client.query(setup);
    await client.end();
  }
  return { host: '127.0.0.1', port: running.port, database: DATABASE, server: running, direct: () => connect(DATABASE) };
}

/** @param setup SQL that fills both databases */
export async function twoWays(setup = '', rules = ALLOW_ALL): Promise<Ways> {
  const [near, far] = await Promise.all([server(setup), server(setup)]);
  const proxy = await proxied(rules, { database: far, sensitive: {} });
  after(() => proxy.stop());
  const direct: Way = { name: 'direct', host: near.host, port: near.port, user: SUPERUSER, password: PASSWORD, database: DATABASE };
  const through: Way = { name: 'proxied', host: '127.0.0.1', port: proxy.port, user: LOGIN.user, password: LOGIN.password, database: DATABASE };
  return {
    direct,
    proxied: through,
    proxy,
    each: async (work) => ({ direct: await work(direct), proxied: await work(through) }),
  };
}

/** What libpq and most drivers read. */
function environmentOf(way: Way): NodeJS.ProcessEnv {
  return {
    ...process.env,
    PGHOST: way.host,
    PGPORT: String(way.port),
    PGUSER: way.user,
    PGPASSWORD: way.password,
    PGDATABASE: way.database,
    PGCONNECT_TIMEOUT: '20',
    LC_ALL: 'C.UTF-8',
    TZ: 'UTC',
  };
}

export interface Printed {
  readonly code: number | string;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** Runs a client's program. Never rejects: a failure is a result like any other. */
export function runClient(way: Way, program: string, args: readonly string[], { cwd, env, input = '' }: RunOptions = {}): Promise<Printed> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      { env: { ...environmentOf(way), ...env }, timeout: CLIENT_TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES, ...(cwd !== undefined && { cwd }) },
      (error, out, err) => resolve({ code: error ? (error.code ?? error.signal ?? error.message) : 0, out, err }),
    );
    child.stdin?.on('error', () => {}).end(input);
  });
}
