/**
 * Calls that a person has not answered when their client had to have an answer. The client is told to call again; the question
 * stays, and once it is answered with yes, the call waits to be made again: for exactly its digest, once, until its deadline, under
 * the policy that it was approved under (the pipeline looks again). Nothing is sent for a client that is not there.
 */
import type { Caller } from './exchanges.ts';
import type { JsonObject } from './message.ts';

/** How soon a call is looked at again for which there was no room among those without a client, in milliseconds. */
const LOOK_AGAIN_MS = 1_000;
/** How long an approved call can still be made when it was approved at the last moment, in milliseconds. */
const CLAIM_GRACE_MS = 60_000;
/** Calls of one session that wait without a client. */
const MAX_PARKED = 100;

/** One try of the client's at a call. */
export interface Attempt {
  readonly caller: Caller;
  readonly method: string;
  readonly params: JsonObject | undefined;
}

/** A call under way: what the pipeline and the exchange with the server see of whoever waits for it now. */
export interface Held {
  readonly caller: Caller;
  /** Of the latest try: its progress token differs from the first one's. */
  readonly params: JsonObject | undefined;
  /** A person has been asked, until `deadline` (epoch milliseconds). */
  readonly asked: (approval: string, deadline: number) => void;
  /** Resolves when somebody is there for the answer; to false where nobody came in time. */
  readonly claim: () => Promise<boolean>;
}

export interface CallsOptions<R> {
  /** A client that is not patient is answered after so long, in milliseconds. */
  readonly answerMs: number;
  readonly now: () => number;
  readonly pending: (sentence: string, attempt: Attempt) => R;
}

export class Calls<R> {
  readonly #options: CallsOptions<R>;
  readonly #parked = new Map<string, Call<R>>();
  readonly #all = new Set<Call<R>>();

  constructor(options: CallsOptions<R>) {
    this.#options = options;
  }

  /** @param key equal for the same call made again; @param start makes the call, which is done for the first try only */
  run(key: string, attempt: Attempt, patient: boolean, start: (held: Held) => Promise<R>): Promise<R> {
    let call = this.#parked.get(key);
    // Also one that was decided meanwhile: its answer is given once.
    if (call) this.#parked.delete(key);
    else {
      const begun = new Call<R>(this.#options.now);
      this.#all.add(begun);
      begun.attach(attempt);
      begun.reply = start(begun).finally(() => {
        this.#all.delete(begun);
        if (this.#parked.get(key) === begun) this.#keepAnswer(key, begun);
      });
      call = begun;
    }
    return this.#attend(key, call, attempt, patient);
  }

  /** Nobody will come back any more. */
  abortAll(): void {
    for (const call of this.#all) call.abort();
  }

  /** Resolves to the call's answer, or, for a client that is not patient, to what it is told while a person is asked. */
  #attend(key: string, call: Call<R>, attempt: Attempt, patient: boolean): Promise<R> {
    call.attach(attempt);
    const { answerMs, now, pending } = this.#options;
    const { signal } = attempt.caller;
    const since = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const gone = (): void => {
      // A client that was told to come back and has gone again may come once more.
      if (call.givenBack && call.waiting) this.#park(key, call);
      else call.abort();
    };
    signal.addEventListener('abort', gone, { once: true });
    if (signal.aborted) gone();
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', gone);
        if (call.onAsked === startClock) call.onAsked = undefined;
      };
      const giveBack = (): void => {
        timer = undefined;
        if (!call.waiting) return;
        if (this.#parked.size >= MAX_PARKED) {
          timer = setTimeout(giveBack, LOOK_AGAIN_MS);
          return;
        }
        leave();
        this.#park(key, call);
        resolve(pending(call.sentence(now()), attempt));
      };
      // Most calls are asked of nobody, and need no clock.
      const startClock = (): void => {
        timer ??= setTimeout(giveBack, Math.max(0, since + answerMs - performance.now()));
      };
      if (!patient) {
        call.onAsked = startClock;
        if (call.waiting) startClock();
      }
      call.reply.then(
        (reply) => {
          leave();
          resolve(reply);
        },
        (cause: unknown) => {
          leave();
          reject(cause as Error);
        },
      );
    });
  }

  /** What was decided while the client was away is its answer when it comes back before the deadline. */
  #keepAnswer(key: string, call: Call<R>): void {
    const left = call.deadline - this.#options.now();
    const forget = (): void => {
      if (this.#parked.get(key) === call) this.#parked.delete(key);
    };
    if (left <= 0) return forget();
    setTimeout(forget, left).unref();
  }

  #park(key: string, call: Call<R>): void {
    call.detach();
    this.#parked.set(key, call);
  }
}

const NEVER = new Promise<never>(() => {});

class Call<R> implements Held {
  /** Set as soon as the call is made. */
  reply: Promise<R> = NEVER;
  /** It was given back to its client once: the question stays without one. */
  givenBack = false;
  /** For whoever waits for it now. */
  onAsked: (() => void) | undefined;
  readonly #now: () => number;
  readonly #abort = new AbortController();
  #attempt: Attempt | undefined;
  #params: JsonObject | undefined;
  #approval = '';
  #deadline = 0;
  #asking = false;
  #claiming: (() => void) | undefined;

  constructor(now: () => number) {
    this.#now = now;
  }

  readonly caller: Caller = {
    signal: this.#abort.signal,
    notify: (method, params) => this.#attempt?.caller.notify(method, params),
    stream: () => this.#attempt?.caller.stream?.(),
    now: () => this.#attempt?.caller,
  };

  get params(): JsonObject | undefined {
    return this.#params;
  }

  get deadline(): number {
    return this.#deadline;
  }

  /** For a person, or for the client. */
  get waiting(): boolean {
    return this.#asking;
  }

  attach(attempt: Attempt): void {
    this.#attempt = attempt;
    this.#params = attempt.params;
    this.#claiming?.();
  }

  detach(): void {
    this.#attempt = undefined;
    this.givenBack = true;
  }

  abort(): void {
    this.#abort.abort();
    this.#claiming?.();
  }

  readonly asked = (approval: string, deadline: number): void => {
    this.#approval = approval;
    this.#deadline = deadline;
    this.#asking = true;
    this.onAsked?.();
  };

  readonly claim = async (): Promise<boolean> => {
    if (!this.#attempt && !this.#abort.signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.max(CLAIM_GRACE_MS, this.#deadline - this.#now()));
        timer.unref();
        this.#claiming = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#asking = false;
    return this.#attempt !== undefined && !this.#abort.signal.aborted;
  };

  sentence(now: number): string {
    const minutes = Math.max(1, Math.round((this.#deadline - now) / 60_000));
    return `Pending approval #${this.#approval}: a person has been asked and has not answered yet. Nothing has been done. Retry the same call, with exactly the same arguments, to go on waiting; once it is approved the retry runs it, one time. The question is open for about ${minutes} more ${minutes === 1 ? 'minute' : 'minutes'}.`;
  }
}
