/**
 * A server of the stateless era (2026-07-28), for a session that talks as the older one does: what was said once is said
 * with each request, what the server needs of the client is asked in between, what it has to tell comes on one subscription.
 */
import { type Id, isObject, type JsonObject, type Message, type Reply } from '../message.ts';
import type { Channel, Outgoing, UpstreamEvents } from './upstream.ts';

/** Rounds of questions in one request. */
const MAX_ROUNDS = 25;
/** Questions in one round. */
const MAX_QUESTIONS = 200;
/** How long to wait where the server asks to come again without a question, in milliseconds. */
const AGAIN_MS = 500;
/** How long a subscription that broke waits before it is made again: first, and at most, in milliseconds. */
const LISTEN_MS = 1_000;
const MAX_LISTEN_MS = 60_000;
const MAX_SUBSCRIPTIONS = 1_000;
const LOG_LEVEL = 'io.modelcontextprotocol/logLevel';
const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';

export interface StatelessOptions {
  readonly events: UpstreamEvents;
  readonly channel: Channel;
  readonly capabilities: JsonObject;
  /** Who the client is, as each request says it. */
  readonly envelope: JsonObject;
  /** The client is of the older era: the envelope goes with each request, and what that era has not is taken from answers. */
  readonly translate: boolean;
}

interface Call {
  readonly id: Id;
  readonly method: string;
  readonly params: JsonObject | undefined;
  readonly abort: AbortController;
  /** The id it has on the wire in this round. */
  wire: Id;
  rounds: number;
}

export class StatelessServer {
  readonly #options: StatelessOptions;
  /** Calls by the id that they have on the wire. */
  readonly #calls = new Map<Id, Call>();
  readonly #subscribed = new Set<string>();
  #level: string | undefined;
  #listening: Id | undefined;
  #listens = 0;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #rounds = 0;

  constructor(options: StatelessOptions) {
    this.#options = options;
  }

