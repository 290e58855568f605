/** The bridge's way where the proxy takes no lines: each message is a request of its own. */
import { isObject, type JsonObject } from '../protocols/mcp/message.ts';
import { EventStream } from '../protocols/mcp/upstream/eventStream.ts';
import { ParamHeaders } from '../protocols/mcp/upstream/paramHeaders.ts';
import { type Message, parseMessage } from './lineHead.ts';
import type { Login } from './openLines.ts';
import type { Outgoing } from './stdio.ts';

/** Longest answer, in characters, and longest name of a protocol's version. */
const MAX_ANSWER_CHARS = 64 * 1024 * 1024;
const MAX_VERSION_CHARS = 40;
/** How long a stream that ended waits before it is opened again, in milliseconds. */
const REOPEN_MS = 1_000;

/** Where the proxy is, and how another login is asked for: the one there is has expired, or the proxy was started again. */
export interface Access {
  at: Login;
  readonly renew: (() => Promise<Login | undefined>) | undefined;
}

export class ByRequest {
  readonly #access: Access;
  readonly #output: Outgoing;
  readonly #running = new Set<Promise<void>>();
  #session: string | undefined;
  #version: string | undefined;
  /** The client's `initialize`, to open a session anew where the proxy was started again. */
  #opening: Message | undefined;
  /** What the stateless era repeats in headers. */
  readonly #headers = new ParamHeaders();
  /** Its requests that wait. */
  readonly #open = new Map<unknown, AbortController>();
  /** Aborted when the client has gone. */
  readonly #left = new AbortController();

  constructor(access: Access, output: Outgoing) {
    this.#access = access;
    this.#output = output;
  }

  get hasSession(): boolean {
    return this.#session !== undefined;
  }

