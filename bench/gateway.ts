/** What the gateway costs: a statement through proxy, tunnel and gateway beside a direct one and one through a local proxy; many sessions. */
import { type ChildProcess, fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client } from 'pg';
import { freePort } from '../demo/freePort.ts';
import { SUPERUSER, startPostgres } from '../demo/postgres.ts';
import { type Figure, median, quantile } from './figures.ts';
import { benchApprovals } from './gatewayApprovals.ts';
import { cpuMs, residentMb } from './processes.ts';
import { type ProxyOptions, startProxy } from './proxy.ts';
import type { Way } from './stage.ts';
import { timedLookups, WireClient } from './wire.ts';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const SESSIONS = 500;
/** Logins under way at once while sessions are opened. */
const OPENING = 10;
const ROWS = 200_000;

interface Stage {
  readonly direct: Way;
  readonly local: Way;
  readonly gateway: Way;
  readonly gatewayProcess: ChildProcess;
  /** An empty database, for the store of other gateways. */
  readonly approvals: string;
  stop(): Promise<void>;
}

export async function benchGateway(): Promise<Figure[]> {
  const only = process.argv[3];
  const figures: Figure[] = [];
  const stage = await setStage();
  try {
    // Sessions first: memory that large results have left behind would hide what a session takes.
    const parts: Readonly<Record<string, (stage: Stage) => Promise<Figure[]>>> = {
      sessions,
      lookups,
      rows,
      approvals: ({ approvals }) => benchApprovals(approvals),
    };
    for (const [name, part] of Object.entries(parts)) if (only === undefined || only === name) figures.push(...(await part(stage)));
    return figures;
  } finally {
    await stage.stop();
  }
}

async function lookups({ direct, gateway, local }: Stage): Promise<Figure[]> {
  const names = ['direct', 'local', 'gateway'] as const;
  const samples = await timedLookups({ direct, local, gateway }, ROUNDS, ROWS);
  const what = 'one connection, point SELECT';
  return [
    ...names.map((name) => ({ name: `${what}: ${name}, median`, value: median(samples[name]), unit: 'ms' })),
    ...names.map((name) => ({ name: `${what}: ${name}, p99`, value: quantile(samples[name], 0.99), unit: 'ms' })),
    { name: `${what}: added to direct by proxy, tunnel and gateway, median`, value: median(samples.gateway) - median(samples.direct), unit: 'ms', atMost: 1 },
    { name: `${what}: added to the local proxy by tunnel and gateway, median`, value: median(samples.gateway) - median(samples.local), unit: 'ms' },
  ];
}

async function rows({ direct, gateway, local }: Stage): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const way of [direct, local, gateway]) {
    const client = await WireClient.connect(way);
    const took: number[] = [];
    for (let i = 0; i <= 3; i++) {
      const from = performance.now();
      await client.query('SELECT id, city, email, ssn, card FROM people');
      if (i > 0) took.push(performance.now() - from);
    }
    await client.close();
    const name = way === direct ? 'direct' : way === local ? 'local' : 'gateway';
    figures.push({ name: `${ROWS} rows, 3 of 5 columns masked: ${name}`, value: median(took), unit: 'ms' });
  }
  return figures;
}

async function sessions({ gateway, gatewayProcess }: Stage): Promise<Figure[]> {
  const pid = gatewayProcess.pid ?? 0;
  // What the first sessions bring with them (code, catalogs) belongs to none.
  const warm = await Promise.all([1, 2, 3, 4].map(() => WireClient.connect(gateway)));
  for (const client of warm) await client.query('SELECT city FROM people WHERE id = 1');
  await collected(gatewayProcess);
  const before = residentMb(pid);
  const cpuBefore = cpuMs(pid);
  const from = performance.now();
  const open: WireClient[] = [];
  let left = SESSIONS - warm.length;
  await Promise.all(
    Array.from({ length: OPENING }, async () => {
      while (left-- > 0) {
        const client = await WireClient.connect(gateway);
        await client.query('SELECT city FROM people WHERE id = 1');
        open.push(client);
      }
    }),
  );
  const opened = performance.now() - from;
  const cpu = cpuMs(pid) - cpuBefore;
  const { sessions: live } = await collected(gatewayProcess);
  const each = ((residentMb(pid) - before) * 1024) / open.length;
  const all = [...warm, ...open];
  const took: number[] = [];
  const busy = performance.now();
  let answered = 0;
  await Promise.all(
    all.map(async (client, n) => {
      for (let i = 0; i < 20; i++) {
        const at = performance.now();
        await client.query(`SELECT city FROM people WHERE id = ${1 + ((n * 20 + i) % ROWS)}`);
        took.push(performance.now() - at);
        answered++;
      }
    }),
  );
  const rate = answered / ((performance.now() - busy) / 1000);
  await Promise.all(all.map((client) => client.close()));
  return [
    { name: 'sessions open at once on one gateway process', value: live, unit: '', atLeast: SESSIONS },
    { name: 'opening a session, beside nine others', value: (opened * OPENING) / open.length, unit: 'ms' },
    { name: 'opening a session: CPU of the gateway', value: cpu / open.length, unit: 'ms' },
    { name: 'memory of the gateway for an idle session', value: each, unit: 'KB', atMost: 200 },
    { name: `statements by ${SESSIONS} sessions at once`, value: rate, unit: '/s' },
    { name: `statements by ${SESSIONS} sessions at once, median`, value: median(took), unit: 'ms' },
  ];
}

