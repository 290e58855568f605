/** HTTP towards the clients of a relayed server, framed by ourselves: sessions for those of the older era, exchanges for the rest. */
import { randomUUID } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { RequestHandler } from 'express';
import { Problem } from '../../../../contract/problem.ts';
import type { Answering, Asked } from '../../../http/answering.ts';
import type { Log } from '../../../pipeline/engine.ts';
import type { ClientIdentity } from '../../protocol.ts';
import { type ClientSession, ClientSessions } from '../clientSessions.ts';
import { LegacyLeg, type LegOptions } from '../legacyLeg.ts';
import { LineTransport } from '../lineTransport.ts';
import { type Message, readMessage } from '../message.ts';
import type { ModernLeg } from '../modernLeg.ts';
import { readExchange } from './exchangeHeaders.ts';
import { SessionTransport } from './sessionTransport.ts';

const SESSION_VERSIONS = new Set(['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25']);

export interface RelayFrontOptions {
  readonly log: Log;
  /** Sessions that are open at once; beyond it the one unused longest ends. */
  readonly maxSessions: number;
  readonly leg: LegOptions;
  readonly modern: ModernLeg;
}

interface SessionOfClient<Transport extends SessionTransport | LineTransport = SessionTransport | LineTransport> extends ClientSession {
  readonly leg: LegacyLeg<Transport>;
}

export class RelayFront {
  readonly #options: RelayFrontOptions;
  readonly #sessions: ClientSessions<SessionOfClient>;

  constructor(options: RelayFrontOptions) {
    this.#options = options;
    this.#sessions = new ClientSessions(options.maxSessions, options.log);
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
    const end = (): void => void this.#sessions.end(id);
    const leg = new LegacyLeg(
      this.#options.leg,
      identity,
      ({ onMessage }) =>
        new LineTransport(id, stream, {
          onMessage: (message) => {
            this.#sessions.touch(id);
            onMessage(message);
          },
          onEnd: end,
        }),
      end,
    );
    this.#sessions.add(id, { leg, identity, close: () => leg.close() });
  };

  async close(): Promise<void> {
    await this.#sessions.endAll();
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
      return known.leg.transport.get(request, response, identity);
    }
    void this.#sessions.end(known.leg.transport.id).then(() => response.writeHead(200).end());
    return undefined;
  }

  /** The session that a request names; another window's does not exist for this one. */
  #known(request: Asked, response: Answering, identity: ClientIdentity): SessionOfClient<SessionTransport> | undefined {
    const id = request.headers['mcp-session-id'];
    const session = typeof id === 'string' ? this.#sessions.of(id, identity) : undefined;
    if (!session || !overHttp(session)) {
      refuse(response, 404, 'This session has ended. Initialize again.', -32_001);
      return undefined;
    }
    const version = request.headers['mcp-protocol-version'];
    if (typeof version === 'string' && !SESSION_VERSIONS.has(version)) {
      refuse(response, 400, 'This version of the protocol is not spoken in a session.');
      return undefined;
    }
    return session;
  }

  #open(message: Message, response: Answering, identity: ClientIdentity): void {
    if (message.kind !== 'request' || message.method !== 'initialize') return refuse(response, 400, 'There is no session: send initialize first.');
    const id = randomUUID();
    const leg = new LegacyLeg(
      this.#options.leg,
      identity,
      (events) => new SessionTransport(id, events),
      () => void this.#sessions.end(id),
    );
    this.#sessions.add(id, { leg, identity, close: () => leg.close() });
    leg.transport.post(message, response, undefined);
    return undefined;
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
