/**
 * The `requestState` that a client of the stateless era carries between two rounds of one call: a name of ours for the call
 * that waits, never the server's own state. It is good for the same client and the same arguments, until it expires, once.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

const MAX_STATE = 500;

export class RequestStates {
  readonly #key = randomBytes(32);

  /** @param binding whose call it is and what it asks; @param expires epoch milliseconds */
  seal(call: string, binding: string, expires: number): string {
    return `${call}.${expires}.${this.#mac(call, binding, expires)}`;
  }

  /** The call that a state names; undefined where it is not ours, not for this, or too late. */
  open(state: string, binding: string, now: number): string | undefined {
    const [, call, expires, mac] = (state.length <= MAX_STATE && /^([\w-]+)\.(\d{1,15})\.([\w-]+)$/.exec(state)) || [];
    if (call === undefined || expires === undefined || mac === undefined) return undefined;
    const expected = Buffer.from(this.#mac(call, binding, Number(expires)));
    const given = Buffer.from(mac);
    if (expected.length !== given.length || !timingSafeEqual(expected, given)) return undefined;
    return now < Number(expires) ? call : undefined;
  }

  #mac(call: string, binding: string, expires: number): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([call, binding, expires]))
      .digest('base64url');
  }
}
