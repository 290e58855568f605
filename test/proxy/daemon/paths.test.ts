import assert from 'node:assert/strict';
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Machine } from '../../../contract/daemon.ts';
import { preparePaths, runtimeFolder, userPolicyFile } from '../../../proxy/daemon/paths.ts';

const POSIX = process.platform !== 'win32';
let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-paths-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const machine = (env: Record<string, string>, platform: string = process.platform): Machine => ({ platform, env, home: folder });

describe('the paths', () => {
  it('all lie in private folders that are made on the first start', () => {
    const home = join(folder, 'fresh', 'deep');
    const paths = preparePaths(machine({ COUNTERSIGN_HOME: home }));
    assert.equal(paths.state, home);
    for (const path of [paths.proxyFile, paths.portsFile, paths.lockFile, paths.keyFile, paths.log, paths.recordings, paths.userPolicy])
      assert.ok(path.startsWith(home));
    if (!POSIX) return;
    assert.equal(statSync(home).mode & 0o777, 0o700);
    assert.ok(paths.runtime !== undefined && existsSync(paths.runtime));
    assert.equal(statSync(paths.runtime).mode & 0o777, 0o700);
    assert.ok(paths.socket.startsWith(paths.runtime));
  });

  it('follow each system’s own habits', () => {
    assert.equal(userPolicyFile(machine({}, 'linux'), '/s'), join(folder, '.config', 'countersign', 'countersign.yaml'));
    assert.equal(userPolicyFile(machine({ XDG_CONFIG_HOME: '/c' }, 'linux'), '/s'), join('/c', 'countersign', 'countersign.yaml'));
    assert.equal(userPolicyFile(machine({ APPDATA: 'C:\\A' }, 'win32'), '/s'), 'C:\\A\\Countersign\\countersign.yaml');
    assert.equal(userPolicyFile(machine({ COUNTERSIGN_HOME: '/h' }, 'linux'), '/h'), join('/h', 'countersign.yaml'));
    assert.equal(runtimeFolder(machine({ XDG_RUNTIME_DIR: '/run/user/1' }, 'linux'), '/s'), join('/run/user/1', 'countersign'));
    assert.equal(runtimeFolder(machine({ XDG_RUNTIME_DIR: '/run/user/1', COUNTERSIGN_HOME: '/h' }, 'linux'), '/h'), join('/h', 'run'));
    assert.equal(runtimeFolder(machine({}, 'win32'), 'C:\\s'), undefined);
  });

  it('keep the socket short enough for the system, and apart for each state folder', () => {
    for (const platform of ['linux', 'darwin']) {
      const long = `/${'ü'.repeat(60)}`;
      const [one = '', two = ''] = [long, `${long}x`].map((state) => runtimeFolder(machine({ COUNTERSIGN_HOME: state }, platform), state));
      assert.notEqual(one, two);
      assert.ok(Buffer.byteLength(join(one, 'control.sock')) <= (platform === 'linux' ? 107 : 103), one);
      const short = '/s'.padEnd(80, 's');
      assert.equal(runtimeFolder(machine({ COUNTERSIGN_HOME: short }, platform), short), join(short, 'run'));
    }
  });

  it('are refused with a sentence where others could look in, or a link leads elsewhere', {
    skip: POSIX ? false : 'Windows keeps access lists, not modes',
  }, () => {
    const open = join(folder, 'open');
    mkdirSync(open);
    chmodSync(open, 0o755);
    assert.throws(() => preparePaths(machine({ COUNTERSIGN_HOME: open })), { code: 'state-folder', message: /chmod 700/ });
    const link = join(folder, 'link');
    symlinkSync(mkdtempSync(join(folder, 'real-')), link);
    assert.throws(() => preparePaths(machine({ COUNTERSIGN_HOME: link })), { code: 'state-folder', message: /link is not followed/ });
    writeFileSync(join(folder, 'file'), '');
    assert.throws(() => preparePaths(machine({ COUNTERSIGN_HOME: join(folder, 'file') })), { code: 'state-folder', message: /is not a folder/ });
    assert.throws(() => preparePaths(machine({ COUNTERSIGN_HOME: join(folder, 'file', 'x') })), { code: 'state-folder', message: /ENOTDIR/ });
    const runtime = join(folder, 'xdg');
    mkdirSync(join(runtime, 'countersign'), { recursive: true, mode: 0o755 });
    assert.throws(() => preparePaths(machine({ XDG_RUNTIME_DIR: runtime }, 'linux')), { code: 'runtime-folder' });
    if (process.getuid?.() !== 0) return;
    const other = join(folder, 'other');
    mkdirSync(other, { mode: 0o700 });
    chownSync(other, 12_345, 12_345);
    assert.throws(() => preparePaths(machine({ COUNTERSIGN_HOME: other })), { code: 'state-folder', message: /another user/ });
  });
});
