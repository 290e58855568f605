import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import { HANDSHAKE_TIMEOUT_MS } from '../../contract/handshake.ts';
import { Secret } from '../../contract/secret.ts';
import { enter } from '../../proxy/control/handshake.ts';
import { Shop } from './shop.ts';
import { Stage, settled, socketOf } from './stage.ts';

const OPTIONS = { timeout: 300_000 };
/** Arbitrary, and the same every time: a failure must be seen again. */
function noise(seed: string, bytes: number): Buffer {
  return createHash('shake256', { outputLength: bytes }).update(seed).digest();
}

const NOISE = [Buffer.from('GET / HTTP/1.1\r\n\r\n'), Buffer.from('\0'.repeat(64)), Buffer.from('\xff'.repeat(64), 'latin1'), noise('a', 64), noise('b', 4096)];

let shop: Shop;
let stage: Stage;
let untouched: number;
before(async () => {
  shop = await Shop.open();
  stage = await Stage.open(shop);
  untouched = await shop.attempts();
});
after(async () => {
  await stage.close();
  await shop.close();
});

/** Whatever was thrown at it, it is the same proxy, it serves, and nothing was forwarded. */
afterEach(async () => {
  assert.equal(stage.proxy.child.exitCode, null);
  const client = await stage.terminal();
  assert.equal((await client.query('SELECT 1 AS one')).rows.length, 1);
  await client.end();
  assert.ok((await (await stage.mcp()).listTools()).tools.length > 0);
  assert.equal(await shop.attempts(), untouched);
  assert.doesNotMatch(stage.home.log, /daemon\.crashed/);
});

/** What comes back until the other side hangs up. */
function exchange(socket: Socket, bytes: Buffer | string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  return new Promise((resolve) => {
    socket.on('data', (chunk: Buffer) => void chunks.push(chunk));
    socket.on('error', () => undefined);
    socket.once('close', () => resolve(Buffer.concat(chunks)));
    socket.write(bytes);
  });
}

async function database(): Promise<Socket> {
  const { PGPORT } = await stage.environment();
  return connect({ host: '127.0.0.1', port: Number(PGPORT) });
}

function int32(...values: number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) buffer.writeUInt32BE(value >>> 0, 4 * i);
  return buffer;
}

function message(tag: string, length: number, body: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from(tag), int32(length), body]);
}

describe('the database port, before the login', OPTIONS, () => {
  it('hangs up on bytes that are no PostgreSQL, with an error of its kind', async () => {
    for (const bytes of NOISE) {
      const answer = await exchange(await database(), bytes);
      // 'E' of an ErrorResponse, or nothing where they could not even be told to be a message.
      assert.ok(answer.length === 0 || answer[0] === 0x45, answer.toString('latin1').slice(0, 100));
    }
  });

  it('refuses a start-up packet that announces too much or too little, without waiting for it', async () => {
    for (const size of [0, 3, 7, 10_001, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const answer = await exchange(await database(), int32(size, 3 << 16));
      assert.equal(answer[0], 0x45, `size ${size}`);
      assert.match(answer.toString('latin1'), /start-up packet/);
    }
  });

  it('serves others while one has sent half a packet and falls silent', async () => {
    const silent = await Promise.all(Array.from({ length: 20 }, database));
    for (const socket of silent) socket.on('error', () => undefined).write(int32(300, 3 << 16));
    const client = await stage.terminal();
    assert.equal((await client.query('SELECT 1 AS one')).rows.length, 1);
    await client.end();
    for (const socket of silent) socket.destroy();
  });

  it('refuses a wrong password, another’s name and no password in the same words', async () => {
    const environment = await stage.environment();
    for (const change of [
      { PGPASSWORD: 'wrong' },
      { PGPASSWORD: '' },
      { PGUSER: 'postgres' },
      { PGUSER: 'shop_app', PGPASSWORD: 'upstream-password-of-the-shop' },
    ]) {
      const client = stage.terminal({ ...environment, ...change });
      assert.match(await settled(client), /password authentication failed|password must be/i);
    }
  });
});

describe('the database port, after the login', OPTIONS, () => {
  const cases: Readonly<Record<string, Buffer>> = {
    'a message of no known kind': message('!', 4),
    'a length below its own four bytes': message('Q', 3),
    'a length that is negative': message('Q', 0xfffffff0),
    'a length beyond any limit': message('Q', 0x7fffffff),
    'a query without its end': message('Q', 4 + 6, Buffer.from('SELECT')),
    'a Bind that announces more values than it brings': message('B', 4 + 8, Buffer.from([0, 0, 0, 0, 0x7f, 0xff, 0, 0])),
    'a call of a function by number': message('F', 4 + 14, Buffer.concat([int32(1598), Buffer.alloc(10)])),
    'a login message out of place': message('p', 4 + 4, Buffer.from('abc\0')),
    'random bytes': noise('c', 512),
  };
  for (const [name, bytes] of Object.entries(cases)) {
    it(`answers ${name} with an error, not with silence`, async () => {
      const client = await stage.terminal();
      const socket = socketOf(client);
      const answer = await new Promise<Buffer>((resolve) => {
        const chunks: Buffer[] = [];
        // Sync, so that whoever recovers from it says so.
        socket.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          if (chunk.includes('E')) resolve(Buffer.concat(chunks));
        });
        socket.once('close', () => resolve(Buffer.concat(chunks)));
        socket.write(Buffer.concat([bytes, message('S', 4)]));
      });
      assert.match(answer.toString('latin1'), /^(N|E)[\s\S]*(FATAL|ERROR)/, answer.toString('latin1').slice(0, 200));
      socket.destroy();
    });
  }
});

