import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as vscode from 'vscode';
import type { DoctorCheck } from '../../../contract/control.ts';
import { COMMANDS } from '../../../extension/ids.ts';
import { until } from '../../support/soon.ts';
import { proxyFile, whenOn } from './subject.ts';

describe('the proxy of this window', () => {
  it('is started, and says where it is', async () => {
    await whenOn();
    process.kill(proxyFile().pid, 0);
  });

  it('took the secrets of the file it was given, and the file is gone', async () => {
    const subject = await whenOn();
    const given = process.env['COUNTERSIGN_SECRETS_FILE'];
    assert.equal(given, undefined, 'the name of the file does not stay in the environment');
    await until('the connection has its secret', () => subject.inspect?.()?.connections.every((c) => c.state !== 'needs-secret'));
  });

  it('is started again when it is killed', async () => {
    const subject = await whenOn();
    const { pid } = proxyFile();
    process.kill(pid, 'SIGKILL');
    await until('the loss is noticed', () => subject.state() !== 'on' || (subject.inspect?.()?.proxy.pid ?? pid) !== pid);
    await whenOn();
    const next = await until('a new proxy', () => (proxyFile().pid === pid ? undefined : proxyFile()));
    assert.notEqual(next.pid, pid);
  });

  it('is ended and started by the restart command', async () => {
    const subject = await whenOn();
    const { pid } = proxyFile();
    await vscode.commands.executeCommand(COMMANDS.restart);
    await until('another proxy', () => {
      const now = subject.inspect?.()?.proxy.pid;
      return now !== undefined && now !== pid;
    });
    await until('the old one has left', () => {
      try {
        return !process.kill(pid, 0);
      } catch {
        return true;
      }
    });
  });

  it('is reached by new terminals without any setting', async function () {
    if (process.platform === 'win32') return this.skip();
    await whenOn();
    const folder = mkdtempSync(join(tmpdir(), 'cs-terminal-'));
    const file = join(folder, 'environment');
    const read = (): string => (existsSync(file) ? readFileSync(file, 'utf8') : '');
    // The variables come a moment after the connection, and only new terminals see them.
    const seen = await until('PGPORT in a terminal', async () => {
      const terminal = vscode.window.createTerminal({ name: 'check', shellPath: '/bin/sh' });
      terminal.sendText(`{ env; echo "its version is $(countersign --version 2>&1)"; } > '${file}.new' && mv '${file}.new' '${file}'`);
      const text = await until('the terminal answers', read);
      terminal.dispose();
      rmSync(file, { force: true });
      return /^PGPORT=\d+$/m.test(text) ? text : undefined;
    });
    assert.match(seen, /^PGHOST=127\.0\.0\.1$/m);
    assert.match(seen, /^its version is \d+\.\d+\.\d+/m, 'and `countersign` is there');
    // The editor's own environment names the file of secrets: a terminal sees the name, and nothing behind it.
    const [, given] = /^COUNTERSIGN_SECRETS_FILE=(.*)$/m.exec(seen) ?? [];
    assert.ok(given && !existsSync(given), given);
    rmSync(folder, { recursive: true, force: true });
  });

  it('passes the doctor, who shows a page', async () => {
    await whenOn();
    const checks = await vscode.commands.executeCommand<DoctorCheck[]>(COMMANDS.doctor);
    const failed = checks.filter((check) => check.state === 'failed');
    assert.deepEqual(failed, []);
    for (const id of ['editor.proxy', 'editor.socket', 'editor.terminal', 'editor.mcp', 'policy', 'editor.secrets']) {
      assert.ok(
        checks.some((check) => check.id === id),
        id,
      );
    }
    const titles = checks.map((check) => check.title);
    assert.deepEqual(new Set(titles).size, titles.length, 'nothing is listed twice');
    await until('the page', () => vscode.window.tabGroups.all.flatMap((group) => group.tabs).some((tab) => /Doctor/.test(tab.label)));
  });
});
