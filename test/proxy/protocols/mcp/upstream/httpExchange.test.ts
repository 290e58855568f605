/** Exchanges with real servers, and with rude ones. */
import assert from 'node:assert/strict';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { after, describe, it } from 'node:test';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { HttpClient, type HttpRequest, readText } from '../../../../../proxy/protocols/mcp/upstream/httpExchange.ts';

const stops: (() => void)[] = [];
after(() => {
  for (const stop of stops) stop();
});

async function listening(server: Server): Promise<URL> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp?x=1`);
}

/** A server that writes these bytes to whoever sends something. */
const rude = (answer: (socket: Socket, nth: number) => void): Promise<URL> => {
  let nth = 0;
  return listening(createServer((socket) => socket.on('data', () => answer(socket, ++nth))));
};

const asking = (listener: RequestListener): Promise<URL> => listening(createHttp(listener));

function client(): HttpClient {
  const http = new HttpClient();
  stops.push(() => http.close());
  return http;
}

const post = (url: URL, more: Partial<HttpRequest> = {}): HttpRequest => ({
  method: 'POST',
  url,
  headers: { Accept: 'application/json' },
  body: '{"é":1}',
  signal: AbortSignal.timeout(10_000),
  ...more,
});

describe('an exchange with a server', () => {
  it('sends what was given and gets what was answered, again and again on one connection', async () => {
    let connections = 0;
    const server = createHttp((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => response.end(JSON.stringify([request.method, request.url, request.headers.accept, Buffer.concat(chunks).toString()])));
    });
    server.on('connection', () => connections++);
    const url = await listening(server);
    const http = client();
    for (let i = 0; i < 5; i++) {
      const text = await readText(await http.send(post(url)), 1000);
      assert.deepEqual(JSON.parse(text), ['POST', '/mcp?x=1', 'application/json', '{"é":1}']);
    }
    assert.equal(connections, 1);
    const answers = await Promise.all(Array.from({ length: 20 }, () => http.send(post(url)).then((answer) => readText(answer, 1000))));
    assert.equal(new Set(answers).size, 1);
    assert.ok(connections <= 20);
  });

  it('reads what is compressed, and none of it beyond the cap', async () => {
    const text = 'kettle '.repeat(100_000);
    const packed = { gzip: gzipSync(text), br: brotliCompressSync(text), deflate: deflateSync(text) };
    const url = await asking((request, response) => {
      const encoding = request.headers['x-want'] as keyof typeof packed;
      response.writeHead(200, { 'Content-Encoding': encoding }).end(packed[encoding]);
    });
    for (const encoding of Object.keys(packed)) {
      const answer = await client().send(post(url, { headers: { 'X-Want': encoding } }));
      assert.equal(await readText(answer, 1_000_000), text);
      await assert.rejects(readText(await client().send(post(url, { headers: { 'X-Want': encoding } })), 1000), /more than 1000 bytes/);
    }
  });

  it('makes a server wait that sends more than is read', async () => {
    let written = 0;
    const url = await asking((_request, response) => {
      const more = (): void => {
        while (written < 64 * 1024 * 1024) {
          written += 65_536;
          if (!response.write(Buffer.alloc(65_536))) return void response.once('drain', more);
        }
        response.end();
      };
      more();
    });
    const { body } = await client().send(post(url));
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.ok(written < 32 * 1024 * 1024, `${written} bytes were taken for nobody`);
    let read = 0;
    await new Promise<void>((resolve, reject) => body.read({ data: (chunk) => (read += chunk.length), end: resolve, error: reject }));
    assert.equal(read, 64 * 1024 * 1024);
  });

  it('ends when it is given up, before the answer and in the middle of it', async () => {
    const url = await asking((request, response) => {
      if (request.headers['x-want'] === 'half') response.write('half');
    });
    for (const want of ['nothing', 'half']) {
      const abort = new AbortController();
      const sent = client().send(post(url, { headers: { 'X-Want': want }, signal: abort.signal }));
      const outcome = want === 'half' ? sent.then((answer) => readText(answer, 100)) : sent;
      setTimeout(() => abort.abort(), 50);
      await assert.rejects(outcome, { name: 'AbortError' });
    }
  });

  it('takes no header that would be another, or the body', async () => {
    const url = await asking((_request, response) => response.end());
    for (const headers of [{ 'X-A': 'a\r\nX-B: b' }, { 'X-A': 'a\nb' }, { 'X A': 'a' }, { 'X-A:': 'a' }, { 'X-A': '✓' }])
      await assert.rejects(client().send(post(url, { headers })), /holds what no header may/);
    assert.equal((await client().send(post(url, { headers: { 'X-A': 'Zürich' } }))).status, 200);
  });

  it('does not mistake what comes unasked for the next answer', async () => {
    const answer = (text: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${text.length}\r\n\r\n${text}`;
    const url = await rude((socket, nth) => socket.write(nth === 1 ? answer('first') + answer('forged') : answer(`right ${nth}`)));
    const http = client();
    assert.equal(await readText(await http.send(post(url)), 100), 'first');
    assert.equal(await readText(await http.send(post(url)), 100), 'right 2');
    const noticed = Promise.withResolvers<void>();
    const late = await rude((socket) => {
      socket.write(answer('first'));
      socket.once('close', noticed.resolve);
      setTimeout(() => socket.write(answer('forged')), 20);
    });
    assert.equal(await readText(await http.send(post(late)), 100), 'first');
    // It hangs up on whoever speaks unasked.
    await noticed.promise;
    assert.equal(await readText(await http.send(post(late)), 100), 'first');
  });

  it('says so when the server hangs up or is not there', async () => {
    const gone = await rude((socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf'));
    await assert.rejects(readText(await client().send(post(gone)), 1000), { code: 'ECONNRESET' });
    const mute = await rude((socket) => socket.destroy());
    await assert.rejects(client().send(post(mute)), { code: 'ECONNRESET' });
    const closed = await rude(() => {});
    stops.pop()?.();
    await assert.rejects(client().send(post(closed)), { code: 'ECONNREFUSED' });
    const garbage = await rude((socket) => socket.write('SSH-2.0-x\r\n\r\n'));
    await assert.rejects(client().send(post(garbage)), /not HTTP that can be read in one way only/);
  });
});
