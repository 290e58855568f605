/**
 * A fast answer to "may this value be one of ours?": false is certain. A full vault is asked about millions of values that it
 * does not know, and looking each up costs more than the rest of its mask. Whoever makes values meet here only makes us slower.
 */

/** Bits for each value, at least: up to one in eight of the unknown ones is looked up for nothing. More bits would not stay in the processor's cache. */
const BITS_A_VALUE = 8;
const FEWEST_BITS = 1024;
/** So much of a value is looked at, in bytes. */
const LOOKED_AT = 64;

export class KnownValues {
  readonly #words: Int32Array;
  readonly #mask: number;

  /** @param count values that are expected */
  constructor(count: number) {
    let bits = FEWEST_BITS;
    while (bits < count * BITS_A_VALUE) bits *= 2;
    this.#words = new Int32Array(bits / 32);
    this.#mask = bits - 1;
  }

  add(bytes: Uint8Array, start: number, end: number): void {
    const place = mixed(bytes, start, end) & this.#mask;
    this.#words[place >> 5] = (this.#words[place >> 5] as number) | (1 << (place & 31));
  }

  may(bytes: Uint8Array, start: number, end: number): boolean {
    const place = mixed(bytes, start, end) & this.#mask;
    return ((this.#words[place >> 5] as number) & (1 << (place & 31))) !== 0;
  }
}

function mixed(bytes: Uint8Array, start: number, end: number): number {
  const stop = Math.min(end, start + LOOKED_AT);
  let mix = end - start;
  let at = start;
  for (; at + 4 <= stop; at += 4) {
    const word = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24);
    mix = Math.imul(mix ^ word, 0x9e3779b1);
    mix ^= mix >>> 15;
  }
  for (; at < stop; at++) mix = Math.imul(mix ^ (bytes[at] as number), 0x9e3779b1);
  mix = Math.imul(mix ^ (mix >>> 16), 0x85ebca6b);
  return mix ^ (mix >>> 13);
}
