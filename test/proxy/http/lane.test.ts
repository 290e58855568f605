import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Router } from 'express';
import { Secret } from '../../../contract/secret.ts';
import { freePort } from '../../../demo/freePort.ts';
import type { Answering, Asked } from '../../../proxy/http/answering.ts';
import { MAX_BODY_BYTES } from '../../../proxy/http/body.ts';
import { LaneReply } from '../../../proxy/http/laneReply.ts';
import { LoopbackServer } from '../../../proxy/http/loopback.ts';
import { ClientLogins } from '../../../proxy/identity/clients.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
let now = Date.now();
const clients = new ClientLogins({
  secret: new Secret('s'.repeat(64)),
  person: { issuer: 'os', subject: 'ada', groups: [] },
  clock: { now: () => now },
  newId: (prefix) => `${prefix}_1`,
});
const bearer = clients.issueBearer('window').reveal();

let port: number;
let server: LoopbackServer;
/** What has got through to whoever answers, and whether the lane brought it. */
let taken: { readonly body: unknown; readonly byLane: boolean; readonly method: string | undefined }[] = [];
let answer: (request: Asked, response: Answering, body: unknown) => void;

const echo = (_request: Asked, response: Answering, body: unknown): void => {
  const text = JSON.stringify({ got: body ?? null });
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }).end(text);
};

before(async () => {
  port = await freePort();
  server = new LoopbackServer({ port, clients, log: quiet, timeouts: { headersMs: 300, requestMs: 600 } });
  const routed = Router();
  routed.all('/', (request, response) => {
    taken.push({ body: request.body as unknown, byLane: false, method: request.method });
    answer(request, response, request.body);
  });
  server.mount('mcp/a', routed, {
    request: (request, response, _identity, body) => {
      taken.push({ body, byLane: response instanceof LaneReply, method: request.method });
      answer(request, response, body);
    },
  });
  // The same without a lane: what Node's server and the router make of it.
  server.mount('mcp/b', routed);
  await server.start();
});
beforeEach(() => {
  taken = [];
  answer = echo;
});
after(() => server.stop());

/** As long as nothing comes for so many turns of the event loop that a timer began, it is quiet: a machine that stands still meanwhile counts once. */
const TURN_MS = 10;

/** Sends pieces one after another, each as a write of its own; resolves to all that comes until the server hangs up or is quiet. */
function raw(pieces: readonly (string | Buffer)[], quietTurns = 8): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let got = '';
    let timer: NodeJS.Timeout | undefined;
    const quietly = (left = quietTurns): void => {
      clearTimeout(timer);
      timer = setTimeout(() => (left > 0 ? quietly(left - 1) : socket.destroy()), TURN_MS);
    };
    socket.on('data', (chunk) => {
      got += chunk.toString('latin1');
      quietly();
    });
    socket.on('error', (cause: NodeJS.ErrnoException) => (cause.code === 'ECONNRESET' || cause.code === 'EPIPE' ? undefined : reject(cause)));
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(got);
    });
    void (async () => {
      for (const piece of pieces) {
        await new Promise<void>((sent) => void socket.write(piece, () => sent()));
        await new Promise((turn) => void setImmediate(turn));
      }
    })();
  });
}

function post(path: string, { body = '{"a":1}', headers = [], start }: { body?: string; headers?: readonly string[]; start?: string } = {}): string {
  const lines = [
    start ?? `POST ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    `Authorization: Bearer ${bearer}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    ...headers,
  ];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}

const withoutDate = (text: string): string => text.replace(/^Date: .*\r\n/m, '').replace(/^ETag: .*\r\n/m, '');
const statuses = (text: string): string[] => [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => status ?? '');

