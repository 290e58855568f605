import assert from 'node:assert/strict';
import { appendFileSync, cpSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { run } from '../../cli/run.ts';
import { createRecorder } from '../../proxy/recording/localRecorder.ts';
import { clock, folder, header, intent, outcome, sessionPaths, silent } from '../proxy/recording/records.ts';

describe('the commands that read the record', () => {
  const cleanups: (() => void)[] = [];
  let directory: string;

  before(async () => {
    directory = folder({ after: (fn) => cleanups.push(fn as () => void) });
    const recorder = await createRecorder({ directory, clock, log: silent });
    const session = await recorder.open(header('ses_1'));
    session.append(intent('op_1', { payload: 'SELECT refund_total FROM orders' }));
    session.append(outcome('op_1'));
    session.append(intent('op_2', { facts: { ...intent('x').facts, headline: 'CALL \u001b[2J\r\nevil\u202e' } }));
    session.append(outcome('op_2', { outcome: 'denied' }));
    await session.close('x');
    await recorder.stop('x');
  });
  after(() => {
    for (const cleanup of cleanups) cleanup();
  });

  const countersign = async (...args: string[]): Promise<{ code: number; out: string; error: string }> => {
    const out: string[] = [];
    const error: string[] = [];
    const io = { out: (line: string) => out.push(line), error: (line: string) => error.push(line), input: () => Promise.resolve(''), cwd: directory };
    const code = await run([...args, '--record', '.'], io);
    return { code, out: out.join('\n'), error: error.join('\n') };
  };

  it('say that it holds, and where the audit is', async () => {
    const { code, out, error } = await countersign('verify');
    assert.deepEqual([code, error], [0, '']);
    assert.match(out, /^The record holds: 1 session, 6 entries\.\nsigned with key {2}[0-9a-f]{64}\naudit is at {6}3:[0-9a-f]{64}$/);
    const place = /audit is at +(\S+)/.exec(out)?.[1] ?? '';
    assert.equal((await countersign('verify', '--since', place)).code, 0);
    const other = await countersign(
      'verify',
      '--since',
      place.replace(/.$/, (c) => (c === '0' ? '1' : '0')),
    );
    assert.deepEqual([other.code, /was rewritten/.test(other.error)], [1, true]);
    assert.equal((await countersign('verify', '--since', 'yesterday')).code, 2);
    assert.equal((await countersign('verify', 'ses_1')).code, 0);
    assert.match((await countersign('verify', 'ses_2')).error, /there is no record of it/);
  });

  it('take no folder that somebody laid into a record for an export of a gateway', async () => {
    const copy = folder({ after: (fn) => cleanups.push(fn as () => void) });
    cpSync(directory, copy, { recursive: true });
    cpSync(directory, join(copy, 'gateway'), { recursive: true });
    rmSync(join(copy, 'audit.jsonl'));
    const lines: string[] = [];
    const say = (line: string): void => void lines.push(line);
    assert.equal(await run(['verify', '--record', copy], { out: say, error: say, input: () => Promise.resolve(''), cwd: '/' }), 1);
    assert.match(lines.join('\n'), /^The audit, audit.jsonl, is missing/);
  });

  it('say that it does not hold, and why', async () => {
    const copy = folder({ after: (fn) => cleanups.push(fn as () => void) });
    cpSync(directory, copy, { recursive: true });
    appendFileSync(sessionPaths(copy)[0] ?? '', '{}\n');
    const lines: string[] = [];
    assert.equal(
      await run(['verify', '--record', copy], { out: (l) => lines.push(l), error: (l) => lines.push(l), input: () => Promise.resolve(''), cwd: '/' }),
      1,
    );
    assert.match(lines.join('\n'), /Session ses_1: line 7 is not an entry of this format\.\nThe record does not hold/);
  });

  it('list what was done, find in it, and let nothing in it steer the terminal', async () => {
    const files = readdirSync(directory);
    const all = await countersign('sessions');
    const slip = await countersign('sessions', 'before:yesterday');
    assert.deepEqual([slip.code, /`before:yesterday` has no time in it/.test(slip.error)], [2, true]);
    assert.deepEqual([all.code, all.error, all.out.split('\n').length], [0, '', 2]);
    assert.match(all.out, /denied {5}orders {8}CALL \ufffd\[2J\ufffd\ufffdevil\ufffd/);
    assert.match(
      (await countersign('sessions', 'refund')).out,
      /^\S+ \S+ {2}done .*SELECT customers .*Claude Code for ada {2}\(1 rows, 1 masked, allow by reads\)$/,
    );
    assert.equal((await countersign('sessions', 'agent:claude code', 'verdict:denied')).out.split('\n').length, 1);
    assert.match((await countersign('sessions', 'nothing like it')).error, /Nothing recorded matches/);
    const json = await countersign('sessions', '--json', '--limit', '1');
    assert.equal((JSON.parse(json.out) as { operation: string }).operation, 'op_2');
    assert.match(json.error, /There is more/);
    assert.equal((await countersign('sessions', '--limit', '0')).code, 2);
    assert.deepEqual(readdirSync(directory), files, 'reading adds no file');
  });

  it('say so where there is no record', async () => {
    const none = join(directory, 'none');
    rmSync(none, { recursive: true, force: true });
    for (const name of ['verify', 'sessions']) {
      const lines: string[] = [];
      assert.equal(await run([name, '--record', none], { out: assert.fail, error: (l) => lines.push(l), input: () => Promise.resolve(''), cwd: '/' }), 1);
      assert.match(lines.join(), /There is no record in/);
    }
  });
});
