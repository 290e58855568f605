/** Results of 50 MB, messages over the cap, and a million small ones, through a proxy in a process of its own: all arrive or are refused, and memory stays bounded. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { METHODS, type SurfaceAccess } from '../../contract/control.ts';
import { carry } from '../../proxy/http/stdioBridge.ts';
import { Home } from '../proxy/daemon/daemonProcess.ts';
import { listening } from '../proxy/protocols/mcp/everything.ts';
import { openedLines } from '../support/openedLines.ts';
import { inMb, MB, NOT_LINUX, sampled } from './measure.ts';

const LARGE = 50 * MB;
const OVER = 70 * MB;
/** Small messages each way; `SMALL_MESSAGES=1000000` for the number that is promised. */
const SMALL = Number(process.env['SMALL_MESSAGES'] ?? 40_000);
const OPTIONS = { timeout: 300_000 + SMALL, skip: NOT_LINUX };
/** Most that the proxy may grow by while a result of 50 MB passes, and while small messages do, however many. */
const MAX_GROWTH_LARGE = 800 * MB;
const MAX_GROWTH_SMALL = 200 * MB;

const server = fileURLToPath(new URL('mcpServer.ts', import.meta.url));
const command = [process.execPath, '--disable-warning=ExperimentalWarning', server];
let home: Home;
let pid: number;
let access: SurfaceAccess;
let stop: () => void;
const sockets: Socket[] = [];

before(async () => {
  home = new Home();
  const http = await listening(command);
  ({ stop } = http);
  writeFileSync(
    join(home.path, 'countersign.yaml'),
    `version: 1
connections:
  stdio: { protocol: mcp, upstream: { command: ${JSON.stringify(command)} } }
  http: { protocol: mcp, upstream: { url: "http://127.0.0.1:${http.port}/mcp" } }
rules:
  - { id: free, match: { protocol: mcp }, verdict: allow }
  - { id: after-sensitive-read-calls-ask, match: { protocol: mcp }, verdict: allow }
  - { id: secrets-in-arguments-ask, match: { protocol: mcp }, verdict: allow }
`,
  );
  const { at } = await home.start();
  ({ pid } = at);
  const person = await home.attach(at);
  await person.until(({ connections }) => connections.length === 2 && connections.every(({ state }) => state === 'ready'));
  access = (await person.request(METHODS.access)) as SurfaceAccess;
});
after(async () => {
  for (const socket of sockets) socket.destroy();
  stop?.();
  await home?.remove();
});

function login(name: string): { readonly endpoint: string; readonly token: string } {
  const at = access.mcp.find((one) => one.name === name);
  assert.ok(at);
  return { endpoint: at.url, token: at.headers['Authorization']?.slice(7) ?? '' };
}

interface Answer {
  readonly text: string;
  readonly result?: { readonly content: readonly [{ readonly text: string }] };
  readonly error?: { readonly message: string };
}

/** Someone who asks, one thing at a time. */
interface Talker {
  readonly ask: (id: number, method: string, params: object) => Promise<Answer>;
  readonly tell: (method: string) => Promise<unknown> | undefined;
  /** Lines that were no answer. */
  readonly others: () => number;
}

/** Over what takes lines and gives lines, without reading more of them than it must. */
function talker(write: (text: string) => boolean, drained: () => Promise<unknown>, read: NodeJS.ReadableStream): Talker {
  let held: Buffer[] = [];
  let others = 0;
  const waiting = new Map<string, (answer: Answer) => void>();
  const take = (line: Buffer): void => {
    const id = /^\{"jsonrpc":"2\.0","id":(\d+),/.exec(line.toString('latin1', 0, 60))?.[1];
    const done = waiting.get(id ?? '');
    if (!done) return void others++;
    waiting.delete(id ?? '');
    const text = line.toString();
    return done({ ...(JSON.parse(text) as object), text } as Answer);
  };
  read.on('data', (chunk: Buffer) => {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const piece = chunk.subarray(start, end);
      take(held.length === 0 ? piece : Buffer.concat([...held, piece]));
      held = [];
      start = end + 1;
    }
    if (start < chunk.length) held.push(chunk.subarray(start));
  });
  const send = (message: object): boolean => write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
  return {
    ask: (id, method, params) =>
      new Promise((resolve) => {
        waiting.set(String(id), resolve);
        send({ id, method, params });
      }),
    tell: (method) => (send({ method }) ? undefined : drained()),
    others: () => others,
  };
}

const INITIALIZE = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'load', version: '1' } };

async function opened(one: Talker): Promise<Talker> {
  assert.equal((await one.ask(1, 'initialize', INITIALIZE)).error, undefined);
  await one.tell('notifications/initialized');
  return one;
}

async function byLines(name: string): Promise<Talker> {
  const { answers, socket } = await openedLines(login(name));
  sockets.push(socket);
  return opened(
    talker(
      (text) => socket.write(text),
      () => new Promise((resolve) => socket.once('drain', resolve)),
      answers,
    ),
  );
}

async function byBridge(name: string): Promise<Talker> {
  const [input, output] = [new PassThrough(), new PassThrough()];
  void carry({ ...login(name), input, output });
  return opened(
    talker(
      (text) => input.write(text),
      () => new Promise((resolve) => input.once('drain', resolve)),
      output,
    ),
  );
}

