import assert from 'node:assert/strict';
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type DoctorCheck, METHODS, type SurfaceAccess } from '../../../contract/control.ts';
import { ProxyFile } from '../../../contract/daemon.ts';
import { until } from '../../support/soon.ts';
import { Home } from './daemonProcess.ts';
import { listeners } from './listeners.ts';

const POSIX = process.platform !== 'win32';
let home: Home;
beforeEach(() => {
  home = new Home();
});
afterEach(() => home.remove());

describe('the proxy’s start', { timeout: 300_000 }, () => {
  it('writes where it listens and no secret, in private files', async () => {
    const { at, child } = await home.start();
    assert.equal(at.pid, child.pid);
    assert.deepEqual(ProxyFile.parse(JSON.parse(readFileSync(home.proxyFile, 'utf8'))), at);
    for (const file of ['proxy.json', 'log/proxy.log', 'ports.json', 'installation.key']) {
      const path = join(home.path, file);
      assert.ok(!readFileSync(path, 'utf8').includes(home.secret), file);
      if (POSIX) assert.equal(statSync(path).mode & 0o077, 0, file);
    }
    const client = await home.attach(at);
    const snapshot = await client.until(({ proxy }) => proxy.windows === 1);
    assert.equal(snapshot.proxy.pid, child.pid);
    assert.equal(snapshot.proxy.version, '1.2.3');
    assert.equal(snapshot.person.issuer, 'os');
  });

  it('shows its secret in no argument and no variable of its environment', { skip: process.platform === 'linux' ? false : 'needs /proc' }, async () => {
    const { at } = await home.start();
    for (const file of ['cmdline', 'environ']) assert.ok(!readFileSync(`/proc/${at.pid}/${file}`, 'latin1').includes(home.secret), file);
  });

  it('listens on loopback alone', { skip: process.platform === 'linux' ? false : 'needs /proc' }, async () => {
    const { at } = await home.start();
    const found = listeners(at.pid);
    assert.ok(found.length > 0);
    for (const { address } of found) assert.equal(address, '127.0.0.1');
  });

  it('is won by one of several at once, and the others say where that one is', async () => {
    const started = Array.from({ length: 4 }, () => home.spawn());
    const files = await Promise.all(started.map(({ file }) => file));
    const pids = new Set(files.map((file) => file?.pid));
    assert.equal(pids.size, 1, JSON.stringify(files));
    const [winner] = started.filter(({ child }) => pids.has(child.pid));
    assert.ok(winner);
    for (const loser of started) if (loser !== winner) assert.deepEqual((await loser.exit).code, 3);
    for (const file of files) {
      assert.ok(file);
      const client = await home.attach(file, `window-${Math.random()}`);
      await client.until(() => true);
    }
    assert.equal(winner.child.exitCode, null);
  });

  it('takes over what a killed proxy left behind', async () => {
    const first = await home.start();
    const before = await (await home.attach(first.at)).request(METHODS.access);
    first.child.kill('SIGKILL');
    await first.exit;
    assert.ok(existsSync(home.proxyFile));
    if (POSIX) assert.ok(existsSync(first.at.socket), 'its socket is still there');
    const second = await home.start();
    assert.notEqual(second.at.pid, first.at.pid);
    const client = await home.attach(second.at);
    // Addresses and logins that clients hold stay good.
    assert.deepEqual(await client.request(METHODS.access), before);
  });

  it('lets nobody in who has another secret', async () => {
    const { at } = await home.start();
    await assert.rejects(home.attach(at, 'w', 'f'.repeat(64)), { code: 'not-our-proxy' });
    const client = await home.attach(at);
    assert.equal((await client.until(() => true)).proxy.windows, 1);
  });

  it('refuses what is no start line, with a sentence', async () => {
    const { code, stdout, stderr } = await home.spawn({ line: '{}\n' }).exit;
    assert.deepEqual([code, stdout], [1, '']);
    assert.match(stderr, /started by the Countersign extension/);
    assert.ok(!existsSync(home.proxyFile));
  });

  it('says in a sentence that its folder cannot be written', { skip: POSIX ? false : 'has no folder that nobody can write' }, async () => {
    // Nobody can make a folder here, not even root.
    const { code, stderr } = await home.spawn({ env: { COUNTERSIGN_HOME: '/proc/countersign' } }).exit;
    assert.equal(code, 1);
    assert.match(stderr, /cannot write to \/proc\/countersign.*COUNTERSIGN_HOME/);
    assert.doesNotMatch(stderr, /\bat .*\.ts/);
  });

  it('goes on where the policy is broken, and says so', async () => {
    writeFileSync(join(home.path, 'countersign.yaml'), 'version: 1\nrules: [\n');
    const { at } = await home.start();
    const { policy } = await (await home.attach(at)).until(() => true);
    assert.ok(policy.problems.length > 0);
    assert.equal(policy.problems[0]?.file, join(home.path, 'countersign.yaml'));
  });

  it('is the language server of policy files, which judges a file as the layer it is', async () => {
    const { at } = await home.start();
    const client = await home.attach(at);
    const published = new Map<string, (found: { message: string; range: { start: { line: number } } }[]) => void>();
    client.rpc.onNotification('textDocument/publishDiagnostics', (params: { uri: string; diagnostics: [] }) => published.get(params.uri)?.(params.diagnostics));
    const diagnose = async (path: string, text: string): Promise<string> => {
      const uri = pathToFileURL(path).href;
      const found = new Promise<{ message: string; range: { start: { line: number } } }[]>((resolve) => published.set(uri, resolve));
      await client.rpc.sendNotification('textDocument/didOpen', { textDocument: { uri, languageId: 'yaml', version: 1, text } });
      return (await found).map(({ message, range }) => `${range.start.line}: ${message}`).join('\n');
    };
    assert.match(await diagnose(join(home.path, 'countersign.yaml'), 'version: 1\nrules:\n  - id: x\n    verdikt: ask\n'), /^3: .*verdikt/m);
    const uri = pathToFileURL(join(home.path, 'countersign.yaml')).href;
    const items = (await client.request('textDocument/completion', { textDocument: { uri }, position: { line: 3, character: 4 } })) as { label: string }[];
    assert.ok(items.some(({ label }) => label === 'verdict'));
    const loosening = 'version: 1\ndefaults: { write: allow }\n';
    assert.equal(await diagnose(join(home.path, 'other', '..', 'countersign.yaml'), loosening), '');
    assert.notEqual(await diagnose(join(home.path, 'workspace', 'countersign.yaml'), loosening), '');
  });

  it('refuses an organisation’s policy that is not named by its whole path', async () => {
    const { code, stderr } = await home.spawn({ env: { COUNTERSIGN_POLICY: 'policy.yaml' } }).exit;
    assert.equal(code, 1);
    assert.match(stderr, /absolute path/);
  });
});

