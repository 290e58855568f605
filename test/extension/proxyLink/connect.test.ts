import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { CONTROL_BANNER, newNonce, proof, sameProof } from '../../../contract/handshake.ts';
import { connect } from '../../../extension/proxyLink/connect.ts';

const SECRET = 'a'.repeat(64);
const SHORT_MS = 300;

describe('opening the control channel', () => {
  let folder: string;
  let path: string;
  let server: Server;
  let sockets: Socket[];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-connect-'));
    path = process.platform === 'win32' ? `\\\\.\\pipe\\${newNonce()}` : join(folder, 's');
    sockets = [];
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((done) => (server ? server.close(() => done()) : done()));
    rmSync(folder, { recursive: true, force: true });
  });

  async function serve(onSocket: (socket: Socket, line: () => Promise<string>) => void): Promise<void> {
    server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => undefined);
      let text = '';
      let wake = (): void => undefined;
      socket.on('data', (chunk) => {
        text += chunk.toString();
        wake();
      });
      const line = async (): Promise<string> => {
        while (!text.includes('\n')) await new Promise<void>((done) => (wake = done));
        const [first = '', ...rest] = text.split('\n');
        text = rest.join('\n');
        return first;
      };
      onSocket(socket, line);
    });
    await new Promise<void>((done) => server.listen(path, done));
  }

  async function honest(socket: Socket, line: () => Promise<string>, secret: string, after = ''): Promise<void> {
    const nonce = newNonce();
    socket.write(`${CONTROL_BANNER} ${nonce}\n`);
    const [theirs = '', given = ''] = (await line()).split(' ');
    if (!sameProof(given, await proof(secret, 'extension', nonce, theirs))) return void socket.destroy();
    socket.write(`${await proof(secret, 'proxy', nonce, theirs)}\n${after}`);
  }

  it('works with a proxy that knows the secret, and loses nothing that comes right behind the handshake', async () => {
    await serve((socket, line) => void honest(socket, line, SECRET, 'Content-Length: 2\r\n\r\n{}'));
    const result = await connect(path, SECRET);
    assert.equal(result.kind, 'open');
    assert.ok(result.kind === 'open');
    const [chunk] = (await new Promise((done) => result.socket.once('data', (data: Buffer) => done([data])))) as [Buffer];
    assert.equal(chunk.toString(), 'Content-Length: 2\r\n\r\n{}');
    result.socket.destroy();
  });

  it('tells a proxy with another secret apart: it refuses us', async () => {
    await serve((socket, line) => void honest(socket, line, 'b'.repeat(64)));
    assert.equal((await connect(path, SECRET)).kind, 'refused');
  });

  it('does not believe a squatter that lets everybody in', async () => {
    await serve((socket, line) => {
      socket.write(`${CONTROL_BANNER} ${newNonce()}\n`);
      void line().then(() => socket.write(`${'0'.repeat(64)}\n`));
    });
    assert.equal((await connect(path, SECRET)).kind, 'stranger');
  });

  it('does not send a squatter anything that it could use elsewhere: our own proof is no proof of the proxy', async () => {
    await serve((socket, line) => {
      socket.write(`${CONTROL_BANNER} ${newNonce()}\n`);
      void line().then((sent) => socket.write(`${sent.split(' ')[1]}\n`));
    });
    assert.equal((await connect(path, SECRET)).kind, 'stranger');
  });

  it('gives up on who says nothing, too much, or something else', async () => {
    await serve(() => undefined);
    assert.equal((await connect(path, SECRET, SHORT_MS)).kind, 'stranger');
    for (const banner of ['SSH-2.0-OpenSSH\n', `${CONTROL_BANNER} short\n`, `${CONTROL_BANNER} ${newNonce()} more\n`, 'x'.repeat(100_000)]) {
      server.removeAllListeners('connection');
      server.on('connection', (socket) => {
        sockets.push(socket);
        socket.on('error', () => undefined);
        socket.write(banner);
      });
      assert.equal((await connect(path, SECRET, SHORT_MS)).kind, 'stranger', banner.slice(0, 60));
    }
  });

  it('says that nobody listens', async () => {
    await serve(() => undefined);
    assert.equal((await connect(`${path}-none`, SECRET)).kind, 'unreachable');
  });
});