describe('the lane of an ordinary call', () => {
  it('answers as Node’s server does, header by header', async () => {
    const [lane, node] = [await raw([post('/mcp/a')]), await raw([post('/mcp/b')])];
    assert.deepEqual(
      taken.map(({ byLane }) => byLane),
      [true, false],
    );
    const lines = (text: string): string[] => withoutDate(text).split('\r\n').sort();
    assert.deepEqual(lines(lane), lines(node));
    assert.match(lane, /^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r$/m);
  });

  it('takes a request wherever it is cut, and one after another on a connection', async () => {
    const one = post('/mcp/a', { body: '{"é":"‹·›"}' });
    const bytes = Buffer.from(one);
    const headEnd = bytes.indexOf('\r\n\r\n');
    // In its head it goes to Node's server, which waits for the rest; in its body the lane waits.
    for (const cut of [1, 5, 40, headEnd - 1, headEnd + 1, headEnd + 3, headEnd + 4, headEnd + 7, bytes.length - 1]) {
      const got = await raw([bytes.subarray(0, cut), bytes.subarray(cut), one]);
      assert.deepEqual(statuses(got), ['200', '200'], `cut at ${cut}`);
      assert.deepEqual(
        taken.splice(0).map(({ body }) => body),
        [{ é: '‹·›' }, { é: '‹·›' }],
        `cut at ${cut}`,
      );
    }
    const got = await raw([one + one + one]);
    assert.deepEqual(statuses(got), ['200', '200', '200']);
    assert.deepEqual(
      taken.map(({ byLane }) => byLane),
      [true, true, true],
    );
  });

  it('waits for no body of somebody who is not known', async () => {
    const head = `${post('/mcp/a', { body: ' '.repeat(100_000) }).split('\r\n\r\n')[0]}\r\n\r\n`;
    const got = await raw([head.replace(bearer, 'somebody')]);
    assert.deepEqual(statuses(got), ['401']);
    assert.deepEqual(taken, []);
  });

  it('leaves a connection to Node’s server at any request, with what was read of it', async () => {
    const get = `GET /mcp/a HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: Bearer ${bearer}\r\n\r\n`;
    const got = await raw([post('/mcp/a'), get + post('/mcp/a')]);
    assert.deepEqual(statuses(got), ['200', '200', '200']);
    assert.deepEqual(
      taken.map(({ byLane, method }) => [byLane, method]),
      [
        [true, 'POST'],
        [false, 'GET'],
        [false, 'POST'],
      ],
    );
  });

  it('reads nothing that another reader could read otherwise: it is refused, or read by Node’s server, as without a lane', async () => {
    const smuggled = post('/mcp/a', { body: '{"smuggled":true}' });
    const length = Buffer.byteLength(smuggled);
    const odd: Readonly<Record<string, (path: string) => string>> = {
      'a length and chunks': (path) => post(path, { body: '0\r\n\r\n', headers: ['Transfer-Encoding: chunked'] }) + smuggled,
      chunks: (path) => post(path, { body: '7\r\n{"a":1}\r\n0\r\n\r\n', headers: ['Transfer-Encoding: chunked'] }).replace(/Content-Length: \d+\r\n/, ''),
      'two lengths': (path) => post(path, { headers: [`Content-Length: ${length}`] }) + smuggled,
      'one length twice': (path) => post(path, { headers: ['Content-Length: 7'] }),
      'a list of lengths': (path) => post(path).replace('Content-Length: 7', 'Content-Length: 7, 7'),
      'a signed length': (path) => post(path).replace('Content-Length: 7', 'Content-Length: +7'),
      'a length in hex': (path) => post(path).replace('Content-Length: 7', 'Content-Length: 0x7'),
      'an empty length': (path) => post(path).replace('Content-Length: 7', 'Content-Length: '),
      'no length': (path) => post(path).replace('Content-Length: 7\r\n', ''),
      'a blank before the colon': (path) => post(path).replace('Content-Length: 7', 'Content-Length : 7'),
      'a folded line': (path) => post(path, { headers: ['X-A: 1', ' Transfer-Encoding: chunked'] }),
      'a bare line feed': (path) => post(path, { headers: ['X-A: 1\nTransfer-Encoding: chunked'] }),
      'a bare carriage return': (path) => post(path, { headers: ['X-A: 1\rTransfer-Encoding: chunked'] }),
      'a NUL in a value': (path) => post(path, { headers: ['X-A: \0'] }),
      'a name of other letters': (path) => post(path, { headers: ['X-Ä: 1'] }),
      'no name': (path) => post(path, { headers: [': 1'] }),
      'no colon': (path) => post(path, { headers: ['Content-Length'] }),
      'an expectation': (path) => post(path, { headers: ['Expect: 100-continue'] }),
      'an upgrade': (path) => post(path, { headers: ['Connection: upgrade', 'Upgrade: websocket'] }),
      'a close': (path) => post(path, { headers: ['Connection: close'] }),
      'an older version': (path) => post(path, { start: `POST ${path} HTTP/1.0` }),
      'a newer version': (path) => post(path, { start: `POST ${path} HTTP/2.0` }),
      'two blanks in the first line': (path) => post(path, { start: `POST  ${path} HTTP/1.1` }),
      'a small method': (path) => post(path, { start: `post ${path} HTTP/1.1` }),
      'an absolute target': (path) => post(path, { start: `POST http://127.0.0.1:${port}${path} HTTP/1.1` }),
      'a path beside it': (path) => post(path, { start: `POST ${path}/ HTTP/1.1` }),
      'a query': (path) => post(path, { start: `POST ${path}?x=1 HTTP/1.1` }),
      'an empty line before': (path) => `\r\n${post(path)}`,
      'two hosts': (path) => post(path, { headers: [`Host: 127.0.0.1:${port}`] }),
      'another host': (path) => post(path).replace(/Host: .*\r\n/, 'Host: evil.example\r\n'),
      'an origin': (path) => post(path, { headers: ['Origin: null'] }),
      'a page of another site': (path) => post(path, { headers: ['Sec-Fetch-Site: cross-site'] }),
      'two bearers': (path) => post(path, { headers: [`Authorization: Bearer ${bearer}`] }),
      'a wrong bearer': (path) => post(path).replace(bearer, `${bearer.slice(0, -1)}_`),
      text: (path) => post(path).replace('application/json', 'text/plain'),
      'a compressed body': (path) => post(path, { headers: ['Content-Encoding: gzip'] }),
      'no JSON': (path) => post(path, { body: '{"a":' }),
      'a key twice': (path) => post(path, { body: '{"a":1,"a":2}' }),
      'no UTF-8': (path) => post(path, { body: '{"a":"?"}' }).replace('?', '\u0000'),
      'a body that is too long': (path) => post(path).replace('Content-Length: 7', `Content-Length: ${MAX_BODY_BYTES + 1}`),
      'many headers': (path) => post(path, { headers: Array.from({ length: 120 }, (_, i) => `X-${i}: 1`) }),
      'long headers': (path) => post(path, { headers: [`X-A: ${'a'.repeat(20_000)}`] }),
    };
    await Promise.all(
      Object.entries(odd).map(async ([what, make]) => {
        const [lane, node] = await Promise.all([raw([make('/mcp/a')], 15), raw([make('/mcp/b')], 15)]);
        assert.deepEqual(statuses(lane), statuses(node), what);
        assert.equal(/"got":.*/.exec(lane)?.[0], /"got":.*/.exec(node)?.[0], what);
      }),
    );
    assert.ok(taken.length > 0 && taken.every(({ byLane }) => !byLane));
  });

  it('looks at a bearer for each request: one that has expired opens nothing more', async () => {
    const socket = connect({ port, host: '127.0.0.1' });
    const next = (): Promise<string> => new Promise((resolve) => void socket.once('data', (chunk) => resolve(chunk.toString())));
    socket.write(post('/mcp/a'));
    assert.match(await next(), /^HTTP\/1\.1 200 /);
    now += 24 * 60 * 60 * 1000;
    socket.write(post('/mcp/a'));
    assert.match(await next(), /^HTTP\/1\.1 401 /);
    now = Date.now();
    socket.destroy();
    assert.equal(taken.length, 1);
  });

  it('answers in chunks where the answer has no length yet, and says when its client has gone', async () => {
    let events: string[] = [];
    answer = (_request, response) => {
      response.once('close', () => events.push('closed'));
      response.setHeader('X-Own', 'yes');
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store, no-transform' });
      response.flushHeaders();
      response.write('data: é\n\n');
      setImmediate(() => {
        response.end('data: 2\n\n');
        events.push('ended');
      });
    };
    const got = Buffer.from(await raw([post('/mcp/a')]), 'latin1').toString();
    assert.match(got, /\r\nTransfer-Encoding: chunked\r\n/);
    assert.match(got, /\r\nCache-Control: no-store, no-transform\r\n/);
    assert.equal(got.match(/cache-control/gi)?.length, 1);
    assert.match(got, /\r\nX-Own: yes\r\n/);
    assert.ok(got.endsWith('\r\n\r\na\r\ndata: é\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n'), JSON.stringify(got.slice(-80)));
    assert.deepEqual(events, ['ended', 'closed']);

    events = [];
    const gone = new Promise<void>((resolve) => {
      answer = (_request, response) => void response.once('close', resolve);
    });
    // Its half of the connection is enough: who has hung up waits for nothing.
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.resume();
    socket.end(post('/mcp/a'));
    await gone;
    socket.destroy();
  });

  it('lets nobody put a header or a second answer into one of its own', async () => {
    answer = (_request, response) => {
      assert.throws(() => response.setHeader('X-A', 'a\r\nX-B: b'));
      assert.throws(() => response.writeHead(200, { 'X-A': 'a\nb' }));
      response.writeHead(202).end();
      response.write('late');
      response.end('late');
    };
    const got = await raw([post('/mcp/a')]);
    assert.match(got, /^HTTP\/1\.1 202 Accepted\r\n/);
    assert.match(got, /\r\nContent-Length: 0\r\n/);
    assert.ok(got.endsWith('\r\n\r\n'));
  });

  it('hangs up on a client that says nothing, or not all of its body', async () => {
    for (const start of ['', post('/mcp/a').slice(0, -3)]) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => undefined);
      const closed = new Promise<void>((resolve) => void socket.once('close', () => resolve()));
      socket.resume();
      if (start !== '') socket.write(start);
      await closed;
    }
    assert.equal(taken.length, 0);
  });
});
