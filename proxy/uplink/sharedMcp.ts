/** An MCP server that the gateway holds, at the same path as a local one: requests go to the gateway as they are. */
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { type RequestHandler, Router } from 'express';
import type { McpConnection } from '../policy/policy.ts';
import type { ClientIdentity, ProtocolHost, Served, ServedState } from '../protocols/protocol.ts';
import { openingOf } from './sharedPostgres.ts';
import { type SharedUplink, sharedState } from './sharedState.ts';

/** Headers that mean something to the gateway's endpoint; everything else is between the client and this proxy. */
const REQUEST_HEADERS = /^(accept|content-type|last-event-id|mcp-[a-z0-9-]{1,100}|traceparent|tracestate)$/;
const RESPONSE_HEADERS = /^(content-type|cache-control|mcp-[a-z0-9-]{1,100}|x-accel-buffering|allow)$/;

export class SharedMcp implements Served {
  readonly connection: McpConnection;
  readonly address: string;
  readonly #uplink: SharedUplink;
  readonly #mounted: { dispose(): void };
  readonly #open = new Set<{ destroy(cause?: Error): unknown }>();

  constructor(connection: McpConnection, host: ProtocolHost, uplink: SharedUplink) {
    this.connection = connection;
    this.#uplink = uplink;
    this.address = `/mcp/${connection.name}`;
    const router = Router();
    router.all('/', this.#forward);
    this.#mounted = host.mount(`mcp/${connection.name}`, router);
  }

  get state(): ServedState {
    return sharedState(this.#uplink, this.connection.name);
  }

  async stop(): Promise<void> {
    this.#mounted.dispose();
    for (const one of this.#open) one.destroy();
  }

  readonly #forward: RequestHandler = (request, response) => {
    const identity = response.locals.identity as ClientIdentity;
    const stream = this.#uplink.open(openingOf(this.connection.name, 'http', identity));
    const fail = (cause: Error): void => {
      const sentence = stream.errored?.message ?? (cause.message === 'closed' ? 'The gateway closed the connection.' : cause.message);
      if (response.headersSent) response.destroy();
      else response.status(503).json({ jsonrpc: '2.0', id: idOf(request.body), error: { code: -32_000, message: sentence } });
    };
    if (stream.errored) return fail(stream.errored);
    const body = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body));
    const forwarded = httpRequest({
      createConnection: () => stream,
      method: request.method,
      path: this.address,
      headers: {
        Host: 'gateway',
        Connection: 'close',
        ...pick(request, REQUEST_HEADERS),
        ...(body && { 'Content-Type': 'application/json', 'Content-Length': body.length }),
      },
    });
    this.#open.add(forwarded);
    forwarded.once('close', () => this.#open.delete(forwarded));
    forwarded.once('error', fail);
    forwarded.once('response', (answer) => {
      response.status(answer.statusCode ?? 502);
      for (const [name, value] of Object.entries(pick(answer, RESPONSE_HEADERS))) response.setHeader(name, value);
      response.flushHeaders();
      answer.pipe(response);
      answer.once('error', () => response.destroy());
      answer.once('close', () => {
        if (!answer.complete) response.destroy();
      });
    });
    // The client went before its answer was complete: that cancels, at the gateway as well.
    response.once('close', () => {
      if (!response.writableFinished) forwarded.destroy();
    });
    forwarded.end(body);
    return undefined;
  };
}

function pick({ headers }: Pick<IncomingMessage, 'headers'>, names: RegExp): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).flatMap(([name, value]) => (names.test(name) && typeof value === 'string' ? [[name, value]] : [])));
}

function idOf(body: unknown): string | number | null {
  const id: unknown = typeof body === 'object' && body !== null && 'id' in body ? body.id : null;
  return typeof id === 'string' || typeof id === 'number' ? id : null;
}
