/** Streamable HTTP towards clients of both eras: sessions for those that open with `initialize`, single exchanges for the rest. */
import { randomUUID } from 'node:crypto';
import { NodeStreamableHTTPServerTransport, toNodeHandler, toWebRequest } from '@modelcontextprotocol/node';
import { type AuthInfo, isLegacyRequest, type McpHandlerRequestOptions } from '@modelcontextprotocol/server';
import type { Request, RequestHandler, Response } from 'express';
import type { Log } from '../../pipeline/engine.ts';
import type { ClientIdentity } from '../protocol.ts';
import { type ClientSession, ClientSessions } from './clientSessions.ts';
import { endWithLogin } from './http/untilLogin.ts';

/** Comment frames on an open stream, in milliseconds. */
export const KEEP_ALIVE_MS = 10_000;
/** Sessions of clients of the older era that are open at once; beyond it the one unused longest ends. */
const MAX_SESSIONS = 200;

/** What travels with a request besides its bytes: who sent it, and whether they are still there. */
export interface Bearer {
  readonly identity: ClientIdentity;
  /** Aborted when the client has closed the connection before its answer was complete. */
  readonly closed: AbortSignal;
  /** The request as it was parsed. */
  readonly body: unknown;
}

/** The bearer of a request, where `McpFront` put it. */
export function bearerOf(info: AuthInfo | undefined): Bearer {
  const bearer = info?.extra?.bearer;
  if (bearer === undefined) throw new Error('a request without a bearer');
  return bearer as Bearer;
}

export interface FrontOptions {
  readonly log: Log;
  /** Fewer sessions than usual, where each costs a process. */
  readonly maxSessions?: number;
  /** Serves one exchange of the stateless era. */
  readonly modern: (request: globalThis.Request, options?: McpHandlerRequestOptions) => Promise<globalThis.Response>;
  /** Connects a server to a new session of the older era; `end` forgets the session. */
  readonly legacy: (identity: ClientIdentity, transport: NodeStreamableHTTPServerTransport, end: () => void) => Promise<{ close(): Promise<void> }>;
}

interface LegacySession extends ClientSession {
  readonly transport: NodeStreamableHTTPServerTransport;
}

export class McpFront {
  readonly #options: FrontOptions;
  readonly #sessions: ClientSessions<LegacySession>;
  readonly #modern: ReturnType<typeof toNodeHandler>;

  constructor(options: FrontOptions) {
    this.#options = options;
    this.#sessions = new ClientSessions(options.maxSessions ?? MAX_SESSIONS, options.log);
    this.#modern = toNodeHandler({ fetch: options.modern }, { onerror: (cause) => options.log.warn('mcp.exchange-failed', { cause }) });
  }

  readonly handle: RequestHandler = async (request, response) => {
    const identity = response.locals.identity as ClientIdentity;
    const body: unknown = request.body;
    const closed = new AbortController();
    response.once('close', () => {
      if (!response.writableFinished) closed.abort();
    });
    // Nothing else stays open for longer than its answer takes.
    if (request.method === 'GET')
      response.once(
        'close',
        endWithLogin(identity, () => void response.destroy()),
      );
    const bearer: Bearer = { identity, closed: closed.signal, body };
    const auth: AuthInfo = { token: '', clientId: identity.surface, scopes: [], extra: { bearer } };
    const carrying = Object.assign(request, { auth });
    if (await isLegacyRequest(await toWebRequest(request, body ?? ''), body ?? '')) await this.#legacy(carrying, response, identity, body);
    else await this.#modern(carrying, response as never, body);
    return undefined;
  };

  async #legacy(request: Request & { auth: AuthInfo }, response: Response, identity: ClientIdentity, body: unknown): Promise<void> {
    const id = request.headers['mcp-session-id'];
    if (typeof id === 'string') {
      const session = this.#sessions.of(id, identity);
      if (!session) return refuse(response, 404, 'This session has ended. Initialize again.');
      return session.transport.handleRequest(request, response, body);
    }
    if (!isInitialize(body)) return refuse(response, 400, 'There is no session: send initialize first.');
    const open: { server?: { close(): Promise<void> } } = {};
    const transport: NodeStreamableHTTPServerTransport = new NodeStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      keepAliveMs: KEEP_ALIVE_MS,
      onsessioninitialized: (started) => {
        const { server } = open;
        if (server) this.#sessions.add(started, { transport, identity, close: () => server.close() });
      },
      onsessionclosed: (ended) => this.#sessions.end(ended),
    });
    open.server = await this.#options.legacy(identity, transport, () => {
      if (transport.sessionId !== undefined) void this.#sessions.end(transport.sessionId);
    });
    await transport.handleRequest(request, response, body);
    if (transport.sessionId === undefined) await open.server.close();
    return undefined;
  }

  async close(): Promise<void> {
    await this.#sessions.endAll();
  }
}

function isInitialize(body: unknown): boolean {
  return typeof body === 'object' && body !== null && 'method' in body && body.method === 'initialize';
}

function refuse(response: Response, status: number, message: string): void {
  response.status(status).json({ jsonrpc: '2.0', id: null, error: { code: status === 404 ? -32_001 : -32_000, message } });
}