/** After a garbage collection. */
function collected(child: ChildProcess): Promise<{ sessions: number }> {
  return new Promise((done) => {
    child.once('message', (message) => setTimeout(() => done(message as { sessions: number }), 200));
    child.send('collect');
  });
}

async function setStage(): Promise<Stage> {
  const stops: (() => unknown)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.reverse()) await one();
  };
  try {
    const password = randomBytes(12).toString('hex');
    const folder = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
    stops.push(() => rmSync(folder, { recursive: true, force: true }));
    const settings = ['fsync=off', `max_connections=${SESSIONS + 60}`, 'shared_buffers=128MB', 'max_wal_size=4GB', 'autovacuum=off'];
    const server = await startPostgres({ folder, port: await freePort(), password, settings });
    stops.push(() => server.stop());
    await fill(server.port, password);
    const direct: Way = { name: 'direct', port: server.port, user: SUPERUSER, password, database: 'bench', pid: undefined };
    const connection = (via: string, secret: string): string =>
      `{ protocol: postgres, via: ${via}, upstream: 'postgres://${SUPERUSER}@127.0.0.1:${server.port}/bench', password: ${secret}, sensitive: { people.email: partial, people.ssn: redact, people.card: token } }`;

    const child = fork(fileURLToPath(import.meta.resolve('./gatewayProcess.ts')), {
      execArgv: ['--disable-warning=ExperimentalWarning', '--expose-gc', ...(process.env.BENCH_NODE_FLAGS ?? '').split(' ').filter((flag) => flag !== '')],
      env: {
        ...process.env,
        BENCH_PASSWORD: password,
        BENCH_STORE: `postgres://${SUPERUSER}:${password}@127.0.0.1:${server.port}/store`,
        BENCH_POLICY: `version: 1\nconnections: { way: ${connection('gateway', 'secret:upstream')} }\n`,
      },
    });
    stops.push(() => child.disconnect());
    const at = await new Promise<{ url: string; token: object }>((done, failed) => {
      child.once('message', (message) => done(message as { url: string; token: object }));
      child.once('exit', (code) => failed(new Error(`the gateway did not start (${code})`)));
    });

    return {
      direct,
      // A proxy of its own: what is signed in to a gateway enforces the organisation's policy, too, and this gateway hands none over.
      local: await throughProxy(
        { policy: `version: 1\nconnections: { way: ${connection('local', 'env:BENCH_PASSWORD')} }\n`, env: { BENCH_PASSWORD: password } },
        stops,
      ),
      gateway: await throughProxy({ policy: 'version: 1\n', gateway: at }, stops),
      gatewayProcess: child,
      approvals: `postgres://${SUPERUSER}:${password}@127.0.0.1:${server.port}/approvals`,
      stop,
    };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

/** A proxy with the one connection `way`: its own, or that of the gateway that it is signed in to. */
async function throughProxy(options: ProxyOptions, stops: (() => unknown)[]): Promise<Way> {
  const { access, pid } = await startProxy(options, stops);
  const url = new URL(access.environment.COUNTERSIGN_DSN_WAY ?? '');
  return { name: 'proxy', port: Number(url.port), user: url.username, password: url.password, database: url.pathname.slice(1), pid };
}

async function fill(port: number, password: string): Promise<void> {
  const login = { host: '127.0.0.1', port, user: SUPERUSER, password };
  const admin = new Client({ ...login, database: 'postgres' });
  await admin.connect();
  await admin.query('CREATE DATABASE bench');
  await admin.query('CREATE DATABASE store');
  await admin.query('CREATE DATABASE approvals');
  await admin.end();
  const client = new Client({ ...login, database: 'bench' });
  await client.connect();
  await client.query('CREATE TABLE people (id int PRIMARY KEY, city text NOT NULL, email text NOT NULL, ssn text NOT NULL, card text NOT NULL)');
  await client.query(
    `INSERT INTO people SELECT i, 'Utrecht', 'person' || i || '@mail.example', lpad((1 + i % 898)::text, 3, '0') || '-' || lpad((1 + i % 98)::text, 2, '0') || '-' || lpad((1 + i % 9998)::text, 4, '0'), '4' || lpad((i::bigint * 7919 % 1000000000000000)::text, 15, '0') FROM generate_series(1, ${ROWS}) i`,
  );
  await client.query('VACUUM (ANALYZE, FREEZE) people');
  await client.end();
}
