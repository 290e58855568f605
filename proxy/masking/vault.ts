/**
 * The values behind a conversation's tokens. In memory only: it is written nowhere and ends with the conversation.
 *
 * A value has one number for each name (`email`, `card`) in all sessions of a conversation, whichever column and connection
 * it came from; those are its origins, by which policy says where it may be put back. The number is authenticated together
 * with the name under a key that is drawn for the conversation, so that an altered, invented or foreign token is told from
 * ours. Full vaults number nothing new: what they do not know is redacted.
 */
import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { KnownValues } from './knownValues.ts';
import { TokenNumbers } from './tokenNumbers.ts';
import { checkOf, packedCheck, type TokenLike, tokensLikeIn } from './tokenText.ts';

/** Values that one conversation's vault holds. */
const MAX_VALUES = 100_000;
/** Their bytes together. */
const MAX_BYTES = 16 * 1024 * 1024;
/** Longest value, in bytes of UTF-8. */
const MAX_VALUE = 64 * 1024;
/** Names that are numbered separately. */
const MAX_NAMES = 1000;
/** Origins that are told apart under one name: one bit each. Values of further ones are redacted. */
const MAX_ORIGINS = 31;
/** Values lie in blocks of this size. */
const BLOCK = 256 * 1024;
/** 32-bit checks that one SHA-256 gives. */
const CHECKS_A_DIGEST = 8;

/** Lies in no block where it is the first value. */
const EMPTY = Buffer.alloc(0);

/** Stands before UTF-16, for what is no valid text: no UTF-8 begins with this byte. */
const NOT_UTF8 = 0xff;

/** What a token stands for, to who may decide where it goes. */
export interface Token {
  /** As it was written by whoever sent it. */
  readonly text: string;
  /** As we write it. */
  readonly canonical: string;
  readonly name: string;
  /** Where its value was seen: `connection/table.column`, or `connection/detector`. */
  readonly origins: readonly string[];
}

export type Found = { readonly start: number; readonly end: number; readonly text: string } & (
  | { readonly state: 'ours'; readonly token: Token }
  /** Reads like a token and is none of this conversation: altered, made up, of another conversation, or of one that ended. */
  | { readonly state: 'unknown' }
);

/** The values under one name. */
export interface Numbered {
  /** Number of the value in `bytes[start, end)`, counted from 1; 0 where no more are held. */
  number(bytes: Uint8Array, start: number, end: number): number;
  /** What authenticates a number, for `writeCheck`. */
  check(number: number): number;
}

export class TokenVault {
  #key: KeyObject;
  readonly #names = new Map<string, Values>();
  #blocks: Buffer[] = [];
  /** Bytes used of the last block. */
  #used = BLOCK;
  #bytes = 0;
  #count = 0;

  /** @param key for tests: otherwise one is drawn */
  constructor(key: Uint8Array = randomBytes(32)) {
    this.#key = createSecretKey(key);
  }

  /** Nothing has been given out. */
  get empty(): boolean {
    return this.#count === 0;
  }

