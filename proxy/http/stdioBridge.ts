/** `proxy mcp <name>`: carries MCP between a client that only speaks stdio and the loopback server. Decides nothing. */
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { z } from 'zod';
import type { JsonObject } from '../protocols/mcp/message.ts';
import { EventStream } from '../protocols/mcp/upstream/eventStream.ts';
import { ParamHeaders } from '../protocols/mcp/upstream/paramHeaders.ts';
import type { BridgeAccess } from './bridgeAccess.ts';
import { LinePipe, openLines } from './linePipe.ts';
import { LineReader, outlineOf, type Skipped } from './lineReader.ts';

/** Longest message of the client's, in bytes, and of the server's, in characters. */
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
const MAX_ANSWER_CHARS = 64 * 1024 * 1024;
/** How long a stream that ended waits before it is opened again, in milliseconds. */
const REOPEN_MS = 1_000;
const RETURN = 13;
const NAME = /^[\w~-][\w.~-]{0,199}$/;

const Message = z.looseObject({ jsonrpc: z.literal('2.0'), id: z.union([z.string(), z.number()]).optional(), method: z.string().optional() });
type Message = z.infer<typeof Message>;

export interface Bridge {
  readonly endpoint: string;
  readonly token: string;
  readonly input: Readable;
  readonly output: Writable;
  /** Asks for another login: the one there is has expired, or the proxy was started again. */
  readonly renew?: () => Promise<{ readonly endpoint: string; readonly token: string } | undefined>;
}

/** Runs the bridge on this process's stdio. Where to and with which token come from the environment, never from arguments. */
export async function runBridge(name: string, env: Readonly<Record<string, string | undefined>> = process.env): Promise<void> {
  const base = env.COUNTERSIGN_MCP_URL;
  const token = env.COUNTERSIGN_MCP_TOKEN;
  if (!base || !token || !NAME.test(name) || !/^http:\/\/127\.0\.0\.1:\d{1,5}\/mcp$/.test(base)) {
    process.exitCode = 1;
    process.stderr.write(
      'Countersign could not be reached: COUNTERSIGN_MCP_URL and COUNTERSIGN_MCP_TOKEN are not set. Open a terminal in an editor with Countersign.\n',
    );
    return;
  }
  await carry({ endpoint: name === 'countersign' ? base : `${base}/${name}`, token, input: process.stdin, output: process.stdout });
}

/** The same with a login that was asked for, and can be asked for again. */
export async function carryFor(name: string, access: BridgeAccess, renew: () => Promise<BridgeAccess | undefined>): Promise<void> {
  if (!NAME.test(name)) throw new Error('that is no name of a connection');
  const at = ({ url, token }: BridgeAccess) => ({ endpoint: `${url}/${name}`, token });
  const again = async () => {
    const next = await renew();
    return next && at(next);
  };
  await carry({ ...at(access), renew: again, input: process.stdin, output: process.stdout });
}

/** Resolves when the input has ended and every request has been answered. */
export async function carry(bridge: Bridge): Promise<void> {
  const state: BridgeState = {
    session: undefined,
    version: undefined,
    at: bridge,
    opening: undefined,
    headers: new ParamHeaders(),
    open: new Map(),
    left: new AbortController(),
  };
  const running = new Set<Promise<void>>();
  const pause = (): void => void bridge.input.pause();
  const resume = (): void => void bridge.input.resume();
  let pipe: LinePipe | undefined;
  /** @returns when the next line may come, where that is not now */
  const take = (line: Buffer): Promise<unknown> | undefined => {
    if (line.length === 0 || (line.length === 1 && line[0] === RETURN)) return undefined;
    const message = parse(line.toString());
    if (!message) {
      write(bridge.output, { jsonrpc: '2.0', id: null, error: { code: -32_700, message: 'The message is not JSON-RPC.' } });
      return undefined;
    }
    const initializes = message.method === 'initialize';
    if (pipe) return pipe.send(line, message.method === undefined ? undefined : message.id, initializes);
    if (!initializes || state.session !== undefined) return byRequest(message);
    return openPipe(bridge, state, { pause, resume }, line, message.id).then((opened) => {
      pipe = opened;
      return opened ? opened.send(line, message.id, true) : byRequest(message);
    });
  };
  const byRequest = (message: Message): Promise<unknown> | undefined => {
    if (cancels(state, message)) return undefined;
    const sent = post(bridge, state, message).finally(() => running.delete(sent));
    running.add(sent);
    // A connection's first exchange tells the session and the version that all later ones carry, so it goes alone.
    const alone = message.method === 'initialize' || message.id === undefined;
    if (message.method !== 'notifications/initialized') return alone ? sent : undefined;
    return sent.then(() => void listen(bridge, state));
  };
  const tooLong = (skipped: Skipped): void => {
    const error = { code: -32_600, message: `A message may have at most ${MAX_MESSAGE_BYTES} bytes.` };
    write(bridge.output, { jsonrpc: '2.0', id: outlineOf(skipped).id ?? null, error });
  };
  await eachLine(bridge.input, take, tooLong);
  await pipe?.end();
  await Promise.all(running);
  state.left.abort();
  if (state.session === undefined) return;
  // The session ends with the client, not with a time-out.
  const headers = { Authorization: `Bearer ${state.at.token}`, 'Mcp-Session-Id': state.session };
  await fetch(state.at.endpoint, { method: 'DELETE', headers, redirect: 'error' }).catch(() => undefined);
}

