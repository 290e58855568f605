/** What a PostgreSQL benchmark is played on: one server, and three ways to it: straight, through PgBouncer, through the proxy. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { freePort } from '../demo/freePort.ts';
import { SUPERUSER, startPostgres } from '../demo/postgres.ts';
import { startPgBouncer } from './pgbouncer.ts';
import { startProxy } from './proxy.ts';

const DATABASE = 'bench';
/** Rows of the table `people`, from 1 on. */
export const PEOPLE = 500_000;
/** Three columns of five are masked: the policy below says how. */
const PEOPLE_TABLE = `
CREATE TABLE people (id int PRIMARY KEY, city text NOT NULL, email text NOT NULL, ssn text NOT NULL, card text NOT NULL);
INSERT INTO people SELECT i, (ARRAY['Utrecht', 'Turin', 'Tartu', 'Toledo', 'Tromsø'])[1 + i % 5], 'person' || i || '@mail.example',
  lpad((1 + i % 898)::text, 3, '0') || '-' || lpad((1 + i % 98)::text, 2, '0') || '-' || lpad((1 + i % 9998)::text, 4, '0'), '4' || lpad((i::bigint * 7919 % 1000000000000000)::text, 15, '0')
  FROM generate_series(1, ${PEOPLE}) i;
VACUUM (ANALYZE, FREEZE) people;
`;

const policy = (port: number): string => `
version: 1
defaults: { read: allow, write: ask, unknown: ask }
connections:
  shop:
    protocol: postgres
    upstream: postgres://${SUPERUSER}@127.0.0.1:${port}/${DATABASE}
    password: env:BENCH_PASSWORD
    sensitive: { people.email: partial, people.ssn: redact, people.card: token }
rules:
  - { id: no-salaries, match: { target: [salaries, 'hr.*'] }, verdict: deny, say: Salaries are not for agents. }
  - { id: no-mass-change, match: { effect: [delete, write], bulk: true }, verdict: deny, say: Changing every row is a migration. Write one. }
  - { id: schema-is-reviewed, match: { effect: [schema, admin] }, verdict: ask, say: Schema changes go through a migration. }
  - { id: orders, match: { connection: shop, effect: write, target: orders }, verdict: ask, expires: 10m }
  - { id: bulk-reads-of-people, match: { effect: read, target: [payroll, patients] }, verdict: ask }
  - { id: after-reading-people, when: 'op.effect == "send" && conversation.read.exists(t, t.sensitive)', verdict: ask }
`;

/** One way to the database. */
export interface Way {
  readonly name: 'direct' | 'pgbouncer' | 'proxy';
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** The process in between; undefined where there is none. */
  readonly pid: number | undefined;
}

export interface Stage {
  readonly direct: Way;
  readonly proxy: Way;
  /** Undefined where the machine has no PgBouncer. */
  readonly pgbouncer: Way | undefined;
  stop(): Promise<void>;
}

export async function setStage(): Promise<Stage> {
  const stops: (() => unknown)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.reverse()) await one();
  };
  try {
    const password = randomBytes(12).toString('hex');
    const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
    stops.push(() => rmSync(folder, { recursive: true, force: true }));
    const settings = ['fsync=off', 'max_connections=400', 'shared_buffers=256MB', 'max_wal_size=4GB', 'autovacuum=off'];
    const server = await startPostgres({ folder, port: await freePort(), password, settings });
    stops.push(() => server.stop());
    await fill(server.port, password);
    const direct: Way = { name: 'direct', port: server.port, user: SUPERUSER, password, database: DATABASE, pid: undefined };

    const bouncer = await startPgBouncer({ port: server.port, database: DATABASE, user: SUPERUSER, password }, await freePort());
    if (bouncer) stops.push(() => bouncer.stop());
    return {
      direct,
      pgbouncer: bouncer && { ...direct, name: 'pgbouncer', port: bouncer.port, pid: bouncer.pid },
      proxy: await throughProxy(server.port, password, stops),
      stop,
    };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

async function fill(port: number, password: string): Promise<void> {
  const login = { host: '127.0.0.1', port, user: SUPERUSER, password };
  const admin = new Client({ ...login, database: 'postgres' });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${DATABASE}`);
  await admin.end();
  const client = new Client({ ...login, database: DATABASE });
  await client.connect();
  for (const statement of PEOPLE_TABLE.split(';\n')) if (statement.trim() !== '') await client.query(statement);
  await client.end();
}

async function throughProxy(upstream: number, password: string, stops: (() => unknown)[]): Promise<Way> {
  const { access, pid } = await startProxy({ policy: policy(upstream), env: { BENCH_PASSWORD: password } }, stops);
  const { PGDATABASE = '', PGPASSWORD = '', PGPORT = '', PGUSER = '' } = access.environment;
  return { name: 'proxy', port: Number(PGPORT), user: PGUSER, password: PGPASSWORD, database: PGDATABASE, pid };
}
