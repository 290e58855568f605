/** Many sessions, large results, slow readers, and all that dies under them: nothing leaks, and memory stays bounded. */
import assert from 'node:assert/strict';
import { after, afterEach, describe, it } from 'node:test';
import type { Client } from 'pg';
import { Shop, UPSTREAM } from '../faults/shop.ts';
import { midResult, SENSITIVE, Stage, settled, socketOf } from '../faults/stage.ts';
import { until } from '../support/soon.ts';
import { drain, filesOf, inMb, MB, memoryOf, NOT_LINUX, sampled } from './measure.ts';

const SESSIONS = 200;
const SLOW_READERS = 20;
/** Size of a large result, in megabytes; `npm run test:load` takes the size that is promised. */
const LARGE_MB = Number(process.env['LARGE_RESULT_MB'] ?? 150);
/** Enough for a machine that has other things to do, too. */
const OPTIONS = { timeout: 300_000 + LARGE_MB * 500 };
/** Most that the proxy's memory may grow by while one client reads a large result, whatever its size. */
const MAX_GROWTH = 256 * MB;
/** Most that a session which does nothing may take, in bytes. */
const MAX_IDLE_SESSION = 1 * MB;
/** Files that a process may open meanwhile for reasons of its own (logs, the record's index, a catalog connection). */
const SPARE_FILES = 12;

const shop = await Shop.open(`ALTER ROLE ${UPSTREAM.user} CREATEROLE;`);
let stage: Stage | undefined;
after(() => shop.close());
afterEach(() => stage?.close());

/** The same shop, with a role of its own for each session. */
function mintedPolicy(): string {
  return [
    'version: 1',
    'connections:',
    '  shop:',
    '    protocol: postgres',
    `    upstream: postgres://${UPSTREAM.user}@127.0.0.1:${shop.port}/${shop.database}`,
    '    credential: { mint: postgres-role, admin: "secret:shop", ttl: 15m }',
    `    sensitive: { ${Object.entries(SENSITIVE)
      .map(([column, mask]) => `${column}: ${mask}`)
      .join(', ')} }`,
    '',
  ].join('\n');
}

async function open(policy?: string): Promise<{ readonly on: Stage; readonly pid: number; readonly files: number }> {
  const on = await Stage.open(shop, policy === undefined ? {} : { policy });
  stage = on;
  const { pid } = on.proxy.at;
  // The first session loads what is loaded once.
  const first = await on.terminal();
  await first.query('SELECT count(*) FROM customers');
  await first.end();
  await nobodyLeft();
  return { on, pid, files: NOT_LINUX ? 0 : filesOf(pid) };
}

async function clients(on: Stage, count: number): Promise<Client[]> {
  const environment = await on.environment();
  const all: Client[] = [];
  // Twenty at a time, as a busy pool opens them.
  for (let i = 0; i < count; i += 20) all.push(...(await Promise.all([...Array(Math.min(20, count - i))].map(() => on.terminal(environment)))));
  return all;
}

async function ask(sql: string): Promise<Record<string, unknown>[]> {
  const direct = await shop.direct();
  const { rows } = await direct.query<Record<string, unknown>>(sql);
  await direct.end();
  return rows;
}

/** Backends that serve a client of the proxy: whatever they are logged in as. */
async function backends(): Promise<{ pid: number; wait_event: string | null }[]> {
  return (await ask(`SELECT pid, wait_event FROM pg_stat_activity WHERE datname = '${shop.database}' AND backend_type = 'client backend'
    AND usename <> 'postgres' AND usename <> CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname LIKE 'countersign%' AND rolcanlogin) THEN '${UPSTREAM.user}' ELSE '' END
    AND application_name NOT LIKE 'countersign%'`)) as never;
}

async function nobodyLeft(): Promise<void> {
  await until('the backends to go', async () => (await backends()).length === 0);
}

