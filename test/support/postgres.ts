/** One real PostgreSQL a test process, in a temporary folder; a database of its own for each test file. */
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { Client } from 'pg';
import { freePort } from '../../demo/freePort.ts';
import { type RunningPostgres, SUPERUSER } from '../../demo/postgres.ts';
import { startCluster } from './cluster.ts';

export { SUPERUSER } from '../../demo/postgres.ts';
export const PASSWORD = 'upstream-password-of-the-tests';

export interface TestDatabase {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly server: RunningPostgres;
  /** Straight to the database, past everything of ours. */
  direct(): Promise<Client>;
}

let running: Promise<RunningPostgres> | undefined;
let databases = 0;

// At the top of the file, so that it belongs to the test file and not to the hook that asks for a database.
after(async () => {
  if (running) await (await running).stop('immediate');
});

async function start(): Promise<RunningPostgres> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-pg-'));
  const server = await startCluster({
    folder,
    port: await freePort(),
    password: PASSWORD,
    settings: ['fsync=off', 'max_connections=300', 'log_min_messages=log', 'shared_buffers=32MB'],
  });
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return server;
}

async function connect(port: number, database: string): Promise<Client> {
  const client = new Client({ host: '127.0.0.1', port, database, user: SUPERUSER, password: PASSWORD });
  client.on('error', () => {});
  await client.connect();
  return client;
}

/** @param setup SQL that fills it. The server is stopped after the file's tests. */
export async function testDatabase(setup = ''): Promise<TestDatabase> {
  running ??= start();
  const server = await running;
  const database = `test_${process.pid}_${++databases}`;
  const admin = await connect(server.port, 'postgres');
  await admin.query(`CREATE DATABASE ${database} TEMPLATE template0 ENCODING 'UTF8'`);
  await admin.end();
  if (setup !== '') {
    const client = await connect(server.port, database);
    await client.query(setup);
    await client.end();
  }
  return { host: '127.0.0.1', port: server.port, database, server, direct: () => connect(server.port, database) };
}

/** A little of a shop; every sensitive value is a canary that no test may ever see behind the proxy. */
export const SHOP = `
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE NOT NULL, ssn text NOT NULL, card text, notes text, meta jsonb);
CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers, status text NOT NULL DEFAULT 'new', total numeric(10,2) NOT NULL DEFAULT 0);
INSERT INTO customers SELECT i, 'Name ' || i, 'canary' || i || '@secret.example', '9' || lpad(i::text, 2, '0') || '-55-' || lpad(i::text, 4, '0'), '411111111111' || lpad(i::text, 4, '0'), 'likes tea', jsonb_build_object('n', i) FROM generate_series(1, 50) i;
INSERT INTO orders (customer, status, total) SELECT 1 + i % 50, 'paid', i FROM generate_series(1, 200) i;
CREATE VIEW people AS SELECT id, name, email AS contact FROM customers;
`;
export const SENSITIVE = { 'customers.email': 'partial', 'customers.ssn': 'redact', 'customers.card': 'token' } as const;
/** Matches every canary of `SHOP`. */
export const CANARY = /canary\d+@secret|\b9\d\d-55-\d{4}|411111111111\d{4}/;
