/**
 * A result that comes later, like a promise, but told at once to who waits for it: a promise makes several objects and a
 * round through the microtasks of every wait, which for a small read is a good part of its whole cost. `await` works on it.
 */
export interface Awaitable<T> {
  // oxlint-disable-next-line unicorn/no-thenable -- to be awaited is what it is for
  then(done: (value: T) => void, failed: (cause: unknown) => void): unknown;
}

export class Later<T> implements Awaitable<T> {
  #state: 'waiting' | 'done' | 'failed' = 'waiting';
  #value: T | undefined;
  #cause: unknown;
  #done: ((value: T) => void) | undefined;
  #failed: ((cause: unknown) => void) | undefined;

  /** The first call counts, of this and `reject`. */
  resolve(value: T): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'done';
    this.#value = value;
    this.#done?.(value);
  }

  reject(cause: unknown): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'failed';
    this.#cause = cause;
    this.#failed?.(cause);
  }

  /** Once: only one can wait. */
  // oxlint-disable-next-line unicorn/no-thenable -- see above
  then(done: (value: T) => void, failed: (cause: unknown) => void): void {
    if (this.#done) throw new Error('two wait for one result');
    this.#done = done;
    this.#failed = failed;
    if (this.#state === 'done') done(this.#value as T);
    else if (this.#state === 'failed') failed(this.#cause);
  }
}

/** What a generator yields to be given its result. */
export type Steps<R> = Generator<Awaitable<unknown>, R>;

/** `const x = yield* wait(promise)`, in a generator that `runSteps` runs. */
export function* wait<T>(result: Awaitable<T>): Steps<T> {
  return (yield result) as T;
}

/** Runs a generator as an async function is run, save that it goes on at once where there is nothing to wait for. */
export function runSteps<R>(steps: Steps<R>): Later<R> {
  const later = new Later<R>();
  const take = (step: IteratorResult<Awaitable<unknown>, R>): void => {
    if (step.done) later.resolve(step.value);
    else step.value.then(goOn, fail);
  };
  const goOn = (value: unknown): void => {
    let step: IteratorResult<Awaitable<unknown>, R>;
    try {
      // The type of what `yield` gives cannot be said for each.
      step = (steps as Generator<Awaitable<unknown>, R, unknown>).next(value);
    } catch (cause) {
      later.reject(cause);
      return;
    }
    take(step);
  };
  const fail = (cause: unknown): void => {
    let step: IteratorResult<Awaitable<unknown>, R>;
    try {
      step = steps.throw(cause);
    } catch (thrown) {
      later.reject(thrown);
      return;
    }
    take(step);
  };
  goOn(undefined);
  return later;
}
