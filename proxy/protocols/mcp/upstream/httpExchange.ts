/** One HTTP exchange with a server: where it may lead, what goes with it, and when it is given up. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Duplex } from 'node:stream';
import { Problem } from '../../../../contract/problem.ts';
import type { Dial } from '../../protocol.ts';
import { Body } from './body.ts';
import { connectTo, keepsAlive } from './connect.ts';
import { type ResponseHead, ResponseReader } from './responseReader.ts';

const MAX_REDIRECTS = 3;
const MAX_SOCKETS = 256;
/** How long a connection is kept for the next exchange where the server does not say, and how much sooner than it says it is let go, in milliseconds. */
const KEPT_MS = 60_000;
const EARLIER_MS = 1_000;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const ASCII = /^[\t\x20-\x7e]*$/;
const LATIN1 = /^[\t\x20-\x7e\x80-\xff]*$/;

export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Ends the exchange, also while the answer is being read. */
  readonly signal: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body, decompressed. */
  readonly body: Body;
}

/** A connection, and what of an exchange is on it. */
interface Wire {
  readonly stream: Duplex;
  readonly origin: string;
  take: ((bytes: Buffer) => void) | undefined;
  /** The connection has gone, with the system's error if there is one. */
  lost: ((cause: Error | undefined) => void) | undefined;
  /** Epoch milliseconds until which it may be used again. */
  until: number;
}

export class HttpClient {
  readonly #idle = new Map<string, Wire[]>();
  /** Connections that there are, or that come up. */
  readonly #places = new Set<object>();
  readonly #dial: Dial | undefined;
  readonly #waiting: (() => void)[] = [];
  #closed = false;

  /** @param dial how its server is reached, where that is not straight from here */
  constructor(dial?: Dial) {
    this.#dial = dial;
  }

  /**
   * A redirect is followed within its origin only: what goes with a request is meant for nobody else.
   * @throws a `Problem`, or the system's error
   */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    let { url } = request;
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#once({ ...request, url });
      const { status } = answer;
      if (status < 300 || status >= 400) return answer;
      drain(answer.body);
      const to = locationOf(answer.headers.location, url);
      if (!to || (status !== 307 && status !== 308 && request.method !== 'GET') || redirects >= MAX_REDIRECTS) {
        throw new Problem('redirected', `The server at ${url.host} redirects (${status}) where it must answer. Correct its url in countersign.yaml.`);
      }
      if (to.origin !== url.origin) {
        throw new Problem(
          'redirected',
          `The server at ${url.host} redirects to ${to.host}. Nothing was sent there; write that address into countersign.yaml if it is right.`,
        );
      }
      url = to;
    }
  }

  close(): void {
    this.#closed = true;
    for (const wires of this.#idle.values()) for (const { stream } of wires) stream.destroy();
    this.#idle.clear();
  }

  async #once(request: HttpRequest): Promise<HttpAnswer> {
    const { signal, url } = request;
    const head = headOf(request);
    signal.throwIfAborted();
    const wire = this.#kept(url.origin) ?? (await this.#connected(url, signal));
    return new Promise((resolve, reject) => {
      let body: Body | undefined;
      let answer: ResponseHead | undefined;
      let over = false;
      const abort = (): void => end(signal.reason instanceof Error ? signal.reason : new Error('the exchange was given up'));
      const settle = (): void => {
        over = true;
        signal.removeEventListener('abort', abort);
        wire.take = undefined;
        wire.lost = undefined;
      };
      /** The exchange has failed, or nobody wants the rest of it. */
      const end = (cause: Error): void => {
        // By then the connection may be another exchange's.
        if (over) return;
        settle();
        wire.stream.destroy();
        if (body) body.fail(cause);
        else reject(cause);
      };
      const reader = new ResponseReader({
        onHead: (got) => {
          answer = got;
          body = new Body({
            pause: () => !over && void wire.stream.pause(),
            resume: () => !over && void wire.stream.resume(),
            destroy: () => end(new Error('the rest of the answer was not wanted')),
            encoding: got.headers['content-encoding'],
          });
          resolve({ status: got.status, headers: got.headers, body });
        },
        onData: (chunk) => body?.push(chunk),
        onEnd: () => {
          settle();
          if (answer?.reusable === true && wire.stream.writableLength === 0) this.#keep(wire, answer.headers);
          else wire.stream.destroy();
          body?.finish();
        },
      });
      wire.take = (bytes) => {
        try {
          // What comes after an answer that nobody asked for belongs to no exchange.
          if (reader.write(bytes) > 0) wire.stream.destroy();
        } catch (cause) {
          end(cause as Error);
        }
      };
      wire.lost = (cause) => {
        if (cause) return end(cause);
        try {
          return reader.end();
        } catch (hungUp) {
          return end(hungUp as Error);
        }
      };
      signal.addEventListener('abort', abort, { once: true });
      if (signal.aborted) return abort();
      write(wire.stream, head, request.body);
      return undefined;
    });
  }

  #kept(origin: string): Wire | undefined {
    const wires = this.#idle.get(origin);
    for (let wire = wires?.pop(); wire; wire = wires?.pop()) {
      if (!wire.stream.destroyed && wire.stream.writable && wire.until > Date.now()) {
        keepsAlive(wire.stream, true);
        return wire;
      }
      wire.stream.destroy();
    }
    return undefined;
  }

  #keep(wire: Wire, headers: IncomingHttpHeaders): void {
    if (this.#closed || wire.stream.destroyed) return void wire.stream.destroy();
    const seconds = /(?:^|[,\s])timeout=(\d{1,6})/i.exec(String(headers['keep-alive'] ?? ''))?.[1];
    wire.until = Date.now() + (seconds === undefined ? KEPT_MS : Math.max(0, Number(seconds) * 1000 - EARLIER_MS));
    // It alone keeps no process alive.
    keepsAlive(wire.stream, false);
    wire.stream.resume();
    const wires = this.#idle.get(wire.origin);
    if (wires) wires.push(wire);
    else this.#idle.set(wire.origin, [wire]);
    this.#waiting.shift()?.();
    return undefined;
  }

  async #connected(url: URL, signal: AbortSignal): Promise<Wire> {
    while (this.#places.size >= MAX_SOCKETS) {
      await this.#turn(signal);
      signal.throwIfAborted();
      const kept = this.#kept(url.origin);
      if (kept) return kept;
    }
    return this.#connect(url, signal);
  }

  /** Until another exchange has ended. */
  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const go = (): void => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = (): void => {
        const place = this.#waiting.indexOf(go);
        if (place >= 0) this.#waiting.splice(place, 1);
        resolve();
      };
      this.#waiting.push(go);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  async #connect(url: URL, signal: AbortSignal): Promise<Wire> {
    const place: object = {};
    this.#places.add(place);
    let stream: Duplex;
    try {
      stream = await connectTo(url, this.#dial, signal);
    } catch (cause) {
      this.#leave(place);
      throw cause;
    }
    const wire: Wire = { stream, origin: url.origin, take: undefined, lost: undefined, until: 0 };
    let failed: Error | undefined;
    // What comes on an idle connection was not asked for.
    stream.on('data', (bytes: Buffer) => (wire.take ? wire.take(bytes) : stream.destroy()));
    // One that was dialled comes paused.
    stream.resume();
    stream.on('error', (cause) => {
      failed = cause;
    });
    // A server that has said its last word takes no further request.
    stream.once('end', () => (wire.lost ? wire.lost(undefined) : stream.destroy()));
    stream.once('close', () => {
      const idle = this.#idle.get(wire.origin);
      const at = idle?.indexOf(wire) ?? -1;
      if (at >= 0) idle?.splice(at, 1);
      this.#leave(place);
      wire.lost?.(failed);
    });
    return wire;
  }

  #leave(place: object): void {
    this.#places.delete(place);
    this.#waiting.shift()?.();
  }
}

