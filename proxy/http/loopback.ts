/** The loopback HTTP server: where MCP clients and hooks come in. It carries operations and can approve nothing. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import express, { type ErrorRequestHandler, type RequestHandler, Router } from 'express';
import type { Log } from '../pipeline/engine.ts';
import type { ClientIdentity, Clients, DirectMount } from '../protocols/protocol.ts';
import { MAX_BODY_BYTES, readJson } from './body.ts';
import { bearerOf, rejection } from './guard.ts';
import { Lane } from './lane.ts';
import { acceptLines, LINES, refuseLines } from './lines.ts';

const LOOPBACK = '127.0.0.1';
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_HEADERS = 100;
const MAX_CONNECTIONS = 256;
/** How long a client may take over its headers, and over the whole request, in milliseconds. */
const HEADERS_TIMEOUT_MS = 5_000;
const REQUEST_TIMEOUT_MS = 30_000;
const KEEP_ALIVE_MS = 60_000;
const MOUNT_PATH = /^[\w~-][\w.~-]*(?:\/[\w~-][\w.~-]*)*$/;

export interface LoopbackOptions {
  readonly port: number;
  readonly clients: Clients;
  readonly log: Log;
  readonly allowedOrigins?: readonly string[];
  /** Shorter ones are for tests. */
  readonly timeouts?: { readonly headersMs: number; readonly requestMs: number };
}

export class LoopbackServer {
  readonly #options: LoopbackOptions;
  readonly #server: Server;
  readonly #mounts = new Map<string, Router>();
  readonly #direct = new Map<string, DirectMount>();
  readonly #sockets = new Set<Socket>();

  constructor(options: LoopbackOptions) {
    this.#options = options;
    const headersMs = options.timeouts?.headersMs ?? HEADERS_TIMEOUT_MS;
    const requestMs = options.timeouts?.requestMs ?? REQUEST_TIMEOUT_MS;
    const app = this.#application();
    const guard = { port: options.port, allowedOrigins: options.allowedOrigins ?? [] };
    const handle = (request: IncomingMessage, response: ServerResponse): void => {
      const refused = rejection(request, guard);
      if (refused) return refuse(request, response, refused);
      const direct = this.#direct.get(request.url ?? '');
      if (direct) this.#serve(direct, request, response).catch((cause: unknown) => this.#broke(cause, response));
      else app(request, response);
      return undefined;
    };
    this.#server = createServer(
      {
        requireHostHeader: false, // The guard says no in its own words.
        maxHeaderSize: MAX_HEADER_BYTES,
        headersTimeout: headersMs,
        requestTimeout: requestMs,
        connectionsCheckingInterval: Math.max(100, Math.min(headersMs, requestMs) / 2),
        keepAliveTimeout: KEEP_ALIVE_MS,
      },
      handle,
    );
    this.#server.maxHeadersCount = MAX_HEADERS;
    this.#server.maxConnections = MAX_CONNECTIONS;
    // Each connection begins in the lane; Node's own listener takes what leaves it.
    const nodes = this.#server.listeners('connection') as ((socket: Socket) => void)[];
    this.#server.removeAllListeners('connection');
    const lane = {
      guard,
      maxHeadBytes: MAX_HEADER_BYTES,
      maxHeaders: MAX_HEADERS,
      headersMs,
      requestMs,
      keepAliveMs: KEEP_ALIVE_MS,
      always: SECURE_HEADERS,
      mountAt: (url: string) => this.#direct.get(url),
      identify: (bearer: string) => options.clients.bearer(bearer),
      failed: (cause: unknown) => options.log.error('http.request-failed', { cause }),
      otherwise: (socket: Socket) => {
        for (const listener of nodes) listener.call(this.#server, socket);
      },
    };
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.once('close', () => this.#sockets.delete(socket));
      return new Lane(socket, lane);
    });
    const goAway = (_request: IncomingMessage, socket: NodeJS.WritableStream & { destroy(): void }): void => {
      socket.end('HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      socket.destroy();
    };
    this.#server.on('upgrade', (request, socket, head) => {
      const lines = rejection(request, guard) === undefined && request.method === 'GET' && head.length === 0 && request.headers.upgrade === LINES;
      const direct = lines ? this.#direct.get(request.url ?? '') : undefined;
      // Whatever else one might want to switch to is not spoken here.
      if (!direct?.lines) return goAway(request, socket);
      const identity = this.#identify(request);
      if (!identity) return refuseLines(socket);
      return direct.lines(
        acceptLines(socket, () => this.#identify(request) !== undefined),
        identity,
      );
    });
    this.#server.on('connect', goAway);
    // Waiting for "100 Continue" gets no special treatment: the same guard, then the body.
    this.#server.on('checkContinue', (request, response) => {
      const refused = rejection(request, guard);
      if (refused) return refuse(request, response, refused);
      response.writeContinue();
      return app(request, response);
    });
    this.#server.on('clientError', (_error, socket) => {
      if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      socket.destroy();
    });
  }

  /** Rejects with the system's error where the port cannot be had. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (cause?: Error): void => {
        this.#server.off('error', settle);
        this.#server.off('listening', settle);
        if (cause) return reject(cause);
        this.#server.on('error', (later) => this.#options.log.error('http.failed', { cause: later }));
        return resolve();
      };
      this.#server.once('error', settle);
      this.#server.once('listening', settle);
      this.#server.listen({ host: LOOPBACK, port: this.#options.port, exclusive: true });
    });
  }

  get port(): number {
    return this.#options.port;
  }

  get listening(): boolean {
    return this.#server.listening;
  }

  /** Serves a router at `/<path>` and below it, after every check; `response.locals.identity` says who calls. */
  mount(path: string, router: Router, direct?: DirectMount): { dispose(): void } {
    if (!MOUNT_PATH.test(path)) throw new Error(`not a path to mount at: ${path}`);
    if (this.#mounts.has(path)) throw new Error(`something is mounted at ${path} already`);
    this.#mounts.set(path, Router({ caseSensitive: true, strict: false }).use(`/${path}`, router));
    if (direct) this.#direct.set(`/${path}`, direct);
    return {
      dispose: () => {
        this.#mounts.delete(path);
        this.#direct.delete(`/${path}`);
      },
    };
  }

  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening || this.#sockets.size > 0) await closed;
  }

  #application(): express.Express {
    const app = express();
    app.disable('x-powered-by');
    app.disable('etag');
    app.set('query parser', 'simple');
    app.use(secureHeaders, this.#authenticate, jsonBody, this.#route);
    app.use(((_request, response) => void response.status(404).json({ error: 'Nothing is here.' })) satisfies RequestHandler);
    app.use(this.#failed);
    return app;
  }

  /** The same checks in the same order as on the way through the router. */
  async #serve(direct: DirectMount, request: IncomingMessage, response: ServerResponse): Promise<void> {
    setSecureHeaders(response);
    const identity = this.#identify(request);
    if (!identity) return refuse(request, response, UNKNOWN);
    if (request.method !== 'POST') return direct.request(request, response, identity, undefined);
    const body = await readJson(request).catch(() => undefined);
    if (!body) return void response.destroy();
    if ('refused' in body) return refuse(request, response, { status: body.refused, message: body.why ?? BODY_REFUSED[body.refused] });
    return direct.request(request, response, identity, body.json);
  }

  #identify(request: IncomingMessage): ClientIdentity | undefined {
    const token = bearerOf(request);
    return token === undefined ? undefined : this.#options.clients.bearer(token);
  }

  readonly #authenticate: RequestHandler = (request, response, next) => {
    const identity = this.#identify(request);
    if (!identity) return refuse(request, response, UNKNOWN);
    response.locals.identity = identity;
    return next();
  };

  /** The longest path first, so that `/mcp/orders` is not taken by `/mcp`. */
  readonly #route: RequestHandler = (request, response, next) => {
    const { path } = request;
    let best: string | undefined;
    for (const mount of this.#mounts.keys()) {
      if ((path === `/${mount}` || path.startsWith(`/${mount}/`)) && mount.length > (best?.length ?? -1)) best = mount;
    }
    const router = best === undefined ? undefined : this.#mounts.get(best);
    if (router) router(request, response, next);
    else next();
  };

  /** Nothing of an error's inside reaches the client. */
  readonly #failed: ErrorRequestHandler = (error: unknown, request, response, _next) => {
    // Express's own complaints about a request (a path that is not well encoded) carry the status they mean.
    const status = (error as { status?: unknown } | undefined)?.status;
    const malformed = typeof status === 'number' && status >= 400 && status < 500;
    if (!malformed) this.#broke(error, response);
    else if (response.headersSent) response.destroy();
    else response.status(400).json({ error: 'The request is malformed.' });
  };

  #broke(cause: unknown, response: ServerResponse): void {
    this.#options.log.error('http.request-failed', { cause });
    if (response.headersSent) response.destroy();
    else response.writeHead(500, { 'Content-Type': 'application/json' }).end('{"error":"The proxy failed. Its log says more."}');
  }
}

