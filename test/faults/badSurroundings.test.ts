import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { until } from '../support/soon.ts';
import { Shop } from './shop.ts';
import { policyFor, Stage, settled } from './stage.ts';

const OPTIONS = { timeout: 300_000 };
const READ = 'SELECT id FROM orders LIMIT 1';
const REFUND = "UPDATE orders SET status = 'refunded' WHERE id = 1";

let shop: Shop;
let stage: Stage;
before(async () => {
  shop = await Shop.open();
});
afterEach(() => stage.close());
after(() => shop.close());

const mounted = new Set<string>();
process.once('exit', () => {
  for (const folder of mounted) spawnSync('umount', ['-l', folder]);
});

function mount(folder: string, options: string): boolean {
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder]).status !== 0) return false;
  mounted.add(folder);
  return true;
}

function unmount(folder: string): void {
  if (spawnSync('umount', ['-l', folder]).status === 0) mounted.delete(folder);
}

/** A small file system of its own can be had by root on Linux, and not in every container. */
function cannotMount(): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'only root on Linux can mount a file system';
  const probe = mkdtempSync(join(tmpdir(), 'cs-mount-'));
  const can = mount(probe, 'size=1m');
  if (can) unmount(probe);
  rmSync(probe, { recursive: true, force: true });
  return can ? false : 'this container may not mount a file system';
}
const NO_MOUNT = cannotMount();

describe('a policy file that is broken', OPTIONS, () => {
  const rule = '\nrules:\n  - id: no-orders\n    match: { effect: read, target: orders }\n    verdict: deny\n    say: Orders are closed today.\n';

  it('while the proxy runs: the last good one stays in force, the window is told file, line and column, and it recovers when mended', async () => {
    const good = policyFor(shop, rule);
    stage = await Stage.open(shop, { policy: good });
    const client = await stage.terminal();
    assert.match(await settled(client.query(READ)), /no-orders.*Orders are closed today/);
    const lines = good.split('\n');
    const at = lines.findIndex((line) => line.includes('verdict: deny'));
    for (const { text, line, column, message } of [
      { text: good.replace('verdict: deny', 'verdict: maybe'), line: at + 1, column: 14, message: /allow.*ask.*deny|maybe/ },
      { text: `${good}nonsense: [`, line: lines.length, column: undefined, message: /./ },
      { text: '\0\xff\xfe', line: 1, column: 1, message: /./ },
      { text: '', line: 1, column: 1, message: /./ },
      { text: good.replace('id: no-orders', 'id: no-orders\n    vredict: deny'), line: at, column: 5, message: /vredict/ },
    ]) {
      const { revision } = await stage.person.until(({ policy }) => policy.problems.length === 0);
      stage.writePolicy(text);
      const { policy } = await stage.person.until((state) => state.revision > revision && state.policy.problems.length > 0);
      const [problem] = policy.problems;
      assert.equal(problem?.file, stage.policyFile);
      assert.equal(problem.line, line, JSON.stringify(policy.problems));
      if (column !== undefined) assert.equal(problem.column, column, JSON.stringify(policy.problems));
      assert.match(problem.message, message);
      assert.match(await settled(client.query(READ)), /no-orders/);
      stage.writePolicy(good);
    }
    stage.writePolicy(policyFor(shop));
    await stage.person.until(({ policy }) => policy.problems.length === 0 && policy.rules === 0);
    assert.equal(await settled(client.query(READ)), 'done');
  });

  it('from the start: nothing is served, the window is told, and it serves when mended', async () => {
    stage = new Stage(shop, { policy: `${policyFor(shop)}nonsense: [` });
    const proxy = await stage.home.start();
    const person = await stage.home.attach(proxy.at);
    const { policy, connections } = await person.until(({ policy: { problems } }) => problems.length > 0);
    assert.equal(policy.problems[0]?.file, stage.policyFile);
    assert.deepEqual(connections, []);
    stage.writePolicy(policyFor(shop));
    stage.adopt(proxy, person);
    await stage.ready();
    assert.equal(await settled((await stage.terminal()).query(READ)), 'done');
  });
});