  get size(): { readonly values: number; readonly bytes: number } {
    return { values: this.#count, bytes: this.#bytes };
  }

  /** What masks need who write many values of one origin; undefined where it cannot be told apart from others any more. */
  numbered(name: string, origin: string): Numbered | undefined {
    let values = this.#names.get(name);
    if (!values) {
      if (this.#names.size >= MAX_NAMES) return undefined;
      values = new Values();
      this.#names.set(name, values);
    }
    const known = values;
    const bit = known.bitOf(origin);
    if (bit === 0) return undefined;
    return {
      number: (bytes, start, end) => this.#number(known, bit, bytes, start, end),
      check: (number) => this.#check(name, known, number),
    };
  }

  /** Every place of a text that reads like a token. In ASCII only those that are ours, or nearly: other things look alike. */
  find(text: string): readonly Found[] {
    return tokensLikeIn(text).flatMap((like): readonly Found[] => {
      const { end, start } = like;
      const written = text.slice(start, end);
      const token = this.#known(like, written);
      if (token) return [{ start, end, text: written, state: 'ours', token }];
      if (like.ascii && !this.#issued(like)) return [];
      return [{ start, end, text: written, state: 'unknown' }];
    });
  }

  /** The value of a token that `find` gave. Only for who has asked the policy: `revealing.ts`. */
  value({ canonical, name }: Token): string | undefined {
    const [like] = tokensLikeIn(canonical);
    const place = like && this.#names.get(name)?.place(like.number);
    if (!place) return undefined;
    if (place.length === 0) return '';
    const block = this.#blocks[Math.floor(place.at / BLOCK)] as Buffer;
    const at = place.at % BLOCK;
    return block[at] === NOT_UTF8 ? block.toString('utf16le', at + 1, at + place.length) : block.toString('utf8', at, at + place.length);
  }

  /** The conversation is over: its tokens stand for nothing any more. */
  end(): void {
    this.#names.clear();
    for (const block of this.#blocks) block.fill(0);
    this.#blocks = [];
    this.#used = BLOCK;
    this.#bytes = 0;
    this.#count = 0;
    this.#key = createSecretKey(randomBytes(32));
  }

  #issued({ name, number }: TokenLike): boolean {
    return this.#names.get(name)?.place(number) !== undefined;
  }

  #known(like: TokenLike, written: string): Token | undefined {
    const values = this.#names.get(like.name);
    if (!values || values.place(like.number) === undefined) return undefined;
    // Both are public to whoever holds the token: how long this takes says nothing.
    const check = checkOf(this.#check(like.name, values, like.number));
    if (check !== like.check) return undefined;
    return { text: written, canonical: `‹${like.name}·${like.number}·${check}›`, name: like.name, origins: values.originsOf(like.number) };
  }

  #number(values: Values, bit: number, bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    const more = this.#count < MAX_VALUES && this.#bytes + length <= MAX_BYTES && length <= MAX_VALUE;
    if (!more && !this.#knownOf(values).may(bytes, start, end)) return 0;
    const before = values.numbers.count;
    const number = values.numbers.of(bytes, start, end, more);
    if (number === 0) return 0;
    if (values.numbers.count === before) {
      values.seen(number, bit);
      return number;
    }
    this.#count++;
    this.#bytes += length;
    values.add(number, bit, this.#store(bytes, start, end), length);
    values.known?.add(bytes, start, end);
    return number;
  }

  /** Made once nothing more is taken, of what was. */
  #knownOf(values: Values): KnownValues {
    if (values.known) return values.known;
    const known = new KnownValues(values.numbers.count);
    for (let number = 1; number <= values.numbers.count; number++) {
      const place = values.place(number) as Place;
      const at = place.at % BLOCK;
      known.add(this.#blocks[Math.floor(place.at / BLOCK)] ?? EMPTY, at, at + place.length);
    }
    values.known = known;
    return known;
  }

  #store(bytes: Uint8Array, start: number, end: number): number {
    const length = end - start;
    if (this.#used + length > BLOCK) {
      this.#blocks.push(Buffer.alloc(BLOCK));
      this.#used = 0;
    }
    const at = this.#used;
    const block = this.#blocks.at(-1) as Buffer;
    for (let i = 0; i < length; i++) block[at + i] = bytes[start + i] as number;
    this.#used += length;
    return (this.#blocks.length - 1) * BLOCK + at;
  }

  /** Several at once: a digest for every number would cost more than the rest of the mask. */
  #check(name: string, values: Values, number: number): number {
    const known = values.checks;
    if (number < known.length && values.checked > number) return known[number] as number;
    const group = Math.floor(number / CHECKS_A_DIGEST);
    const digest = createHmac('sha256', this.#key).update(`token 1\n${name}\n${group}`).digest();
    const first = group * CHECKS_A_DIGEST;
    values.keep(first, digest);
    return packedCheck(digest.readInt32LE((number - first) * 4));
  }
}

interface Place {
  readonly at: number;
  readonly length: number;
}

/** Of one name: where each number's value lies, its origins, its check. */
class Values {
  readonly numbers = new TokenNumbers();
  readonly #origins: string[] = [];
  /** By number: place, length, origins as bits. */
  #places = new Int32Array(64 * 3);
  checks = new Int32Array(64);
  /** Checks are known of the numbers below. */
  checked = 0;
  /** Set once the vault was full. */
  known: KnownValues | undefined;

  /** 0 where there are too many. */
  bitOf(origin: string): number {
    let at = this.#origins.indexOf(origin);
    if (at < 0) {
      if (this.#origins.length >= MAX_ORIGINS) return 0;
      at = this.#origins.push(origin) - 1;
    }
    return 1 << at;
  }

  originsOf(number: number): readonly string[] {
    const bits = this.#places[number * 3 + 2] ?? 0;
    return this.#origins.filter((_, i) => (bits & (1 << i)) !== 0);
  }

  add(number: number, bit: number, at: number, length: number): void {
    if ((number + 1) * 3 > this.#places.length) this.#places = grown(this.#places, (number + 1) * 3);
    const place = number * 3;
    this.#places[place] = at;
    this.#places[place + 1] = length;
    this.#places[place + 2] = bit;
  }

  seen(number: number, bit: number): void {
    const place = number * 3 + 2;
    const bits = this.#places[place] as number;
    if ((bits & bit) === 0) this.#places[place] = bits | bit;
  }

  place(number: number): Place | undefined {
    if (number < 1 || number > this.numbers.count) return undefined;
    return { at: this.#places[number * 3] as number, length: this.#places[number * 3 + 1] as number };
  }

  /** Numbers come in order, so their checks do. */
  keep(first: number, digest: Buffer): void {
    if (first !== this.checked) return;
    const end = first + CHECKS_A_DIGEST;
    if (end > this.checks.length) this.checks = grown(this.checks, end);
    for (let i = 0; i < CHECKS_A_DIGEST; i++) this.checks[first + i] = packedCheck(digest.readInt32LE(i * 4));
    this.checked = end;
  }
}

function grown(array: Int32Array<ArrayBuffer>, needed: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(Math.max(needed, array.length * 2));
  larger.set(array);
  return larger;
}

/** Text as bytes that keep lone surrogates apart: UTF-8 would make them all the same. */
export function bytesOf(value: string): Buffer {
  return value.isWellFormed() ? Buffer.from(value) : Buffer.concat([Buffer.of(NOT_UTF8), Buffer.from(value, 'utf16le')]);
}
