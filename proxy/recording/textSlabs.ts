/**
 * Texts that are kept for a while, outside of JavaScript's heap: there, each would be copied twice by the collecting of garbage, and be garbage
 * itself when it is let go. Bytes lie one behind another in large blocks, which are used again once all in them has gone.
 */

/** One block, in bytes, and how many empty ones are kept. */
const SLAB_BYTES = 1_048_576;
const MAX_SPARE = 2;
/** Bytes that one UTF-16 unit can become. */
const MAX_BYTES_A_UNIT = 3;

interface Slab {
  readonly bytes: Buffer;
  used: number;
  texts: number;
}

/** Where a text lies; good until it is dropped. */
export interface KeptText {
  readonly slab: Slab;
  readonly start: number;
  readonly end: number;
  readonly encoding: 'utf8' | 'utf16le';
}

export class TextSlabs {
  #last: Slab | undefined;
  #spare: Slab[] = [];

  keep(text: string): KeptText {
    // Half of a surrogate pair has no UTF-8.
    const encoding = text.isWellFormed() ? 'utf8' : 'utf16le';
    const slab = this.#with(text.length * MAX_BYTES_A_UNIT);
    const start = slab.used;
    slab.used += slab.bytes.write(text, start, encoding);
    slab.texts++;
    return { slab, start, end: slab.used, encoding };
  }

  read({ encoding, end, slab, start }: KeptText): string {
    return slab.bytes.toString(encoding, start, end);
  }

  /** Once for each. */
  drop({ slab }: KeptText): void {
    if (--slab.texts > 0 || slab === this.#last) return;
    this.#empty(slab);
  }

  clear(): void {
    this.#last?.bytes.fill(0);
    this.#last = undefined;
    this.#spare = [];
  }

  #with(length: number): Slab {
    const last = this.#last;
    if (last && last.used + length <= last.bytes.length) return last;
    this.#last = this.#fresh(length);
    if (last?.texts === 0) this.#empty(last);
    return this.#last;
  }

  #fresh(length: number): Slab {
    const spare = length <= SLAB_BYTES ? this.#spare.pop() : undefined;
    return spare ?? { bytes: Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, length)), used: 0, texts: 0 };
  }

  /** What was in it is not left lying about. */
  #empty(slab: Slab): void {
    slab.bytes.fill(0, 0, slab.used);
    slab.used = 0;
    if (slab.bytes.length === SLAB_BYTES && this.#spare.length < MAX_SPARE) this.#spare.push(slab);
  }
}
