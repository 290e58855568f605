/**
 * Streamable HTTP of the era of sessions, towards a client: one session. Each request has its stream, what belongs to none
 * goes to the stream that the client holds open for it; a stream that broke can be taken up where it broke.
 */
import type { Answering, Asked } from '../../../http/answering.ts';
import type { ClientIdentity } from '../../protocol.ts';
import type { Id, Message } from '../message.ts';
import { EventReply } from './eventReply.ts';
import { endWithLogin } from './untilLogin.ts';

/** Events of one session that are kept for a client that comes back: how many, and how many characters in all. */
const MAX_KEPT = 1_000;
const MAX_KEPT_CHARS = 4 * 1024 * 1024;
/** How soon a client whose stream broke may come back, and until when it must have, in milliseconds. */
const RETRY_MS = 1_000;
const COME_BACK_MS = 30_000;
/** The first version whose clients take up a stream that was broken off on purpose. */
const RESUMING_VERSION = '2025-11-25';

interface Stream {
  readonly name: string;
  /** The request whose answer it carries; undefined for the stream of what belongs to none. */
  readonly request: Id | undefined;
  reply: EventReply | undefined;
  /** Its client takes up a stream that was broken off on purpose. */
  readonly resumes: boolean;
  events: number;
  /** The client has been told an id, so it can come back. */
  primed: boolean;
  done: boolean;
  timer: NodeJS.Timeout | undefined;
}

interface Kept {
  readonly id: string;
  readonly stream: Stream;
  readonly data: string;
}

export interface SessionEvents {
  readonly onMessage: (message: Message) => void;
  /** The client has hung up on the stream of a request and does not come back: no answer can be delivered. */
  readonly onGone: (request: Id) => void;
}

/** What a session's leg asks of the way to its client. */
export interface LegTransport {
  readonly id: string;
  /** Sends something on the stream of a request, else on the stream for the rest. */
  send(message: object, about: Id | undefined): void;
  answer(id: Id, message: object): void;
  /** Answers a request with a stream, before there is anything to say on it. */
  stream(id: Id): void;
  /** Breaks a request's stream off, as the server has done: the client will ask for it again. */
  breakOff(id: Id): void;
  /** The session ends: what comes from now on is not taken. */
  ending?(): void;
  close(): void;
}

export class SessionTransport implements LegTransport {
  readonly id: string;
  readonly #events: SessionEvents;
  readonly #streams = new Map<Id, Stream>();
  readonly #own: Stream = { name: 'own', request: undefined, reply: undefined, resumes: true, events: 0, primed: false, done: false, timer: undefined };
  #kept: Kept[] = [];
  #keptChars = 0;
  #names = 0;
  #closed = false;

  constructor(id: string, events: SessionEvents) {
    this.id = id;
    this.#events = events;
  }

