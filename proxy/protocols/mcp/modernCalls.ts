/**
 * Calls of clients of the stateless era, each from its first exchange to its last. What the server asks in between becomes an
 * `input_required` answer; the call waits until its client comes back with the same request and the state it was given.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { Clock } from '../../pipeline/engine.ts';
import type { Caller } from './exchanges.ts';
import type { Json, JsonObject, Reply } from './message.ts';
import { RequestStates } from './requestState.ts';

/** How long a call waits for its client to come back, in milliseconds. */
const COME_BACK_MS = 10 * 60 * 1000;
/** Calls of one client that wait for it to come back; beyond it the one that has waited longest is given up. */
const MAX_PARKED = 200;

/** One thing that the server wants to know before it goes on. */
interface Ask {
  readonly request: Json;
  /** Undefined: there will be no answer. */
  readonly answer: (response: Json | undefined) => void;
}

export interface Call {
  readonly binding: string;
  readonly caller: Caller;
  readonly abort: AbortController;
  /** Where notifications go in this exchange. */
  notify: (method: string, params: JsonObject) => void;
  reply: Promise<Reply>;
  /** What is asked and not answered, by the names that the client is told. */
  readonly asks: Map<string, Ask>;
  /** The names that it was told when it last went away. */
  shown: readonly string[];
  asked: () => void;
  timer: NodeJS.Timeout | undefined;
}

export class ModernCalls {
  readonly #key: string;
  readonly #clock: Clock;
  readonly #states: RequestStates;
  readonly #calls = new Set<Call>();
  /** Calls that wait for their client to come back, by the name in the state it was given. */
  readonly #parked = new Map<string, Call>();

  /** @param key whose calls they are */
  constructor(key: string, clock: Clock, states: RequestStates) {
    this.#key = key;
    this.#clock = clock;
    this.#states = states;
  }

  get size(): number {
    return this.#calls.size;
  }

  get latest(): Call | undefined {
    return [...this.#calls].at(-1);
  }

  begin(method: string, params: JsonObject | undefined, send: (caller: Caller) => Promise<Reply>): Call {
    const abort = new AbortController();
    const call: Call = {
      binding: bindingOf(this.#key, method, params),
      caller: { signal: abort.signal, notify: (notified, about) => call.notify(notified, about) },
      abort,
      notify: () => {},
      reply: Promise.resolve({ error: { code: -32_603, message: '' } }),
      asks: new Map(),
      shown: [],
      asked: () => {},
      timer: undefined,
    };
    this.#calls.add(call);
    call.reply = send(call.caller).finally(() => this.#calls.delete(call));
    return call;
  }

  /** The call that a request's state is about; undefined where the state is not ours, or for something else, or too old. */
  resume(state: string, method: string, params: JsonObject | undefined, responses: JsonObject | undefined): Call | undefined {
    const name = this.#states.open(state, bindingOf(this.#key, method, params), this.#clock.now());
    const call = name === undefined ? undefined : this.#parked.get(name);
    if (name === undefined || !call) return undefined;
    this.#parked.delete(name);
    clearTimeout(call.timer);
    for (const shown of call.shown) {
      const ask = call.asks.get(shown);
      call.asks.delete(shown);
      ask?.answer(responses?.[shown]);
    }
    return call;
  }

  /** Waits for the call's answer, or for what its server asks first. */
  async next(call: Call): Promise<Reply> {
    const asked = new Promise<'asked'>((resolve) => {
      call.asked = () => resolve('asked');
      if (call.asks.size > 0) resolve('asked');
    });
    const first = await Promise.race([call.reply, asked]);
    if (first !== 'asked') return first;
    // What the server asks in one go arrives in one go: the client is sent away once for all of it.
    await new Promise((resolve) => setImmediate(resolve));
    return call.asks.size > 0 ? { result: this.#park(call) } : this.next(call);
  }

  /** Asks the client in the answer to the call that it is about, else to the latest. Resolves to undefined where there is none. */
  async ask(requests: JsonObject, signal: AbortSignal, caller: Caller | undefined): Promise<JsonObject | undefined> {
    const calls = [...this.#calls];
    const call = calls.find((one) => one.caller === caller) ?? calls.at(-1);
    if (!call) return undefined;
    const answers = Object.entries(requests).map(([name, request]) => this.#askOne(call, name, request, signal));
    call.asked();
    const given = (await Promise.all(answers)).filter(([, response]) => response !== undefined);
    return Object.fromEntries(given) as JsonObject;
  }

  #askOne(call: Call, name: string, request: Json, signal: AbortSignal): Promise<readonly [string, Json | undefined]> {
    let told = name;
    for (let n = 2; call.asks.has(told); n++) told = `${name}-${n}`;
    return new Promise((resolve) => {
      const ask: Ask = { request, answer: (response) => resolve([name, response]) };
      call.asks.set(told, ask);
      const abort = (): void => {
        if (call.asks.get(told) === ask) call.asks.delete(told);
        resolve([name, undefined]);
      };
      signal.addEventListener('abort', abort, { once: true });
    });
  }

  close(): void {
    for (const call of this.#calls) {
      clearTimeout(call.timer);
      call.abort.abort();
    }
    this.#parked.clear();
  }

  #park(call: Call): JsonObject {
    call.shown = [...call.asks.keys()];
    const name = randomUUID();
    this.#parked.set(name, call);
    call.notify = () => {};
    const giveUp = (parked: string): void => {
      const waiting = this.#parked.get(parked);
      this.#parked.delete(parked);
      clearTimeout(waiting?.timer);
      waiting?.abort.abort();
    };
    call.timer = setTimeout(() => giveUp(name), COME_BACK_MS);
    call.timer.unref();
    for (const oldest of this.#parked.keys()) {
      if (this.#parked.size <= MAX_PARKED) break;
      giveUp(oldest);
    }
    const requestState = this.#states.seal(name, call.binding, this.#clock.now() + COME_BACK_MS);
    const inputRequests = Object.fromEntries([...call.asks].map(([told, { request }]) => [told, request]));
    return { resultType: 'input_required', inputRequests, requestState };
  }
}

/** Whose request it is and what it asks, whatever its id, metadata and answers. */
function bindingOf(key: string, method: string, params: JsonObject | undefined): string {
  const { _meta, inputResponses: _responses, requestState: _state, ...rest } = params ?? {};
  return createHash('sha256')
    .update(JSON.stringify([key, method, rest]))
    .digest('hex');
}
