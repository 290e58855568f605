/**
 * Clients of the stateless era in front of a server of either: one process or connection for each bearer and client, opened
 * with what it says of itself. What the server asks of the client becomes an `input_required` answer, and the call goes on when
 * the client comes back with it: one operation from its first exchange to its last.
 */
import { createHash, randomUUID } from 'node:crypto';
import {
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  createMcpHandler,
  type Implementation,
  LOG_LEVEL_META_KEY,
  type McpHandlerRequestOptions,
  type McpHttpHandler,
  ProtocolError,
  type Result,
  SERVER_INFO_META_KEY,
  Server,
  type ServerCapabilities,
  type ServerContext,
} from '@modelcontextprotocol/server';
import { Problem } from '../../../contract/problem.ts';
import { actorOf, clientInfoOf } from './agent.ts';
import type { Caller } from './exchanges.ts';
import { type Bearer, bearerOf, KEEP_ALIVE_MS } from './front.ts';
import type { LegOptions } from './legacyLeg.ts';
import { isObject, type Json, type JsonObject, type Reply } from './message.ts';
import type { ClientSide, RelaySession } from './relaySession.ts';
import { RequestStates } from './requestState.ts';

/** The newest version that servers of the older era speak. */
const LEGACY_VERSION = '2025-11-25';
/** How long a server without anything to do stays, and how long a call waits for a client to come back, in milliseconds. */
const IDLE_MS = 15 * 60 * 1000;
const COME_BACK_MS = 10 * 60 * 1000;
/** Processes for clients of this era at once; beyond it the one unused longest ends. */
const MAX_SHARED = 32;
const CAPABILITIES = ['tools', 'prompts', 'resources', 'completions', 'logging', 'experimental', 'extensions'] as const;

interface Upstream {
  readonly relay: RelaySession;
  readonly info: JsonObject;
}

interface Shared {
  /** Whose it is. */
  readonly key: string;
  readonly handler: McpHttpHandler;
  upstream: Promise<Upstream> | undefined;
  readonly calls: Set<Call>;
  /** Calls that wait for their client to come back, by the state it was given. */
  readonly parked: Map<string, Call>;
  level: string | undefined;
  idle: NodeJS.Timeout | undefined;
}

/** What the server wants to know before it goes on, by names. */
interface Ask {
  readonly requests: JsonObject;
  /** Undefined: there will be no answer. */
  readonly answer: (responses: JsonObject | undefined) => void;
}

/** One call from the client's first request to its last, over as many exchanges as it takes. */
interface Call {
  readonly binding: string;
  readonly caller: Caller;
  readonly abort: AbortController;
  notify: (method: string, params: JsonObject) => void;
  reply: Promise<Reply>;
  ask: Ask | undefined;
  asked: () => void;
  timer: NodeJS.Timeout | undefined;
}

export class ModernLeg {
  readonly #options: LegOptions;
  readonly #shared = new Map<string, Shared>();
  readonly #states = new RequestStates();

  constructor(options: LegOptions) {
    this.#options = options;
  }

  readonly fetch = (request: Request, options?: McpHandlerRequestOptions): Promise<Response> => {
    const key = keyOf(bearerOf(options?.authInfo));
    const shared = this.#of(key);
    this.#touch(key, shared);
    return shared.handler.fetch(request, options);
  };

  async close(): Promise<void> {
    await Promise.all([...this.#shared.keys()].map((key) => this.#forget(key)));
  }

  #of(key: string): Shared {
    const known = this.#shared.get(key);
    if (known) return known;
    const shared: Shared = {
      key,
      handler: createMcpHandler(({ authInfo }) => this.#serve(shared, bearerOf(authInfo)), {
        legacy: 'reject',
        responseMode: 'sse',
        keepAliveMs: KEEP_ALIVE_MS,
        onerror: (cause) => this.#options.host.engine.log.info('mcp.client.refused', { cause }),
      }),
      upstream: undefined,
      calls: new Set(),
      parked: new Map(),
      level: undefined,
      idle: undefined,
    };
    this.#shared.set(key, shared);
    for (const oldest of this.#shared.keys()) {
      if (this.#shared.size <= MAX_SHARED) break;
      void this.#forget(oldest);
    }
    return shared;
  }

  #touch(key: string, shared: Shared): void {
    clearTimeout(shared.idle);
    this.#shared.delete(key);
    this.#shared.set(key, shared);
    shared.idle = setTimeout(() => (shared.calls.size > 0 ? this.#touch(key, shared) : void this.#forget(key)), IDLE_MS);
    shared.idle.unref();
  }

  async #forget(key: string): Promise<void> {
    const shared = this.#shared.get(key);
    if (!shared) return;
    this.#shared.delete(key);
    clearTimeout(shared.idle);
    for (const call of shared.calls) call.abort.abort();
    await shared.handler.close();
    const upstream = await shared.upstream?.catch(() => undefined);
    await upstream?.relay.close('the client has left');
  }

  /** A server for one exchange, that passes everything on. */
  async #serve(shared: Shared, bearer: Bearer): Promise<Server> {
    let upstream: Upstream;
    try {
      shared.upstream ??= this.#open(shared, bearer);
      upstream = await shared.upstream;
    } catch (cause) {
      shared.upstream = undefined;
      if (!(cause instanceof Problem)) this.#options.host.engine.log.error('mcp.relay.failed', { cause });
      const refusing = new Server({ name: 'countersign', version: '1.0.0' }, { capabilities: {} });
      refusing.fallbackRequestHandler = () =>
        Promise.reject(new ProtocolError(-32_000, cause instanceof Problem ? cause.message : 'The proxy failed. Its log says more.'));
      return refusing;
    }
    const { info, relay } = upstream;
    const offered = isObject(info.capabilities) ? info.capabilities : {};
    const capabilities = Object.fromEntries(CAPABILITIES.flatMap((name) => (isObject(offered[name]) ? [[name, offered[name]]] : []))) as ServerCapabilities;
    const server = new Server((isObject(info.serverInfo) ? info.serverInfo : { name: 'server', version: '0' }) as unknown as Implementation, {
      capabilities,
      ...(typeof info.instructions === 'string' && { instructions: info.instructions }),
    });
    server.fallbackRequestHandler = (request, ctx) => this.#handle(shared, relay, request.method, request.params as JsonObject | undefined, ctx);
    await this.#watch(relay, bearer.body);
    return server;
  }

