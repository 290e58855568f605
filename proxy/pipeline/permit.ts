import type { Digest, OperationId } from '../../contract/ids.ts';

/** The key that only `decide.ts` and `approve.ts` may import (held by test/boundaries.test.ts). */
export const MINT: unique symbol = Symbol('mint');

/**
 * Proof that a verdict or an approval allows one operation. Forwarding and credentials require one, so code that skips
 * the decision does not compile; using one twice, or for other bytes, throws.
 */
export class Permit {
  readonly operation: OperationId;
  readonly digest: Digest;
  /** What allowed it, for the record: a rule's id or an approval's. */
  readonly basis: string;
  #used = false;

  private constructor(operation: OperationId, digest: Digest, basis: string) {
    this.operation = operation;
    this.digest = digest;
    this.basis = basis;
  }

  static [MINT](operation: OperationId, digest: Digest, basis: string): Permit {
    return new Permit(operation, digest, basis);
  }

  /** Spends the permit. Call it right before the first byte goes upstream. */
  use(digest: Digest): void {
    if (this.#used) throw new Error(`permit for ${this.operation} used twice`);
    if (digest !== this.digest) throw new Error(`permit for ${this.operation} used for other bytes`);
    this.#used = true;
  }
}
