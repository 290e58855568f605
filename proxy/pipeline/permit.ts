import type { Digest, OperationId } from '../../contract/ids.ts';

/** The key that only `decide.ts` and `approve.ts` may import (held by test/boundaries.test.ts). */
export const MINT: unique symbol = Symbol('mint');

/**
 * Proof that a verdict or an approval allows one operation. Forwarding and credentials require one, so code that skips
 * the decision does not compile; using one twice, or for other bytes, throws.
 */
export class Permit {
  readonly #of: { readonly id: OperationId };
  readonly #bytes: Bytes;
  /** What allowed it, for the record: a rule's id or an approval's. */
  readonly basis: string;
  #used = false;

  private constructor(operation: { readonly id: OperationId }, bytes: Bytes, basis: string) {
    this.#of = operation;
    this.#bytes = bytes;
    this.basis = basis;
  }

  /** @param bytes what it is given for: the operation itself, or the attempt to try it out */
  static [MINT](operation: { readonly id: OperationId }, bytes: Bytes, basis: string): Permit {
    return new Permit(operation, bytes, basis);
  }

  get operation(): OperationId {
    return this.#of.id;
  }

  /**
   * Spends the permit. Call it right before the first byte goes upstream.
   * @param bytes what is sent: the very thing that the permit was given for, or the digest of the same bytes
   */
  use(bytes: Bytes | Digest): void {
    if (this.#used) throw new Error(`permit for ${this.operation} used twice`);
    if (bytes !== this.#bytes && (typeof bytes === 'string' ? bytes : bytes.digest) !== this.#bytes.digest)
      throw new Error(`permit for ${this.operation} used for other bytes`);
    this.#used = true;
  }
}

/** Bytes that can be sent; their digest may be worked out only where somebody asks for it. */
interface Bytes {
  readonly digest: Digest;
}
