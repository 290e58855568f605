/** Clients of the era of sessions: one MCP session is one relay session, one process. */
import { Problem } from '../../../contract/problem.ts';
import type { ClientIdentity, ProtocolHost } from '../protocol.ts';
import { actorOf, clientInfoOf } from './agent.ts';
import { type Caller, MAX_PENDING } from './exchanges.ts';
import type { LegTransport, SessionEvents } from './http/sessionTransport.ts';
import { type Id, isObject, type JsonObject, type Message, type Reply } from './message.ts';
import type { ClientSide, RelaySession } from './relaySession.ts';

export interface LegOptions {
  readonly host: ProtocolHost;
  readonly open: (identity: ClientIdentity, client: ClientSide) => Promise<RelaySession>;
}

export class LegacyLeg<Transport extends LegTransport = LegTransport> {
  readonly #options: LegOptions;
  readonly #identity: ClientIdentity;
  readonly #transport: Transport;
  readonly #end: () => void;
  /** The client's requests that have no answer yet, in order. */
  readonly #inFlight = new Map<Id, AbortController>();
  /** The server's requests that the client has not answered. */
  readonly #asked = new Map<Id, (reply: Reply) => void>();
  readonly #callers = new WeakMap<Caller, Id>();
  #asks = 0;
  #relay: RelaySession | undefined;
  /** Once, however often the client asks for it meanwhile. */
  #opening: Promise<void> | undefined;
  #closed = false;
  /** The server was not started: this session leads nowhere. */
  #unusable = false;

  /** @param end forgets the session: its next request is told that it has ended */
  constructor(options: LegOptions, identity: ClientIdentity, transport: (events: SessionEvents) => Transport, end: () => void) {
    this.#options = options;
    this.#identity = identity;
    this.#transport = transport({
      onMessage: (message) => this.#received(message),
      // As good as cancelled.
      onGone: (request) => this.#inFlight.get(request)?.abort(),
    });
    this.#end = end;
  }

  get transport(): Transport {
    return this.#transport;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#transport.ending?.();
    for (const controller of this.#inFlight.values()) controller.abort();
    for (const answer of this.#asked.values()) answer({ error: { code: -32_000, message: 'The client has left.' } });
    await this.#relay?.close('the client has left');
    this.#transport.close();
  }

  #received(message: Message): void {
    switch (message.kind) {
      case 'request':
        return void this.#request(message.id, message.method, message.params);
      case 'response':
        return this.#asked.get(message.id)?.(message.reply);
      case 'notification': {
        const cancelled = message.method === 'notifications/cancelled' ? message.params?.requestId : undefined;
        if (typeof cancelled === 'string' || typeof cancelled === 'number') this.#inFlight.get(cancelled)?.abort();
        else this.#relay?.notification(message.method, message.params);
      }
    }
  }

  async #request(id: Id, method: string, params: JsonObject | undefined): Promise<void> {
    if (this.#inFlight.size >= MAX_PENDING)
      return this.#transport.answer(id, { id, error: { code: -32_000, message: `More than ${MAX_PENDING} requests wait already. Wait for answers.` } });
    const controller = new AbortController();
    this.#inFlight.set(id, controller);
    const reply = await this.#reply(id, method, params, controller.signal);
    this.#inFlight.delete(id);
    this.#transport.answer(id, { id, ...reply });
    if (this.#unusable) this.#end();
    return undefined;
  }

  async #open(clientInfo: unknown): Promise<void> {
    const actor = actorOf(this.#identity, clientInfoOf(clientInfo));
    const relay = await this.#options.open({ ...this.#identity, actor }, this.#client());
    this.#relay = relay;
    // Whoever has left meanwhile found nothing to close.
    if (this.#closed) await relay.close('the client has left');
  }

  async #reply(id: Id, method: string, params: JsonObject | undefined, signal: AbortSignal): Promise<Reply> {
    try {
      if (method === 'initialize') await (this.#opening ??= this.#open(params?.clientInfo));
    } catch (cause) {
      if (!(cause instanceof Problem)) this.#options.host.engine.log.error('mcp.relay.failed', { cause });
      this.#unusable = true;
      return { error: { code: -32_000, message: cause instanceof Problem ? cause.message : 'The proxy failed. Its log says more.' } };
    }
    if (!this.#relay) return { error: { code: -32_600, message: 'Initialize first.' } };
    const caller: Caller = {
      signal,
      notify: (notified, about) => this.#send({ method: notified, params: about }, id),
      stream: () => this.#transport.stream(id),
    };
    this.#callers.set(caller, id);
    return this.#relay.request(method, params, caller);
  }

  #client(): ClientSide {
    return {
      notify: (method, params) => this.#send({ method, ...(params && { params }) }),
      ask: (method, params, signal, caller) => this.#ask(method, params, signal, caller),
      inputs: (requests, signal, caller) => this.#inputs(requests, signal, caller),
      broke: (caller) => {
        const id = caller && this.#callers.get(caller);
        if (id !== undefined) this.#transport.breakOff(id);
      },
      ended: () => this.#end(),
    };
  }

  /** What a server of the stateless era asks all at once is asked one by one. */
  async #inputs(requests: JsonObject, signal: AbortSignal, caller: Caller | undefined): Promise<JsonObject> {
    const answers = Object.entries(requests).map(async ([name, request]) => {
      if (!isObject(request) || typeof request.method !== 'string') throw new Error('The server asked for something that is not a request.');
      const reply = await this.#ask(request.method, isObject(request.params) ? request.params : undefined, signal, caller);
      if ('result' in reply) return [name, reply.result] as const;
      // There is no way to say in that era that a question failed; this one can at least be turned away.
      if (request.method === 'elicitation/create') return [name, { action: 'cancel' }] as const;
      throw new Error(`The client could not answer ${request.method}: ${reply.error.message}`);
    });
    return Object.fromEntries(await Promise.all(answers));
  }

  /** The server's request travels on the stream of the client's that it is about, else of the latest: clients need not have another one open. */
  #ask(method: string, params: JsonObject | undefined, signal: AbortSignal, caller: Caller | undefined): Promise<Reply> {
    const id = `countersign-${++this.#asks}`;
    const related = (caller && this.#callers.get(caller)) ?? [...this.#inFlight.keys()].at(-1);
    return new Promise((resolve) => {
      const settle = (reply: Reply): void => {
        this.#asked.delete(id);
        signal.removeEventListener('abort', abort);
        resolve(reply);
      };
      const abort = (): void => {
        this.#send({ method: 'notifications/cancelled', params: { requestId: id } }, related);
        settle({ error: { code: -32_000, message: 'Cancelled.' } });
      };
      this.#asked.set(id, settle);
      signal.addEventListener('abort', abort, { once: true });
      this.#send({ id, method, ...(params && { params }) }, related);
    });
  }

  #send(message: object, related?: Id): void {
    this.#transport.send(message, related);
  }
}