interface BridgeState {
  session: string | undefined;
  version: string | undefined;
  at: { readonly endpoint: string; readonly token: string };
  /** The client's `initialize`, to open a session anew where the proxy was started again. */
  opening: Message | undefined;
  /** What the stateless era repeats in headers. */
  readonly headers: ParamHeaders;
  /** Its requests that wait. */
  readonly open: Map<unknown, AbortController>;
  /** Aborted when the client has gone. */
  readonly left: AbortController;
}

/** In the stateless era (2026-07-28) hanging up is what cancels over HTTP. */
function cancels({ open, session }: BridgeState, message: Message): boolean {
  if (message.method !== 'notifications/cancelled' || session !== undefined) return false;
  const waiting = open.get((message.params as JsonObject | undefined)?.requestId);
  waiting?.abort();
  return waiting !== undefined;
}

/** What belongs to no request comes on a stream of its own. */
async function listen({ output }: Bridge, state: BridgeState): Promise<void> {
  const { signal } = state.left;
  while (state.session !== undefined && !signal.aborted) {
    try {
      const headers = { Authorization: `Bearer ${state.at.token}`, Accept: 'text/event-stream', 'Mcp-Session-Id': state.session };
      const response = await fetch(state.at.endpoint, { headers, redirect: 'error', signal });
      if (response.ok && response.body) {
        await readEvents(response.body, (text) => {
          const message = parse(text);
          if (message) write(output, message);
        });
      } else await response.body?.cancel();
    } catch {
      // The proxy has gone, or the client: the loop knows which.
    }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, REOPEN_MS).unref());
  }
}

function send(state: BridgeState, message: Message): Promise<Response> {
  const waiting = state.open.get(message.id);
  return fetch(state.at.endpoint, {
    method: 'POST',
    redirect: 'error',
    headers: {
      Authorization: `Bearer ${state.at.token}`,
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      ...(state.session !== undefined && { 'Mcp-Session-Id': state.session }),
      ...(state.version !== undefined && { 'MCP-Protocol-Version': state.version }),
      ...modernHeaders(state, message),
    },
    body: textOf(message),
    ...(waiting && { signal: waiting.signal }),
  });
}

/** Sends it, and once more where it certainly was not taken: nobody listened, the login was old, the session is of a proxy that has gone. */
async function sendAgain({ renew }: Bridge, state: BridgeState, message: Message): Promise<Response> {
  let answer = await send(state, message).catch((cause: unknown) => {
    if (renew === undefined || !nobodyListened(cause)) throw cause;
    return undefined;
  });
  if (renew !== undefined && (answer === undefined || answer.status === 401)) {
    await answer?.body?.cancel();
    const next = await renew();
    if (next === undefined) throw new Error('no proxy');
    state.at = next;
    answer = undefined;
  }
  answer ??= await send(state, message);
  if (renew === undefined || answer.status !== 404 || state.session === undefined || message.method === 'initialize') return answer;
  await answer.body?.cancel();
  await reopen(state);
  return await send(state, message);
}

async function reopen(state: BridgeState): Promise<void> {
  state.session = undefined;
  state.version = undefined;
  if (state.opening === undefined) return;
  const opened = await send(state, state.opening);
  await opened.text();
  state.session = opened.headers.get('mcp-session-id') ?? undefined;
  await (await send(state, { jsonrpc: '2.0', method: 'notifications/initialized' })).text();
}

function nobodyListened(cause: unknown): boolean {
  const { cause: inner } = cause as { readonly cause?: { readonly code?: unknown } };
  return inner?.code === 'ECONNREFUSED';
}

