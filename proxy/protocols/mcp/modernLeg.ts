/**
 * Clients of the stateless era in front of a server of either: one process or connection for each bearer and client, opened
 * with what it says of itself.
 */
import { createHash } from 'node:crypto';
import { Problem } from '../../../contract/problem.ts';
import type { Answering } from '../../http/answering.ts';
import type { ClientIdentity } from '../protocol.ts';
import { actorOf, clientInfoOf } from './agent.ts';
import type { Caller } from './exchanges.ts';
import { givesWay } from './givesWay.ts';
import { EventReply } from './http/eventReply.ts';
import { type ExchangeHeaders, paramMismatch, STATELESS_VERSION } from './http/exchangeHeaders.ts';
import { endWithLogin } from './http/untilLogin.ts';
import type { LegOptions } from './legacyLeg.ts';
import { Listeners } from './listeners.ts';
import { type Id, isObject, type Json, type JsonObject, type Message, type Reply } from './message.ts';
import { ModernCalls } from './modernCalls.ts';
import type { ClientSide, RelaySession } from './relaySession.ts';
import { RequestStates } from './requestState.ts';
import { ownerOf } from './taskBook.ts';
import { MISSING_CAPABILITY, speaksOfTasks, TASK_METHODS, TASKS, withoutTasks } from './taskShapes.ts';
import { ParamHeaders } from './upstream/paramHeaders.ts';

/** The newest version that servers of the older era speak. */
const LEGACY_VERSION = '2025-11-25';
/** How long a server without anything to do stays, in milliseconds. */
const IDLE_MS = 15 * 60 * 1000;
/** Processes for clients of this era at once; beyond it one of whoever has most ends. */
const MAX_SHARED = 32;
/** Tasks that a client may listen for on one stream. */
const MAX_WATCHED = 1_000;
const PREFIX = 'io.modelcontextprotocol/';
const CLIENT_INFO = `${PREFIX}clientInfo`;
const CLIENT_CAPABILITIES = `${PREFIX}clientCapabilities`;
const LOG_LEVEL = `${PREFIX}logLevel`;
const SERVER_INFO = `${PREFIX}serverInfo`;
const ENVELOPE: ReadonlySet<string> = new Set([`${PREFIX}protocolVersion`, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL]);
/** Capabilities that mean the same in both eras; tasks do not. */
const COMMON = ['tools', 'prompts', 'resources', 'completions', 'logging', 'experimental', 'extensions'];
/** What this era has no more: the server is asked for it in other ways. */
const REMOVED: ReadonlySet<string> = new Set([
  'initialize',
  'ping',
  'logging/setLevel',
  'resources/subscribe',
  'resources/unsubscribe',
  'roots/list',
  'tasks/list',
  'tasks/result',
]);
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
/** Errors that have a status of their own (2026-07-28, Streamable HTTP). */
const STATUS: Readonly<Record<number, number>> = { [-32_601]: 404, [-32_020]: 400, [-32_021]: 400, [-32_022]: 400 };
/** Answers that say how long they may be kept: no longer than this one is looked at, and by nobody else. */
const CACHED: ReadonlySet<string> = new Set(['tools/list', 'prompts/list', 'resources/list', 'resources/templates/list', 'resources/read', 'server/discover']);

const OURSELVES: JsonObject = { name: 'countersign', version: '1.0.0' };

interface Upstream {
  readonly relay: RelaySession;
  /** What it has said of itself. */
  readonly capabilities: JsonObject;
  readonly serverInfo: Json;
  readonly instructions: string | undefined;
}

interface Shared {
  /** Whose it is. */
  readonly owner: string;
  readonly calls: ModernCalls;
  readonly listeners: Listeners;
  readonly headers: ParamHeaders;
  upstream: Promise<Upstream> | undefined;
  relay: RelaySession | undefined;
  level: string | undefined;
  idle: NodeJS.Timeout | undefined;
}

interface Exchange {
  readonly id: Id;
  readonly method: string;
  readonly params: JsonObject | undefined;
  readonly headers: ExchangeHeaders;
  readonly reply: EventReply;
}

export class ModernLeg {
  readonly #options: LegOptions;
  readonly #shared = new Map<string, Shared>();
  readonly #states = new RequestStates();

  constructor(options: LegOptions) {
    this.#options = options;
  }

