/**
 * The program that marks the places of a text at which anything may begin, in WebAssembly: it looks at sixteen characters at once, where
 * JavaScript looks at one. `places.ts` says what is asked of it, and writes the tables that it goes by.
 *
 * Three passes over a block of text. The first makes bytes of UTF-16. The second sorts the characters into classes, sixty-four at a time,
 * one bit for each, and from then on whole words of bits are reasoned about: what begins a word is a letter before which no letter stands.
 * The third looks how many digits each number has that has begun.
 */
import { type Code, i32, i64, type Local, Locals, loopWhile, sequence, v128 } from './wasm.ts';

/** Places that are looked at in one go, in characters; there is room for what stands around them. */
export const BLOCK = 16_384;
/** All that is read beyond a text's end must be 0, so many characters. */
export const PADDING = 80;

/** Where what lies in the memory: one page has it all, and most of it stays in the fastest cache. */
export const LOW_NIBBLES = 0;
export const HIGH_NIBBLES = 16;
/** Sixteen times the classes of characters that are marked, and of those that may begin a literal and are no letters. */
export const MARKED = 32;
export const FIRSTS = 48;
export const LITERALS = 1_024;
/** So many bits say of three characters whether a literal may begin with them. */
const LITERAL_BITS = 14;
export const LITERAL_BYTES = 2 ** LITERAL_BITS / 8;
const LITERAL_FACTOR = 0x9e37_79b1;
const DIGIT_BITS = 4_096;
const GAP_BITS = 6_400;
const NUMBER_BITS = 8_704;
export const PLACE_BITS = 11_008;
const BYTES = 13_312;
export const CODES = 30_208;

/** Classes, as bits of a byte. Whatever has one of the three highest is a letter or digit. */
export const DIGIT = 0x80;
export const LETTER_TO_O = 0x40;
export const LETTER_FROM_P = 0x20;
export const GAP = 0x10;
/** The other four are for characters that are marked, or may begin a literal: one for each row (the upper four bits of the character). */
export const ROWS = [0x08, 0x04, 0x02, 0x01] as const;

/** Longest escape that may end right before a word, in characters after its first. The shifts of `behindEscape` are made for it. */
export const REACH_OF_ESCAPE = 6;
const ESCAPES = [0x5c, 0x25] as const;
/** A number of which no more can be seen, in characters: eight bytes of bits from any bit on. */
const SEEN_OF_NUMBER = 57;

/** Which bit it is: a product tells. Digits are all alike where they are the third, for the sake of account numbers. */
export function literalBit(first: number, second: number, third: number): number {
  const last = third >> 4 === 3 ? third & 0xf0 : third;
  return Math.imul(first | (second << 8) | (last << 16), LITERAL_FACTOR) >>> (32 - LITERAL_BITS);
}

const c32 = i32.const;
const c64 = (value: number): Code<'i64'> => i64.const(BigInt(value));
const not = (bits: Code<'i64'>): Code<'i64'> => i64.xor(bits, i64.const(-1n));
const add = (local: Local<'i32'>, value: number): Code<'none'> => local.set(i32.add(local.get, c32(value)));

/** @returns a module whose `run(length, minDigits)` marks the places of so many codes at `CODES` */
export function placesModule(): Uint8Array<ArrayBuffer> {
  const locals = new Locals(2);
  const [length, minDigits] = [locals.parameter(0), locals.parameter(1)];
  const at = locals.add('i32');
  return locals.module(sequence(narrowed(length, at), classified(locals, length, at), counted(locals, length, minDigits, at)));
}

/** Makes bytes of the text; all that is beyond them becomes 255. */
function narrowed(length: Local<'i32'>, at: Local<'i32'>): Code<'none'> {
  const clipped = (offset: number): Code<'v128'> => v128.min16(v128.load(CODES + offset, i32.shl(at.get, c32(1))), v128.all16(0xff));
  return sequence(
    at.set(c32(0)),
    loopWhile(i32.lessThan(at.get, i32.add(length.get, c32(PADDING - 16))), v128.store(BYTES, at.get, v128.narrow(clipped(0), clipped(16))), add(at, 16)),
  );
}

