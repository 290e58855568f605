import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { CONTROL_VERSION, METHODS, type Snapshot } from '../../../contract/control.ts';
import { CONTROL_BANNER, newNonce, proof } from '../../../contract/handshake.ts';
import { Problem } from '../../../contract/problem.ts';
import { Secret } from '../../../contract/secret.ts';
import { ControlClient } from '../../../proxy/control/client.ts';
import { MAX_MESSAGE_BYTES } from '../../../proxy/control/frames.ts';
import { admit, enter } from '../../../proxy/control/handshake.ts';
import { ControlServer } from '../../../proxy/control/server.ts';
import type { WindowHost } from '../../../proxy/control/window.ts';
import { soon, until } from '../../support/soon.ts';

const WINDOWS = process.platform === 'win32';
const KNOWN = 'k'.repeat(64);
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

const calls: unknown[] = [];
let revision = 0;
let snapshots = 0;

/** Answers as the proxy would, and notes what it was asked. */
const host: WindowHost = {
  version: '1.2.3',
  language: {
    capabilities: { hoverProvider: true, textDocumentSync: 1 },
    diagnostics: (text) =>
      text.includes('wrong') ? [{ message: 'this is wrong', range: { start: { line: 0, character: 0 }, end: { line: 0, character: 5 } } }] : [],
    completion: () => [{ label: 'rules' }],
    hover: (text, { line }) => ({ contents: text.split('\n')[line] ?? '' }),
  },
  snapshot: () => {
    snapshots++;
    return snapshot(revision);
  },
  opened: (hello) => calls.push(['opened', hello.window]),
  closed: (hello) => calls.push(['closed', hello.window]),
  answer: (answer) => (calls.push(['answer', answer]), 'accepted'),
  endGrant: () => false,
  connectionOutput: (connection) => (calls.push(['connectionOutput', connection]), { lines: [] }),
  pinTexts: (query) => (calls.push(['pinTexts', query]), { items: [] }),
  pinAnswer: (answer) => (calls.push(['pinAnswer', answer]), { done: 0, stale: answer.items.length }),
  operations: () => {
    throw new Problem('record-unreadable', 'The record cannot be read. Check the disk.');
  },
  operation: () => {
    throw new Error('the canary 4111-1111-1111-1111');
  },
  proposeRule: () => Promise.resolve(null),
  access: (window) => ({ environment: { PGHOST: window }, mcp: [] }),
  putSecret: (name, value) => calls.push(['putSecret', name, value]),
  signIn: () => Promise.resolve('http://127.0.0.1:1/callback'),
  signInPage: () => Promise.resolve('https://login.example/'),
  signOut: () => Promise.resolve(),
  putGateway: () => {},
  organisationPolicy: () => null,
  workspace: (window, workspace) => void calls.push(['workspace', window, workspace]),
  doctor: () => Promise.resolve([]),
  verify: (session) => Promise.resolve({ ok: true, sessions: session === undefined ? 2 : 1, entries: 0, problems: [] }),
  shutdown: (reason) => calls.push(['shutdown', reason]),
};

function snapshot(number: number): Snapshot {
  return {
    revision: number,
    proxy: { version: '1.2.3', pid: 1, startedAt: 0, windows: 0 },
    person: { issuer: 'os', subject: 'ada', groups: [] },
    policy: { version: 'v', files: [], problems: [], rules: 0 },
    connections: [],
    pending: [],
    decided: [],
    grants: [],
    recordRevision: 0,
  };
}

let folder: string;
let path: string;
let server: ControlServer;
let sockets = 0;

function newPath(): string {
  return WINDOWS ? `\\\\.\\pipe\\countersign-test-${process.pid}-${sockets++}` : join(folder, `control-${sockets++}.sock`);
}

function attach(window = 'w', secret = KNOWN, controlVersion = CONTROL_VERSION): Promise<ControlClient> {
  return ControlClient.connect({ socket: path, secret: new Secret(secret), hello: { controlVersion, extensionVersion: '1.2.3', window, editor: 'Test' } });
}

