/** Several windows and one proxy: the real proxy, run from its sources, reached over its real socket. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { type AttachDeps, type Attached, attach } from '../../../extension/proxyLink/attach.ts';
import { isAlive, terminate, waitGone } from '../../../extension/proxyLink/process.ts';
import { type Started, startProxy } from '../../../extension/proxyLink/spawn.ts';

const SOURCE = pathToFileURL(join(import.meta.dirname, '../../../proxy/main.ts')).href;
const VERSION = '0.1.0';
const newSecret = (): string => randomBytes(32).toString('hex');

describe('a window and the one proxy', { timeout: 300_000 }, () => {
  let folder: string;
  let script: string;
  let sockets: Socket[];
  let begun: Started[];
  let said: string[];
  const before = process.env['COUNTERSIGN_HOME'];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-attach-'));
    script = join(folder, 'proxy.cjs');
    // The name by which a window knows a proxy of ours, around the proxy's own source.
    writeFileSync(script, `import(${JSON.stringify(SOURCE)});`);
    process.env['COUNTERSIGN_HOME'] = join(folder, 'state');
    sockets = [];
    begun = [];
    said = [];
  });

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    // Those too that have lost a race and are about to end: they would write into the folder once it is gone.
    for (const { ended, pid } of begun) {
      if (pid !== undefined && isAlive(pid)) process.kill(pid, 'SIGKILL');
      await ended;
    }
    if (before === undefined) delete process.env['COUNTERSIGN_HOME'];
    else process.env['COUNTERSIGN_HOME'] = before;
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  function start(secret: string, extensionVersion = VERSION): Started {
    const started = startProxy(script, { secret, extensionVersion }, join(folder, 'start.log'));
    begun.push(started);
    return started;
  }

  async function open(secret: string, change: Partial<AttachDeps> = {}): Promise<Attached> {
    const version = change.version ?? VERSION;
    const attached = await attach({
      folder: join(folder, 'state'),
      version,
      secret: () => Promise.resolve(secret),
      start: (given) => start(given, version),
      askToLeave: () => Promise.reject(new Error('not asked in this test')),
      log: (_level, message) => said.push(message),
      mayEvict: true,
      signal: new AbortController().signal,
      ...change,
    });
    sockets.push(attached.socket);
    attached.socket.on('error', () => undefined);
    return attached;
  }

  it('starts it where none runs, and every further window attaches to the same', async () => {
    const secret = newSecret();
    const first = await open(secret);
    assert.ok(isAlive(first.file.pid));
    const second = await open(secret, { start: () => assert.fail('a second proxy was started') });
    assert.equal(second.file.pid, first.file.pid);
  });

  it('agree on one when they start at the same moment', async () => {
    const secret = newSecret();
    const all = await Promise.all([open(secret), open(secret), open(secret)]);
    assert.equal(new Set(all.map((a) => a.file.pid)).size, 1);
  });

  it('starts another when the one that was has died without a word', async () => {
    const secret = newSecret();
    const { file } = await open(secret);
    process.kill(file.pid, 'SIGKILL');
    assert.ok(await waitGone(file.pid, 5_000));
    const next = await open(secret);
    assert.notEqual(next.file.pid, file.pid);
  });

  it('waits for one that is leaving and closes its door meanwhile, and never takes it for a stranger', async () => {
    const secret = newSecret();
    let last = (await open(secret)).file.pid;
    for (let round = 0; round < 5; round++) {
      for (const socket of sockets.splice(0)) socket.destroy();
      process.kill(last, 'SIGTERM');
      // Into the middle of its leaving, a little later each time.
      await sleep(round * 10);
      const { file } = await open(secret, { mayEvict: false });
      assert.notEqual(file.pid, last);
      last = file.pid;
    }
  });

  it('ends one that does not take its secret, and says so, at its first try only', async () => {
    const theirs = await open(newSecret());
    await assert.rejects(open(newSecret(), { mayEvict: false }), { code: 'taken' });
    assert.ok(isAlive(theirs.file.pid), 'it was left alone');
    const ours = await open(newSecret());
    assert.notEqual(ours.file.pid, theirs.file.pid);
    assert.equal(isAlive(theirs.file.pid), false);
    assert.match(said.join('\n'), /does not take our secret/);
  });

  it('tries a secret again that another window has just made', async () => {
    const secret = newSecret();
    const first = await open(secret);
    const answers = [newSecret(), secret, secret];
    const second = await open(secret, { mayEvict: false, secret: () => Promise.resolve(answers.shift() ?? secret) });
    assert.equal(second.file.pid, first.file.pid);
  });

  it('replaces an older one', async () => {
    const secret = newSecret();
    const older = await open(secret);
    let asked = '';
    const askToLeave = (_socket: Socket, reason: string): Promise<void> => {
      asked = reason;
      process.kill(older.file.pid, 'SIGTERM');
      return Promise.resolve();
    };
    const newer = await open(secret, { version: '0.2.0', askToLeave });
    assert.match(asked, /replaced by version 0\.2\.0/);
    assert.notEqual(newer.file.pid, older.file.pid);
    assert.equal(newer.file.version, '0.2.0');
  });

  it('does not end a process that only has the number of a proxy', async () => {
    await open(newSecret()).then(({ file }) => terminate(file.pid));
    const file = join(folder, 'state', 'proxy.json');
    // This test's own process is alive and no proxy.
    writeFileSync(file, JSON.stringify({ pid: process.pid, version: VERSION, controlVersion: 1, socket: join(folder, 'none.sock'), startedAt: 1 }), {
      mode: 0o600,
    });
    const { file: started } = await open(newSecret());
    assert.notEqual(started.pid, process.pid);
  });

  it('says what a proxy said that could not start', async () => {
    writeFileSync(script, "process.stderr.write('The disk is full.'); process.exitCode = 1;");
    await assert.rejects(open(newSecret()), { code: 'proxy-ended', message: /code 1.*The disk is full\./ });
  });

  it('stops looking when the window closes', async () => {
    const closing = new AbortController();
    writeFileSync(script, 'setTimeout(() => {}, 60_000);');
    const opening = open(newSecret(), {
      signal: closing.signal,
      start: (given) => {
        setTimeout(() => closing.abort(), 50);
        return start(given);
      },
    });
    await assert.rejects(opening, { name: 'AbortError' });
  });
});
