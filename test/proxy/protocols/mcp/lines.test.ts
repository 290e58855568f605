/** A client's messages as lines on one connection: the same checks, the same pipeline and the same masks as by requests. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { after, before, beforeEach, describe, it } from 'node:test';
import { carry } from '../../../../proxy/http/stdioBridge.ts';
import type { McpConnection } from '../../../../proxy/policy/policy.ts';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import { alive } from '../../../support/alive.ts';
import { type OpenedLines, openedLines } from '../../../support/openedLines.ts';
import { within } from '../../../support/soon.ts';
import { RUDE_SERVER } from './servers.ts';
import { Stage } from './stage.ts';

let stage: Stage;
let endpoint: string;
let token: string;
let stop: () => Promise<void>;
const sockets: Socket[] = [];

before(async () => {
  stage = await Stage.start();
  const upstream = { transport: 'stdio', command: [process.execPath, '-e', RUDE_SERVER, 'none'], env: new Map() } as const;
  const rude: McpConnection = { name: 'rude', protocol: 'mcp', via: 'local', sensitive: new Map(), upstream };
  stage.connections.push(rude);
  const served = await mcp.serve(rude, stage.host);
  stop = () => served.stop('the test is over');
  endpoint = stage.url('mcp/rude').href;
  token = stage.headers().Authorization?.slice(7) ?? '';
});
beforeEach(() => {
  stage.decide = () => 'allow';
});
after(async () => {
  for (const socket of sockets) socket.destroy();
  await stop?.();
  await stage?.stop();
});

interface Message {
  readonly id?: unknown;
  readonly method?: string;
  readonly result?: { readonly content?: readonly { readonly text: string }[]; readonly isError?: boolean };
  readonly error?: { readonly code: number; readonly message: string };
}

async function open(): Promise<OpenedLines> {
  const opened = await openedLines({ endpoint, token });
  sockets.push(opened.socket);
  return opened;
}

/** A client on a connection of its own. */
async function client(initialized = true) {
  const { answers, socket } = await open();
  const seen: Message[] = [];
  const looking: (() => void)[] = [];
  createInterface({ input: answers }).on('line', (text) => {
    seen.push(JSON.parse(text) as Message);
    for (const look of looking.splice(0)) look();
  });
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  const heard = async (is: (message: Message) => boolean): Promise<Message> => {
    for (;;) {
      const found = seen.find(is);
      if (found) return found;
      await within('a message', new Promise<void>((resolve) => looking.push(resolve)));
    }
  };
  const write = (text: string | Buffer): void => void socket.write(text);
  const ask = (id: number, method: string, params: object): Promise<Message> => {
    write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
    return heard((message) => message.id === id);
  };
  if (initialized) {
    const opened = await ask(1, 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'lines', version: '1' } });
    assert.equal(opened.error, undefined);
    write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
  }
  return { socket, seen, heard, write, ask, closed };
}

const call = (name: string, args: object = {}): object => ({ name, arguments: args });
const textOf = (message: Message): string => message.result?.content?.[0]?.text ?? '';

/** What a request for lines is answered with, first line. */
function asked(headers: readonly string[], path = '/mcp/rude', method = 'GET'): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(endpoint).port), '127.0.0.1');
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk.toString();
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.once('close', () => resolve(answer.split('\r\n')[0] ?? ''));
    socket.write(`${[`${method} ${path} HTTP/1.1`, ...headers].join('\r\n')}\r\n\r\n`);
  });
}