/** Sorts characters into classes, and marks whatever can be told from the three characters at a place. */
function classified(locals: Locals, length: Local<'i32'>, at: Local<'i32'>): Code<'none'> {
  const [low, high, markedClasses, firstClasses] = [locals.add('v128'), locals.add('v128'), locals.add('v128'), locals.add('v128')];
  const [bytes, classes] = [locals.add('v128'), locals.add('v128')];
  const [alnum, digits, gaps, marked, firsts, escapes] = Array.from({ length: 6 }, () => locals.add('i64')) as Six;
  const [lastAlnum, lastDigits, lastEscapes] = [locals.add('i64'), locals.add('i64'), locals.add('i64')];
  const [behindEscape, may, bit] = [locals.add('i64'), locals.add('i64'), locals.add('i64')];
  const key = locals.add('i32');

  const isAny = (mask: Local<'v128'>): Code<'v128'> => v128.addUpTo(v128.and(classes.get, mask.get), v128.all(0x7f));
  const sixteen = (offset: number): Code<'none'> => {
    const take = (into: Local<'i64'>, byHighestBit: Code<'v128'>): Code<'none'> => {
      const bits = i64.shl(i64.of(v128.bitmask(byHighestBit)), c64(offset));
      return into.set(offset === 0 ? bits : i64.or(into.get, bits));
    };
    return sequence(
      bytes.set(v128.load(BYTES + offset, at.get)),
      classes.set(v128.and(v128.swizzle(low.get, v128.and(bytes.get, v128.all(0x0f))), v128.swizzle(high.get, v128.shr(bytes.get, c32(4))))),
      take(digits, classes.get),
      take(alnum, v128.addUpTo(classes.get, v128.all(0x80 - LETTER_FROM_P))),
      // Beyond ASCII everything may stand in a number: the highest bit of the byte itself.
      take(gaps, v128.or(v128.or(bytes.get, classes.get), v128.shl(classes.get, c32(3)))),
      take(marked, isAny(markedClasses)),
      take(firsts, isAny(firstClasses)),
      take(escapes, v128.or(v128.equal(bytes.get, v128.all(ESCAPES[0])), v128.equal(bytes.get, v128.all(ESCAPES[1])))),
    );
  };

  return sequence(
    low.set(v128.load(LOW_NIBBLES, c32(0))),
    high.set(v128.load(HIGH_NIBBLES, c32(0))),
    markedClasses.set(v128.load(MARKED, c32(0))),
    firstClasses.set(v128.load(FIRSTS, c32(0))),
    at.set(c32(0)),
    loopWhile(
      i32.lessThan(at.get, length.get),
      ...[0, 16, 32, 48].map(sixteen),
      // Each place behind an escape, as far as it may reach: one, two and three further make six; and from the word before, the same backwards.
      behindEscape.set(i64.or(escapes.get, i64.shl(escapes.get, c64(1)))),
      behindEscape.set(i64.or(behindEscape.get, i64.shl(behindEscape.get, c64(2)))),
      behindEscape.set(i64.or(behindEscape.get, i64.shl(behindEscape.get, c64(3)))),
      lastEscapes.set(i64.shr(lastEscapes.get, c64(64 - REACH_OF_ESCAPE))),
      lastEscapes.set(i64.or(lastEscapes.get, i64.shr(lastEscapes.get, c64(1)))),
      lastEscapes.set(i64.or(lastEscapes.get, i64.shr(lastEscapes.get, c64(2)))),
      behindEscape.set(i64.or(behindEscape.get, i64.or(lastEscapes.get, i64.shr(lastEscapes.get, c64(3))))),
      lastEscapes.set(escapes.get),
      // Numbers: digits before which none stands.
      i64.store(DIGIT_BITS, bitsAt(at), digits.get),
      i64.store(GAP_BITS, bitsAt(at), gaps.get),
      i64.store(NUMBER_BITS, bitsAt(at), i64.and(digits.get, i64.or(behindEscape.get, not(behind(digits, lastDigits))))),
      lastDigits.set(digits.get),
      // Literals: letters before which neither letter nor digit stands, and the other characters that one may begin with.
      may.set(i64.and(i64.xor(alnum.get, digits.get), i64.or(behindEscape.get, not(behind(alnum, lastAlnum))))),
      may.set(i64.or(may.get, firsts.get)),
      lastAlnum.set(alnum.get),
      loopWhile(
        i32.xor(i64.isZero(may.get), c32(1)),
        bit.set(i64.ctz(may.get)),
        may.set(i64.and(may.get, i64.sub(may.get, c64(1)))),
        key.set(i32.and(i32.load(BYTES, i32.add(at.get, i32.of(bit.get))), c32(0xff_ffff))),
        key.set(i32.xor(key.get, i32.and(key.get, i32.mul(i32.equal(i32.shr(key.get, c32(20)), c32(3)), c32(0x0f_0000))))),
        key.set(i32.shr(i32.mul(key.get, c32(LITERAL_FACTOR)), c32(32 - LITERAL_BITS))),
        marked.set(
          i64.or(marked.get, i64.shl(i64.of(i32.and(i32.shr(i32.load8(LITERALS, i32.shr(key.get, c32(3))), i32.and(key.get, c32(7))), c32(1))), bit.get)),
        ),
      ),
      i64.store(PLACE_BITS, bitsAt(at), marked.get),
      add(at, 64),
    ),
    // What the next pass looks at beyond the end.
    i64.store(DIGIT_BITS, bitsAt(at), c64(0)),
    i64.store(GAP_BITS, bitsAt(at), c64(0)),
  );
}

