/** Whose something is that a server names: the first session that it was given to. */
import type { Seat } from './seat.ts';

/** Names that are remembered of one process; of an older one it is not known whose it is, and so it is nobody's. */
const MAX_OWNED = 10_000;
/** Longest name, in characters. */
const MAX_NAME = 512;

export class Owners {
  readonly #owners = new Map<string, Seat>();

  add(name: unknown, seat: Seat): void {
    if (typeof name !== 'string' || name.length > MAX_NAME || this.#owners.has(name)) return;
    this.#owners.set(name, seat);
    for (const oldest of this.#owners.keys()) {
      if (this.#owners.size <= MAX_OWNED) break;
      this.#owners.delete(oldest);
    }
  }

  of(name: unknown): Seat | undefined {
    return typeof name === 'string' ? this.#owners.get(name) : undefined;
  }
}