async function post(bridge: Bridge, state: BridgeState, message: Message): Promise<void> {
  const { output } = bridge;
  if (message.method === 'initialize') state.opening = message;
  const abort = new AbortController();
  if (message.id !== undefined && message.method !== undefined && versionOf(message) !== undefined) state.open.set(message.id, abort);
  try {
    const response = await sendAgain(bridge, state, message);
    state.session ??= response.headers.get('mcp-session-id') ?? undefined;
    const type = response.headers.get('content-type') ?? '';
    if (type.startsWith('text/event-stream') && response.body) {
      await readEvents(response.body, deliver);
    } else if (type.startsWith('application/json')) {
      const text = await response.text();
      if (response.ok || parse(text)) deliver(text);
      else answer(`Countersign answered ${response.status}: ${text.slice(0, 300)}`);
    } else if (!response.ok) answer(`Countersign answered ${response.status}.`);
  } catch {
    if (!abort.signal.aborted) answer('Countersign does not answer. Open an editor window with it, then try again.');
  } finally {
    state.open.delete(message.id);
  }

  function deliver(text: string): void {
    const received = parse(text);
    if (!received) return;
    if (message.method === 'initialize') {
      const version = z.object({ result: z.object({ protocolVersion: z.string().max(40) }) }).safeParse(received);
      if (version.success) state.version = version.data.result.protocolVersion;
    }
    if (message.method === 'tools/list' && typeof received.result === 'object' && received.result !== null) state.headers.learn(received.result as JsonObject);
    write(output, received);
  }

  function answer(sentence: string): void {
    if (message.id !== undefined && message.method !== undefined)
      write(output, { jsonrpc: '2.0', id: message.id, error: { code: -32_000, message: sentence } });
  }
}

const Envelope = z.looseObject({ _meta: z.looseObject({ 'io.modelcontextprotocol/protocolVersion': z.string().max(40) }) });

function versionOf(message: Message): string | undefined {
  const params = Envelope.safeParse(message.params);
  return params.success ? params.data._meta['io.modelcontextprotocol/protocolVersion'] : undefined;
}

/** Headers that the stateless protocol (2026-07-28) wants repeated from the body. */
function modernHeaders(state: BridgeState, message: Message): Record<string, string> {
  const version = versionOf(message);
  if (version === undefined || message.method === undefined) return {};
  return { 'MCP-Protocol-Version': version, ...state.headers.of(message.method, message.params as JsonObject) };
}

/** A message as it came: written anew, a large number in it would be another. */
const texts = new WeakMap<object, string>();

function textOf(message: object): string {
  const text = texts.get(message);
  return text === undefined || text.includes('\n') ? JSON.stringify(message) : text;
}

function parse(text: string): Message | undefined {
  try {
    const parsed = Message.safeParse(JSON.parse(text));
    if (!parsed.success) return undefined;
    texts.set(parsed.data, text);
    return parsed.data;
  } catch {
    return undefined;
  }
}

function write(output: Writable, message: object): void {
  output.write(`${textOf(message)}\n`);
}

/** Takes line after line, each once the one before lets it. Resolves when the last was taken, rejects for one that has no end. */
function eachLine(input: Readable, take: (line: Buffer) => Promise<unknown> | undefined, tooLong: (skipped: Skipped) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const held: Buffer[] = [];
    /** What the line before waits for. */
    let waiting: Promise<unknown> | undefined;
    let ended = false;
    const go = (line: Buffer): void => {
      if (waiting) return void held.push(line);
      waiting = take(line);
      if (!waiting) return undefined;
      input.pause();
      return void waiting.then(goOn, reject);
    };
    const goOn = (): void => {
      waiting = undefined;
      const lines = held.splice(0);
      for (const line of lines) go(line);
      if (waiting !== undefined) return;
      if (ended) resolve();
      else input.resume();
    };
    const reader = new LineReader(MAX_MESSAGE_BYTES, go, tooLong);
    input.on('data', (chunk: Buffer | string) => {
      if (!reader.write(typeof chunk === 'string' ? Buffer.from(chunk) : chunk)) reject(new Error('a message has no end'));
    });
    input.once('end', () => {
      reader.end();
      ended = true;
      if (!waiting) resolve();
    });
    input.once('error', reject);
  });
}

/** Undefined where the proxy takes no lines: then each message is a request of its own. */
async function openPipe(
  bridge: Bridge,
  state: BridgeState,
  flow: { readonly pause: () => void; readonly resume: () => void },
  opening: Buffer,
  id: unknown,
): Promise<LinePipe | undefined> {
  const open = async (): Promise<Socket | undefined> => {
    const socket = await openLines(state.at);
    if (socket !== undefined && socket !== 'login') return socket;
    const next = await bridge.renew?.();
    if (!next) return undefined;
    state.at = next;
    const again = await openLines(next);
    return again === 'login' ? undefined : again;
  };
  const first = await openLines(state.at);
  const socket = first === 'login' ? await open() : first;
  return socket && new LinePipe({ output: bridge.output, open, ...flow }, socket, opening, id);
}

async function readEvents(body: AsyncIterable<Uint8Array>, deliver: (text: string) => void): Promise<void> {
  const events = new EventStream({
    maxChars: MAX_ANSWER_CHARS,
    onEvent: ({ data, type }) => {
      if (type === 'message' && data !== '') deliver(data);
    },
  });
  for await (const chunk of body) events.write(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
}