  send(message: Outgoing): void {
    if (!('method' in message)) return undefined;
    if (!('id' in message)) {
      if (message.method === 'notifications/initialized') return this.#listen();
      if (message.method === 'notifications/cancelled') return this.#cancel(message.params);
      // What else a client of the older era tells (its roots have changed) is asked for each time in this one.
      return undefined;
    }
    const { id, method, params } = message;
    switch (method) {
      case 'ping':
        return this.#answer(id, { result: {} });
      case 'logging/setLevel':
        this.#level = typeof params?.level === 'string' ? params.level : undefined;
        return this.#answer(id, { result: {} });
      case 'resources/subscribe':
      case 'resources/unsubscribe':
        return this.#subscribe(id, method, params);
      default: {
        // The methods of the older era's tasks mean something else in this one, and its client was offered none.
        if (this.#options.translate && method.startsWith('tasks/')) return this.#answer(id, { error: { code: -32_601, message: 'Method not found' } });
        const call: Call = { id, method, params, abort: new AbortController(), wire: id, rounds: 0 };
        return this.#round(call, {});
      }
    }
  }

  received(message: Message, about: Id | undefined): void {
    const { events } = this.#options;
    if (message.kind === 'request') return undefined;
    if (message.kind === 'notification') {
      const call = this.#callOf(message.params, about);
      if (message.method === 'notifications/subscriptions/acknowledged' && !call) {
        this.#failures = 0;
        return undefined;
      }
      return events.onMessage({ ...message, params: withoutSubscription(message.params) }, call?.id);
    }
    if (message.id === this.#listening) return this.#listenEnded('result' in message.reply);
    const call = this.#calls.get(message.id);
    if (!call) return undefined;
    this.#calls.delete(message.id);
    if ('result' in message.reply && message.reply.result.resultType === 'input_required') return void this.#ask(call, message.reply.result);
    if ('error' in message.reply) return this.#answer(call.id, message.reply);
    if (this.#options.translate && message.reply.result.resultType === 'task') return this.#answer(call.id, NO_TASKS);
    return this.#answer(call.id, { result: this.#options.translate ? asBefore(message.reply.result) : asOurs(message.reply.result) });
  }

  /** By the stream that a notification came on, else by what it says of its subscription: over stdio there are no streams. */
  #callOf(params: JsonObject | undefined, about: Id | undefined): Call | undefined {
    const subscription = isObject(params?._meta) ? params._meta[SUBSCRIPTION] : undefined;
    const id = about ?? (typeof subscription === 'string' || typeof subscription === 'number' ? subscription : undefined);
    return id === undefined ? undefined : this.#calls.get(id);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    for (const { abort } of this.#calls.values()) abort.abort();
  }

  #round(call: Call, more: JsonObject): void {
    const { channel, envelope, translate } = this.#options;
    const meta = isObject(call.params?._meta) ? call.params._meta : {};
    const params = {
      ...call.params,
      ...more,
      _meta: { ...envelope, ...meta, ...(translate && { ...envelope, ...(this.#level !== undefined && { [LOG_LEVEL]: this.#level }) }) },
    };
    this.#calls.set(call.wire, call);
    channel.send({ id: call.wire, method: call.method, params });
  }

  async #ask(call: Call, { inputRequests, requestState }: JsonObject): Promise<void> {
    const again = (more: JsonObject): void => {
      if (call.abort.signal.aborted || this.#stopped) return;
      call.wire = `${call.id}-${++this.#rounds}`;
      this.#round(call, { ...more, ...(requestState !== undefined && { requestState }) });
    };
    if (++call.rounds > MAX_ROUNDS)
      return this.#answer(call.id, { error: { code: -32_603, message: `The server has asked ${MAX_ROUNDS} times in one call.` } });
    if (!isObject(inputRequests) || Object.keys(inputRequests).length === 0) {
      setTimeout(() => again({}), AGAIN_MS).unref();
      return undefined;
    }
    if (Object.keys(inputRequests).length > MAX_QUESTIONS)
      return this.#answer(call.id, { error: { code: -32_603, message: `The server has asked more than ${MAX_QUESTIONS} things at once.` } });
    // In between the call is nowhere on the wire, and can still be cancelled.
    this.#calls.set(call.wire, call);
    try {
      const inputResponses = await this.#options.events.onInput(inputRequests, call.id, call.abort.signal);
      this.#calls.delete(call.wire);
      again({ inputResponses });
    } catch (cause) {
      this.#calls.delete(call.wire);
      if (call.abort.signal.aborted) return undefined;
      this.#answer(call.id, { error: { code: -32_603, message: cause instanceof Error ? cause.message : 'The client could not be asked.' } });
    }
    return undefined;
  }

  #cancel(params: JsonObject | undefined): void {
    for (const [wire, call] of this.#calls) {
      if (call.id !== params?.requestId) continue;
      this.#calls.delete(wire);
      call.abort.abort();
      this.#options.channel.send({ method: 'notifications/cancelled', params: { ...params, requestId: wire } });
    }
  }

  #answer(id: Id, reply: Reply): void {
    this.#options.events.onMessage({ kind: 'response', id, reply }, id);
  }

  #subscribe(id: Id, method: string, params: JsonObject | undefined): void {
    const { capabilities } = this.#options;
    const uri = params?.uri;
    if (!isObject(capabilities.resources) || capabilities.resources.subscribe !== true)
      return this.#answer(id, { error: { code: -32_601, message: 'Method not found' } });
    if (typeof uri !== 'string' || this.#subscribed.size >= MAX_SUBSCRIPTIONS)
      return this.#answer(id, { error: { code: -32_602, message: 'This resource cannot be watched.' } });
    const before = this.#subscribed.size;
    if (method === 'resources/subscribe') this.#subscribed.add(uri);
    else this.#subscribed.delete(uri);
    if (this.#subscribed.size !== before) this.#listen();
    return this.#answer(id, { result: {} });
  }

  /** One subscription for all that the session wants to hear; another one takes the place of the last. */
  #listen(): void {
    const { capabilities, channel, envelope } = this.#options;
    const changes = (name: string): boolean => isObject(capabilities[name]) && capabilities[name].listChanged === true;
    const notifications = {
      ...(changes('tools') && { toolsListChanged: true }),
      ...(changes('prompts') && { promptsListChanged: true }),
      ...(changes('resources') && { resourcesListChanged: true }),
      ...(this.#subscribed.size > 0 && { resourceSubscriptions: [...this.#subscribed] }),
    };
    clearTimeout(this.#timer);
    const last = this.#listening;
    this.#listening = undefined;
    if (Object.keys(notifications).length > 0 && !this.#stopped) {
      this.#listening = `countersign-listen-${++this.#listens}`;
      channel.send({ id: this.#listening, method: 'subscriptions/listen', params: { _meta: envelope, notifications } });
    }
    if (last !== undefined) channel.send({ method: 'notifications/cancelled', params: { requestId: last } });
  }

  #listenEnded(gracefully: boolean): void {
    this.#listening = undefined;
    if (this.#stopped) return;
    const ms = gracefully ? LISTEN_MS : Math.min(MAX_LISTEN_MS, LISTEN_MS * 2 ** this.#failures++);
    this.#timer = setTimeout(() => this.#listen(), ms);
    this.#timer.unref();
  }
}

/** A client of the older era cannot follow a task of this one, and has not said that it could. */
const NO_TASKS: Reply = { error: { code: -32_603, message: 'The server began a task, which this client cannot follow. What it does is not known here.' } };

/** Without what the older era has no words for. */
function asBefore(result: JsonObject): JsonObject {
  const { resultType: _type, ttlMs: _ttl, cacheScope: _scope, ...rest } = result;
  return rest;
}

/** What passed here is filtered and masked for one client: no cache may give it to another. */
function asOurs(result: JsonObject): JsonObject {
  return result.cacheScope === undefined ? result : { ...result, cacheScope: 'private' };
}

function withoutSubscription(params: JsonObject | undefined): JsonObject | undefined {
  if (!isObject(params?._meta) || !(SUBSCRIPTION in params._meta)) return params;
  const { [SUBSCRIPTION]: _, ...meta } = params._meta;
  const { _meta, ...rest } = params;
  return Object.keys(meta).length > 0 ? { ...rest, _meta: meta } : rest;
}