/** Each message a request of its own. */
async function byHttp(name: string): Promise<Talker> {
  const { endpoint, token } = login(name);
  let session: string | null = null;
  const post = async (message: object): Promise<string> => {
    const response = await fetch(endpoint, {
      method: 'POST',
      headers: {
        Authorization: `Bearer ${token}`,
        'Content-Type': 'application/json',
        Accept: 'application/json, text/event-stream',
        ...(session !== null && { 'Mcp-Session-Id': session }),
      },
      body: JSON.stringify({ jsonrpc: '2.0', ...message }),
    });
    session ??= response.headers.get('mcp-session-id');
    return response.text();
  };
  return opened({
    ask: async (id, method, params) => {
      const text = await post({ id, method, params });
      const data = text.startsWith('{')
        ? text
        : text
            .split('\n')
            .findLast((line) => line.startsWith('data: {'))
            ?.slice(6);
      const answer = JSON.parse(data ?? '{}') as Partial<Answer> & { readonly error?: Answer['error'] | string };
      // What is refused before it is read is no answer of the protocol's.
      return { ...answer, text: data ?? text, error: typeof answer.error === 'string' ? { message: answer.error } : answer.error } as Answer;
    },
    tell: (method) => post({ method }),
    others: () => 0,
  });
}

const call = (name: string, args: object = {}): object => ({ name, arguments: args });
const echoes = async (one: Talker, id: number): Promise<void> => {
  const { error, result, text } = await one.ask(id, 'tools/call', call('echo'));
  assert.equal(result?.content[0].text, 'echo', error?.message ?? text.slice(0, 400));
};

const WAYS: readonly (readonly [string, () => Promise<Talker>, object])[] = [
  ['from a process to a client of lines', () => byLines('stdio'), {}],
  ['from a process to a client over HTTP', () => byHttp('stdio'), {}],
  ['from a server over HTTP, as an event, to a client over HTTP', () => byHttp('http'), {}],
  ['from a server over HTTP, as JSON, to a client of lines', () => byLines('http'), { json: true }],
];

describe('a result of 50 MB', OPTIONS, () => {
  for (const [way, open, how] of WAYS.filter((_, i) => i % 2 === 0)) {
    it(`arrives whole and masked ${way}, in bounded memory, and others are served meanwhile`, async (t) => {
      const one = await open();
      const other = await byLines('http');
      const meanwhile = new AbortController();
      let answer: Answer = { text: '' };
      let served = 0;
      let longest = 0;
      const { grown, before: at } = await sampled(pid, async () => {
        const big = one.ask(2, 'tools/call', call('rows', { bytes: LARGE, ...how }));
        void big.then(() => meanwhile.abort());
        while (!meanwhile.signal.aborted) {
          const askedAt = performance.now();
          await echoes(other, 100 + served++);
          longest = Math.max(longest, performance.now() - askedAt);
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        answer = await big;
      });
      const text = answer.result?.content[0].text ?? answer.error?.message ?? '';
      t.diagnostic(`${inMb(at)} and ${inMb(grown)} more; ${served} answers meanwhile, the slowest in ${Math.round(longest)} ms`);
      assert.ok(text.length > LARGE - 200, text.slice(0, 200));
      assert.match(text.slice(-30), /paid with ‹card/);
      assert.ok(grown < MAX_GROWTH_LARGE, inMb(grown));
      assert.ok(served >= 2, String(served));
      await echoes(one, 3);
    });
  }
});

describe('a message over the cap', OPTIONS, () => {
  for (const [way, open, how] of WAYS) {
    it(`is refused with a sentence where it comes ${way}, and the session goes on`, async () => {
      const one = await open();
      const { error } = await one.ask(2, 'tools/call', call('rows', { bytes: OVER, ...how }));
      assert.match(error?.message ?? '', /more than 67108864 (?:characters|bytes)/);
      await echoes(one, 3);
    });
  }

  for (const [way, open] of [
    ['lines', byLines],
    ['HTTP', byHttp],
    ['a bridge', byBridge],
  ] as const) {
    it(`is refused with a sentence where a client sends it over ${way}, and the session goes on`, async () => {
      const one = await open('stdio');
      const { error } = await one.ask(2, 'tools/call', call('echo', { text: 'x'.repeat(50 * MB) }));
      assert.match(error?.message ?? '', /may have at most 4194304 bytes/);
      await echoes(one, 3);
    });
  }
});

describe('a great many small messages', OPTIONS, () => {
  it('from a server all arrive, in bounded memory', async (t) => {
    const one = await byLines('stdio');
    const { grown } = await sampled(pid, () => one.ask(2, 'tools/call', call('many', { count: SMALL })));
    t.diagnostic(`${SMALL} messages, ${inMb(grown)} more`);
    assert.equal(one.others(), SMALL);
    assert.ok(grown < MAX_GROWTH_SMALL, inMb(grown));
  });

  it('from a client all arrive, in bounded memory', async (t) => {
    const one = await byLines('stdio');
    const { grown } = await sampled(pid, async () => {
      for (let i = 0; i < SMALL; i++) await one.tell('notifications/roots/list_changed');
      await echoes(one, 2);
    });
    t.diagnostic(`${SMALL} messages, ${inMb(grown)} more`);
    // The first is `initialized`.
    assert.equal((await one.ask(3, 'tools/call', call('heard'))).result?.content[0].text, String(SMALL + 1));
    assert.ok(grown < MAX_GROWTH_SMALL, inMb(grown));
  });
});
