/**
 * One process of a server, and several sessions of one person that it takes for a single client. Whatever is said either way
 * reaches whom it belongs to; what cannot be told whose it is reaches nobody, and the server's questions are then refused.
 */
import { type Id, isObject, type JsonObject, type Message, type Reply } from '../message.ts';
import { Burst } from '../upstream/burst.ts';
import type { Channel, ChannelEvents, Outgoing } from '../upstream/upstream.ts';
import { SharedCalls } from './calls.ts';
import { Interests } from './interests.ts';
import { initializeOf, type Opening } from './opening.ts';
import { Owners } from './owners.ts';
import type { Seat } from './seat.ts';

/** Messages that are taken in one stretch of time, of all sessions together. */
const MAX_BURST = 5_000;
/** What the server may leave unread before sessions take turns, in bytes. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;
/** Questions of the server's that wait for an answer at once. */
const MAX_ASKED = 1_000;
const RELATED_TASK = 'io.modelcontextprotocol/related-task';
const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';
/** A tool's error that sends its user to a page: it names what will be reported later (2025-11-25). */
const URL_ELICITATION_REQUIRED = -32_042;
const WHOSE =
  'Several clients share this server, and it cannot be told which of them this is for. It can be asked while one client alone has a call running; countersign.yaml can give each a process of its own (share: session).';

export interface SharedProcessOptions {
  /** Whose sessions may sit at it. */
  readonly person: string;
  readonly opening: Opening;
  /** @throws a `Problem` */
  readonly start: (on: ChannelEvents) => Channel;
  /** The last session has left. */
  readonly onEmpty: () => void;
  readonly onExit: () => void;
  /** Something of the server's reached nobody, because it could have been for several. */
  readonly onUnclear: (method: string) => void;
}

export class SharedProcess {
  readonly person: string;
  readonly #options: SharedProcessOptions;
  readonly #channel: Channel;
  readonly #seats = new Set<Seat>();
  readonly #calls: SharedCalls;
  readonly #interests = new Interests();
  readonly #tasks = new Owners();
  /** Elicitations that end on a page, and are reported when they have. */
  readonly #pages = new Owners();
  /** The server's questions, by its own ids. */
  readonly #asked = new Map<Id, { readonly seat: Seat; readonly token: Id | undefined }>();
  readonly #own = new Map<number, (reply: Reply) => void>();
  #opening: Opening;
  /** The server's answer to the one `initialize` that it gets, and who waits for it. */
  #initialize: 'not sent' | 'sent' | Reply = 'not sent';
  #initializing: { readonly seat: Seat; readonly id: Id }[] = [];
  #initialized = false;
  /** It has answered that it speaks the stateless era. */
  #stateless = false;
  #retired = false;
  readonly #burst: Burst;

