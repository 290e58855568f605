/** psql and pgbench, straight to a database and through the proxy: the same output, to the byte. */
import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { missing, PGBENCH, PSQL } from './programs.ts';
import { SCRIPTS, SETUP } from './psqlScripts.ts';
import { removeFolder } from './removeFolder.ts';
import { type Printed, runClient, twoWays, type Way, type Ways } from './ways.ts';

const OPTIONS = { timeout: 300_000 };
const NO_PSQL = missing('psql', PSQL);
const NO_PGBENCH = missing('pgbench', PGBENCH);
const ways = NO_PSQL && NO_PGBENCH ? undefined : await twoWays(SETUP);
const folders: string[] = [];
after(() => folders.forEach(removeFolder));

/** Everything that must differ: process numbers, and whom the client logged in as. */
function neutral(way: Way, { code, err, out }: Printed): Printed {
  const clean = (text: string): string =>
    text
      .replace(/with PID \d+/g, 'with PID …')
      .replaceAll(`port ${way.port}`, 'port …')
      .replaceAll(`"${way.user}"`, '"…"');
  return { code, out: clean(out), err: clean(err) };
}

async function both(program: string, args: readonly string[], input = ''): Promise<{ direct: Printed; proxied: Printed }> {
  assert.ok(ways);
  return ways.each(async (way) => {
    const cwd = mkdtempSync(join(tmpdir(), 'cs-psql-'));
    folders.push(cwd);
    return neutral(way, await runClient(way, program, args, { input, cwd }));
  });
}

describe('psql through the proxy', { ...OPTIONS, skip: NO_PSQL }, () => {
  for (const { args = [], name, text } of SCRIPTS) {
    it(name, async () => {
      const { direct, proxied } = await both(PSQL ?? '', ['-X', ...args], text);
      assert.deepEqual(proxied, direct);
      assert.ok(direct.out.length + direct.err.length > 0, 'it printed nothing');
    });
  }
});

describe('pgbench through the proxy', { ...OPTIONS, skip: NO_PGBENCH }, () => {
  /** What is the same in every run: counts, no latencies. */
  const counted = ({ code, out }: Printed): unknown => [
    code,
    /transaction type: .*/.exec(out)?.[0],
    /actually processed: .*/.exec(out)?.[0],
    /failed transactions: \d+/.exec(out)?.[0],
  ];

  it('initialises its tables', async () => {
    const { direct, proxied } = await both(PGBENCH ?? '', ['-i', '-s', '1', '--foreign-keys', '-I', 'dtgvpf']);
    const steps = ({ code, err }: Printed): unknown => [code, err.replace(/\r.*?\r|[\d.]+ s(ec)?|\(.*?\)|\d+ of \d+.*/g, '').split('\n')[0]];
    assert.deepEqual(steps(proxied), steps(direct));
    assert.equal(direct.code, 0, direct.err);
  });

  for (const mode of ['simple', 'extended', 'prepared']) {
    it(`runs the TPC-B-like and the reading load in ${mode} mode, to the same figures in the tables`, async () => {
      const seed = ['--random-seed=7', '-n', '-j', '1', '-M', mode];
      for (const args of [
        ['-t', '60', '-c', '1', ...seed],
        ['-t', '100', '-c', '4', '-S', ...seed],
        ['-t', '20', '-c', '4', '-N', ...seed],
      ]) {
        const { direct, proxied } = await both(PGBENCH ?? '', args);
        assert.deepEqual(counted(proxied), counted(direct));
        assert.equal(direct.code, 0, direct.err);
      }
      assert.deepEqual(...((await sums(ways)) as [unknown, unknown]));
    });
  }

  it('runs a pipeline of its own', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-pgbench-'));
    folders.push(folder);
    const script = join(folder, 'pipeline.sql');
    writeFileSync(
      script,
      ['\\startpipeline', 'BEGIN;', ...Array(20).fill('SELECT abalance FROM pgbench_accounts WHERE aid = 7;'), 'COMMIT;', '\\endpipeline'].join('\n'),
    );
    const { direct, proxied } = await both(PGBENCH ?? '', ['-n', '-f', script, '-t', '50', '-M', 'prepared', '-c', '2']);
    assert.deepEqual(counted(proxied)?.toString().replaceAll(script, ''), counted(direct)?.toString().replaceAll(script, ''));
    assert.equal(proxied.code, 0, proxied.err);
  });
});

async function sums(to: Ways | undefined): Promise<unknown[]> {
  assert.ok(to);
  const { direct, proxied } = await to.each((way) =>
    runClient(way, PSQL ?? 'psql', [
      '-XAtc',
      'SELECT sum(abalance), count(*) FILTER (WHERE abalance <> 0) FROM pgbench_accounts; SELECT sum(tbalance) FROM pgbench_tellers; SELECT count(*), sum(delta) FROM pgbench_history',
    ]),
  );
  return [proxied.out, direct.out];
}