  /** One message of the client's. @param version what it says that it speaks */
  post(message: Message, response: Answering, version: string | undefined): void {
    response.setHeader('Mcp-Session-Id', this.id);
    if (message.kind !== 'request') {
      response.writeHead(202).end();
      return this.#events.onMessage(message);
    }
    if (this.#streams.has(message.id)) {
      new EventReply(response).end({ jsonrpc: '2.0', id: message.id, error: { code: -32_600, message: 'A request with this id waits already.' } }, 400);
      return undefined;
    }
    const stream: Stream = {
      name: String(++this.#names),
      request: message.id,
      reply: undefined,
      resumes: (version ?? '') >= RESUMING_VERSION,
      events: 0,
      primed: false,
      done: false,
      timer: undefined,
    };
    this.#streams.set(message.id, stream);
    this.#attach(stream, response, message.method !== 'initialize');
    return this.#events.onMessage(message);
  }

  /** The client opens the stream for what belongs to no request, or takes up one that broke. */
  get(request: Asked, response: Answering, identity: ClientIdentity): void {
    response.setHeader('Mcp-Session-Id', this.id);
    const last = request.headers['last-event-id'];
    const found = typeof last === 'string' ? this.#kept.findIndex(({ id }) => id === last) : -1;
    const stream = this.#kept[found]?.stream ?? this.#own;
    if (stream.reply?.alive) {
      response
        .writeHead(409, { 'Content-Type': 'application/json' })
        .end('{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"This stream is open already."}}');
      return;
    }
    clearTimeout(stream.timer);
    this.#attach(stream, response, true);
    stream.reply?.open();
    const { reply } = stream;
    response.once(
      'close',
      endWithLogin(identity, () => reply?.close()),
    );
    for (const event of this.#kept.slice(found + 1)) if (event.stream === stream && event.data !== '') stream.reply?.event(event.data, `id: ${event.id}\n`);
    if (stream.done) stream.reply?.close();
  }

  send(message: object, about: Id | undefined): void {
    if (this.#closed) return;
    const stream = (about === undefined ? undefined : this.#streams.get(about)) ?? this.#own;
    this.#event(stream, JSON.stringify({ jsonrpc: '2.0', ...message }));
  }

  answer(id: Id, message: object): void {
    const stream = this.#streams.get(id);
    if (!stream) return;
    this.#streams.delete(id);
    clearTimeout(stream.timer);
    stream.done = true;
    const whole = { jsonrpc: '2.0', ...message };
    if (!stream.reply?.streaming && stream.reply?.alive) return stream.reply.end(whole);
    this.#event(stream, JSON.stringify(whole));
    stream.reply?.close();
  }

  /** The stream waits a moment: most servers have but the answer to say, and it and all that makes it a stream leave in one write. */
  stream(id: Id): void {
    const stream = this.#streams.get(id);
    if (!stream?.reply || stream.reply.streaming) return;
    stream.reply.openSoon(() => this.#prime(stream));
  }

  breakOff(id: Id): void {
    const stream = this.#streams.get(id);
    if (!stream?.reply?.alive || !stream.resumes) return;
    this.#prime(stream);
    stream.reply.close();
  }

  close(): void {
    this.#closed = true;
    for (const stream of [this.#own, ...this.#streams.values()]) {
      clearTimeout(stream.timer);
      stream.reply?.close();
    }
    this.#streams.clear();
  }

  #attach(stream: Stream, response: Answering, mayPrime: boolean): void {
    const reply = new EventReply(response, () => (mayPrime ? this.#prime(stream) : reply.open()));
    stream.reply = reply;
    response.once('close', () => {
      if (stream.reply === reply) stream.reply = undefined;
      if (stream.done || stream.request === undefined) return;
      const { request } = stream;
      // A client that was never told where it is cannot come back.
      if (!stream.primed) return this.#events.onGone(request);
      stream.timer = setTimeout(() => this.#events.onGone(request), COME_BACK_MS);
      stream.timer.unref();
    });
  }

  /** Tells the client where the stream begins, so that it can come back to it. */
  #prime(stream: Stream): void {
    if (!stream.reply?.alive) return;
    if (stream.primed || !stream.resumes) return stream.reply.open();
    stream.primed = true;
    stream.reply.event('', `id: ${this.#keep(stream, '')}\nretry: ${RETRY_MS}\n`);
  }

  #event(stream: Stream, data: string): void {
    if (stream.request !== undefined) this.#prime(stream);
    // What is said while nobody listens is kept, for whoever comes back.
    const id = this.#keep(stream, data);
    if (!stream.reply?.alive) return;
    stream.primed = true;
    stream.reply.event(data, `id: ${id}\n`);
  }

  #keep(stream: Stream, data: string): string {
    const id = `${stream.name}-${stream.events++}`;
    this.#kept.push({ id, stream, data });
    this.#keptChars += data.length;
    while (this.#kept.length > MAX_KEPT || (this.#keptChars > MAX_KEPT_CHARS && this.#kept.length > 1)) this.#keptChars -= this.#kept.shift()?.data.length ?? 0;
    return id;
  }
}