/** One write where it can be: the head is Latin-1, the body UTF-8. */
function write(socket: Duplex, head: string, body: string | undefined): void {
  if (ASCII.test(head.replaceAll('\r\n', ''))) return void socket.write(body === undefined ? head : head + body);
  socket.cork();
  socket.write(head, 'latin1');
  if (body !== undefined) socket.write(body);
  socket.uncork();
  return undefined;
}

/** @throws for a header that would be another's or the body's */
function headOf({ method, url, headers, body }: HttpRequest): string {
  let head = `${method} ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    if (!NAME.test(name) || !LATIN1.test(value)) throw new Problem('bad-header', `The header ${name.slice(0, 100)} for ${url.host} holds what no header may.`);
    head += `${name}: ${value}\r\n`;
  }
  const length = body === undefined ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  return `${head}${length}Connection: keep-alive\r\n\r\n`;
}

function locationOf(location: string | undefined, from: URL): URL | undefined {
  try {
    return location === undefined ? undefined : new URL(location, from);
  } catch {
    return undefined;
  }
}

/** How long the rest of an answer that nobody needs may take, in milliseconds. */
const DRAIN_MS = 1_000;

/** Reads what is left of a body for nobody, so that its connection can be used again; hangs up on one that goes on. */
export function drain(body: Body): void {
  if (body.over) return;
  const late = setTimeout(() => body.destroy(), DRAIN_MS);
  late.unref();
  const done = (): void => clearTimeout(late);
  body.read({ data: () => {}, end: done, error: done });
}

/** A body as text. @throws when it is longer than `maxBytes` or the connection is lost */
export function readText({ body }: HttpAnswer, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    body.read({
      data: (chunk) => {
        length += chunk.length;
        if (length > maxBytes) {
          reject(new Problem('message-too-long', `An answer of more than ${maxBytes} bytes was refused.`));
          body.destroy();
        } else chunks.push(chunk);
      },
      end: () => resolve((chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)).toString()),
      error: reject,
    });
  });
}