  /** @returns when the next message may come, where that is not now */
  take(message: Message): Promise<unknown> | undefined {
    if (this.#cancels(message)) return undefined;
    const sent = this.#post(message).finally(() => this.#running.delete(sent));
    this.#running.add(sent);
    // A connection's first exchange tells the session and the version that all later ones carry, so it goes alone.
    const alone = message.method === 'initialize' || message.id === undefined;
    if (message.method !== 'notifications/initialized') return alone ? sent : undefined;
    return sent.then(() => void this.#listen());
  }

  /** Resolves when every request has its answer, and the session has ended with its client and not with a time-out. */
  async end(): Promise<void> {
    await Promise.all(this.#running);
    this.drop();
    if (this.#session === undefined) return;
    const headers = { Authorization: `Bearer ${this.#access.at.token}`, 'Mcp-Session-Id': this.#session };
    await fetch(this.#access.at.endpoint, { method: 'DELETE', headers, redirect: 'error' }).catch(() => undefined);
  }

  drop(): void {
    this.#left.abort();
  }

  /** In the stateless era (2026-07-28) hanging up is what cancels over HTTP. */
  #cancels(message: Message): boolean {
    if (message.method !== 'notifications/cancelled' || this.#session !== undefined) return false;
    const waiting = this.#open.get((message.params as JsonObject | undefined)?.requestId);
    waiting?.abort();
    return waiting !== undefined;
  }

  /** What belongs to no request comes on a stream of its own. */
  async #listen(): Promise<void> {
    const { signal } = this.#left;
    while (this.#session !== undefined && !signal.aborted) {
      try {
        const { endpoint, token } = this.#access.at;
        const headers = { Authorization: `Bearer ${token}`, Accept: 'text/event-stream', 'Mcp-Session-Id': this.#session };
        const response = await fetch(endpoint, { headers, redirect: 'error', signal });
        if (response.ok && response.body) {
          await readEvents(response.body, (text) => {
            const message = parse(text);
            if (message) writeMessage(this.#output, message);
          });
        } else await response.body?.cancel();
      } catch {
        // The proxy has gone, or the client: the loop knows which.
      }
      if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, REOPEN_MS).unref());
    }
  }

  #send(message: Message): Promise<Response> {
    const waiting = this.#open.get(message.id);
    return fetch(this.#access.at.endpoint, {
      method: 'POST',
      redirect: 'error',
      headers: {
        Authorization: `Bearer ${this.#access.at.token}`,
        'Content-Type': 'application/json',
        Accept: 'application/json, text/event-stream',
        ...(this.#session !== undefined && { 'Mcp-Session-Id': this.#session }),
        ...(this.#version !== undefined && { 'MCP-Protocol-Version': this.#version }),
        ...this.#modernHeaders(message),
      },
      body: textOf(message),
      ...(waiting && { signal: waiting.signal }),
    });
  }

  /** Sends it, and once more where it certainly was not taken: nobody listened, the login was old, the session is of a proxy that has gone. */
  async #sendAgain(message: Message): Promise<Response> {
    const { renew } = this.#access;
    let answer = await this.#send(message).catch((cause: unknown) => {
      if (renew === undefined || !nobodyListened(cause)) throw cause;
      return undefined;
    });
    if (renew !== undefined && (answer === undefined || answer.status === 401)) {
      await answer?.body?.cancel();
      const next = await renew();
      if (next === undefined) throw new Error('no proxy');
      this.#access.at = next;
      answer = undefined;
    }
    answer ??= await this.#send(message);
    if (renew === undefined || answer.status !== 404 || this.#session === undefined || message.method === 'initialize') return answer;
    await answer.body?.cancel();
    await this.#reopen();
    return await this.#send(message);
  }

  async #reopen(): Promise<void> {
    this.#session = undefined;
    this.#version = undefined;
    if (this.#opening === undefined) return;
    const opened = await this.#send(this.#opening);
    await opened.text();
    this.#session = opened.headers.get('mcp-session-id') ?? undefined;
    await (await this.#send({ jsonrpc: '2.0', method: 'notifications/initialized' })).text();
  }

  async #post(message: Message): Promise<void> {
    if (message.method === 'initialize') this.#opening = message;
    const abort = new AbortController();
    if (message.id !== undefined && message.method !== undefined && versionOf(message) !== undefined) this.#open.set(message.id, abort);
    const answer = (sentence: string): void => {
      if (message.id !== undefined && message.method !== undefined)
        writeMessage(this.#output, { jsonrpc: '2.0', id: message.id, error: { code: -32_000, message: sentence } });
    };
    try {
      const response = await this.#sendAgain(message);
      this.#session ??= response.headers.get('mcp-session-id') ?? undefined;
      const type = response.headers.get('content-type') ?? '';
      if (type.startsWith('text/event-stream') && response.body) {
        await readEvents(response.body, (text) => this.#deliver(message, text));
      } else if (type.startsWith('application/json')) {
        const text = await response.text();
        if (response.ok || parse(text)) this.#deliver(message, text);
        else answer(`Countersign answered ${response.status}: ${text.slice(0, 300)}`);
      } else if (!response.ok) answer(`Countersign answered ${response.status}.`);
    } catch {
      if (!abort.signal.aborted) answer('Countersign does not answer. Open an editor window with it, then try again.');
    } finally {
      this.#open.delete(message.id);
    }
  }

  #deliver(message: Message, text: string): void {
    const received = parse(text);
    if (!received) return;
    const { result } = received;
    if (isObject(result)) {
      if (message.method === 'initialize') this.#version = shortText(result.protocolVersion) ?? this.#version;
      if (message.method === 'tools/list') this.#headers.learn(result);
    }
    writeMessage(this.#output, received);
  }

  /** Headers that the stateless protocol (2026-07-28) wants repeated from the body. */
  #modernHeaders(message: Message): Record<string, string> {
    const version = versionOf(message);
    if (version === undefined || message.method === undefined) return {};
    return { 'MCP-Protocol-Version': version, ...this.#headers.of(message.method, message.params as JsonObject) };
  }
}

function nobodyListened(cause: unknown): boolean {
  const { cause: inner } = cause as { readonly cause?: { readonly code?: unknown } };
  return inner?.code === 'ECONNREFUSED';
}

function versionOf({ params }: Message): string | undefined {
  const meta = isObject(params) ? params._meta : undefined;
  return isObject(meta) ? shortText(meta['io.modelcontextprotocol/protocolVersion']) : undefined;
}

function shortText(value: unknown): string | undefined {
  return typeof value === 'string' && value.length <= MAX_VERSION_CHARS ? value : undefined;
}

/** A message as it came: written anew, a large number in it would be another. */
const texts = new WeakMap<object, string>();

function textOf(message: object): string {
  const text = texts.get(message);
  return text === undefined || text.includes('\n') ? JSON.stringify(message) : text;
}

/** Remembers what a message was read from. */
export function parse(text: string): Message | undefined {
  const message = parseMessage(text);
  if (message) texts.set(message, text);
  return message;
}

export function writeMessage(output: Outgoing, message: object): void {
  output.write(`${textOf(message)}\n`);
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