interface Answer {
  readonly status: number;
  readonly body: string;
}

async function post(
  change: { readonly headers?: Record<string, string | undefined>; readonly body?: string | Buffer; readonly method?: string } = {},
): Promise<Answer> {
  const [endpoint] = (await stage.access()).mcp;
  assert.ok(endpoint);
  const all = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', ...endpoint.headers, ...change.headers };
  const headers = Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined));
  return new Promise((resolve, reject) => {
    const sent = request(endpoint.url, { method: change.method ?? 'POST', headers }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => {
        body += chunk.toString();
      });
      response.once('close', () => resolve({ status: response.statusCode ?? 0, body }));
    });
    sent.once('error', reject);
    sent.end(change.body ?? '{"jsonrpc":"2.0","id":1,"method":"tools/list"}');
  });
}

// All at once, because most of them wait for a time-out.
describe('the MCP endpoint', { ...OPTIONS, concurrency: true }, () => {
  it('tells each stranger apart: a wrong token, a web page, a rebound name, another type of body', async () => {
    const refused: [number, Parameters<typeof post>[0]][] = [
      [401, { headers: { Authorization: undefined } }],
      [401, { headers: { Authorization: 'Bearer nonsense' } }],
      [401, { headers: { Authorization: `Bearer ${'A'.repeat(199)}` } }],
      [403, { headers: { Origin: 'https://example.com' } }],
      [403, { headers: { Origin: 'null' } }],
      [403, { headers: { 'Sec-Fetch-Site': 'cross-site' } }],
      [421, { headers: { Host: 'evil.example' } }],
      [421, { headers: { Host: '0.0.0.0' } }],
      [415, { headers: { 'Content-Type': 'text/plain' } }],
      [405, { method: 'PUT' }],
      [400, { body: '{"jsonrpc":' }],
      [400, { body: noise('d', 300) }],
      [400, { body: '[]' }],
    ];
    for (const [status, change] of refused) {
      const answer = await post(change);
      assert.equal(answer.status, status, JSON.stringify([change, answer]));
      assert.ok(JSON.parse(answer.body), 'a sentence, as JSON');
    }
  });

  it('hangs up on bytes that are no HTTP, on headers without end and on bodies without measure', async () => {
    const [endpoint] = (await stage.access()).mcp;
    assert.ok(endpoint);
    const port = Number(new URL(endpoint.url).port);
    const open = (): Socket => connect({ host: '127.0.0.1', port });
    for (const bytes of NOISE.slice(1)) assert.match((await exchange(open(), bytes)).toString('latin1'), /^(HTTP\/1\.1 400 [\s\S]*)?$/);
    const long = await exchange(open(), `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nX: ${'a'.repeat(100_000)}\r\n\r\n`);
    assert.match(long.toString('latin1'), /^(HTTP\/1\.1 4\d\d [\s\S]*)?$/);
    const head = `POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAuthorization: ${endpoint.headers.Authorization}\r\nContent-Type: application/json\r\n`;
    const announced = await exchange(open(), `${head}Content-Length: 99999999999\r\n\r\n{`);
    assert.match(announced.toString('latin1'), /^HTTP\/1\.1 413 /);
    const smuggled = await exchange(open(), `${head}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`);
    assert.match(smuggled.toString('latin1'), /^HTTP\/1\.1 400 /);
    const half = await exchange(open(), head.slice(0, 60));
    assert.match(half.toString('latin1'), /^(HTTP\/1\.1 4\d\d [\s\S]*)?$/);
  });

  it('answers an unknown tool, an unknown connection and wrong arguments in words', async () => {
    const agent = await stage.mcp();
    const outcome = (name: string, args: Record<string, unknown>): Promise<string> =>
      agent.callTool({ name, arguments: args }).then(
        (result) => `${String(result.isError)} ${JSON.stringify(result.content)}`,
        (error: Error) => error.message,
      );
    assert.match(await outcome('no_such_tool', {}), /no_such_tool.*(not found|unknown)|(not found|unknown).*no_such_tool/i);
    assert.match(await outcome('query', { connection: 'nowhere', sql: 'SELECT 1' }), /true .*no database connection called .*nowhere.*shop/);
    assert.match(await outcome('query', { connection: 'shop' }), /sql/);
    assert.match(await outcome('execute', { connection: 'shop', sql: 'a'.repeat(300_000) }), /sql|too (big|long|large)/i);
    assert.match(await outcome('query', { connection: 'shop', sql: 'SELEC 1' }), /true .*not understood/);
    assert.equal(
      (
        await fetch(`${(await stage.access()).mcp[0]?.url}/nowhere`, {
          method: 'POST',
          body: '{}',
          headers: { 'Content-Type': 'application/json', ...(await stage.access()).mcp[0]?.headers },
        })
      ).status,
      404,
    );
  });
});