  /** One message of a client's, whose headers have been held against it. */
  handle(message: Message, headers: ExchangeHeaders, response: Answering, identity: ClientIdentity): void {
    if (message.kind !== 'request') {
      response.writeHead(202).end();
      return;
    }
    const { id, method, params } = message;
    const reply = new EventReply(response);
    const exchange: Exchange = { id, method, params, headers, reply };
    if (REMOVED.has(method)) return end(exchange, { error: { code: -32_601, message: 'Method not found' } });
    const shared = this.#of(keyOf(identity, params), ownerOf(identity.actor.person));
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    void this.#serve(shared, identity, exchange, gone.signal).catch((cause: unknown) => {
      if (!(cause instanceof Problem)) this.#options.host.engine.log.error('mcp.relay.failed', { cause });
      const sentence = cause instanceof Problem ? cause.message : 'The proxy failed. Its log says more.';
      // A client that looks first is let in, so that it gets to see why it can do nothing here.
      if (method === 'server/discover') end(exchange, { result: described({ capabilities: { tools: {} }, instructions: sentence, serverInfo: OURSELVES }) });
      else end(exchange, { error: { code: -32_000, message: sentence } });
    });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#shared.keys()].map((key) => this.#forget(key)));
  }

  #of(key: string, owner: string): Shared {
    const shared = this.#shared.get(key) ?? {
      owner,
      calls: new ModernCalls(key, this.#options.host.engine.clock, this.#states),
      listeners: new Listeners(),
      headers: new ParamHeaders(),
      upstream: undefined,
      relay: undefined,
      level: undefined,
      idle: undefined,
    };
    this.#touch(key, shared);
    while (this.#shared.size > MAX_SHARED) {
      const gives = givesWay(Array.from(this.#shared, ([held, one]) => [held, one.owner] as const));
      if (gives === undefined) break;
      void this.#forget(gives);
    }
    return shared;
  }

  #touch(key: string, shared: Shared): void {
    if (shared.idle) shared.idle.refresh();
    else {
      shared.idle = setTimeout(() => (shared.calls.size > 0 || shared.relay?.working ? this.#touch(key, shared) : void this.#forget(key)), IDLE_MS);
      shared.idle.unref();
    }
    this.#shared.delete(key);
    this.#shared.set(key, shared);
  }

  async #forget(key: string): Promise<void> {
    const shared = this.#shared.get(key);
    if (!shared) return;
    this.#shared.delete(key);
    clearTimeout(shared.idle);
    shared.calls.close();
    shared.listeners.close();
    const upstream = await shared.upstream?.catch(() => undefined);
    await upstream?.relay.close('the client has left');
  }

  async #serve(shared: Shared, identity: ClientIdentity, exchange: Exchange, gone: AbortSignal): Promise<void> {
    shared.upstream ??= this.#open(shared, identity, exchange.params);
    const opening = shared.upstream;
    const upstream = await opening.catch((cause: unknown) => {
      if (shared.upstream === opening) shared.upstream = undefined;
      throw cause;
    });
    if (gone.aborted) return;
    const { relay } = upstream;
    shared.relay = relay;
    const noTasks = whyNoTasks(exchange, upstream);
    if (noTasks) return end(exchange, noTasks);
    if (exchange.method === 'subscriptions/listen') return this.#listen(shared, upstream, exchange, identity, gone);
    if (exchange.method === 'server/discover' && relay.era !== 'stateless') return end(exchange, { result: described(upstream) });
    if (exchange.method === 'tools/call' && typeof exchange.params?.name === 'string') {
      const wrong = paramMismatch(shared.headers.declared(exchange.params.name), exchange.params.arguments, exchange.headers);
      if (wrong !== undefined) return end(exchange, { error: { code: -32_020, message: wrong } });
    }
    await this.#setLevel(shared, relay, exchange.params);
    return this.#call(shared, upstream, exchange, gone);
  }

  async #call(shared: Shared, upstream: Upstream, exchange: Exchange, gone: AbortSignal): Promise<void> {
    const { id, method, params, reply } = exchange;
    const state = params?.requestState;
    const responses = isObject(params?.inputResponses) ? params.inputResponses : undefined;
    const call =
      state === undefined
        ? shared.calls.begin(method, params, (caller) => upstream.relay.request(method, asTheServerTakesIt(upstream.relay, params), caller))
        : typeof state === 'string' && shared.calls.resume(state, method, params, responses);
    if (!call) return end(exchange, { error: { code: -32_602, message: 'This call is not waiting for an answer. Make it again.' } });
    const level = metaOf(params)[LOG_LEVEL];
    call.notify = (notified, about) => {
      // Only a request that says so hears of what the server logs.
      if (notified === 'notifications/message' && (typeof level !== 'string' || LEVELS.indexOf(about.level as string) < LEVELS.indexOf(level))) return;
      reply.event(JSON.stringify({ jsonrpc: '2.0', method: notified, params: about }));
    };
    const cancel = (): void => call.abort.abort();
    gone.addEventListener('abort', cancel, { once: true });
    const next = await shared.calls.next(call);
    gone.removeEventListener('abort', cancel);
    if ('result' in next && method === 'tools/list') shared.headers.learn(next.result);
    const known = 'error' in next || upstream.relay.era === 'stateless' ? next : { result: inThisEra(method, next.result, upstream.serverInfo) };
    reply.end({ jsonrpc: '2.0', id, ...known }, statusOf(known));
  }

  async #open(shared: Shared, identity: ClientIdentity, params: JsonObject | undefined): Promise<Upstream> {
    const meta = metaOf(params);
    const actor = actorOf(identity, clientInfoOf(meta[CLIENT_INFO]));
    const relay = await this.#options.open({ ...identity, actor }, this.#client(shared));
    const caller: Caller = { signal: relay.signal, notify: () => {} };
    const envelope = Object.fromEntries(Object.entries(meta).filter(([name]) => ENVELOPE.has(name) && name !== LOG_LEVEL));
    let reply = await relay.request('server/discover', { _meta: envelope }, caller);
    if ('error' in reply) {
      const capabilities = isObject(meta[CLIENT_CAPABILITIES]) ? withoutTasks(meta[CLIENT_CAPABILITIES]) : {};
      const clientInfo = isObject(meta[CLIENT_INFO]) ? meta[CLIENT_INFO] : OURSELVES;
      reply = await relay.request('initialize', { protocolVersion: LEGACY_VERSION, capabilities, clientInfo }, caller);
    }
    if ('error' in reply) {
      await relay.close('it did not initialize');
      throw new Problem('not-initialized', reply.error.message);
    }
    relay.notification('notifications/initialized', undefined);
    const { result } = reply;
    return {
      relay,
      capabilities: isObject(result.capabilities) ? result.capabilities : {},
      serverInfo: result.serverInfo ?? (isObject(result._meta) ? result._meta[SERVER_INFO] : undefined) ?? { name: 'server', version: '0' },
      instructions: typeof result.instructions === 'string' ? result.instructions : undefined,
    };
  }

  #client(shared: Shared): ClientSide {
    return {
      notify: (method, params) => {
        if (!shared.listeners.changed(method, params)) shared.calls.latest?.notify(method, params ?? {});
      },
      ask: async (method, params, signal, caller) => {
        const responses = await shared.calls.ask({ input: { method, ...(params && { params }) } }, signal, caller);
        const input = responses?.input;
        return isObject(input) ? { result: input } : { error: { code: -32_000, message: 'The client gave no answer.' } };
      },
      inputs: async (requests, signal, caller) => {
        const responses = await shared.calls.ask(requests, signal, caller);
        return responses ?? {};
      },
      ended: () => {
        shared.upstream = undefined;
        shared.relay = undefined;
        shared.level = undefined;
        shared.listeners.close();
      },
    };
  }

  async #listen(
    shared: Shared,
    { capabilities, relay }: Upstream,
    { id, params, reply }: Exchange,
    identity: ClientIdentity,
    gone: AbortSignal,
  ): Promise<void> {
    gone.addEventListener('abort', () => shared.listeners.remove(reply), { once: true });
    const wanted = taskIdsIn(params);
    const early: JsonObject[] = [];
    let notify = (task: JsonObject): void => void early.push(task);
    // A client that was told of a task's end need not ask: what the server will not tell of is not promised.
    const tasks =
      wanted.length > 0
        ? await relay.watchTasks(
            wanted,
            gone,
            (task) => notify(task),
            () => shared.listeners.end(reply),
          )
        : [];
    const uris = shared.listeners.add(id, params, capabilities, reply, tasks);
    const stop = endWithLogin(identity, () => shared.listeners.end(reply));
    gone.addEventListener('abort', stop, { once: true });
    notify = (task) => shared.listeners.task(reply, task);
    for (const task of early) notify(task);
    for (const uri of uris) {
      await relay.request('resources/subscribe', { uri }, { signal: relay.signal, notify: () => {} });
    }
  }

  /** A server of the older era logs for all its requests alike; the most talkative level that was asked for is what it is told. */
  async #setLevel(shared: Shared, relay: RelaySession, params: JsonObject | undefined): Promise<void> {
    const level = metaOf(params)[LOG_LEVEL];
    if (relay.era !== 'sessions' || typeof level !== 'string' || level === shared.level) return;
    shared.level = level;
    await relay.request('logging/setLevel', { level }, { signal: relay.signal, notify: () => {} });
  }
}

