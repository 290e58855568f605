/**
 * What a name (of a statement, of a portal) means on the server. A definition counts only when the server has confirmed
 * it: otherwise a client could redefine a name with a message that the server refuses, and have one thing checked and
 * another executed. Within one segment (up to a Sync) an unconfirmed definition may be used, because the server skips
 * the use if it refused the definition.
 */
interface Pending<T> {
  readonly value: T | undefined;
  readonly segment: number;
}

export interface Proposal {
  /** The server has taken it. */
  confirm(): void;
  /** The server has refused it, or never read it. */
  drop(): void;
}

/** Most names of one kind that a session may hold at once. */
const MAX_NAMES = 10_000;

export class Names<T> {
  readonly #confirmed = new Map<string, T>();
  readonly #pending = new Map<string, Pending<T>[]>();

  get full(): boolean {
    return this.#confirmed.size + this.#pending.size >= MAX_NAMES;
  }

  /** @param value undefined closes the name */
  propose(name: string, value: T | undefined, segment: number): Proposal {
    const pending: Pending<T> = { value, segment };
    const list = this.#pending.get(name);
    if (list) list.push(pending);
    else this.#pending.set(name, [pending]);
    const remove = (): void => {
      const all = this.#pending.get(name);
      if (!all) return;
      if (all.length === 1 && all[0] === pending) this.#pending.delete(name);
      else {
        const at = all.indexOf(pending);
        if (at >= 0) all.splice(at, 1);
      }
    };
    return {
      confirm: () => {
        remove();
        if (value === undefined) this.#confirmed.delete(name);
        else this.#confirmed.set(name, value);
      },
      drop: remove,
    };
  }

  /** `wait`: an earlier segment's definition is still under way; what the name means is not known until it is answered. */
  lookup(name: string, segment: number): T | undefined | 'wait' {
    const last = this.#pending.get(name)?.at(-1);
    if (!last) return this.#confirmed.get(name);
    return last.segment === segment ? last.value : 'wait';
  }

  /** Sets what the server has confirmed in another way (PREPARE and DECLARE in SQL). */
  set(name: string, value: T): void {
    this.#confirmed.set(name, value);
  }

  delete(name: string): void {
    this.#confirmed.delete(name);
  }

  get confirmed(): ReadonlyMap<string, T> {
    return this.#confirmed;
  }

  clear(): void {
    this.#confirmed.clear();
  }
}