describe('the control channel', { ...OPTIONS, concurrency: true }, () => {
  const open = (): Socket => connect(stage.proxy.at.socket);

  it('says nothing but its banner to who does not know the secret', async () => {
    const lines = ['a'.repeat(100_000), '\n', `${'0'.repeat(64)} ${'0'.repeat(64)}\n`, '{"jsonrpc":"2.0","id":1,"method":"initialize"}\n'];
    // At once: whoever sends no line is waited for.
    const answers = await Promise.all([...NOISE, ...lines].map((bytes) => exchange(open(), bytes)));
    for (const answer of answers) assert.match(answer.toString('latin1'), /^countersign-control 1 [0-9a-f]{64}\n$/);
    await assert.rejects(stage.home.attach(stage.proxy.at, 'stranger', 'f'.repeat(64)), { code: 'not-our-proxy' });
  });

  it('lets nobody wait at the door with half a line', async () => {
    const began = Date.now();
    assert.match((await exchange(open(), 'abc')).toString('latin1'), /^countersign-control 1 [0-9a-f]{64}\n$/);
    assert.ok(Date.now() - began < HANDSHAKE_TIMEOUT_MS * 12);
  });

  it('hangs up on a window that sends what is no message of the protocol', async () => {
    for (const bytes of [
      'Content-Length: 99999999\r\n\r\n',
      'Content-Length: -1\r\n\r\n',
      'nonsense\r\n\r\n',
      'x'.repeat(5000),
      'Content-Length: 5\r\n\r\n{"a":',
    ]) {
      const socket = open();
      assert.ok(await enter(socket, new Secret(stage.home.secret)));
      await exchange(socket, bytes);
    }
  });

  it('answers a wrong parameter with an error that repeats nothing of it', async () => {
    for (const [method, params] of [
      ['countersign/approval.answer', { answer: 'approve', id: 'x'.repeat(1000), digest: 'canary-of-this-test' }],
      ['countersign/secret.put', { name: 1, value: 'canary-of-this-test' }],
      ['countersign/operations', { limit: -1, filter: 'canary-of-this-test' }],
      ['countersign/no.such', { value: 'canary-of-this-test' }],
    ] as const) {
      const error = await settled(stage.person.request(method, params));
      assert.notEqual(error, 'done');
      assert.doesNotMatch(error, /canary/);
    }
    assert.doesNotMatch(stage.home.log, /canary-of-this-test/);
  });
});
