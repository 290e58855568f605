/**
 * One server over Streamable HTTP: a request for each message, answers as JSON or as a stream of events. Sessions (up to
 * 2025-11-25) are kept, resumed and opened again where the server has forgotten them; messages of the stateless era carry
 * their headers, made from their bodies.
 */
import { Problem } from '../../../../contract/problem.ts';
import { parseStrict } from '../../../http/strictJson.ts';
import type { Log } from '../../../pipeline/engine.ts';
import type { Dial } from '../../protocol.ts';
import { type Id, isObject, type Json, type JsonObject, MAX_MESSAGE_CHARS, type Message, readMessage } from '../message.ts';
import type { UpstreamCredentials } from './credentials.ts';
import { EventStream } from './eventStream.ts';
import { drain, type HttpAnswer, HttpClient, readText } from './httpExchange.ts';
import { ParamHeaders } from './paramHeaders.ts';
import { unreachable } from './unreachable.ts';
import type { Channel, ChannelEvents, Outgoing } from './upstream.ts';

/** How long the first attempt to take up a broken stream waits, and the longest wait, in milliseconds. */
const RECONNECT_MS = 1_000;
const MAX_RECONNECT_MS = 30_000;
/** Attempts to take up the stream of one request. */
const MAX_RESUMES = 5;
/** How long the server may take to be told that the session ends, in milliseconds. */
const GOODBYE_MS = 2_000;
const HEADER_MISMATCH = -32_020;
const VERSION_META = 'io.modelcontextprotocol/protocolVersion';

export interface HttpOptions extends ChannelEvents {
  readonly connection: string;
  readonly url: URL;
  readonly credentials: UpstreamCredentials;
  readonly log: Log;
  /** How it is reached, where that is not straight from here. */
  readonly dial?: Dial | undefined;
}

type Sent = Extract<Outgoing, { readonly method: string }>;

interface HttpSession {
  readonly id: string | undefined;
  readonly version: string | undefined;
}

export class HttpServer implements Channel {
  readonly #options: HttpOptions;
  readonly #http: HttpClient;
  readonly #stopped = new AbortController();
  readonly #open = new Map<Id, { readonly abort: AbortController; readonly stateless: boolean }>();
  readonly #bodies = new Set<HttpAnswer['body']>();
  readonly #headers = new ParamHeaders();
  #paused = false;
  #session: HttpSession | undefined;
  /** How the session was opened, to open it again. */
  #initialize: JsonObject | undefined;
  #renewing: Promise<void> | undefined;
  #listening: AbortController | undefined;
  /** Notifications that are on their way: what is sent after them must not overtake them. */
  #before: Promise<void> | undefined;
  #own = 0;

  constructor(options: HttpOptions) {
    this.#options = options;
    this.#http = new HttpClient(options.dial);
  }

  get running(): boolean {
    return !this.#stopped.signal.aborted;
  }

  send(message: Outgoing): void {
    if (!this.running) return undefined;
    if (!('method' in message)) return void this.#tell(message);
    if ('id' in message) return void this.#request(message.id, message);
    if (message.method === 'notifications/cancelled') return this.#cancel(message);
    const told = this.#tell(message).then(() => {
      if (this.#before === told) this.#before = undefined;
      if (message.method === 'notifications/initialized' && this.#session) this.#listen();
    });
    this.#before = told;
    return undefined;
  }