describe('a connection for lines', () => {
  it('opens to who has the bearer and comes by the address of this machine, and to no page', async () => {
    const { host } = new URL(endpoint);
    const upgrade = ['Connection: Upgrade', 'Upgrade: countersign-lines'];
    const right = [`Host: ${host}`, `Authorization: Bearer ${token}`];
    assert.match(await asked([...right, ...upgrade]), / 101 /);
    const forged = `${token.slice(0, -2)}${token.endsWith('AA') ? 'BB' : 'AA'}`;
    for (const headers of [
      [`Host: ${host}`, ...upgrade],
      [`Host: ${host}`, `Authorization: Bearer ${forged}`, ...upgrade],
      [`Host: ${host}`, `Authorization: Bearer ${token}`, `Authorization: Bearer ${token}`, ...upgrade],
      [...right, `Origin: http://${host}`, ...upgrade],
      [...right, 'Sec-Fetch-Site: same-origin', ...upgrade],
      ['Host: evil.example', `Authorization: Bearer ${token}`, ...upgrade],
      [...right, 'Connection: Upgrade', 'Upgrade: websocket'],
      [...right, 'Connection: Upgrade', 'Upgrade: h2c, countersign-lines'],
    ])
      assert.doesNotMatch(await asked(headers), / 101 /, headers.join(' · '));
    for (const path of ['/mcp/none', '/mcp', '/mcp/rude/', '/mcp/rude?x', '//mcp/rude', `http://${host}/mcp/rude`])
      assert.doesNotMatch(await asked([...right, ...upgrade], path), / 101 /, path);
    assert.doesNotMatch(await asked([...right, ...upgrade], '/mcp/rude', 'DELETE'), / 101 /);
  });

  it('is decided, masked and recorded like any other', async () => {
    const one = await client();
    const before = stage.entries.length;
    assert.match(textOf(await one.ask(2, 'tools/call', call('do', { card: 'card 4111 1111 1111 1111' }))), /redacted/);
    const types = stage.entries.slice(before).map(({ type }) => type);
    assert.deepEqual(types, ['operation.intent', 'operation.outcome']);
    assert.doesNotMatch(JSON.stringify(stage.entries.slice(before)), /4111 1111/);
    stage.decide = ({ verb }) => (verb === 'tools/call' ? 'deny' : 'allow');
    assert.equal((await one.ask(3, 'tools/call', call('pids'))).result?.isError, true);
    one.socket.end();
    await one.closed;
  });

  it('carries nothing before a session is opened', async () => {
    const one = await client(false);
    assert.match((await one.ask(1, 'tools/call', call('do'))).error?.message ?? '', /Initialize first/);
    assert.match((await one.ask(2, 'tools/list', {})).error?.message ?? '', /Initialize first/);
    one.socket.destroy();
  });

  it('refuses a line that can be read in two ways, says so to its sender, and goes on', async () => {
    const one = await client();
    const before = stage.entries.length;
    one.write('{"jsonrpc":"2.0","id":7,"method":"tools/call","method":"ping","params":{"name":"pids","arguments":{}}}\n');
    assert.match((await one.heard(({ id }) => id === 7)).error?.message ?? '', /key twice/);
    one.write('{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"pids","arguments":{"__proto__":{}}}}\n');
    assert.match((await one.heard(({ id }) => id === 8)).error?.message ?? '', /__proto__/);
    one.write('[{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"pids","arguments":{}}}]\n');
    one.write(Buffer.concat([Buffer.from('{"jsonrpc":"2.0","id":10,"method":"'), Buffer.of(0xff), Buffer.from('"}\n')]));
    one.write('nonsense\n\r\n\n');
    assert.equal(one.seen.filter(({ error }) => error).length >= 2, true);
    assert.equal(stage.entries.length, before);
    assert.match(textOf(await one.ask(11, 'tools/call', call('do', { still: 'there' }))), /there/);
    assert.equal(one.seen.filter(({ id, result }) => id === 9 && result).length, 0);
    one.socket.destroy();
  });

  it('answers each request once, and none under the id of one that waits', async () => {
    const one = await client();
    one.write('{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"hang","arguments":{}}}\n');
    one.write('{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"pids","arguments":{}}}\n');
    assert.match((await one.heard(({ id }) => id === 5)).error?.message ?? '', /waits already/);
    const many = await Promise.all(Array.from({ length: 200 }, (_, i) => one.ask(100 + i, 'tools/call', call('do', { nth: i }))));
    for (const [i, message] of many.entries()) assert.match(textOf(message), new RegExp(`"nth":${i}\\b`));
    one.socket.destroy();
  });

  it('is the same however its bytes are cut, and goes on after a line that is too long', async () => {
    const one = await client();
    const line = `${JSON.stringify({ jsonrpc: '2.0', id: 30, method: 'tools/call', params: call('do', { text: 'ü✓' }) })}\n`;
    one.socket.setNoDelay(true);
    for (const byte of Buffer.from(line)) {
      one.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.match(textOf(await one.heard(({ id }) => id === 30)), /ü✓/);
    // Named by the id that stands first or last; nothing that lies deeper is taken for one.
    const long = 'x'.repeat(5 * 1024 * 1024);
    one.write(`{"jsonrpc":"2.0","id":31,"method":"tools/call","params":{"name":"${long}"}}\n`);
    assert.match((await one.heard(({ id }) => id === 31)).error?.message ?? '', /at most/);
    one.write(`{"method":"tools/call","params":{"name":"${long}"},"jsonrpc":"2.0","id":"32"}\n`);
    assert.match((await one.heard(({ id }) => id === '32')).error?.message ?? '', /at most/);
    one.write(`{"method":"tools/call","params":{"name":"${long}","id":33}}\n${long}${long}\n`);
    assert.match(textOf(await one.ask(34, 'tools/call', call('do', { text: 'on' }))), /on/);
    assert.deepEqual(
      one.seen.flatMap(({ error, id }) => (error ? [id] : [])),
      [31, '32', null, null],
    );
    one.socket.destroy();
  });

  it('ends its server when the client leaves, and frees what waits', async () => {
    const one = await client();
    const pid = Number(textOf(await one.ask(2, 'tools/call', call('pids'))).split(' ')[0]);
    stage.decide = ({ verb }) => (verb === 'tools/call' ? 'ask' : 'allow');
    one.write(`${JSON.stringify({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: call('do') })}\n`);
    await stage.question();
    one.socket.destroy();
    await stage.quiet();
    for (let tries = 0; alive(pid) && tries < 2000; tries++) await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(alive(pid), false);
  });

  it('takes clients that leave again at once for no failure of the server', async () => {
    for (let i = 0; i < 5; i++) {
      const one = await client();
      one.socket.end();
      await one.closed;
    }
    const last = await client();
    assert.match(textOf(await last.ask(2, 'tools/call', call('do', { still: 'served' }))), /served/);
    last.socket.destroy();
  });

  it('takes back a call that its client cancels', async () => {
    const one = await client();
    stage.decide = ({ verb }) => (verb === 'tools/call' ? 'ask' : 'allow');
    one.write(`${JSON.stringify({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: call('do') })}\n`);
    await stage.question();
    one.write('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}\n');
    await stage.quiet();
    one.socket.destroy();
  });
});

describe('a bridge on such a connection', () => {
  it('opens the session anew where the proxy has ended it, and answers for what was lost', async () => {
    const [input, output] = [new PassThrough(), new PassThrough()];
    const seen: Message[] = [];
    let look: () => void = () => {};
    createInterface({ input: output }).on('line', (text) => {
      seen.push(JSON.parse(text) as Message);
      look();
    });
    const ask = async (id: number, method: string, params: object): Promise<Message> => {
      input.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`);
      for (;;) {
        const found = seen.find((message) => message.id === id);
        if (found) return found;
        await within('an answer', new Promise<void>((resolve) => (look = resolve)));
      }
    };
    const done = carry({ endpoint, token, input, output });
    await ask(1, 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'lines', version: '1' } });
    input.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
    assert.match((await ask(2, 'tools/call', call('die'))).error?.message ?? '', /has ended/);
    assert.match(textOf(await ask(3, 'tools/call', call('do', { again: 1 }))), /again/);
    assert.equal(seen.filter(({ id }) => id === 1).length, 1);
    input.end();
    await done;
  });
});
