/** One HTTP exchange with a server: where it may lead, what goes with it, and when it is given up. */
import { type IncomingHttpHeaders, type IncomingMessage, Agent as PlainAgent, request as plainRequest } from 'node:http';
import { Agent as TlsAgent, request as tlsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { Problem } from '../../../../contract/problem.ts';
import type { Dial } from '../../protocol.ts';
import { guardedLookup } from './addresses.ts';

/** How long a connection may take to come up, in milliseconds. */
const CONNECT_MS = 15_000;
const MAX_REDIRECTS = 3;
/** How long the rest of an answer that nobody needs may take, in milliseconds. */
const DRAIN_MS = 1_000;
const MAX_SOCKETS = 256;
const MAX_HEADER_BYTES = 64 * 1024;

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
  readonly body: NodeJS.ReadableStream & { destroy(): void };
}

export class HttpClient {
  readonly #plain = new PlainAgent({ keepAlive: true, maxSockets: MAX_SOCKETS });
  readonly #tls = new TlsAgent({ keepAlive: true, maxSockets: MAX_SOCKETS });

  /** @param dial how its server is reached, where that is not straight from here */
  constructor(dial?: Dial) {
    if (!dial) return;
    for (const agent of [this.#plain, this.#tls]) {
      Object.assign(agent, {
        createConnection: (options: Wanted, settle: (cause: Error | null, stream?: Duplex) => void): void => {
          dialled(dial, options, agent === this.#tls).then(
            (stream) => settle(null, stream),
            (cause: Error) => settle(cause),
          );
        },
      });
    }
  }

  /**
   * A redirect is followed within its origin only: what goes with a request is meant for nobody else.
   * @throws a `Problem`, or the system's error
   */
  async send(request: HttpRequest): Promise<HttpAnswer> {
    let { url } = request;
    for (let redirects = 0; ; redirects++) {
      const response = await this.#once({ ...request, url });
      const status = response.statusCode ?? 0;
      if (status < 300 || status >= 400) return { status, headers: response.headers, body: decoded(response) };
      drain(response);
      const to = locationOf(response.headers.location, url);
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
    this.#plain.destroy();
    this.#tls.destroy();
  }

  #once({ method, url, headers, body, signal }: HttpRequest): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const secure = url.protocol === 'https:';
      const lookup = guardedLookup(url);
      const outgoing = (secure ? tlsRequest : plainRequest)(url, {
        method,
        agent: secure ? this.#tls : this.#plain,
        headers: { ...headers, ...(body !== undefined && { 'Content-Length': String(Buffer.byteLength(body)) }) },
        maxHeaderSize: MAX_HEADER_BYTES,
        signal,
        ...(lookup && { lookup }),
      });
      const late = setTimeout(() => outgoing.destroy(new Problem('unreachable', `The server at ${url.host} does not answer.`)), CONNECT_MS);
      outgoing.once('socket', (socket) => {
        if (socket.connecting) socket.once(secure ? 'secureConnect' : 'connect', () => clearTimeout(late));
        else clearTimeout(late);
      });
      outgoing.once('response', resolve);
      outgoing.once('error', reject);
      outgoing.once('close', () => clearTimeout(late));
      outgoing.end(body);
    });
  }
}

/** What Node asks an agent for. */
interface Wanted {
  readonly host?: string;
  readonly port?: number | string;
}

async function dialled(dial: Dial, { host = '', port }: Wanted, secure: boolean): Promise<Duplex> {
  const signal = AbortSignal.timeout(CONNECT_MS);
  const { stream } = await dial({ host, port: Number(port) }, signal);
  if (!secure) return stream;
  const encrypted = connectTls({ socket: stream, host, ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 && { servername: host }) });
  await new Promise<void>((resolve, reject) => {
    encrypted.once('secureConnect', resolve).once('error', reject);
    encrypted.once('close', () => reject(new Problem('unreachable', `The server at ${host} hung up before the connection was encrypted.`)));
    signal.addEventListener('abort', () => void encrypted.destroy(new Problem('unreachable', `The server at ${host} does not answer.`)), { once: true });
  });
  return encrypted;
}

function locationOf(location: string | undefined, from: URL): URL | undefined {
  try {
    return location === undefined ? undefined : new URL(location, from);
  } catch {
    return undefined;
  }
}

function decoded(response: IncomingMessage): NodeJS.ReadableStream & { destroy(): void } {
  const encoding = response.headers['content-encoding'];
  const through = encoding === 'gzip' ? createGunzip() : encoding === 'br' ? createBrotliDecompress() : encoding === 'deflate' ? createInflate() : undefined;
  if (!through) return response;
  response.once('error', (cause) => through.destroy(cause));
  through.once('close', () => response.destroy());
  return response.pipe(through);
}

/** Reads what is left of a body for nobody, so that its connection can be used again; hangs up on one that goes on. */
export function drain(body: HttpAnswer['body']): void {
  const late = setTimeout(() => body.destroy(), DRAIN_MS);
  late.unref();
  body.once('close', () => clearTimeout(late));
  body.once('error', () => {});
  body.resume();
}

/** A body as text. @throws when it is longer than `maxBytes` or the connection is lost */
export async function readText(answer: HttpAnswer, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) {
      answer.body.destroy();
      throw new Problem('message-too-long', `An answer of more than ${maxBytes} bytes was refused.`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
