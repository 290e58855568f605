import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it, type TestContext } from 'node:test';
import { createRecorder } from '../../../proxy/recording/localRecorder.ts';
import { verifyRecord } from '../../../proxy/recording/verify.ts';
import { clock, entries, folder, header, intent, sessionPaths, silent } from './records.ts';

const CHILD = join(import.meta.dirname, 'writerChild.ts');

/** Lines that a child says, as they come; ends when it does. */
async function follow(child: ChildProcess, onLine: (line: string) => void): Promise<void> {
  assert.ok(child.stdout);
  const ended = new Promise((resolve) => child.once('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) onLine(line);
  await ended;
}

function start(t: TestContext, command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  return child;
}

/** What is recorded as done, once the next recorder has recovered the folder. */
async function recovered(directory: string): Promise<{ readonly intents: number; readonly last: unknown }> {
  await (await createRecorder({ directory, clock, log: silent })).stop('recovered');
  assert.deepEqual((await verifyRecord(directory)).problems, []);
  const bodies = sessionPaths(directory)
    .filter((path) => path.endsWith('.jsonl'))
    .flatMap((path) => entries(path).map((e) => e.body));
  return { intents: bodies.filter((b) => b.type === 'operation.intent').length, last: bodies.at(-1) };
}

describe('a recorder that is killed', () => {
  for (const acknowledged of [1, 40, 300]) {
    it(`while it writes has on disk all that it said was: after ${acknowledged} operations`, async (t) => {
      const directory = folder(t);
      const child = start(t, process.execPath, [CHILD, directory, 'ses_1']);
      let synced = 0;
      await follow(child, (line) => {
        synced = Number(/^synced (\d+)$/.exec(line)?.[1] ?? assert.fail(line));
        if (synced >= acknowledged) child.kill('SIGKILL');
      });
      assert.ok(synced >= acknowledged);
      const { intents, last } = await recovered(directory);
      assert.ok(intents >= synced, `${intents} recorded, ${synced} acknowledged`);
      assert.match(JSON.stringify(last), /session\.close.*recovered/);
    });
  }
});

describe('a disk that fills up', () => {
  it('halts the recorder with a sentence, and what it said was on disk is', { skip: process.platform === 'win32' && 'Windows has no ulimit' }, async (t) => {
    const directory = folder(t);
    // In blocks of 512 bytes (1024 in some shells): a file can not grow beyond it.
    const child = start(t, '/bin/sh', ['-c', 'ulimit -f 100; exec "$@"', 'sh', process.execPath, CHILD, directory, 'ses_1']);
    let synced = 0;
    let end = '';
    await follow(child, (line) => {
      const n = /^synced (\d+)$/.exec(line)?.[1];
      if (n === undefined) end = line;
      else synced = Number(n);
    });
    assert.match(end, /^halted The disk that holds .* is full\. Free some space, then restart Countersign\.$/);
    assert.ok(synced > 0);
    const { intents } = await recovered(directory);
    assert.ok(intents >= synced);
  });

  const small = tmpfs('size=256k');
  it('is noticed on a real, small file system, and nothing more is taken', { skip: small.problem }, async (t) => {
    const directory = small.mount(t);
    const told: string[] = [];
    const recorder = await createRecorder({ directory, clock, log: silent, closeGraceMs: 1, onHalt: (sentence) => told.push(sentence) });
    const session = await recorder.open(header('ses_1'));
    const other = await recorder.open(header('ses_2'));
    const waiting = other.sync();
    await assert.rejects(async () => {
      for (let n = 0; n < 1000; n++) {
        session.append(intent(`op_${n}`, { payload: 'x'.repeat(2000) }));
        await session.sync();
      }
    }, /is full/);
    assert.match(told[0] ?? '', /is full/);
    await waiting;
    assert.throws(() => other.append(intent('op_x')), /is full/, 'in any session');
    await assert.rejects(recorder.open(header('ses_3')), /is full/);
    await recorder.stop('x');
  });

  const sealed = tmpfs('size=256k,ro');
  it('or cannot be written at all brings the recorder up halted', { skip: sealed.problem }, async (t) => {
    const recorder = await createRecorder({ directory: join(sealed.mount(t), 'state', 'record'), clock, log: silent });
    assert.match(recorder.halted ?? '', /cannot be written\. Make it writable/);
    await recorder.stop('x');
  });
});

/** A file system of its own, where this machine lets us. */
function tmpfs(options: string): { readonly problem: string | false; mount(t: TestContext): string } {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return { problem: 'only root on Linux can mount a small file system', mount: () => '' };
  return {
    problem: false,
    mount: (t) => {
      let unmounted = (): unknown => undefined;
      const directory = mkdtempSync(join(tmpdir(), 'countersign-small-'));
      t.after(() => {
        unmounted();
        rmSync(directory, { recursive: true, force: true });
      });
      try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', directory], { stdio: 'ignore' });
      } catch {
        t.skip('this root cannot mount');
      }
      unmounted = () => execFileSync('umount', [directory]);
      return directory;
    },
  };
}
