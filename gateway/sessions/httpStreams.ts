/** Requests to MCP endpoints that come in streams of the tunnel: who asks is known by the stream, and by nothing in the request. */
import { createServer, type Server } from 'node:http';
import type { Duplex } from 'node:stream';
import express, { type ErrorRequestHandler, type RequestHandler, type Router } from 'express';
import { readJson } from '../../proxy/http/body.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { ClientIdentity } from '../../proxy/protocols/protocol.ts';

const MAX_HEADER_BYTES = 16 * 1024;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;

interface Caller {
  readonly identity: ClientIdentity;
  /** The one connection that the stream was opened for. */
  readonly connection: string;
}

export class HttpStreams {
  readonly #server: Server;
  readonly #mounts = new Map<string, Router>();
  readonly #callers = new WeakMap<object, Caller>();

  constructor(log: Log) {
    const app = express();
    app.disable('x-powered-by');
    app.set('etag', false);
    app.set('query parser', 'simple');
    app.use(this.#identify, body, this.#route);
    app.use(((_request, response) => void response.status(404).json({ error: 'Nothing is here.' })) satisfies RequestHandler);
    app.use(((cause: unknown, _request, response, _next) => {
      log.error('mcp.request-failed', { cause });
      if (response.headersSent) response.destroy();
      else response.status(500).json({ error: 'The gateway failed. Its log says more.' });
    }) satisfies ErrorRequestHandler);
    this.#server = createServer(
      { maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS, requireHostHeader: false },
      app,
    );
    this.#server.on('clientError', (_cause, socket) => void socket.destroy());
  }

  mount(path: string, router: Router): { dispose(): void } {
    this.#mounts.set(path, router);
    return {
      dispose: () => {
        if (this.#mounts.get(path) === router) this.#mounts.delete(path);
      },
    };
  }

  serve(stream: Duplex, identity: ClientIdentity, connection: string): void {
    this.#callers.set(stream, { identity, connection });
    this.#server.emit('connection', stream);
  }

  readonly #identify: RequestHandler = (request, response, next) => {
    const caller = this.#callers.get(request.socket);
    if (!caller) return void response.status(401).json({ error: 'Nobody is known to have asked.' });
    response.locals.identity = caller.identity;
    response.locals.connection = caller.connection;
    return next();
  };

  readonly #route: RequestHandler = (request, response, next) => {
    const connection = response.locals.connection as string;
    const router = this.#mounts.get(`mcp/${connection}`);
    if (!router || request.path !== `/mcp/${connection}`) return next();
    // As an endpoint sees itself: at the root of what it was mounted at.
    request.url = '/';
    return router(request, response, next);
  };
}

const body: RequestHandler = async (request, response, next) => {
  if (request.method !== 'POST') return next();
  const read = await readJson(request).catch(() => undefined);
  if (!read) return void response.destroy();
  if ('refused' in read) return void response.status(read.refused).json({ error: 'The request body is not JSON, or too large.' });
  request.body = read.json;
  return next();
};