async function roles(): Promise<number> {
  return (await ask("SELECT 1 FROM pg_roles WHERE rolname LIKE 'countersign%' AND rolcanlogin")).length;
}

/** After everything: no backend, no role, no open file and no record that is not closed. */
async function nothingLeaked(on: Stage, pid: number, files: number): Promise<void> {
  await nobodyLeft();
  await until('the roles to go', async () => (await roles()) === 0);
  if (!NOT_LINUX) await until('its files to be closed', () => filesOf(pid) <= files + SPARE_FILES);
  await recordsClosed(on);
}

async function recordsClosed(on: Stage): Promise<void> {
  await until('the records to be closed', () => on.sessions().every((entries) => entries.at(-1)?.body.type === 'session.close'));
  assert.deepEqual((await on.verify()).problems, []);
}

describe(`${SESSIONS} sessions at once`, OPTIONS, () => {
  for (const [how, policy] of [
    ['with one login and masks', undefined],
    ['with a role of its own for each', mintedPolicy()],
  ] as const) {
    it(`${how}: every one reads and is masked, and nothing is left of them`, async () => {
      const { files, on, pid } = await open(policy);
      const before = NOT_LINUX ? 0 : memoryOf(pid);
      const started = performance.now();
      const all = await clients(on, SESSIONS);
      const opened = performance.now() - started;
      assert.equal((await backends()).length, SESSIONS);
      if (policy !== undefined) assert.equal(await roles(), SESSIONS);
      const idle = NOT_LINUX ? 0 : (memoryOf(pid) - before) / SESSIONS;
      const answers = await Promise.all(
        all.map(async (client, i) => {
          const { rows } = await client.query<{ id: number; email: string; n: number }>('SELECT id, email, $1::int AS n FROM customers WHERE id = $2', [
            i,
            1 + (i % 50),
          ]);
          const counted = await client.query('SELECT count(*)::int AS n FROM orders');
          return { email: rows[0]?.email ?? '', n: rows[0]?.n, orders: (counted.rows[0] as { n: number }).n };
        }),
      );
      for (const [i, { email, n, orders }] of answers.entries()) {
        assert.equal(n, i);
        assert.match(email, /…|\*|‹|•/);
        assert.ok(orders > 0);
      }
      console.log(
        `${SESSIONS} sessions ${how}: opened in ${(opened / 1000).toFixed(1)} s${NOT_LINUX ? '' : `, ${(idle / 1024).toFixed(0)} kB each, ${filesOf(pid) - files} more files`}`,
      );
      if (!NOT_LINUX) assert.ok(idle < MAX_IDLE_SESSION, `${inMb(idle)} a session`);
      // Half say goodbye, half just go.
      for (const client of all.slice(SESSIONS / 2)) socketOf(client).resetAndDestroy();
      await Promise.all(all.slice(0, SESSIONS / 2).map((client) => client.end()));
      await nothingLeaked(on, pid, files);
    });
  }
});