describe('the proxy’s end', { timeout: 300_000 }, () => {
  it('comes when the last window has gone and the grace is over', async () => {
    // Long enough for the windows to attach on a busy machine, too: a proxy that nobody comes to leaves as well.
    const { at, exit } = await home.start({ env: { COUNTERSIGN_GRACE_MS: '3000' } });
    const [one, two] = [await home.attach(at, 'one'), await home.attach(at, 'two')];
    one.close();
    await two.until(({ proxy }) => proxy.windows === 1);
    two.close();
    assert.equal((await exit).code, 0);
    assert.ok(!existsSync(home.proxyFile));
    if (POSIX) assert.ok(!existsSync(at.socket));
  });

  it('comes by itself where no window ever attaches', async () => {
    const { exit } = home.spawn({ env: { COUNTERSIGN_GRACE_MS: '100' } });
    const { code, stderr } = await exit;
    assert.equal(code, 0);
    // V8 would name a flag here that it does not know (proxy/daemon/tiering.ts).
    assert.equal(stderr, '');
  });

  it('does not come while a window reloads', async () => {
    const { at, child } = await home.start({ env: { COUNTERSIGN_GRACE_MS: '3000' } });
    (await home.attach(at, 'one')).close();
    const again = await home.attach(at, 'one');
    await again.until(({ proxy }) => proxy.windows === 1);
    await new Promise((resolve) => setTimeout(resolve, 3_500));
    assert.equal(child.exitCode, null);
    assert.deepEqual(Object.keys((await again.request(METHODS.doctor)) as object), ['checks']);
  });

  it('comes at the request of a newer extension, which can start the next at once', async () => {
    const { at, exit } = await home.start();
    const client = await home.attach(at);
    assert.deepEqual(await client.request(METHODS.shutdown, { reason: 'replaced by 2.0.0' }), {});
    const next = home.spawn();
    await client.closed;
    assert.equal((await exit).code, 0);
    const file = await next.file;
    assert.equal(file?.pid, next.child.pid);
    assert.match(home.log, /replaced by 2\.0\.0/);
  });

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`is clean on ${signal}`, { skip: POSIX ? false : 'Windows ends the process outright' }, async () => {
      const { at, child, exit } = await home.start();
      await home.attach(at);
      child.kill(signal);
      assert.equal((await exit).code, 0);
      assert.ok(!existsSync(home.proxyFile));
      assert.ok(!existsSync(at.socket));
    });
  }

  it('does not come with the process that started it', { skip: POSIX ? false : 'no signals' }, async () => {
    const { at, child } = await home.start();
    child.stdout?.destroy();
    child.stderr?.destroy();
    child.kill('SIGHUP');
    const client = await home.attach(at);
    assert.ok(await client.until(() => true));
  });
});