  async #open(shared: Shared, { identity, body }: Bearer): Promise<Upstream> {
    const meta = metaOf(body);
    const info = clientInfoOf(meta[CLIENT_INFO_META_KEY]);
    const relay = await this.#options.open({ ...identity, actor: actorOf(identity, info) }, this.#client(shared));
    const caller: Caller = { signal: relay.signal, notify: () => {} };
    const { [LOG_LEVEL_META_KEY]: _level, progressToken: _token, ...envelope } = meta;
    const discovered = await relay.request('server/discover', { _meta: envelope }, caller);
    if ('result' in discovered) {
      relay.notification('notifications/initialized', undefined);
      const said = isObject(discovered.result._meta) ? discovered.result._meta : {};
      return { relay, info: { ...discovered.result, serverInfo: said[SERVER_INFO_META_KEY] ?? null } };
    }
    const capabilities = isObject(meta[CLIENT_CAPABILITIES_META_KEY]) ? meta[CLIENT_CAPABILITIES_META_KEY] : {};
    const clientInfo = isObject(meta[CLIENT_INFO_META_KEY]) ? meta[CLIENT_INFO_META_KEY] : { name: 'countersign', version: '1.0.0' };
    const reply = await relay.request('initialize', { protocolVersion: LEGACY_VERSION, capabilities, clientInfo }, caller);
    if ('error' in reply) {
      await relay.close('it did not initialize');
      throw new Problem('not-initialized', reply.error.message);
    }
    relay.notification('notifications/initialized', undefined);
    return { relay, info: reply.result };
  }

  #client(shared: Shared): ClientSide {
    const ask = (requests: JsonObject, signal: AbortSignal, caller: Caller | undefined): Promise<JsonObject | undefined> =>
      new Promise((resolve) => {
        const free = [...shared.calls].filter((c) => !c.ask);
        const call = free.find((c) => c.caller === caller) ?? free.at(-1);
        if (!call) return resolve(undefined);
        const answer = (responses: JsonObject | undefined): void => {
          call.ask = undefined;
          resolve(responses);
        };
        signal.addEventListener('abort', () => answer(undefined), { once: true });
        call.ask = { requests, answer };
        call.asked();
        return undefined;
      });
    return {
      notify: (method, params) => {
        const { notify } = shared.handler;
        if (method === 'notifications/tools/list_changed') notify.toolsChanged();
        else if (method === 'notifications/prompts/list_changed') notify.promptsChanged();
        else if (method === 'notifications/resources/list_changed') notify.resourcesChanged();
        else if (method === 'notifications/resources/updated' && typeof params?.uri === 'string') notify.resourceUpdated(params.uri);
        else [...shared.calls].at(-1)?.notify(method, params ?? {});
      },
      ask: async (method, params, signal, caller) => {
        const request = { method, ...(params && { params }) };
        const responses = await ask({ input: request }, signal, caller);
        const input = responses?.input;
        return isObject(input) ? { result: input } : { error: { code: -32_000, message: 'The client gave no answer.' } };
      },
      inputs: async (requests, signal, caller) => {
        const responses = await ask(requests, signal, caller);
        if (!responses) throw new Error('The client gave no answer.');
        return responses;
      },
      ended: () => {
        shared.upstream = undefined;
        shared.level = undefined;
      },
    };
  }

  async #handle(shared: Shared, relay: RelaySession, method: string, params: JsonObject | undefined, ctx: ServerContext): Promise<Result> {
    const level = (ctx.mcpReq.envelope as Readonly<Record<string, unknown>> | undefined)?.[LOG_LEVEL_META_KEY];
    if (relay.era === 'sessions' && typeof level === 'string' && level !== shared.level) {
      shared.level = level;
      await relay.request('logging/setLevel', { level }, { signal: ctx.mcpReq.signal, notify: () => {} });
    }
    const call = this.#resume(shared, method, params, ctx) ?? this.#begin(shared, relay, method, params, ctx);
    call.notify = (notified, about) => void ctx.mcpReq.notify({ method: notified, params: about as Record<string, unknown> }).catch(() => {});
    const cancel = (): void => call.abort.abort();
    ctx.mcpReq.signal.addEventListener('abort', cancel, { once: true });
    try {
      const asked = new Promise<'asked'>((resolve) => {
        call.asked = () => resolve('asked');
        if (call.ask) resolve('asked');
      });
      const next = await Promise.race([call.reply, asked]);
      if (next === 'asked' && call.ask) return this.#park(shared, call, call.ask);
      const reply = await call.reply;
      if ('error' in reply) throw new ProtocolError(reply.error.code, reply.error.message, reply.error.data);
      return reply.result as Result;
    } finally {
      ctx.mcpReq.signal.removeEventListener('abort', cancel);
    }
  }

  #begin(shared: Shared, relay: RelaySession, method: string, params: JsonObject | undefined, ctx: ServerContext): Call {
    const abort = new AbortController();
    const call: Call = {
      binding: bindingOf(shared.key, method, params),
      caller: { signal: abort.signal, notify: (notified, about) => call.notify(notified, about) },
      abort,
      notify: () => {},
      reply: Promise.resolve({ error: { code: -32_603, message: '' } }),
      ask: undefined,
      asked: () => {},
      timer: undefined,
    };
    shared.calls.add(call);
    // A server of the same era is told all that the client says of itself; one of the older era knows it from `initialize`.
    const envelope = relay.era === 'stateless' ? (ctx.mcpReq.envelope as JsonObject | undefined) : undefined;
    const sent = envelope ? { ...params, _meta: { ...(isObject(params?._meta) && params._meta), ...envelope } } : params;
    call.reply = relay.request(method, sent, call.caller).finally(() => shared.calls.delete(call));
    return call;
  }

  /** Answers with what the server asks, and keeps the call until the client comes back: once, for the same request. */
  #park(shared: Shared, call: Call, ask: Ask): Result {
    const id = randomUUID();
    shared.parked.set(id, call);
    call.timer = setTimeout(() => {
      shared.parked.delete(id);
      call.abort.abort();
    }, COME_BACK_MS);
    call.timer.unref();
    const requestState = this.#states.seal(id, call.binding, this.#options.host.engine.clock.now() + COME_BACK_MS);
    return { resultType: 'input_required', inputRequests: ask.requests, requestState } as Result;
  }

  #resume(shared: Shared, method: string, params: JsonObject | undefined, ctx: ServerContext): Call | undefined {
    const state = (ctx.mcpReq.requestState as () => unknown)();
    if (state === undefined) return undefined;
    const id = typeof state === 'string' ? this.#states.open(state, bindingOf(shared.key, method, params), this.#options.host.engine.clock.now()) : undefined;
    const call = id === undefined ? undefined : shared.parked.get(id);
    if (id === undefined || !call) throw new ProtocolError(-32_602, 'This call is not waiting for an answer. Make it again.');
    shared.parked.delete(id);
    clearTimeout(call.timer);
    const responses = ctx.mcpReq.inputResponses;
    call.ask?.answer(isObject(responses) ? responses : undefined);
    return call;
  }

  /** A client that listens for changes of resources is the server's subscriber. */
  async #watch(relay: RelaySession, body: unknown): Promise<void> {
    if (!isObject(body) || body.method !== 'subscriptions/listen' || !isObject(body.params)) return;
    const wanted = isObject(body.params.notifications) ? body.params.notifications.resourceSubscriptions : undefined;
    for (const uri of Array.isArray(wanted) ? (wanted as readonly Json[]) : []) {
      if (typeof uri === 'string') await relay.request('resources/subscribe', { uri }, { signal: relay.signal, notify: () => {} });
    }
  }
}

/** Who shares a process: exchanges of one bearer whose client says the same of itself and of what it can do. */
function keyOf({ identity, body }: Bearer): string {
  const meta = metaOf(body);
  const said = JSON.stringify([identity.conversation.id, meta[CLIENT_INFO_META_KEY] ?? null, meta[CLIENT_CAPABILITIES_META_KEY] ?? null]);
  return createHash('sha256').update(said).digest('hex');
}

function metaOf(body: unknown): JsonObject {
  if (!isObject(body) || !isObject(body.params) || !isObject(body.params._meta)) return {};
  return body.params._meta;
}

/** Whose request it is and what it asks, whatever its id, metadata and answers. */
function bindingOf(key: string, method: string, params: JsonObject | undefined): string {
  const { _meta, inputResponses: _responses, requestState: _state, ...rest } = params ?? {};
  return createHash('sha256')
    .update(JSON.stringify([key, method, rest]))
    .digest('hex');
}