  constructor(options: SharedProcessOptions) {
    this.#options = options;
    this.person = options.person;
    this.#opening = options.opening;
    this.#channel = options.start({ onMessage: (message) => this.#received(message), onExit: (why) => this.#exited(why), onDrain: () => this.#calls.goOn() });
    this.#burst = new Burst(this.#channel, MAX_BURST);
    this.#calls = new SharedCalls(
      (message) => this.#channel.send(message),
      () => this.#reads,
    );
  }

  /** Whether a session that opens like this may sit down. */
  takes(person: string, opening: Opening): boolean {
    return this.usable && this.person === person && this.#opening.key === opening.key && !this.#refused;
  }

  get usable(): boolean {
    return this.#channel.running && !this.#retired;
  }

  /** It has answered an opening: whoever sits here stays. */
  get opened(): boolean {
    return this.#stateless || (typeof this.#initialize === 'object' && !this.#refused);
  }

  get #reads(): boolean {
    return (this.#channel.unread ?? 0) <= MAX_UNREAD_BYTES;
  }

  get empty(): boolean {
    return this.#seats.size === 0;
  }

  /** A server that does not speak as it was first spoken to may be spoken to otherwise. @returns whether it can be */
  reopen(opening: Opening): boolean {
    if (this.opened || this.#initialize === 'sent' || !this.usable) return false;
    this.#opening = opening;
    this.#initialize = 'not sent';
    return true;
  }

  /** Nobody sits down any more: it was started with what is no longer so. */
  retire(): void {
    this.#retired = true;
  }

  join(seat: Seat): void {
    this.#seats.add(seat);
    this.#calls.join(seat);
  }

  leave(seat: Seat): void {
    if (!this.#seats.delete(seat)) return;
    this.#calls.leave(seat);
    this.#initializing = this.#initializing.filter((one) => one.seat !== seat);
    for (const [id, { seat: asked }] of this.#asked) {
      if (asked !== seat) continue;
      this.#asked.delete(id);
      this.#channel.send({ id, error: { code: -32_000, message: 'The client has left.' } });
    }
    for (const uri of this.#interests.forget(seat)) this.#request('resources/unsubscribe', { uri });
    const level = this.#interests.level();
    if (level !== undefined) this.#request('logging/setLevel', { level });
    if (this.#seats.size === 0) this.#options.onEmpty();
  }

  stop(): Promise<void> {
    this.#burst.stop();
    return this.#channel.stop();
  }

  /** A message of one session's to the server. */
  send(seat: Seat, message: Outgoing): void {
    if (!this.#seats.has(seat)) return;
    if (!('method' in message)) return this.#answered(seat, message);
    if (!('id' in message)) return this.#notified(seat, message.method, message.params);
    const { id, method, params } = message;
    const refuse = (sentence: string): void => seat.answer(id, { error: { code: -32_602, message: sentence } });
    switch (method) {
      case 'initialize':
        return this.#initializeFor(seat, id, params);
      case 'logging/setLevel': {
        if (!this.#interests.wants(seat, params?.level)) break;
        const level = this.#interests.level();
        return level === undefined ? seat.answer(id, { result: {} }) : this.#begin(seat, id, method, { ...params, level });
      }
      case 'resources/subscribe':
        if (typeof params?.uri === 'string' && !this.#interests.watch(seat, params.uri)) return refuse('This client watches too many resources.');
        break;
      case 'resources/unsubscribe':
        if (typeof params?.uri === 'string' && !this.#interests.unwatch(seat, params.uri)) return seat.answer(id, { result: {} });
        break;
    }
    const sent = method === 'subscriptions/listen' ? this.#ownTasksOnly(seat, params) : params;
    // A task that this session did not begin is not there for it, whoever began it.
    if (params?.taskId !== undefined && this.#tasks.of(params.taskId) !== seat) return refuse('There is no such task.');
    return this.#begin(seat, id, method, sent);
  }

  #begin(seat: Seat, id: Id, method: string, params: JsonObject | undefined): void {
    if (this.#calls.begin(seat, id, method, params)) return;
    seat.answer(id, {
      error: { code: -32_000, message: 'The server does not read what it is sent, and enough of this client waits already. Wait for answers.' },
    });
  }

  #initializeFor(seat: Seat, id: Id, params: JsonObject | undefined): void {
    if (typeof this.#initialize === 'object') return seat.answer(id, this.#initialize);
    this.#initializing.push({ seat, id });
    if (this.#initialize === 'sent') return;
    this.#initialize = 'sent';
    this.#request('initialize', initializeOf(params), (reply) => {
      this.#initialize = reply;
      for (const waiting of this.#initializing.splice(0)) waiting.seat.answer(waiting.id, reply);
    });
  }

  get #refused(): boolean {
    return typeof this.#initialize === 'object' && 'error' in this.#initialize;
  }

  #notified(seat: Seat, method: string, params: JsonObject | undefined): void {
    switch (method) {
      case 'notifications/cancelled':
        return this.#calls.cancel(seat, params?.requestId, params);
      case 'notifications/initialized':
        if (this.#initialized) return;
        this.#initialized = true;
        break;
      case 'notifications/progress': {
        const token = params?.progressToken;
        if (![...this.#asked.values()].some((asked) => asked.seat === seat && asked.token !== undefined && asked.token === token)) return;
        break;
      }
      // It would ask for the new ones, and could not be told whose.
      case 'notifications/roots/list_changed':
        if (this.#seats.size > 1) return;
        break;
    }
    // What needs no answer must not stand in the way of what does.
    if (this.#reads) this.#channel.send({ method, ...(params && { params }) });
  }

  /** An answer to a question of the server's: only of whom it was asked. */
  #answered(seat: Seat, message: Extract<Outgoing, Reply>): void {
    if (this.#asked.get(message.id)?.seat !== seat) return;
    this.#asked.delete(message.id);
    this.#channel.send(message);
  }

  #received(message: Message): void {
    this.#burst.count();
    switch (message.kind) {
      case 'response':
        return this.#responded(message.id, message.reply);
      case 'request':
        return this.#asks(message.id, message.method, message.params);
      case 'notification':
        return this.#tells(message.method, message.params);
    }
  }

  #responded(id: Id, reply: Reply): void {
    const own = typeof id === 'number' ? this.#own.get(id) : undefined;
    if (own && typeof id === 'number') {
      this.#own.delete(id);
      return own(reply);
    }
    const answered = this.#calls.answered(id);
    if (!answered) return;
    const { call, wanted } = answered;
    const { method, params, seat } = call;
    if (method === 'server/discover') this.#stateless = 'result' in reply;
    if (method === 'logging/setLevel' && 'error' in reply) this.#interests.refused(seat);
    if (method === 'resources/subscribe' && 'error' in reply && typeof params?.uri === 'string') this.#interests.unwatch(seat, params.uri);
    if (!method.startsWith('tasks/')) this.#tasks.add(taskIn(reply), seat);
    for (const page of pagesIn(reply)) this.#pages.add(page, seat);
    if (wanted) seat.answer(call.id, method === 'tasks/list' ? this.#ownTasks(seat, reply) : reply);
  }

  /** A question of the server's, for whom alone it can be. */
  #asks(id: Id, method: string, params: JsonObject | undefined): void {
    if (method === 'ping') return this.#channel.send({ id, result: {} });
    const seat = this.#whose(params);
    if (!seat || this.#asked.has(id) || this.#asked.size >= MAX_ASKED) {
      if (!seat) this.#options.onUnclear(method);
      const message = seat ? 'A request with this id waits already, or too many do.' : WHOSE;
      return this.#channel.send({ id, error: { code: -32_000, message } });
    }
    const token = isObject(params?._meta) ? params._meta.progressToken : undefined;
    this.#asked.set(id, { seat, token: typeof token === 'string' || typeof token === 'number' ? token : undefined });
    this.#pages.add(params?.elicitationId, seat);
    return seat.deliver({ kind: 'request', id, method, params });
  }

  #tells(method: string, params: JsonObject | undefined): void {
    const to = (seats: Iterable<Seat>): void => {
      for (const seat of seats) seat.deliver({ kind: 'notification', method, params });
    };
    const meta = isObject(params?._meta) ? params._meta : {};
    if (meta[SUBSCRIPTION] !== undefined) {
      const call = this.#calls.standing(meta[SUBSCRIPTION]);
      call?.seat.deliver({ kind: 'notification', method, params: { ...params, _meta: { ...meta, [SUBSCRIPTION]: call.id } } });
      return undefined;
    }
    switch (method) {
      case 'notifications/progress': {
        const call = this.#calls.withToken(params?.progressToken);
        if (call?.token !== undefined) call.seat.deliver({ kind: 'notification', method, params: { ...params, progressToken: call.token } });
        return undefined;
      }
      case 'notifications/cancelled': {
        const id = params?.requestId;
        const asked = typeof id === 'string' || typeof id === 'number' ? this.#asked.get(id) : undefined;
        if (typeof id === 'string' || typeof id === 'number') this.#asked.delete(id);
        return to(asked ? [asked.seat] : []);
      }
      case 'notifications/tools/list_changed':
      case 'notifications/prompts/list_changed':
      case 'notifications/resources/list_changed':
        return to(this.#seats);
      case 'notifications/resources/updated':
        return to(this.#interests.watchers(params?.uri));
      case 'notifications/tasks/status':
        return to(this.#seated(this.#tasks.of(params?.taskId)));
      case 'notifications/elicitation/complete':
        return to(this.#seated(this.#pages.of(params?.elicitationId)));
      default: {
        const seat = this.#whose(params);
        if (!seat) return this.#options.onUnclear(method);
        // A level that another asked for is not what this one wants to hear.
        return to(method === 'notifications/message' && !this.#interests.hears(seat, params) ? [] : [seat]);
      }
    }
  }

  /** Whose something is that says nothing of it: of who alone has calls running, or sits here alone. */
  #whose(params: JsonObject | undefined): Seat | undefined {
    const task = isObject(params?._meta) ? params._meta[RELATED_TASK] : undefined;
    if (isObject(task)) return this.#seated(this.#tasks.of(task.taskId))[0];
    if (!this.#calls.idle) return this.#seated(this.#calls.onlyBusy)[0];
    const [first] = this.#seats;
    return this.#seats.size === 1 ? first : undefined;
  }

  #seated(seat: Seat | undefined): readonly Seat[] {
    return seat && this.#seats.has(seat) ? [seat] : [];
  }

  #ownTasksOnly(seat: Seat, params: JsonObject | undefined): JsonObject | undefined {
    const notifications = params?.notifications;
    if (!isObject(notifications) || !Array.isArray(notifications.taskIds)) return params;
    return { ...params, notifications: { ...notifications, taskIds: notifications.taskIds.filter((id) => this.#tasks.of(id) === seat) } };
  }

  #ownTasks(seat: Seat, reply: Reply): Reply {
    if (!('result' in reply) || !Array.isArray(reply.result.tasks)) return reply;
    return { result: { ...reply.result, tasks: reply.result.tasks.filter((task) => isObject(task) && this.#tasks.of(task.taskId) === seat) } };
  }

  /** A request of nobody's in particular. */
  #request(method: string, params: JsonObject, answered: (reply: Reply) => void = () => {}): void {
    const id = this.#calls.ownId();
    this.#own.set(id, answered);
    this.#channel.send({ id, method, params });
  }

  #exited(why: string): void {
    this.#burst.stop();
    this.#calls.close();
    const seats = [...this.#seats];
    this.#seats.clear();
    for (const seat of seats) seat.end(why);
    this.#options.onExit();
  }
}

/** The task that an answer says has begun. */
function taskIn(reply: Reply): unknown {
  if (!('result' in reply)) return undefined;
  return isObject(reply.result.task) ? reply.result.task.taskId : reply.result.taskId;
}

/** The pages that an error sends its reader to before a call can be made. */
function pagesIn(reply: Reply): readonly unknown[] {
  if (!('error' in reply) || reply.error.code !== URL_ELICITATION_REQUIRED || !isObject(reply.error.data)) return [];
  const { elicitations } = reply.error.data;
  return Array.isArray(elicitations) ? elicitations.map((one) => (isObject(one) ? one.elicitationId : undefined)) : [];
}