describe('a large result', { ...OPTIONS, skip: NOT_LINUX }, () => {
  it(`of ${LARGE_MB} MB goes through in bounded memory, masked or not`, async () => {
    const { files, on, pid } = await open();
    const rows = Math.ceil((LARGE_MB * MB) / 2035);
    for (const [what, sql] of [
      ['plain', `SELECT i, repeat('wide ', 400) FROM generate_series(1, ${rows}) AS i`],
      ['masked', `SELECT c.id, c.email, c.ssn, repeat('wide ', 400) FROM customers c, generate_series(1, ${Math.ceil(rows / 4)}) AS i WHERE c.id <= 4`],
      ['copied', `COPY (SELECT i, repeat('wide ', 400) FROM generate_series(1, ${Math.ceil(rows / 4)}) AS i) TO STDOUT`],
    ] as const) {
      const client = await on.terminal();
      let bytes = 0;
      const started = performance.now();
      const { before, grown, peak } = await sampled(pid, async () => {
        bytes = await drain(client, sql);
      });
      const seconds = (performance.now() - started) / 1000;
      console.log(
        `${inMb(bytes)} ${what}: ${seconds.toFixed(1)} s, ${Math.round(bytes / MB / seconds)} MB/s; the proxy held ${inMb(before)} before and ${inMb(peak)} at most`,
      );
      assert.ok(bytes > (what === 'copied' ? 0.24 : 0.98) * LARGE_MB * MB, inMb(bytes));
      assert.ok(grown < MAX_GROWTH, `grew by ${inMb(grown)}`);
      socketOf(client).destroy();
    }
    await nothingLeaked(on, pid, files);
  });

  it('is read from the database only as fast as its client takes it, and memory stays bounded', async () => {
    const { files, on, pid } = await open();
    const all = await clients(on, SLOW_READERS);
    const { grown } = await sampled(pid, async () => {
      const outcomes = await Promise.all(all.map((client) => midResult(client)));
      // The server itself waits for each: the pressure has come all the way back to it.
      await until(
        'the slow readers to hold the server up',
        async () => (await backends()).filter(({ wait_event: event }) => event === 'ClientWrite').length === SLOW_READERS,
      );
      for (const client of all) socketOf(client).resetAndDestroy();
      await Promise.all(outcomes.map(({ outcome }) => outcome));
    });
    console.log(`${SLOW_READERS} slow readers: the proxy grew by ${inMb(grown)}`);
    assert.ok(grown < MAX_GROWTH, `grew by ${inMb(grown)}`);
    await nothingLeaked(on, pid, files);
  });
});

describe('what dies under many sessions', OPTIONS, () => {
  it('backends that are terminated in the middle of results take their sessions with them and nothing else', async () => {
    const { files, on, pid } = await open(mintedPolicy());
    const bystander = await on.terminal();
    const all = await clients(on, 30);
    const outcomes = await Promise.all(all.map((client) => midResult(client)));
    await ask(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT i, repeat%' AND pid <> pg_backend_pid()`);
    for (const client of all) socketOf(client).resume();
    for (const { outcome } of outcomes) assert.match(await outcome, /terminat|closed/i);
    assert.deepEqual((await bystander.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
    await bystander.end();
    await nothingLeaked(on, pid, files);
    const failed = await on.recorded(({ headline, outcome }) => headline.startsWith('SELECT') && outcome === 'failed', 30);
    assert.equal(failed.length, 30);
  });

  it('a postmaster that is killed, with roles made for sessions: they are swept when it is back', async () => {
    const { files, on, pid } = await open(mintedPolicy());
    const all = await clients(on, 20);
    const outcomes = all.map((client) => settled(client.query('SELECT pg_sleep(60)')));
    await until('every backend', async () => (await backends()).length === 20);
    await shop.crash();
    for (const outcome of outcomes) assert.notEqual(await outcome, 'done');
    await shop.revive();
    await until('it to serve again', async () => (await settled(on.terminal().then((client) => client.end()))) === 'done');
    await nothingLeaked(on, pid, files);
  });

  it('the proxy itself, killed and started again: roles, backends and records of the killed one are gone', async () => {
    const { on } = await open(mintedPolicy());
    const all = await clients(on, 30);
    const outcomes = await Promise.all(all.map((client) => midResult(client)));
    assert.equal(await roles(), 30);
    await on.kill();
    for (const client of all) socketOf(client).resume();
    for (const { outcome } of outcomes) assert.notEqual(await outcome, 'done');
    await on.start();
    const { pid } = on.proxy.at;
    const files = NOT_LINUX ? 0 : filesOf(pid);
    await nothingLeaked(on, pid, files);
    const again = await on.terminal();
    assert.equal((await again.query('SELECT email FROM customers WHERE id = 1')).rows.length, 1);
    await again.end();
    await nothingLeaked(on, pid, files);
  });
});
