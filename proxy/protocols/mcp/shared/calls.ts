/**
 * Requests of several sessions on their way to one server: under ids and progress tokens that no two share, a number of each
 * session's at a time, so that one with a thousand calls, or with large ones, is not served before one with a single call.
 */
import { tokenOf, withToken } from '../exchanges.ts';
import type { Id, JsonObject } from '../message.ts';
import type { Outgoing } from '../upstream/upstream.ts';
import type { Seat } from './seat.ts';

/** Requests of one session that the server has at once; the rest wait here. */
const MAX_AT_ONCE = 100;
/** How many of one session wait here while the server does not read. */
const MAX_HELD_BACK = 32;
/** How long a call that was cancelled may go on in the server and be mistaken for another's, in milliseconds. */
const ABANDONED_MS = 10 * 60 * 1000;
/** What can stay open for as long as its session, and asks nothing. */
const STANDING = 'subscriptions/listen';

export interface SharedCall {
  readonly seat: Seat;
  /** As the session calls it. */
  readonly id: Id;
  readonly method: string;
  readonly params: JsonObject | undefined;
  readonly token: Id | undefined;
  abandoned: NodeJS.Timeout | undefined;
}

interface Line {
  /** The session's id → ours, for what the server has. */
  readonly sent: Map<Id, number>;
  waiting: SharedCall[];
}

export class SharedCalls {
  readonly #send: (message: Outgoing) => void;
  readonly #room: () => boolean;
  readonly #calls = new Map<number, SharedCall>();
  readonly #lines = new Map<Seat, Line>();
  /** How many requests each session has in the server. */
  readonly #busy = new Map<Seat, number>();
  #ids = 0;

  /** @param room whether the server reads what it was sent */
  constructor(send: (message: Outgoing) => void, room: () => boolean) {
    this.#send = send;
    this.#room = room;
  }

  /** An id for a request of our own. */
  ownId(): number {
    return ++this.#ids;
  }

  join(seat: Seat): void {
    this.#lines.set(seat, { sent: new Map(), waiting: [] });
  }

  /** @returns whether it was taken */
  begin(seat: Seat, id: Id, method: string, params: JsonObject | undefined): boolean {
    const line = this.#lines.get(seat);
    if (!line || (line.waiting.length >= MAX_HELD_BACK && !this.#room())) return false;
    line.waiting.push({ seat, id, method, params, token: tokenOf(params), abandoned: undefined });
    this.goOn();
    return true;
  }

  /** Sends what waits while the server reads: one of each session's, and who was served stands at the end. */
  goOn(): void {
    for (const [seat, line] of this.#lines) {
      if (!this.#room()) return;
      if (!this.#next(line)) continue;
      this.#lines.delete(seat);
      this.#lines.set(seat, line);
    }
  }

  /** Cancels a call of this session, by the name that it has there: another's has none there. */
  cancel(seat: Seat, id: unknown, params: JsonObject | undefined): void {
    const line = this.#lines.get(seat);
    if (!line || (typeof id !== 'string' && typeof id !== 'number')) return;
    const ours = line.sent.get(id);
    if (ours === undefined) {
      line.waiting = line.waiting.filter((call) => call.id !== id);
      return;
    }
    this.#abandon(line, id, ours, params);
    this.goOn();
  }

  /** The call that an answer is for; a call that was cancelled has its answer already. */
  answered(id: Id): { readonly call: SharedCall; readonly wanted: boolean } | undefined {
    const call = typeof id === 'number' ? this.#calls.get(id) : undefined;
    if (!call || typeof id !== 'number') return undefined;
    this.#done(id, call);
    if (call.abandoned) {
      clearTimeout(call.abandoned);
      return { call, wanted: false };
    }
    this.#lines.get(call.seat)?.sent.delete(call.id);
    this.goOn();
    return { call, wanted: true };
  }

  /** The call whose progress this is: never one that was not given a token, nor one that is over. */
  withToken(token: unknown): SharedCall | undefined {
    const call = this.#live(token);
    return call?.token === undefined ? undefined : call;
  }

  /** The subscription that a notification belongs to. */
  standing(id: unknown): SharedCall | undefined {
    // Some servers say every id as text.
    const call = this.#live(typeof id === 'string' && /^\d{1,15}$/.test(id) ? Number(id) : id);
    return call?.method === STANDING ? call : undefined;
  }

  /** The one session that has calls in the server; undefined where there is none, and where there are several. */
  get onlyBusy(): Seat | undefined {
    const [first] = this.#busy.keys();
    return this.#busy.size === 1 ? first : undefined;
  }

  get idle(): boolean {
    return this.#busy.size === 0;
  }

  leave(seat: Seat): void {
    const line = this.#lines.get(seat);
    if (!line) return;
    this.#lines.delete(seat);
    line.waiting = [];
    for (const [id, ours] of line.sent) this.#abandon(line, id, ours, { reason: 'the client has left' });
  }

  close(): void {
    for (const { abandoned } of this.#calls.values()) clearTimeout(abandoned);
    this.#calls.clear();
  }

  #live(id: unknown): SharedCall | undefined {
    const call = typeof id === 'number' ? this.#calls.get(id) : undefined;
    return call?.abandoned ? undefined : call;
  }

  /** Sends the next of a session's. @returns whether there was one that may go */
  #next(line: Line): boolean {
    const call = line.sent.size < MAX_AT_ONCE ? line.waiting.shift() : undefined;
    if (!call) return false;
    const ours = this.ownId();
    const { id, method, params, seat } = call;
    this.#calls.set(ours, call);
    line.sent.set(id, ours);
    if (method !== STANDING) this.#busy.set(seat, (this.#busy.get(seat) ?? 0) + 1);
    const sent = call.token === undefined ? params : withToken(params ?? {}, ours);
    this.#send({ id: ours, method, ...(sent && { params: sent }) });
    return true;
  }

  #abandon(line: Line, id: Id, ours: number, params: JsonObject | undefined): void {
    const call = this.#calls.get(ours);
    line.sent.delete(id);
    if (!call) return;
    this.#send({ method: 'notifications/cancelled', params: { ...params, requestId: ours } });
    call.abandoned = setTimeout(() => this.#done(ours, call), ABANDONED_MS);
    call.abandoned.unref();
  }

  #done(ours: number, { method, seat }: SharedCall): void {
    this.#calls.delete(ours);
    if (method === STANDING) return;
    const busy = (this.#busy.get(seat) ?? 1) - 1;
    if (busy > 0) this.#busy.set(seat, busy);
    else this.#busy.delete(seat);
  }
}
