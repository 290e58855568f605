/** The gateway's one listener: headers that hold for every answer, health, metrics, and routes that the parts add. */

import { hash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { readFileSync, type Stats, statSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttps, type Server as HttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { createSecureContext } from 'node:tls';
import express, { type ErrorRequestHandler, type Express, type Request, type Response } from 'express';
import { ZodError } from 'zod';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { GatewayConfig } from '../config/load.ts';
import type { Metrics } from '../metrics.ts';
import { isStoreDown, storeProblem } from '../store/postgres.ts';

/** Largest body of a request, in bytes. */
const MAX_BODY_BYTES = 1_048_576;
/** How long a client may take to send its headers, and a whole request, in milliseconds. */
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** How often the certificate's file is looked at, in milliseconds. */
const CERTIFICATE_EVERY_MS = 30_000;
/** A certificate is warned about from this long before its end, in milliseconds. */
const CERTIFICATE_WARN_MS = 14 * 86_400_000;

export type UpgradeHandler = (request: IncomingMessage, socket: Duplex, head: Buffer) => void;

export interface HttpServerOptions {
  readonly config: GatewayConfig;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly metricsToken: string | undefined;
  /** Why no new work should be sent here; undefined: it may. */
  readonly notReady: () => string | undefined | Promise<string | undefined>;
  /** For tests: how often the certificate's file is looked at, in milliseconds. */
  readonly certificateEveryMs?: number;
}

export class HttpServer {
  readonly app: Express;
  readonly #options: HttpServerOptions;
  readonly #upgrades = new Map<string, UpgradeHandler>();
  readonly #onRequest: (labels: Record<string, string>) => void;
  readonly #took: (seconds: number, labels: Record<string, string>) => void;
  #server: Server | HttpsServer | undefined;
  #certificateTimer: NodeJS.Timeout | undefined;
  #certificateStamp = '';
  #certificateEnds: number | undefined;

  constructor(options: HttpServerOptions) {
    const { config, metrics } = options;
    this.#options = options;
    this.#onRequest = metrics.counter('countersign_http_requests_total', 'Requests answered, by route group and status class.');
    this.#took = metrics.histogram('countersign_http_request_seconds', 'How long answering took.');
    metrics.gauge(
      'countersign_certificate_expires_seconds',
      'When the TLS certificate ends, in seconds since 1970.',
      () => this.#certificateEnds && this.#certificateEnds / 1000,
    );
    this.app = express();
    this.app.disable('x-powered-by');
    this.app.set('etag', false);
    this.app.set('trust proxy', config.trustedProxies.length > 0 ? [...config.trustedProxies] : false);
    this.app.set('query parser', 'simple');
    this.app.use((request, response, next) => {
      this.#headers(request, response);
      next();
    });
    this.app.get('/healthz', (_request, response) => void response.json({ ok: true }));
    this.app.get('/readyz', async (_request, response) => {
      const why = await options.notReady();
      response.status(why === undefined ? 200 : 503).json(why === undefined ? { ok: true } : { ok: false, sentence: why });
    });
    this.app.get('/metrics', (request, response) => {
      if (options.metricsToken !== undefined && !isBearer(request.headers.authorization, options.metricsToken)) {
        response.status(401).json({ error: 'token', sentence: 'Metrics need the token that the configuration names.' });
        return;
      }
      response.type('text/plain; version=0.0.4').send(metrics.text());
    });
    // From here on a page that rebinds its own name to this address gets nothing.
    const host = new URL(config.publicUrl).host;
    this.app.use((request, response, next) => {
      if (request.headers.host === host) return next();
      response.status(421).json({ error: 'host', sentence: `This gateway answers as ${host} only.` });
    });
  }

  /** JSON bodies; what can be sent across origins without asking is not taken. */
  static json(): express.RequestHandler {
    return express.json({ limit: MAX_BODY_BYTES, type: 'application/json', strict: true });
  }

  static form(): express.RequestHandler {
    return express.urlencoded({ limit: MAX_BODY_BYTES, extended: false, parameterLimit: 50 });
  }

  /** A WebSocket endpoint: the handler owns the socket from then on. */
  upgrade(path: string, handler: UpgradeHandler): void {
    this.#upgrades.set(path, handler);
  }

  async start(): Promise<void> {
    this.app.use((_request, response) => void response.status(404).json({ error: 'not-found', sentence: 'There is nothing here.' }));
    this.app.use(this.#failed());
    const { tls } = this.#options.config;
    const options = { headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS };
    if (typeof tls === 'object') {
      const server = createHttps({ ...options, ...this.#certificate(tls), minVersion: 'TLSv1.2' }, this.app);
      this.#server = server;
      this.#certificateTimer = setInterval(() => this.#renewCertificate(server, tls), this.#options.certificateEveryMs ?? CERTIFICATE_EVERY_MS);
      this.#certificateTimer.unref();
    } else this.#server = createHttp(options, this.app);
    const server = this.#server;
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      const handler = this.#upgrades.get((request.url ?? '').split('?')[0] ?? '');
      if (handler && request.headers.host === new URL(this.#options.config.publicUrl).host) handler(request, socket, head);
      else socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    });
    const { listen } = this.#options.config;
    const cut = listen.lastIndexOf(':');
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) => {
        const why =
          cause.code === 'EADDRINUSE' ? 'something else listens there' : cause.code === 'EACCES' ? 'this user may not' : (cause.code ?? 'unknown error');
        reject(new Problem('listen', `The gateway cannot listen on ${listen}: ${why}. Change \`listen\`, or end what is there.`, { cause }));
      });
      server.listen({ host: listen.slice(0, cut).replaceAll(/[[\]]/g, ''), port: Number(listen.slice(cut + 1)) }, () => resolve());
    });
  }

  /** Takes no new connections; resolves when those that are open are done, at the latest after `ms`. */
  async stop(ms: number): Promise<void> {
    clearInterval(this.#certificateTimer);
    const server = this.#server;
    if (!server) return;
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const timer = setTimeout(() => server.closeAllConnections(), ms);
    await closed;
    clearTimeout(timer);
  }

  #headers(request: Request, response: Response): void {
    const began = performance.now();
    response.setHeader('X-Content-Type-Options', 'nosniff');
    response.setHeader('Referrer-Policy', 'no-referrer');
    response.setHeader('X-Frame-Options', 'DENY');
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
    response.setHeader('Content-Security-Policy', "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
    response.setHeader('Cache-Control', 'no-store');
    if (this.#options.config.publicUrl.startsWith('https:')) response.setHeader('Strict-Transport-Security', 'max-age=31536000');
    response.once('finish', () => {
      const group = /^\/(v1\/[a-z-]+|oauth|login|saml|healthz|readyz|metrics|device)/.exec(request.path)?.[1] ?? 'other';
      const labels = { route: group, status: `${Math.floor(response.statusCode / 100)}xx` };
      this.#onRequest(labels);
      if (group !== 'v1/events') this.#took((performance.now() - began) / 1000, { route: group });
    });
  }

  #failed(): ErrorRequestHandler {
    return (cause: unknown, request: Request, response: Response, _next) => {
      const { status, error, sentence } = describe(cause);
      if (status >= 500) this.#options.log.error('api.failed', { path: request.path.slice(0, 200), cause });
      if (response.headersSent) response.destroy();
      else response.status(status).json({ error, sentence });
    };
  }

  #certificate(tls: { certificate: string; key: string }): { cert: Buffer; key: Buffer } {
    const { cert, ends, key, stamp } = readCertificate(tls);
    this.#certificateStamp = stamp;
    this.#certificateEnds = ends;
    const left = ends - Date.now();
    if (left < CERTIFICATE_WARN_MS) this.#options.log.warn('tls.certificate-ends', { ends: new Date(ends).toISOString(), expired: left <= 0 });
    return { cert, key };
  }

  /** A renewed certificate is taken up without a restart; a broken one leaves the last good one in use. */
  #renewCertificate(server: HttpsServer, tls: { certificate: string; key: string }): void {
    try {
      if ([tls.certificate, tls.key].map((file) => stampOf(statSync(file))).join(' ') === this.#certificateStamp) return;
      server.setSecureContext({ ...this.#certificate(tls), minVersion: 'TLSv1.2' });
      this.#options.log.info('tls.certificate-renewed');
    } catch (cause) {
      this.#options.log.error('tls.certificate-not-renewed', { cause });
    }
  }
}

/** @throws `Problem` `certificate` */
export function readCertificate(tls: { certificate: string; key: string }): { cert: Buffer; key: Buffer; ends: number; stamp: string } {
  try {
    const cert = readFileSync(tls.certificate);
    const key = readFileSync(tls.key);
    // Whether they are a pair shows here, and not in the middle of taking them up.
    createSecureContext({ cert, key });
    const stamp = [tls.certificate, tls.key].map((file) => stampOf(statSync(file))).join(' ');
    return { cert, key, ends: Date.parse(new X509Certificate(cert).validTo), stamp };
  } catch (cause) {
    throw new Problem(
      'certificate',
      `The TLS certificate or its key cannot be used (${(cause as NodeJS.ErrnoException).code ?? 'not PEM'}). Check \`tls.certificate\` and \`tls.key\`.`,
      { cause },
    );
  }
}

function stampOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino}:${size}:${mtimeMs}`;
}

/** HTTP status of each `Problem` that can reach a client. */
const STATUS: Readonly<Record<string, number>> = {
  'not-signed-in': 401,
  'bad-token': 401,
  forbidden: 403,
  csrf: 403,
  'not-found': 404,
  conflict: 409,
  'too-many': 429,
  'bad-request': 400,
  'policy-broken': 422,
  'store-down': 503,
  draining: 503,
  'provider-down': 502,
  'no-console': 503,
  'record-expired': 410,
  'archive-away': 503,
  // Not hidden: who reads a record must hear that a part of it is not what it was.
  'archive-broken': 500,
};

function describe(cause: unknown): { status: number; error: string; sentence: string } {
  if (cause instanceof Problem)
    return {
      status: STATUS[cause.code] ?? 500,
      error: cause.code,
      sentence: STATUS[cause.code] === undefined ? 'The gateway failed. Its log says more.' : cause.message,
    };
  // What was wrong is not repeated: it may hold a secret.
  if (cause instanceof ZodError)
    return { status: 400, error: 'bad-request', sentence: `The request is not what this endpoint takes (at ${cause.issues[0]?.path.join('.') || 'its top'}).` };
  const { status } = cause as { status?: unknown };
  if (typeof status === 'number' && status >= 400 && status < 500)
    return { status, error: 'bad-request', sentence: 'The request could not be read. It must be JSON, and not larger than 1 MiB.' };
  if (isStoreDown(cause)) return { status: 503, error: 'store-down', sentence: storeProblem(cause).message };
  return { status: 500, error: 'internal', sentence: 'The gateway failed. Its log says more.' };
}

/** However much of it is right, the comparison takes as long. */
function isBearer(authorization: string | undefined, token: string): boolean {
  return timingSafeEqual(hash('sha256', authorization ?? '', 'buffer'), hash('sha256', `Bearer ${token}`, 'buffer'));
}