  pause(): void {
    this.#paused = true;
    for (const body of this.#bodies) body.pause();
  }

  resume(): void {
    this.#paused = false;
    for (const body of this.#bodies) body.resume();
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    this.#stopped.abort();
    for (const { abort } of this.#open.values()) abort.abort();
    if (this.#session?.id !== undefined) await this.#goodbye();
    this.#http.close();
  }

  async #goodbye(): Promise<void> {
    try {
      const headers = { ...(await this.#options.credentials.headers(this.#options.url)), ...this.#sessionHeaders() };
      const answer = await this.#http.send({ method: 'DELETE', url: this.#options.url, headers, signal: AbortSignal.timeout(GOODBYE_MS) });
      answer.body.destroy();
    } catch {
      // It forgets the session by itself.
    }
  }

  #cancel(message: Sent): void {
    const id = message.params?.requestId;
    const open = typeof id === 'string' || typeof id === 'number' ? this.#open.get(id) : undefined;
    if (!open) return undefined;
    // In the stateless era hanging up is what cancels.
    if (open.stateless) return open.abort.abort();
    return void this.#tell(message).finally(() => open.abort.abort());
  }

  /** Sends what has no answer. Never rejects. */
  async #tell(message: Outgoing): Promise<void> {
    try {
      await this.#before;
      const answer = await this.#post(message, this.#stopped.signal);
      drain(answer.body);
      if (answer.status >= 400) this.#options.log.info('mcp.server.refused', { connection: this.#options.connection, status: answer.status });
    } catch (cause) {
      if (this.running) this.#options.log.warn('mcp.server.unreachable', { connection: this.#options.connection, cause });
    }
  }

  async #request(id: Id, message: Sent): Promise<void> {
    const abort = new AbortController();
    this.#open.set(id, { abort, stateless: versionIn(message) !== undefined });
    if (message.method === 'initialize') this.#initialize = message.params;
    try {
      if (this.#before) await this.#before;
      const deliver = (got: Message): void => {
        if (got.kind === 'response' && got.id === id && 'result' in got.reply && message.method === 'tools/list') this.#headers.learn(got.reply.result);
        this.#options.onMessage(got, id);
      };
      await this.#exchange(id, message, abort.signal, deliver);
    } catch (cause) {
      if (abort.signal.aborted) return;
      const sentence = cause instanceof Problem ? cause.message : unreachable(this.#options.connection, this.#options.url, cause);
      if (!(cause instanceof Problem)) this.#options.log.warn('mcp.server.unreachable', { connection: this.#options.connection, cause });
      this.#options.onMessage({ kind: 'response', id, reply: { error: { code: -32_000, message: sentence } } }, id);
    } finally {
      this.#open.delete(id);
    }
  }

  /** Sends a request until it is answered: once more where the session was forgotten or a header was missed. */
  async #exchange(id: Id, message: Sent, signal: AbortSignal, deliver: (message: Message) => void): Promise<void> {
    for (let again = true; ; again = false) {
      const used = this.#session;
      const answer = await this.#post(message, signal);
      if (answer.status === 404 && used?.id !== undefined && again && message.method !== 'initialize') {
        drain(answer.body);
        await this.#renew(used);
        continue;
      }
      let mismatch = false;
      const got = await this.#read(id, answer, signal, (received) => {
        const error = received.kind === 'response' && 'error' in received.reply ? received.reply.error : undefined;
        mismatch = again && error?.code === HEADER_MISMATCH && message.method === 'tools/call' && received.kind === 'response' && received.id === id;
        if (message.method === 'initialize' && received.kind === 'response' && 'result' in received.reply) {
          const version = received.reply.result.protocolVersion;
          this.#session = { id: sessionOf(answer), version: typeof version === 'string' ? version.slice(0, 40) : undefined };
        }
        if (!mismatch) deliver(received);
      });
      // Its schema says which arguments stand in headers, and we have not seen it yet.
      if (mismatch) {
        await this.#learnTools(message, signal);
        continue;
      }
      if (!got) throw new Problem('no-answer', `The MCP server ${this.#options.connection} hung up before it answered. The call may have been carried out.`);
      return;
    }
  }

  async #learnTools(message: Sent, signal: AbortSignal): Promise<void> {
    const meta = isObject(message.params?._meta) ? message.params._meta : {};
    for (let cursor: Json | undefined, pages = 0; pages < 20; pages++) {
      const id = `countersign-tools-${++this.#own}`;
      let next: Json | undefined;
      await this.#exchange(id, { id, method: 'tools/list', params: { _meta: meta, ...(cursor !== undefined && { cursor }) } }, signal, (got) => {
        if (got.kind !== 'response' || !('result' in got.reply)) return;
        this.#headers.learn(got.reply.result);
        next = got.reply.result.nextCursor;
      });
      if (typeof next !== 'string') return;
      cursor = next;
    }
  }

  /** The server has forgotten the session: opens another as the first was opened, once for all who need it. */
  async #renew(forgotten: HttpSession): Promise<void> {
    if (this.#session !== forgotten) return this.#renewing;
    this.#renewing ??= (async () => {
      try {
        this.#session = undefined;
        const id = `countersign-initialize-${++this.#own}`;
        const params = this.#initialize ?? {};
        await this.#exchange(id, { id, method: 'initialize', params }, this.#stopped.signal, () => {});
        await this.#tell({ method: 'notifications/initialized' });
        this.#listen();
        this.#options.log.info('mcp.server.session-renewed', { connection: this.#options.connection });
      } finally {
        this.#renewing = undefined;
      }
    })();
    return this.#renewing;
  }

  async #post(message: Outgoing, signal: AbortSignal): Promise<HttpAnswer> {
    const { credentials, url } = this.#options;
    for (let again = true; ; again = false) {
      const answer = await this.#http.send({
        method: 'POST',
        url,
        signal,
        headers: {
          ...(await credentials.headers(url)),
          'Content-Type': 'application/json',
          Accept: 'application/json, text/event-stream',
          ...this.#headersOf(message),
        },
        body: JSON.stringify({ jsonrpc: '2.0', ...message }),
      });
      if (answer.status !== 401 && answer.status !== 403) return answer;
      drain(answer.body);
      if (again && (await credentials.refused(url, answer.status, answer.headers['www-authenticate']))) continue;
      throw new Problem(
        'upstream-unauthorised',
        `The MCP server ${this.#options.connection} refuses our credentials (${answer.status}). Provide them in the Connections view.`,
      );
    }
  }

  #headersOf(message: Outgoing): Record<string, string> {
    const version = 'method' in message ? versionIn(message) : undefined;
    if ('method' in message && version !== undefined) return { 'MCP-Protocol-Version': version, ...this.#headers.of(message.method, message.params) };
    return 'method' in message && message.method === 'initialize' ? {} : this.#sessionHeaders();
  }

  #sessionHeaders(): Record<string, string> {
    const { id, version } = this.#session ?? {};
    return { ...(id !== undefined && { 'Mcp-Session-Id': id }), ...(version !== undefined && { 'MCP-Protocol-Version': version }) };
  }

  /** Reads an answer. Resolves to whether the request `id` was answered in it. */
  async #read(id: Id, answer: HttpAnswer, signal: AbortSignal, deliver: (message: Message) => void): Promise<boolean> {
    const type = answer.headers['content-type'] ?? '';
    if (type.startsWith('text/event-stream')) {
      this.#options.onStream?.(id);
      return this.#readEvents(id, answer, signal, deliver);
    }
    const text = await readText(answer, MAX_MESSAGE_CHARS);
    if (!type.startsWith('application/json')) {
      if (answer.status >= 400) throw new Problem('http-status', `The MCP server ${this.#options.connection} answered with status ${answer.status}.`);
      return false;
    }
    const value = parseStrict(text);
    let answered = false;
    for (const one of Array.isArray(value) ? (value as readonly Json[]) : [value]) {
      // An error about a request that could not be read has no id; it was this one.
      const message = readMessage(isObject(one) && 'error' in one && (one.id === null || one.id === undefined) ? { ...one, jsonrpc: '2.0', id } : one);
      answered ||= message.kind === 'response' && message.id === id;
      deliver(message);
    }
    return answered;
  }

  async #readEvents(id: Id, first: HttpAnswer, signal: AbortSignal, deliver: (message: Message) => void): Promise<boolean> {
    let answered = false;
    const state = { last: undefined as string | undefined, retryMs: RECONNECT_MS };
    const take = (message: Message): void => {
      answered ||= message.kind === 'response' && message.id === id;
      deliver(message);
    };
    let failed: unknown;
    for (let answer = first, resumes = 0; ; ) {
      failed = await this.#stream(answer, state, take, () => answered).then(
        () => undefined,
        (cause: unknown) => cause ?? new Error('the stream broke'),
      );
      if (answered) return true;
      // What was too long once is too long again.
      if (failed instanceof Problem || signal.aborted || state.last === undefined || resumes++ >= MAX_RESUMES) break;
      this.#options.onBreak?.(id);
      await wait(state.retryMs, signal);
      const resumed = await this.#get(state.last, signal);
      if (resumed.status !== 200) {
        resumed.body.destroy();
        break;
      }
      answer = resumed;
    }
    if (failed instanceof Problem) throw failed;
    return false;
  }

  async #get(lastEventId: string | undefined, signal: AbortSignal): Promise<HttpAnswer> {
    const { credentials, url } = this.#options;
    const headers = { ...(await credentials.headers(url)), Accept: 'text/event-stream', ...this.#sessionHeaders() };
    return this.#http.send({ method: 'GET', url, signal, headers: { ...headers, ...(lastEventId !== undefined && { 'Last-Event-ID': lastEventId }) } });
  }

  /** Passes on what a stream brings, until it ends or `done`. */
  #stream(answer: HttpAnswer, state: { last: string | undefined; retryMs: number }, deliver: (message: Message) => void, done: () => boolean): Promise<void> {
    const { body } = answer;
    const { connection, log } = this.#options;
    return new Promise((resolve, reject) => {
      const events = new EventStream({
        maxChars: MAX_MESSAGE_CHARS,
        onRetry: (ms) => {
          state.retryMs = Math.min(ms, MAX_RECONNECT_MS);
        },
        onEvent: ({ data, id, type }) => {
          state.last = id ?? state.last;
          if (type !== 'message' || data === '') return;
          try {
            deliver(readMessage(parseStrict(data)));
          } catch (cause) {
            log.warn('mcp.server.malformed', { connection, code: cause instanceof Problem ? cause.code : 'unknown' });
          }
        },
      });
      const end = (settle: () => void): void => {
        this.#bodies.delete(body);
        drain(body);
        settle();
      };
      this.#bodies.add(body);
      if (this.#paused) body.pause();
      body.read({
        data: (chunk) => {
          try {
            events.write(chunk);
          } catch {
            return end(() =>
              reject(new Problem('message-too-long', `The MCP server ${connection} sent a message of more than ${MAX_MESSAGE_CHARS} characters.`)),
            );
          }
          // An answered stream has nothing left to say; servers that leave it open would hold a connection each.
          return done() ? end(resolve) : undefined;
        },
        end: () => end(resolve),
        error: (cause) => end(() => reject(cause)),
      });
    });
  }

  /** The server's own stream, for what belongs to no request; taken up again for as long as the session lasts. */
  #listen(): void {
    this.#listening?.abort();
    const listening = new AbortController();
    this.#listening = listening;
    const signal = AbortSignal.any([listening.signal, this.#stopped.signal]);
    const session = this.#session;
    const state = { last: undefined as string | undefined, retryMs: RECONNECT_MS };
    void (async () => {
      for (let failures = 0; !signal.aborted && this.#session === session; ) {
        try {
          const answer = await this.#get(state.last, signal);
          if (answer.status !== 200 || !(answer.headers['content-type'] ?? '').startsWith('text/event-stream')) return answer.body.destroy();
          failures = 0;
          await this.#stream(
            answer,
            state,
            (message) => this.#options.onMessage(message),
            () => false,
          );
        } catch (cause) {
          failures++;
          // It would be sent what was too long again.
          if (cause instanceof Problem) state.last = undefined;
        }
        await wait(Math.min(MAX_RECONNECT_MS, state.retryMs * 2 ** Math.min(failures, 5)), signal);
      }
      return undefined;
    })();
  }
}

function versionIn(message: Sent): string | undefined {
  const meta = message.params?._meta;
  const version = isObject(meta) ? meta[VERSION_META] : undefined;
  return typeof version === 'string' ? version : undefined;
}

function sessionOf(answer: HttpAnswer): string | undefined {
  const id = answer.headers['mcp-session-id'];
  return typeof id === 'string' && /^[\x21-\x7e]{1,1024}$/.test(id) ? id : undefined;
}

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    return signal.addEventListener('abort', done, { once: true });
  });
}
