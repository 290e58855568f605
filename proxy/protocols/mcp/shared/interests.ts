/** What sessions have asked one server to tell, of which it knows a single client: resources that are watched, and how much is logged. */
import type { JsonObject } from '../message.ts';
import type { Seat } from './seat.ts';

/** Resources that one session watches. */
const MAX_WATCHED = 1_000;
const LEVELS: readonly unknown[] = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];

export class Interests {
  readonly #watched = new Map<string, Set<Seat>>();
  readonly #levels = new Map<Seat, number>();
  /** What the server was told last. */
  #told: number | undefined;

  /** @returns whether it may */
  watch(seat: Seat, uri: string): boolean {
    let watched = 0;
    for (const seats of this.#watched.values()) if (seats.has(seat)) watched++;
    if (watched >= MAX_WATCHED) return false;
    const seats = this.#watched.get(uri) ?? new Set();
    this.#watched.set(uri, seats.add(seat));
    return true;
  }

  /** @returns whether nobody watches it any more */
  unwatch(seat: Seat, uri: string): boolean {
    const seats = this.#watched.get(uri);
    if (!seats) return true;
    seats.delete(seat);
    if (seats.size > 0) return false;
    this.#watched.delete(uri);
    return true;
  }

  /** Who wants to hear of a resource: of itself, or of one that it is a part of. */
  watchers(uri: unknown): ReadonlySet<Seat> {
    if (typeof uri !== 'string') return new Set();
    const exact = this.#watched.get(uri);
    if (exact) return exact;
    const found = new Set<Seat>();
    for (const [watched, seats] of this.#watched) if (uri.startsWith(watched)) for (const seat of seats) found.add(seat);
    return found;
  }

  /** @returns whether the level is one */
  wants(seat: Seat, level: unknown): boolean {
    const n = LEVELS.indexOf(level);
    if (n >= 0) this.#levels.set(seat, n);
    return n >= 0;
  }

  /** The server does not take it. */
  refused(seat: Seat): void {
    this.#levels.delete(seat);
    this.#told = undefined;
  }

  /** The most talkative level that anybody asked for, where the server is to be told of it. */
  level(): string | undefined {
    if (this.#levels.size === 0) return undefined;
    const lowest = Math.min(...this.#levels.values());
    if (lowest === this.#told) return undefined;
    this.#told = lowest;
    return LEVELS[lowest] as string;
  }

  hears(seat: Seat, params: JsonObject | undefined): boolean {
    const asked = this.#levels.get(seat);
    const level = LEVELS.indexOf(params?.level);
    return asked === undefined || level < 0 || level >= asked;
  }

  /** @returns the resources that nobody watches any more */
  forget(seat: Seat): readonly string[] {
    this.#levels.delete(seat);
    return [...this.#watched.keys()].filter((uri) => this.#watched.get(uri)?.has(seat) === true && this.unwatch(seat, uri));
  }
}