describe('a port that another program has taken', OPTIONS, () => {
  it('is said so in a sentence, no other is taken in its place, and it serves by itself when the port is free again', async () => {
    stage = await Stage.open(shop);
    const environment = await stage.environment();
    const mcp = Number(new URL((await stage.access()).mcp[0]?.url ?? '').port);
    await stage.leave();
    const squatters = await Promise.all([Number(environment.PGPORT), mcp].map(squat));
    const proxy = await stage.home.start();
    const person = await stage.home.attach(proxy.at);
    stage.adopt(proxy, person);
    const { connections } = await person.until((state) => state.connections.some(({ state: is }) => is === 'failed'));
    assert.match(connections[0]?.problem ?? '', new RegExp(`port ${environment.PGPORT}.*taken by another program`, 'i'));
    const access = await stage.access();
    // No login and no token for whoever listens there.
    assert.deepEqual([access.environment.PGHOST, access.environment.PGPASSWORD, access.mcp], [undefined, undefined, []]);
    for (const squatter of squatters) await new Promise((resolve) => squatter.close(resolve));
    await stage.ready();
    await until('MCP to be offered', async () => (await stage.access()).mcp.length > 0);
    assert.equal((await stage.environment()).PGPORT, environment.PGPORT);
    assert.equal(await settled((await stage.terminal(environment)).query(READ)), 'done');
    assert.ok((await (await stage.mcp()).listTools()).tools.length > 0);
  });
});

async function squat(port: number): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: '127.0.0.1', port }, resolve);
  });
  return server;
}

describe('a folder for the state that cannot be written', { ...OPTIONS, skip: NO_MOUNT }, () => {
  it('ends the start with a sentence that says which and what to do, and starts when it is mended', async () => {
    stage = new Stage(shop);
    const policy = policyFor(shop);
    assert.ok(mount(stage.home.path, 'ro,mode=700'));
    try {
      const { code, stderr } = await stage.home.spawn().exit;
      assert.equal(code, 1);
      assert.match(stderr, new RegExp(`Countersign cannot write to ${stage.home.path}.* \\(EROFS\\).*forwards nothing.*(writable|COUNTERSIGN_HOME)`));
      assert.equal(spawnSync('mount', ['-o', 'remount,rw', stage.home.path]).status, 0);
      stage.writePolicy(policy);
      await stage.start();
      assert.equal(await settled((await stage.terminal()).query(READ)), 'done');
      await stage.leave();
    } finally {
      unmount(stage.home.path);
    }
  });
});

describe('a disk that is full', { ...OPTIONS, skip: NO_MOUNT }, () => {
  it('ends every session with an error, forwards nothing more, says so to the window, and records again after a restart with space', async () => {
    stage = new Stage(shop);
    const folder = join(stage.home.path, 'recordings');
    mkdirSync(folder, { mode: 0o700 });
    assert.ok(mount(folder, 'size=2m,mode=700'));
    try {
      await stage.start();
      const client = await stage.terminal();
      const ended = new Promise((resolve) => client.once('end', resolve));
      assert.equal(await settled(client.query(READ)), 'done');
      const waiting = await stage.terminal();
      const asked = settled(waiting.query(REFUND));
      const [question] = await stage.asked();
      assert.ok(question);
      const before = await shop.attempts();

      const filler = join(folder, 'filler');
      const { bavail, bsize } = statfsSync(folder);
      assert.throws(() => writeFileSync(filler, Buffer.alloc(bavail * bsize + 4 * bsize)), { code: 'ENOSPC' });
      // What is in a page already may still be written; the record meets the end of the disk before long.
      const errors: string[] = [];
      const long = `SELECT ${Array.from({ length: 200 }, (_, i) => `${i} AS a_column_with_a_long_name_${i}`).join(', ')}`;
      while (errors.length < 2000 && (errors.length === 0 || errors.at(-1) === 'done')) errors.push(await settled(client.query(long)));
      assert.match(errors.at(-1) ?? '', /disk .*full|cannot write its record|terminated/i);
      await ended;
      const { halted, pending } = await stage.person.until((state) => state.halted !== undefined && state.pending.length === 0);
      assert.match(halted ?? '', /disk that holds .*recordings is full.*restart/i);
      assert.deepEqual(pending, []);
      assert.notEqual(await asked, 'done');
      // A click that comes too late lets nothing through, and nobody new gets in.
      await stage.approve(question);
      assert.equal((await stage.environment()).PGHOST, undefined);
      await shop.abandoned();
      assert.equal(await shop.attempts(), before);

      await stage.leave();
      rmSync(filler);
      await stage.start();
      assert.equal(await settled((await stage.terminal()).query(READ)), 'done');
      const report = await stage.verify();
      assert.deepEqual([report.ok, report.problems], [true, []]);
      const [lost] = await stage.recorded(({ operation, outcome }) => operation === question.operation && outcome !== undefined);
      assert.notEqual(lost?.outcome, 'done');
      await stage.leave();
    } finally {
      unmount(folder);
    }
  });
});
