import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { takeLock } from '../../../proxy/daemon/exclusive.ts';

const MODULE = resolve(import.meta.dirname, '../../../proxy/daemon/exclusive.ts');
let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-lock-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** A process that tries to take the lock, says whether it did, and waits. */
function contender(file: string): { child: ChildProcess; won: Promise<boolean> } {
  const script = `import(${JSON.stringify(MODULE)}).then(({ takeLock }) => { globalThis.lock = takeLock(${JSON.stringify(file)}); console.log(globalThis.lock ? 'won' : 'lost'); setInterval(() => {}, 1000); });`;
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const won = new Promise<boolean>((done) => child.stdout?.once('data', (chunk: Buffer) => done(chunk.toString().startsWith('won'))));
  return { child, won };
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((done) => (child.exitCode !== null || child.signalCode !== null ? done() : child.once('exit', () => done())));
}

describe('the lock of the one proxy', () => {
  it('is won by exactly one of several processes that start at once, and freed when that one is killed', async () => {
    const file = join(folder, 'race.lock');
    const contenders = Array.from({ length: 5 }, () => contender(file));
    const results = await Promise.all(contenders.map(({ won }) => won));
    assert.deepEqual(results.filter(Boolean), [true]);
    for (const [i, { child }] of contenders.entries()) if (!results[i]) child.kill('SIGKILL');
    assert.equal(takeLock(file), undefined);
    const winner = contenders[results.indexOf(true)]?.child as ChildProcess;
    winner.kill('SIGKILL');
    await Promise.all(contenders.map(({ child }) => ended(child)));
    const lock = takeLock(file);
    assert.ok(lock);
    lock.release();
  });

  it('can be taken again once it was let go', () => {
    const file = join(folder, 'again.lock');
    takeLock(file)?.release();
    const lock = takeLock(file);
    assert.ok(lock);
    assert.equal(takeLock(file), undefined);
    lock.release();
  });

  it('is a problem with a sentence where it cannot be made, or is no lock file', () => {
    assert.throws(() => takeLock(join(folder, 'none', 'x.lock')), { code: 'state-folder', message: /COUNTERSIGN_HOME/ });
    writeFileSync(join(folder, 'other.lock'), 'something else entirely, and long enough to be looked at'.repeat(100));
    assert.throws(() => takeLock(join(folder, 'other.lock')), { code: 'state-folder' });
    if (process.platform === 'win32' || process.getuid?.() === 0) return;
    const readOnly = join(folder, 'read-only');
    mkdirSync(readOnly);
    chmodSync(readOnly, 0o500);
    assert.throws(() => takeLock(join(readOnly, 'x.lock')), { code: 'state-folder' });
  });
});
