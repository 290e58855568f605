import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { commandLine, isAlive, isProxyCommand, terminate } from '../../../extension/proxyLink/process.ts';
import { childEnvironment, startProxy } from '../../../extension/proxyLink/spawn.ts';

describe('ending a proxy', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-process-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  async function run(name: string, body: string): Promise<number> {
    const script = join(folder, name);
    writeFileSync(script, `${body}\nsetInterval(() => {}, 1000);\nprocess.stdout.write('up');`);
    const child = spawn(process.execPath, [script, 'daemon'], { stdio: ['ignore', 'pipe', 'ignore'] });
    await new Promise((done) => child.stdout.once('data', done));
    return child.pid!;
  }

  it('ends one of ours, politely where it listens and by force where it does not', async () => {
    assert.equal(await terminate(await run('proxy.cjs', '')), 'gone');
    if (process.platform === 'win32') return;
    const stubborn = await run('proxy.cjs', "process.on('SIGTERM', () => {});");
    assert.equal(await terminate(stubborn), 'gone');
    assert.equal(isAlive(stubborn), false);
  });

  it('leaves alone what only has the number of a proxy that died', async () => {
    const other = await run('other.cjs', '');
    assert.equal(await terminate(other), 'not-ours');
    assert.equal(isAlive(other), true);
    process.kill(other, 'SIGKILL');
  });

  it('knows a proxy by its command line', async () => {
    assert.ok(isProxyCommand('/usr/lib/code/node /home/a b/.vscode/extensions/x/dist/proxy.cjs daemon '));
    assert.ok(isProxyCommand('"C:\\Program Files\\Code\\Code.exe" "C:\\Users\\a\\dist\\proxy.cjs" daemon'));
    for (const other of ['node /x/proxy.cjs mcp shop', 'node /x/notproxy.cjs daemon', 'vim proxy.cjs', 'node proxy.cjs daemonize'])
      assert.ok(!isProxyCommand(other), other);
    assert.match((await commandLine(process.pid)) ?? '', /node/);
  });
});

describe('starting a proxy', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-spawn-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('hands the secret over on standard input: it is in no argument and no environment', async () => {
    const script = join(folder, 'proxy.cjs');
    writeFileSync(
      script,
      `let text = ''; process.stdin.on('data', (d) => text += d).on('end', () => { console.log(JSON.stringify({ got: JSON.parse(text), argv: process.argv, env: process.env })); process.exit(3); });`,
    );
    const secret = 's'.repeat(64);
    const started = startProxy(script, { secret, extensionVersion: '0.1.0' }, join(folder, 'log', 'start.log'));
    const { code, tail } = await started.ended;
    assert.equal(code, 3);
    assert.equal(started.hasEnded(), true);
    // The tail is cut, so only its end is sure to be there.
    assert.doesNotMatch(tail.replace(/"got":\{[^}]*\}/, ''), new RegExp(secret));
  });

  it('takes the person’s environment along, without the editor’s own and without what names secrets', () => {
    const env = childEnvironment({
      PATH: '/bin',
      VSCODE_PID: '1',
      ELECTRON_RUN_AS_NODE: '0',
      NODE_OPTIONS: '-r x',
      COUNTERSIGN_SECRETS_FILE: '/s',
      COUNTERSIGN_HOME: '/h',
    });
    assert.deepEqual(env, { PATH: '/bin', COUNTERSIGN_HOME: '/h', ELECTRON_RUN_AS_NODE: '1' });
  });
});