type Six = [Local<'i64'>, Local<'i64'>, Local<'i64'>, Local<'i64'>, Local<'i64'>, Local<'i64'>];

/** Where the bits lie of a character whose offset is a multiple of eight. */
function bitsAt(at: Local<'i32'>): Code<'i32'> {
  return i32.shr(at.get, c32(3));
}

/** What stands behind one of these, the last of the word before included. */
function behind(bits: Local<'i64'>, last: Local<'i64'>): Code<'i64'> {
  return i64.or(i64.shl(bits.get, c64(1)), i64.shr(last.get, c64(63)));
}

/** Marks the numbers that may have digits enough. */
function counted(locals: Locals, length: Local<'i32'>, minDigits: Local<'i32'>, at: Local<'i32'>): Code<'none'> {
  const [numbers, marked, bit, run] = [locals.add('i64'), locals.add('i64'), locals.add('i64'), locals.add('i64')];
  const place = locals.add('i32');
  /** Bits from a place on, as many as eight bytes have. */
  const from = (bits: number): Code<'i64'> => i64.shr(i64.load(bits, i32.shr(place.get, c32(3))), i64.of(i32.and(place.get, c32(7))));
  const digits = i64.popcnt(i64.shl(from(DIGIT_BITS), i64.sub(c64(64), run.get)));
  return sequence(
    at.set(c32(0)),
    loopWhile(
      i32.lessThan(at.get, length.get),
      numbers.set(i64.load(NUMBER_BITS, bitsAt(at))),
      marked.set(i64.load(PLACE_BITS, bitsAt(at))),
      loopWhile(
        i32.xor(i64.isZero(numbers.get), c32(1)),
        bit.set(i64.ctz(numbers.get)),
        numbers.set(i64.and(numbers.get, i64.sub(numbers.get, c64(1)))),
        place.set(i32.add(at.get, i32.of(bit.get))),
        // How far it goes on over digits and what may stand between them.
        run.set(i64.ctz(not(from(GAP_BITS)))),
        marked.set(
          i64.or(marked.get, i64.shl(i64.of(i32.or(i32.atLeast(i32.of(digits), minDigits.get), i32.atLeast(i32.of(run.get), c32(SEEN_OF_NUMBER)))), bit.get)),
        ),
      ),
      i64.store(PLACE_BITS, bitsAt(at), marked.get),
      add(at, 64),
    ),
  );
}
