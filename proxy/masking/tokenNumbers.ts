/**
 * Numbers for the distinct values under one name, in the order in which they come. Holds no value, only 64 bits of a keyed
 * hash of each (HalfSipHash-2-4, Aumasson and Bernstein), whose key is drawn for the table: nobody can make two values
 * meet, and among the values of a session two meet by chance once in billions of sessions.
 */
import { randomFillSync } from 'node:crypto';

const FIRST_SLOTS = 1024;
/** Words a slot: the hash's halves, and the number; 0 is an empty slot. */
const WORDS = 3;

export class TokenNumbers {
  readonly #key = randomFillSync(new Int32Array(2));
  #slots = new Int32Array(FIRST_SLOTS * WORDS);
  #count = 0;
  #low = 0;
  #high = 0;

  get count(): number {
    return this.#count;
  }

  /** @returns the number of the value in `bytes[start, end)`, counted from 1; for a new one only where `more`: otherwise 0. */
  of(bytes: Uint8Array, start: number, end: number, more: boolean): number {
    this.#hash(bytes, start, end);
    let at = this.#find(this.#slots);
    const known = this.#slots[at + 2] as number;
    if (known !== 0 || !more) return known;
    if (this.#count * 2 >= this.#slots.length / WORDS) {
      this.#grow();
      at = this.#find(this.#slots);
    }
    this.#slots[at] = this.#low;
    this.#slots[at + 1] = this.#high;
    this.#slots[at + 2] = ++this.#count;
    return this.#count;
  }

  /** The slot of the hash, or the empty one where it would stand. */
  #find(slots: Int32Array): number {
    const mask = slots.length / WORDS - 1;
    let slot = this.#low & mask;
    for (;;) {
      const at = slot * WORDS;
      if (slots[at + 2] === 0 || (slots[at] === this.#low && slots[at + 1] === this.#high)) return at;
      slot = (slot + 1) & mask;
    }
  }

  #grow(): void {
    const low = this.#low;
    const high = this.#high;
    const before = this.#slots;
    const larger = new Int32Array(before.length * 2);
    for (let from = 0; from < before.length; from += WORDS) {
      if (before[from + 2] === 0) continue;
      this.#low = before[from] as number;
      this.#high = before[from + 1] as number;
      const at = this.#find(larger);
      for (let i = 0; i < WORDS; i++) larger[at + i] = before[from + i] as number;
    }
    this.#slots = larger;
    this.#low = low;
    this.#high = high;
  }

  #hash(bytes: Uint8Array, start: number, end: number): void {
    const k0 = this.#key[0] as number;
    const k1 = this.#key[1] as number;
    let v0 = k0;
    let v1 = k1 ^ 0xee;
    let v2 = 0x6c796765 ^ k0;
    let v3 = 0x74656462 ^ k1;
    const whole = end - ((end - start) & 3);
    // The two rounds of a word are written out: a loop around them costs as much as they do.
    for (let at = start; at <= whole; at += 4) {
      let word = 0;
      if (at < whole) word = (bytes[at] as number) | ((bytes[at + 1] as number) << 8) | ((bytes[at + 2] as number) << 16) | ((bytes[at + 3] as number) << 24);
      else {
        word = (end - start) << 24;
        for (let i = whole; i < end; i++) word |= (bytes[i] as number) << ((i - whole) * 8);
      }
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);

      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
    }
    v2 ^= 0xee;
    for (let round = 0; round < 8; round++) {
      if (round === 4) {
        this.#low = v1 ^ v3;
        v1 ^= 0xdd;
      }
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    this.#high = v1 ^ v3;
  }
}