/** `request.body` is the parsed JSON of a POST, and undefined otherwise. */
const jsonBody: RequestHandler = async (request, response, next) => {
  if (request.method !== 'POST') return next();
  const body = await readJson(request).catch(() => undefined);
  if (!body) return void response.destroy();
  if ('refused' in body) return refuse(request, response, { status: body.refused, message: body.why ?? BODY_REFUSED[body.refused] });
  request.body = body.json;
  return next();
};

/** How much of a body that was refused for its size is heard out, in bytes, and how long its client may be silent, in milliseconds. */
const MAX_HEARD_BYTES = 256 * 1024 * 1024;
const SILENT_MS = 1_000;

const UNKNOWN = { status: 401, message: 'A valid bearer token is needed. It expires; reload the editor window for a new one.' };

const BODY_REFUSED = {
  400: 'The request body is not JSON.',
  413: `A request body may have at most ${MAX_BODY_BYTES} bytes.`,
  415: 'A request body must be application/json, not compressed.',
} as const;

const secureHeaders: RequestHandler = (_request, response, next) => {
  setSecureHeaders(response);
  next();
};

const SECURE_HEADERS = [
  ['Cache-Control', 'no-store'],
  ['Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'"],
  ['Cross-Origin-Resource-Policy', 'same-origin'],
  ['Referrer-Policy', 'no-referrer'],
  ['X-Content-Type-Options', 'nosniff'],
] as const;

function setSecureHeaders(response: ServerResponse): void {
  for (const [name, value] of SECURE_HEADERS) response.setHeader(name, value);
}

/**
 * Answers and hangs up: what else the client sends is not read. Only who sends too much is heard out, for a client that is hung up on while
 * it sends does not get to see why.
 */
function refuse(request: IncomingMessage, response: ServerResponse, { status, message }: { readonly status: number; readonly message: string }): void {
  const body = JSON.stringify({ error: message });
  setSecureHeaders(response);
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body), Connection: 'close' });
  if (status !== 413) return void response.end(body, () => request.destroy());
  response.write(body);
  let heard = 0;
  const silent = setTimeout(() => request.destroy(), SILENT_MS);
  request.on('data', (chunk: Buffer) => {
    heard += chunk.length;
    if (heard > MAX_HEARD_BYTES) request.destroy();
    else silent.refresh();
  });
  request.once('close', () => clearTimeout(silent));
  request.once('end', () => response.end());
  return undefined;
}