/** Tasks are there where both sides have the extension; of the older era's tasks this one knows nothing. */
function whyNoTasks({ method, params }: Exchange, { relay, capabilities }: Upstream): Reply | undefined {
  const asksAbout = TASK_METHODS.has(method);
  if (!asksAbout && (method !== 'subscriptions/listen' || taskIdsIn(params).length === 0)) return undefined;
  const offered = relay.era === 'stateless' && speaksOfTasks(capabilities);
  if (!offered) return asksAbout ? { error: { code: -32_601, message: 'Method not found' } } : undefined;
  if (speaksOfTasks(metaOf(params)[CLIENT_CAPABILITIES])) return undefined;
  const data = { requiredCapabilities: { extensions: { [TASKS]: {} } } };
  return { error: { code: MISSING_CAPABILITY, message: 'Missing required client capability', data } };
}

function taskIdsIn(params: JsonObject | undefined): readonly string[] {
  const ids = isObject(params?.notifications) ? params.notifications.taskIds : undefined;
  return Array.isArray(ids) ? (ids as readonly Json[]).filter((id) => typeof id === 'string').slice(0, MAX_WATCHED) : [];
}

function end({ id, reply }: Exchange, answer: Reply): void {
  reply.end({ jsonrpc: '2.0', id, ...answer }, statusOf(answer));
}

