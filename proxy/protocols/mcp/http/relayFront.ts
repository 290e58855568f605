/** HTTP towards the clients of a relayed server, framed by ourselves: sessions for those of the older era, exchanges for the rest. */
import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { RequestHandler } from 'express';
import { Problem } from '../../../../contract/problem.ts';
import type { Answering, Asked } from '../../../http/answering.ts';
import type { Log } from '../../../pipeline/engine.ts';
import type { ClientIdentity } from '../../protocol.ts';
import { LegacyLeg, type LegOptions } from '../legacyLeg.ts';
import { LineTransport } from '../lineTransport.ts';
import { type Message, readMessage } from '../message.ts';
import type { ModernLeg } from '../modernLeg.ts';
import { readExchange } from './exchangeHeaders.ts';
import { SessionTransport } from './sessionTransport.ts';

/** A session that nothing was sent on for so long ends, in milliseconds. */
const IDLE_MS = 12 * 60 * 60 * 1000;
/** How exact that is, in milliseconds. */
const TOUCH_MS = 60_000;
const SESSION_VERSIONS = new Set(['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']);

export interface RelayFrontOptions {
  readonly log: Log;
  /** Sessions that are open at once; beyond it the one unused longest ends. */
  readonly maxSessions: number;
  readonly leg: LegOptions;
  readonly modern: ModernLeg;
}

interface SessionOfClient<Transport extends SessionTransport | LineTransport = SessionTransport | LineTransport> {
  readonly leg: LegacyLeg<Transport>;
  readonly identity: ClientIdentity;
  idle: NodeJS.Timeout | undefined;
  /** When that was put off last, epoch milliseconds. */
  touched: number;
}

export class RelayFront {
  readonly #options: RelayFrontOptions;
  readonly #sessions = new Map<string, SessionOfClient>();

  constructor(options: RelayFrontOptions) {
    this.#options = options;
  }

  /** On a host that routes by itself. */
  readonly handle: RequestHandler = (request, response) => this.request(request, response, response.locals.identity as ClientIdentity, request.body as unknown);

  /** One request, whose sender is known. */
  readonly request = (request: Asked, response: Answering, identity: ClientIdentity, body: unknown): void => {
    try {
      if (request.method === 'POST') this.#post(request, response, identity, body);
      else this.#onSession(request, response, identity);
    } catch (cause) {
      if (!(cause instanceof Problem)) this.#options.log.error('mcp.front.failed', { cause });
      if (!response.headersSent)
        refuse(response, cause instanceof Problem ? 400 : 500, cause instanceof Problem ? cause.message : 'The proxy failed. Its log says more.');
    }
  };

  /** A client that writes lines: a session for as long as its stream is open. */
  readonly lines = (stream: Duplex, identity: ClientIdentity): void => {
    const id = randomUUID();
    const end = (): void => void this.#end(id);
    const leg = new LegacyLeg(
      this.#options.leg,
      identity,
      ({ onMessage }) =>
        new LineTransport(id, stream, {
          onMessage: (message) => {
            this.#touch(id, session);
            onMessage(message);
          },
          onEnd: end,
        }),
      end,
    );
    const session: SessionOfClient = { leg, identity, idle: undefined, touched: 0 };
    this.#touch(id, session);
    this.#endOldest();
  };