describe('the proxy’s ports', { timeout: 300_000 }, () => {
  it('stay the same over a restart; one that is taken gets a sentence that names it, and is taken up again when free', async () => {
    const first = await home.start();
    const access = (await (await home.attach(first.at)).request(METHODS.access)) as SurfaceAccess;
    const port = Number(new URL(access.mcp[0]?.url ?? '').port);
    first.child.kill('SIGKILL');
    await first.exit;

    const squatter = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => squatter.listen(port, '127.0.0.1', () => resolve()));
    const second = await home.start();
    const client = await home.attach(second.at);
    const http = async (): Promise<DoctorCheck | undefined> =>
      ((await client.request(METHODS.doctor)) as { checks: DoctorCheck[] }).checks.find(({ id }) => id === 'http');
    const check = await http();
    assert.equal(check?.state, 'failed');
    assert.match(check.detail, new RegExp(`Port ${port} on 127.0.0.1 is taken`));
    // No token is handed out for a port that somebody else listens on.
    assert.deepEqual(((await client.request(METHODS.access)) as SurfaceAccess).mcp, []);

    await new Promise<void>((resolve) => squatter.close(() => resolve()));
    await until('the port', async () => (await http())?.state === 'ok');
    assert.equal(((await client.request(METHODS.access)) as SurfaceAccess).mcp[0]?.url, `http://127.0.0.1:${port}/mcp`);
  });

  it('are a problem at the start where their file is damaged', async () => {
    writeFileSync(join(home.path, 'ports.json'), '{"a":');
    const { code, stderr } = await home.spawn().exit;
    assert.equal(code, 1);
    assert.match(stderr, /ports\.json is damaged/);
    rmSync(join(home.path, 'ports.json'));
    await home.start();
  });
});

describe('the control socket of a running proxy', { timeout: 300_000 }, () => {
  it('survives random and oversized bytes', async () => {
    const { at, child } = await home.start();
    const strangers = Array.from({ length: 20 }, (_, i) => {
      const socket = connect(at.socket);
      socket.on('error', () => undefined);
      socket.resume();
      socket.end(Buffer.from(Array.from({ length: 1 << (i % 17) }, (_, n) => (n * 7_919 + i * 31) % 256)));
      return new Promise((resolve) => socket.once('close', resolve));
    });
    await Promise.all(strangers);
    assert.equal(child.exitCode, null);
    const client = await home.attach(at);
    assert.ok(await client.until(() => true));
  });
});