function statusOf(reply: Reply): number {
  return 'error' in reply ? (STATUS[reply.error.code] ?? 200) : 200;
}

/** Who shares a process: exchanges of one bearer whose client says the same of itself and of what it can do. */
function keyOf(identity: ClientIdentity, params: JsonObject | undefined): string {
  const meta = metaOf(params);
  const said = JSON.stringify([identity.conversation.id, meta[CLIENT_INFO] ?? null, meta[CLIENT_CAPABILITIES] ?? null]);
  return createHash('sha256').update(said).digest('hex');
}

function metaOf(params: JsonObject | undefined): JsonObject {
  return isObject(params?._meta) ? params._meta : {};
}

/** A server of this era is told all that the client says of itself; one of the older era knows it from `initialize`. */
function asTheServerTakesIt(relay: RelaySession, params: JsonObject | undefined): JsonObject | undefined {
  if (relay.era === 'stateless' || !params) return params;
  // Nor does it hear the older era's word for a task: its client could not follow one.
  const { _meta, inputResponses: _responses, requestState: _state, task: _task, ...rest } = params;
  const meta = Object.fromEntries(Object.entries(metaOf(params)).filter(([name]) => !ENVELOPE.has(name)));
  return Object.keys(meta).length > 0 ? { ...rest, _meta: meta } : rest;
}

/** What a server of the older era has answered, as one of this era would have. */
function inThisEra(method: string, result: JsonObject, serverInfo: Json): JsonObject {
  if (result.resultType === 'input_required') return result;
  // Tasks are an extension in this era: a tool has no word on them.
  const tools = method === 'tools/list' && Array.isArray(result.tools) ? { tools: (result.tools as readonly Json[]).map(withoutExecution) } : {};
  return {
    ...result,
    ...tools,
    resultType: 'complete',
    ...(CACHED.has(method) && { ttlMs: 0, cacheScope: 'private' }),
    _meta: { ...(isObject(result._meta) && result._meta), [SERVER_INFO]: serverInfo },
  };
}

function withoutExecution(tool: Json): Json {
  if (!isObject(tool)) return tool;
  const { execution: _, ...rest } = tool;
  return rest;
}

function described({ capabilities, instructions, serverInfo }: Omit<Upstream, 'relay'>): JsonObject {
  return inThisEra(
    'server/discover',
    {
      supportedVersions: [STATELESS_VERSION],
      capabilities: withoutTasks(Object.fromEntries(COMMON.flatMap((name) => (isObject(capabilities[name]) ? [[name, capabilities[name]]] : [])))),
      ...(instructions !== undefined && { instructions }),
    },
    serverInfo,
  );
}