/** Connects, sends what it is told, and collects what comes back until the server hangs up. */
function stranger(send: (socket: Socket, banner: string) => void | Promise<void>): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path);
    let received = '';
    socket.on('error', () => undefined);
    socket.once('data', (chunk) => void send(socket, chunk.toString()));
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
    });
    socket.on('close', () => resolve(received));
  });
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'cs-control-'));
});
beforeEach(async () => {
  calls.length = 0;
  path = newPath();
  server = new ControlServer({ socket: path, secret: new Secret(KNOWN), log: quiet, host });
  await server.start();
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** `beforeEach` has no teardown of its own for each test. */
function test(name: string, body: () => Promise<void>): void {
  it(name, async () => {
    try {
      await body();
    } finally {
      await server.stop();
    }
  });
}

describe('the control channel', () => {
  test('opens to who knows the secret, and shows the state at once', async () => {
    const client = await attach('one');
    const first = await client.until(() => true);
    assert.equal(first.person.subject, 'ada');
    assert.deepEqual(calls, [['opened', 'one']]);
    assert.equal(server.windows, 1);
    client.close();
    await until('the window to leave', () => server.windows === 0);
    assert.deepEqual(calls.at(-1), ['closed', 'one']);
  });

  test('decodes each request and answers it', async () => {
    const client = await attach('one');
    const answer = { answer: 'approve', id: 'app_1', digest: 'd', scope: { what: 'exact', howLong: 'once' } };
    assert.deepEqual(await client.request(METHODS.answer, answer), { result: 'accepted' });
    assert.deepEqual(calls.at(-1), ['answer', answer]);
    assert.deepEqual(await client.request(METHODS.endGrant, { id: 'g' }), { ended: false });
    assert.deepEqual(await client.request(METHODS.access), { environment: { PGHOST: 'one' }, mcp: [] });
    assert.deepEqual(await client.request(METHODS.putSecret, { name: 'db', value: 'x' }), {});
    assert.deepEqual(await client.request(METHODS.workspace, { folders: [{ path: '/w', trusted: true }] }), {});
    assert.deepEqual(await client.request(METHODS.doctor), { checks: [] });
    assert.deepEqual(await client.request(METHODS.verify, { session: 's' }), { ok: true, sessions: 1, entries: 0, problems: [] });
    assert.deepEqual(await client.request(METHODS.shutdown, { reason: 'newer' }), {});
    await until('the call', () => calls.some((call) => JSON.stringify(call) === '["shutdown","newer"]'));
    client.close();
  });

  test('refuses parameters of another shape without repeating them, and goes on', async () => {
    const client = await attach();
    const wrong: [string, unknown][] = [
      [METHODS.answer, { answer: 'approve', id: 'x' }],
      [METHODS.answer, { answer: 'approve', id: 'x', digest: 'd', scope: { what: 'everything', howLong: 'forever' } }],
      [METHODS.answer, null],
      [METHODS.answer, []],
      [METHODS.endGrant, { id: 7 }],
      [METHODS.operation, { operation: 'x'.repeat(1_000) }],
      [METHODS.operations, { limit: 1e9 }],
      [METHODS.putSecret, { name: 'db', value: { canary: 'canary' } }],
      [METHODS.workspace, { folders: Array.from({ length: 101 }, () => ({ path: '/', trusted: true })) }],
      [METHODS.shutdown, {}],
    ];
    for (const [method, params] of wrong) {
      await assert.rejects(client.request(method, params), (error: { code: number; data: unknown; message: string }) => {
        assert.equal(error.code, -32_602, method);
        assert.deepEqual(error.data, { code: 'invalid-params' });
        assert.doesNotMatch(error.message, /canary/);
        return true;
      });
    }
    await assert.rejects(client.request('countersign/no.such.method'), { code: -32_601 });
    assert.deepEqual(calls, [['opened', 'w']]);
    assert.deepEqual(await client.request(METHODS.doctor), { checks: [] });
    client.close();
  });

  test('passes on a problem as its code and sentence, and of any other error nothing', async () => {
    const client = await attach();
    await assert.rejects(client.request(METHODS.operations), {
      code: -32_803,
      message: 'The record cannot be read. Check the disk.',
      data: { code: 'record-unreadable' },
    });
    await assert.rejects(client.request(METHODS.operation, { operation: 'op' }), (error: Error & { code: number }) => {
      assert.equal(error.code, -32_603);
      assert.doesNotMatch(JSON.stringify(error) + error.message, /canary/);
      return true;
    });
    client.close();
  });

  test('sends one snapshot for many changes, to every window, in a moment', async () => {
    const clients = [await attach('one'), await attach('two')];
    await Promise.all(clients.map((client) => client.until(() => true)));
    // The quickest of some: what else the machine does is not what is measured.
    let quickest = Number.POSITIVE_INFINITY;
    for (let round = 0; round < 5; round++) {
      snapshots = 0;
      const started = performance.now();
      for (let i = 0; i < 1_000; i++) {
        revision++;
        server.changed();
      }
      const last = revision;
      await Promise.all(clients.map((client) => client.until((state) => state.revision === last)));
      assert.equal(snapshots, 1);
      quickest = Math.min(quickest, performance.now() - started);
    }
    assert.ok(quickest < 1_000, `${quickest} ms`);
    for (const client of clients) client.close();
  });

  test('lets a client of another version do nothing but ask the proxy to leave', async () => {
    const client = await attach('newer', KNOWN, CONTROL_VERSION + 1);
    await assert.rejects(client.request(METHODS.access), { code: -32_002 });
    await assert.rejects(client.request(METHODS.putSecret, { name: 'a', value: 'b' }), { code: -32_002 });
    assert.equal(server.windows, 0);
    assert.deepEqual(await client.request(METHODS.shutdown, { reason: 'newer version' }), {});
    await until('a call', () => calls.length > 0);
    assert.deepEqual(calls, [['shutdown', 'newer version']]);
    client.close();
  });

  test('is the language server of policy files', async () => {
    const client = await attach();
    const published: unknown[] = [];
    client.rpc.onNotification('textDocument/publishDiagnostics', (params: unknown) => void published.push(params));
    const uri = 'file:///countersign.yaml';
    await client.rpc.sendNotification('textDocument/didOpen', { textDocument: { uri, languageId: 'yaml', version: 1, text: 'version: 1' } });
    await client.rpc.sendNotification('textDocument/didChange', { textDocument: { uri, version: 2 }, contentChanges: [{ text: 'wrong' }] });
    assert.deepEqual(await client.request('textDocument/hover', { textDocument: { uri }, position: { line: 0, character: 0 } }), { contents: 'wrong' });
    assert.deepEqual(await client.request('textDocument/completion', { textDocument: { uri }, position: { line: 0, character: 0 } }), [{ label: 'rules' }]);
    await client.rpc.sendNotification('textDocument/didClose', { textDocument: { uri } });
    assert.equal(await client.request('textDocument/hover', { textDocument: { uri }, position: { line: 0, character: 0 } }), null);
    assert.deepEqual(
      published.map((p) => (p as { diagnostics: { message: string }[] }).diagnostics.map((d) => d.message)),
      [[], ['this is wrong'], []],
    );
    client.close();
  });

  test('tells a stranger nothing but its nonce, whatever the stranger sends', async () => {
    const hello = `{"jsonrpc":"2.0","id":1,"method":"${METHODS.answer}","params":{}}`;
    const wrongs: ((banner: string) => Promise<string | Buffer> | string | Buffer)[] = [
      () => '\n',
      () => `${newNonce()} ${'0'.repeat(64)}\n`,
      async (banner) => {
        const [nonce = ''] = banner.trim().split(' ').slice(-1);
        const mine = newNonce();
        return `${mine} ${await proof('w'.repeat(64), 'extension', nonce, mine)}\n`;
      },
      // The proxy's own role, and a proof that was made for another channel.
      async (banner) => {
        const [nonce = ''] = banner.trim().split(' ').slice(-1);
        const mine = newNonce();
        return `${mine} ${await proof(KNOWN, 'proxy', nonce, mine)}\n`;
      },
      async () => {
        const mine = newNonce();
        return `${mine} ${await proof(KNOWN, 'extension', newNonce(), mine)}\n`;
      },
      async (banner) => {
        const [nonce = ''] = banner.trim().split(' ').slice(-1);
        return `short ${await proof(KNOWN, 'extension', nonce, 'short')}\n`;
      },
      () => `${'a'.repeat(100_000)}\n`,
      () => Buffer.from(Array.from({ length: 4_096 }, (_, i) => (i * 7_919) % 256)),
      () => `Content-Length: ${hello.length}\r\n\r\n${hello}`,
      () => 'POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n',
      // A right proof with a request behind it that was sent before the proxy had proved itself.
      async (banner) => {
        const [nonce = ''] = banner.trim().split(' ').slice(-1);
        const mine = newNonce();
        return `${mine} ${await proof(KNOWN, 'extension', nonce, mine)}\nContent-Length: ${hello.length}\r\n\r\n${hello}`;
      },
    ];
    for (const [i, wrong] of wrongs.entries()) {
      const received = await stranger(async (socket, banner) => void socket.write(await wrong(banner)));
      assert.match(received, new RegExp(`^${CONTROL_BANNER} [0-9a-f]{64}\n$`), `stranger ${i}`);
    }
    assert.deepEqual(calls, []);
    assert.equal(server.windows, 0);
  });

  test('hangs up on a stranger who says nothing, and meanwhile goes on with the others', async () => {
    const silent = Array.from({ length: 10 }, () => stranger(() => undefined));
    const client = await attach();
    assert.deepEqual(await client.request(METHODS.doctor), { checks: [] });
    for (const received of await Promise.all(silent)) assert.match(received, /^countersign-control 1 [0-9a-f]{64}\n$/);
    client.close();
  });

  test('turns strangers away once too many wait, and lets a window in when they have gone', async () => {
    const crowd = Array.from({ length: 40 }, () => connect(path).on('error', () => undefined));
    const banners = await Promise.all(
      crowd.map((socket) => new Promise<number>((resolve) => socket.once('data', () => resolve(1)).once('close', () => resolve(0)))),
    );
    const greeted = banners.reduce((sum, one) => sum + one, 0);
    assert.ok(greeted <= 32, `${greeted} were greeted`);
    for (const socket of crowd) socket.destroy();
    const client = await soon(() => attach());
    client.close();
  });

  test('drops a window that announces a message above the cap, or sends no frames', async () => {
    for (const bytes of [
      `Content-Length: ${MAX_MESSAGE_BYTES + 1}\r\n\r\n`,
      'Content-Length: -1\r\n\r\n',
      'a'.repeat(5_000),
      'Content-Length: 3\r\nContent-Length: 4\r\n\r\n',
      'Content-Length: 5\r\n\r\nhello',
    ]) {
      const received = await stranger(async (socket, banner) => {
        const [nonce = ''] = banner.trim().split(' ').slice(-1);
        const mine = newNonce();
        socket.once('data', () => socket.write(bytes));
        socket.write(`${mine} ${await proof(KNOWN, 'extension', nonce, mine)}\n`);
      });
      assert.match(received, /^countersign-control 1 [0-9a-f]{64}\n[0-9a-f]{64}\n$/, bytes.slice(0, 40));
    }
    const client = await attach();
    client.close();
  });

  if (!WINDOWS) {
    test('keeps its socket from other users', () => {
      assert.equal(statSync(path).mode & 0o777, 0o600);
      return Promise.resolve();
    });

    test('refuses to listen where somebody else does', async () => {
      const taken = newPath();
      const squatter = createServer().listen(taken);
      await new Promise((resolve) => squatter.once('listening', resolve));
      const second = new ControlServer({ socket: taken, secret: new Secret(KNOWN), log: quiet, host });
      await assert.rejects(second.start(), { code: 'control-socket' });
      await new Promise<void>((resolve) => squatter.close(() => resolve()));
    });
  }
});

describe('a client of the control channel', () => {
  test('says nothing that reveals the secret to a squatter on the socket, and does not go on', async () => {
    const squatted = newPath();
    const heard: string[] = [];
    const squatter = createServer((socket) => {
      socket.on('error', () => undefined);
      const nonce = newNonce();
      socket.write(`${CONTROL_BANNER} ${nonce}\n`);
      socket.on('data', (chunk) => {
        heard.push(chunk.toString('latin1'));
        // All a squatter can do: send something that looks like a proof, or send the client's own back.
        socket.write(`${chunk.toString('latin1').trim().split(' ')[1] ?? ''}\n`);
      });
    }).listen(squatted);
    await new Promise((resolve) => squatter.once('listening', resolve));
    const options = { socket: squatted, hello: { controlVersion: CONTROL_VERSION, extensionVersion: '1', window: 'the-window', editor: 'Test' } };
    for (const secret of [KNOWN, 'x'.repeat(64)])
      await assert.rejects(ControlClient.connect({ ...options, secret: new Secret(secret) }), { code: 'not-our-proxy' });
    assert.equal(heard.length, 2, 'one line each, and nothing after it');
    for (const line of heard) {
      assert.match(line, /^[0-9a-f]{64} [0-9a-f]{64}\n$/);
      assert.doesNotMatch(line, /the-window|kkkk|xxxx/);
    }
    // A fresh nonce each time: what one heard is of no use for the next.
    assert.notEqual(heard[0]?.split(' ')[0], heard[1]?.split(' ')[0]);
    await new Promise<void>((resolve) => squatter.close(() => resolve()));
  });

  test('gives up on a listener that says nothing, hangs up or talks something else', async () => {
    for (const greeting of ['', 'SSH-2.0-OpenSSH\r\n', `${CONTROL_BANNER}\n`, `${CONTROL_BANNER} ${'0'.repeat(63)}\n`, 'x'.repeat(10_000)]) {
      const squatted = newPath();
      const squatter = createServer((socket) => void socket.on('error', () => undefined).end(greeting)).listen(squatted);
      await new Promise((resolve) => squatter.once('listening', resolve));
      const options = { socket: squatted, secret: new Secret(KNOWN), hello: { controlVersion: 1, extensionVersion: '1', window: 'w', editor: 'e' } };
      await assert.rejects(ControlClient.connect(options), { code: 'not-our-proxy' });
      await new Promise<void>((resolve) => squatter.close(() => resolve()));
    }
    await assert.rejects(
      ControlClient.connect({ socket: newPath(), secret: new Secret(KNOWN), hello: { controlVersion: 1, extensionVersion: '1', window: 'w', editor: 'e' } }),
      {
        code: 'no-proxy',
      },
    );
  });
});

describe('a connection that is lost in the middle of a message', () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  /** How many there are in the end: what ends with the socket needs a moment. */
  const settled = async (wanted: number): Promise<number> => {
    for (let i = 0; i < 100 && timers() !== wanted; i++) await new Promise((resolve) => setTimeout(resolve, 20));
    return timers();
  };
  const HALF = 'Content-Length: 100\r\n\r\n{';

  test('leaves no clock running at the proxy', async () => {
    const before = timers();
    const socket = connect(path);
    assert.ok(await enter(socket, new Secret(KNOWN)));
    socket.write(HALF);
    await new Promise((resolve) => setTimeout(resolve, 50));
    socket.destroy();
    assert.equal(await settled(before), before);
  });

  test('leaves none at the client, whose process can end', async () => {
    const half = newPath();
    let entered: Socket | undefined;
    const listener = createServer((socket) => {
      socket.on('error', () => undefined);
      void admit(socket, new Secret(KNOWN)).then(() => {
        entered = socket;
        socket.once('data', () => socket.write(`Content-Length: 36\r\n\r\n{"jsonrpc":"2.0","id":0,"result":{}}${HALF}`));
      });
    }).listen(half);
    await new Promise((resolve) => listener.once('listening', resolve));
    const before = timers();
    const hello = { controlVersion: CONTROL_VERSION, extensionVersion: '1', window: 'w', editor: 'Test' };
    const client = await ControlClient.connect({ socket: half, secret: new Secret(KNOWN), hello });
    await new Promise((resolve) => setTimeout(resolve, 20));
    entered?.destroy();
    await client.closed;
    assert.equal(await settled(before), before);
    await new Promise<void>((resolve) => listener.close(() => resolve()));
  });
});
