import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { CONTROL_VERSION } from '../../../contract/control.ts';
import { stateFolder, userPolicyFile } from '../../../contract/daemon.ts';
import { readProxyFile } from '../../../extension/proxyLink/locate.ts';
import { userPolicyFile as proxysUserPolicyFile } from '../../../proxy/daemon/paths.ts';

const posix = { skip: process.platform === 'win32' ? 'file modes mean nothing here' : false };
const GOOD = { pid: 4242, version: '0.1.0', controlVersion: CONTROL_VERSION, socket: '/tmp/s', startedAt: 1 };

describe('finding the proxy', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-locate-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const write = (text: string): void => writeFileSync(join(folder, 'proxy.json'), text, { mode: 0o600 });

  it('reads what it says of itself', async () => {
    write(JSON.stringify(GOOD));
    assert.deepEqual(await readProxyFile(folder), GOOD);
  });

  it('counts no file, a torn file and a foreign file as no proxy', async () => {
    assert.equal(await readProxyFile(folder), undefined);
    assert.equal(await readProxyFile(join(folder, 'not-there')), undefined);
    for (const text of ['', '{"pid":4', '[]', JSON.stringify({ ...GOOD, pid: -1 }), JSON.stringify({ ...GOOD, version: 'x'.repeat(5_000) })]) {
      write(text);
      assert.equal(await readProxyFile(folder), undefined, text.slice(0, 40));
    }
  });

  it('does not trust a file or a folder that somebody else could have written', posix, async () => {
    write(JSON.stringify(GOOD));
    chmodSync(join(folder, 'proxy.json'), 0o666);
    await assert.rejects(readProxyFile(folder), { code: 'state-folder' });
    chmodSync(join(folder, 'proxy.json'), 0o600);
    chmodSync(folder, 0o777);
    await assert.rejects(readProxyFile(folder), { code: 'state-folder' });
    chmodSync(folder, 0o700);
  });

  it('follows no link', posix, async () => {
    writeFileSync(join(folder, 'elsewhere.json'), JSON.stringify(GOOD));
    symlinkSync(join(folder, 'elsewhere.json'), join(folder, 'proxy.json'));
    await assert.rejects(readProxyFile(folder), { code: 'proxy-file' });
    mkdirSync(join(folder, 'real'), { mode: 0o700 });
    symlinkSync(join(folder, 'real'), join(folder, 'link'));
    await assert.rejects(readProxyFile(join(folder, 'link')), { code: 'state-folder' });
  });

  it('looks for the state and the policy where each system keeps such things, as the proxy does', () => {
    const machines = [
      { platform: 'linux', env: {}, home: '/home/ada' },
      { platform: 'linux', env: { XDG_STATE_HOME: '/x', XDG_CONFIG_HOME: '/c' }, home: '/home/ada' },
      { platform: 'darwin', env: {}, home: '/Users/ada' },
    ];
    for (const machine of machines) assert.equal(userPolicyFile(machine), proxysUserPolicyFile(machine, stateFolder(machine)));
    const windows = { platform: 'win32', env: { LOCALAPPDATA: 'C:\\L', APPDATA: 'C:\\R' }, home: 'C:\\Users\\ada' };
    assert.equal(stateFolder(windows), 'C:\\L\\Countersign');
    assert.equal(userPolicyFile(windows), proxysUserPolicyFile(windows, stateFolder(windows)));
    assert.equal(stateFolder({ platform: 'linux', env: { COUNTERSIGN_HOME: '/t' }, home: '/h' }), '/t');
  });
});