  async close(): Promise<void> {
    await Promise.all([...this.#sessions.keys()].map((id) => this.#end(id)));
  }

  #post(request: Asked, response: Answering, identity: ClientIdentity, body: unknown): void {
    const accept = request.headers.accept ?? '';
    if (!accept.includes('application/json') || !accept.includes('text/event-stream')) {
      return refuse(response, 406, 'The client must accept both application/json and text/event-stream.');
    }
    // Removed from the protocol in 2025-06-18; one message a request leaves nothing to hide another behind.
    if (Array.isArray(body)) return refuse(response, 400, 'A batch was refused: send one message at a time.', -32_600);
    const session = request.headers['mcp-session-id'];
    const exchange = session === undefined ? readExchange(request, body) : undefined;
    if (exchange?.kind === 'refused') return answer(response, exchange.status, exchange.body);
    const message = readMessage(body);
    if (exchange?.kind === 'stateless') return this.#options.modern.handle(message, exchange.headers, response, identity);
    if (session === undefined) return this.#open(message, response, identity);
    const known = this.#known(request, response, identity);
    const version = request.headers['mcp-protocol-version'];
    return known?.leg.transport.post(message, response, typeof version === 'string' ? version : undefined);
  }

  #onSession(request: Asked, response: Answering, identity: ClientIdentity): void {
    if (request.headers['mcp-session-id'] === undefined) {
      response.setHeader('Allow', 'POST');
      return refuse(response, 405, 'There is no session: send initialize first.');
    }
    const known = this.#known(request, response, identity);
    if (!known) return undefined;
    if (request.method === 'GET') {
      if (!(request.headers.accept ?? '').includes('text/event-stream')) return refuse(response, 406, 'The client must accept text/event-stream.');
      return known.leg.transport.get(request, response);
    }
    void this.#end(known.leg.transport.id).then(() => response.writeHead(200).end());
    return undefined;
  }

  /** The session that a request names; another window's does not exist for this one. */
  #known(request: Asked, response: Answering, identity: ClientIdentity): SessionOfClient<SessionTransport> | undefined {
    const id = request.headers['mcp-session-id'];
    const session = typeof id === 'string' ? this.#sessions.get(id) : undefined;
    if (!session || !overHttp(session) || session.identity.conversation !== identity.conversation) {
      refuse(response, 404, 'This session has ended. Initialize again.', -32_001);
      return undefined;
    }
    const version = request.headers['mcp-protocol-version'];
    if (typeof version === 'string' && !SESSION_VERSIONS.has(version)) {
      refuse(response, 400, 'This version of the protocol is not spoken in a session.');
      return undefined;
    }
    this.#touch(session.leg.transport.id, session);
    return session;
  }

  #open(message: Message, response: Answering, identity: ClientIdentity): void {
    if (message.kind !== 'request' || message.method !== 'initialize') return refuse(response, 400, 'There is no session: send initialize first.');
    const id = randomUUID();
    const leg = new LegacyLeg(
      this.#options.leg,
      identity,
      (events) => new SessionTransport(id, events),
      () => void this.#end(id),
    );
    this.#touch(id, { leg, identity, idle: undefined, touched: 0 });
    leg.transport.post(message, response, undefined);
    this.#endOldest();
    return undefined;
  }

  #endOldest(): void {
    for (const oldest of this.#sessions.keys()) {
      if (this.#sessions.size <= this.#options.maxSessions) break;
      void this.#end(oldest);
    }
  }

  #touch(id: string, session: SessionOfClient): void {
    const now = Date.now();
    // Its end need not be put off with every message.
    if (!session.idle) {
      session.idle = setTimeout(() => void this.#end(id), IDLE_MS);
      session.idle.unref();
      session.touched = now;
    } else if (now - session.touched > TOUCH_MS) {
      session.idle.refresh();
      session.touched = now;
    }
    this.#sessions.delete(id);
    this.#sessions.set(id, session);
  }

  async #end(id: string): Promise<void> {
    const session = this.#sessions.get(id);
    if (!session) return;
    this.#sessions.delete(id);
    clearTimeout(session.idle);
    await session.leg.close().catch((cause: unknown) => this.#options.log.warn('mcp.session-not-closed', { cause }));
  }
}

function overHttp(session: SessionOfClient): session is SessionOfClient<SessionTransport> {
  return session.leg.transport instanceof SessionTransport;
}

function refuse(response: Answering, status: number, message: string, code = -32_000): void {
  answer(response, status, { jsonrpc: '2.0', id: null, error: { code, message } });
}

function answer(response: Answering, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }).end(text);
}
