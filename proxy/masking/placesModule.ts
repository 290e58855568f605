/**
 * The program that marks the places of a text at which anything may begin, in WebAssembly: it looks at sixteen characters at once, where
 * JavaScript looks at one. `places.ts` says what is asked of it, and writes the tables that it goes by.
 *
 * Four passes over a block of text. The first makes bytes of UTF-16. The second sorts the characters into classes, sixty-four at a time,
 * one bit for each, and from then on whole words of bits are reasoned about: what begins a word is a letter before which no letter stands.
 * The third looks how many digits each number has that has begun, the last what the names are called before each colon.
 */
import { MAX_BETWEEN } from './detectors/detector.ts';
import { type Code, i32, i64, type Local, Locals, loopWhile, sequence, v128 } from './wasm.ts';

/** Places that are looked at in one go, in characters; there is room for what stands around them. */
export const BLOCK = 16_384;
/** All that is read beyond a text's end must be 0, so many characters. */
export const PADDING = 80;

/** Where what lies in the memory: two looks into tables of sixteen bytes say what a character is. */
export const LOW_NIBBLES = 0;
export const HIGH_NIBBLES = 16;
/** The same for what names are made of. */
export const NAMES_LOW_NIBBLES = 32;
export const NAMES_HIGH_NIBBLES = 48;
/** Sixteen times the classes of characters that are marked, that are marked behind certain names, and that a literal may begin with though they are no letters. */
export const MARKED = 64;
export const NAMED = 80;
export const FIRSTS = 96;
/** Pairs of letters that such a name has one of, a bit for each: which letters are the first of which, and the second. */
export const PAIRS_LOW_NIBBLES = 128;
export const PAIRS_HIGH_NIBBLES = 144;
export const SECONDS_LOW_NIBBLES = 160;
export const SECONDS_HIGH_NIBBLES = 176;
export const MOST_PAIRS = 8;
export const LITERALS = 1_024;
/** Bits for each character: eight bytes of zeros, those of the block, eight bytes of zeros. */
const [DIGIT_BITS, GAP_BITS, NUMBER_BITS, NAME_BITS, BETWEEN_BITS, PAIR_BITS, NAMED_BITS, PLACES] = Array.from(
  { length: 8 },
  (_, n) => 4_096 + 16 + n * (BLOCK / 8 + 128),
) as [number, number, number, number, number, number, number, number];
export const PLACE_BITS = PLACES;
const BYTES = 21_504;
export const CODES = 38_400;
const PAGES = 2;

/** So many bits say of three characters whether a literal may begin with them. */
const LITERAL_BITS = 14;
export const LITERAL_BYTES = 2 ** LITERAL_BITS / 8;
const LITERAL_FACTOR = 0x9e37_79b1;
/** Classes, as bits of a byte. Whatever has one of the three highest is a letter or digit. */
export const DIGIT = 0x80;
export const LETTER_TO_O = 0x40;
export const LETTER_FROM_P = 0x20;
export const GAP = 0x10;
/** The other four are for characters that are marked, or may begin a literal: one for each row (the upper four bits of the character). */
export const ROWS = [0x08, 0x04, 0x02, 0x01] as const;

/** Classes of what names are made of besides letters and digits, and of what may stand between one and the character behind it: one for each row. */
export const NAME_ROWS = [0x80, 0x40] as const;
export const BETWEEN_ROWS = [0x08, 0x04, 0x02, 0x01] as const;

/** Longest escape that may end right before a word, in characters after its first. The shifts of `behindEscape` are made for it. */
export const REACH_OF_ESCAPE = 6;
const ESCAPES = [0x5c, 0x25] as const;
const TWO_SLASHES = 0x2f2f;
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
  return locals.module(
    PAGES,
    sequence(narrowed(length, at), classified(locals, length, at), counted(locals, length, minDigits, at), called(locals, length, at)),
  );
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
  const [bytes, lows, highs, classes] = [locals.add('v128'), locals.add('v128'), locals.add('v128'), locals.add('v128')];
  const [alnum, digits, gaps, marked, firsts] = [locals.add('i64'), locals.add('i64'), locals.add('i64'), locals.add('i64'), locals.add('i64')];
  const [escapes, names, between, pairs, named] = [locals.add('i64'), locals.add('i64'), locals.add('i64'), locals.add('i64'), locals.add('i64')];
  const [lastAlnum, lastDigits, lastEscapes] = [locals.add('i64'), locals.add('i64'), locals.add('i64')];
  const [behindEscape, may, bit] = [locals.add('i64'), locals.add('i64'), locals.add('i64')];
  const [offset, key] = [locals.add('i32'), locals.add('i32')];

  const table = (offset: number): Code<'v128'> => v128.load(offset, c32(0));
  const halve = (from: number): Code<'none'> =>
    sequence(bytes.set(v128.load(from, i32.add(at.get, offset.get))), lows.set(v128.and(bytes.get, v128.all(0x0f))), highs.set(v128.shr(bytes.get, c32(4))));
  /** The classes of the sixteen characters in hand, by two tables: those that both halves have. */
  const looked = (low: number, high: number): Code<'v128'> => v128.and(v128.look(table(low), lows.get), v128.look(table(high), highs.get));
  /** Highest bits where a class is one of these. */
  const isAny = (mask: Code<'v128'>): Code<'v128'> => v128.addUpTo(v128.and(classes.get, mask), v128.all(0x7f));
  const take = (into: Local<'i64'>, byHighestBit: Code<'v128'>): Code<'none'> =>
    into.set(i64.or(into.get, i64.shl(i64.of(v128.bitmask(byHighestBit)), i64.of(offset.get))));
  const sixteen = sequence(
    halve(BYTES),
    classes.set(looked(LOW_NIBBLES, HIGH_NIBBLES)),
    take(digits, classes.get),
    take(alnum, v128.addUpTo(classes.get, v128.all(0x80 - LETTER_FROM_P))),
    // Beyond ASCII everything may stand in a number: the highest bit of the byte itself.
    take(gaps, v128.or(v128.or(bytes.get, classes.get), v128.shl(classes.get, c32(3)))),
    take(marked, isAny(table(MARKED))),
    take(named, isAny(table(NAMED))),
    take(firsts, isAny(table(FIRSTS))),
    take(escapes, v128.or(v128.equal(bytes.get, v128.all(ESCAPES[0])), v128.equal(bytes.get, v128.all(ESCAPES[1])))),
    classes.set(looked(NAMES_LOW_NIBBLES, NAMES_HIGH_NIBBLES)),
    take(names, v128.addUpTo(classes.get, v128.all(0x80 - NAME_ROWS[1]))),
    take(between, isAny(v128.all(0x0f))),
    classes.set(looked(PAIRS_LOW_NIBBLES, PAIRS_HIGH_NIBBLES)),
    halve(BYTES + 1),
    classes.set(v128.and(classes.get, looked(SECONDS_LOW_NIBBLES, SECONDS_HIGH_NIBBLES))),
    take(pairs, isAny(v128.all(0xff))),
  );

  return sequence(
    at.set(c32(0)),
    loopWhile(
      i32.lessThan(at.get, length.get),
      ...[alnum, digits, gaps, marked, firsts, escapes, names, between, pairs, named].map((bits) => bits.set(c64(0))),
      offset.set(c32(0)),
      loopWhile(i32.lessThan(offset.get, c32(64)), sixteen, add(offset, 16)),
      // Each place behind an escape, as far as it may reach: one, two and three further make six; and from the word before, the same backwards.
      behindEscape.set(i64.or(escapes.get, i64.shl(escapes.get, c64(1)))),
      behindEscape.set(i64.or(behindEscape.get, i64.shl(behindEscape.get, c64(2)))),
      behindEscape.set(i64.or(behindEscape.get, i64.shl(behindEscape.get, c64(3)))),
      lastEscapes.set(i64.shr(lastEscapes.get, c64(64 - REACH_OF_ESCAPE))),
      lastEscapes.set(i64.or(lastEscapes.get, i64.shr(lastEscapes.get, c64(1)))),
      lastEscapes.set(i64.or(lastEscapes.get, i64.shr(lastEscapes.get, c64(2)))),
      behindEscape.set(i64.or(behindEscape.get, i64.or(lastEscapes.get, i64.shr(lastEscapes.get, c64(3))))),
      lastEscapes.set(escapes.get),
      i64.store(NAME_BITS, bitsAt(at), i64.or(alnum.get, names.get)),
      i64.store(BETWEEN_BITS, bitsAt(at), between.get),
      i64.store(PAIR_BITS, bitsAt(at), pairs.get),
      i64.store(NAMED_BITS, bitsAt(at), named.get),
      // Numbers: digits before which none stands.
      i64.store(DIGIT_BITS, bitsAt(at), digits.get),
      i64.store(GAP_BITS, bitsAt(at), gaps.get),
      i64.store(NUMBER_BITS, bitsAt(at), i64.and(digits.get, i64.or(behindEscape.get, not(behind(digits, lastDigits))))),
      lastDigits.set(digits.get),
      // Literals: letters before which neither letter nor digit stands, and the other characters that one may begin with.
      may.set(i64.and(i64.xor(alnum.get, digits.get), i64.or(behindEscape.get, not(behind(alnum, lastAlnum))))),
      may.set(i64.or(may.get, firsts.get)),
      lastAlnum.set(alnum.get),
      eachBit(
        may,
        bit,
        key.set(i32.and(i32.load(BYTES, i32.add(at.get, i32.of(bit.get))), c32(0xff_ffff))),
        key.set(i32.xor(key.get, i32.and(key.get, i32.mul(i32.equal(i32.shr(key.get, c32(20)), c32(3)), c32(0x0f_0000))))),
        key.set(i32.shr(i32.mul(key.get, c32(LITERAL_FACTOR)), c32(32 - LITERAL_BITS))),
        mark(marked, bit, i32.and(i32.shr(i32.load8(LITERALS, i32.shr(key.get, c32(3))), i32.and(key.get, c32(7))), c32(1))),
      ),
      i64.store(PLACE_BITS, bitsAt(at), marked.get),
      add(at, 64),
    ),
    // What the next passes look at beyond the end.
    i64.store(DIGIT_BITS, bitsAt(at), c64(0)),
    i64.store(GAP_BITS, bitsAt(at), c64(0)),
  );
}

/** Where the bits lie of a character whose offset is a multiple of eight. */
function bitsAt(at: Local<'i32'>): Code<'i32'> {
  return i32.shr(at.get, c32(3));
}

/** What stands behind one of these, the last of the word before included. */
function behind(bits: Local<'i64'>, last: Local<'i64'>): Code<'i64'> {
  return i64.or(i64.shl(bits.get, c64(1)), i64.shr(last.get, c64(63)));
}

/** Goes through the bits that are set, the lowest first, and clears them. */
function eachBit(bits: Local<'i64'>, bit: Local<'i64'>, ...body: readonly Code<'none'>[]): Code<'none'> {
  return loopWhile(i32.equal(i64.isZero(bits.get), c32(0)), bit.set(i64.ctz(bits.get)), bits.set(i64.and(bits.get, i64.sub(bits.get, c64(1)))), ...body);
}

/** @param whether 0 or 1 */
function mark(marked: Local<'i64'>, bit: Local<'i64'>, whether: Code<'i32'>): Code<'none'> {
  return marked.set(i64.or(marked.get, i64.shl(i64.of(whether), bit.get)));
}

/** Goes through the places that have a bit in one map, and marks those of which `whether` holds. */
function checked(
  locals: Locals,
  { length, at, place }: { readonly length: Local<'i32'>; readonly at: Local<'i32'>; readonly place: Local<'i32'> },
  candidates: number,
  whether: Code<'i32'>,
  ...first: readonly Code<'none'>[]
): Code<'none'> {
  const [left, marked, bit] = [locals.add('i64'), locals.add('i64'), locals.add('i64')];
  return sequence(
    at.set(c32(0)),
    loopWhile(
      i32.lessThan(at.get, length.get),
      left.set(i64.load(candidates, bitsAt(at))),
      marked.set(i64.load(PLACE_BITS, bitsAt(at))),
      eachBit(left, bit, place.set(i32.add(at.get, i32.of(bit.get))), ...first, mark(marked, bit, whether)),
      i64.store(PLACE_BITS, bitsAt(at), marked.get),
      add(at, 64),
    ),
  );
}

/** Marks the numbers that may have digits enough. */
function counted(locals: Locals, length: Local<'i32'>, minDigits: Local<'i32'>, at: Local<'i32'>): Code<'none'> {
  const [place, run] = [locals.add('i32'), locals.add('i64')];
  /** Bits from a place on, as many as eight bytes have. */
  const from = (bits: number): Code<'i64'> => i64.shr(i64.load(bits, i32.shr(place.get, c32(3))), i64.of(i32.and(place.get, c32(7))));
  const digits = i64.popcnt(i64.shl(from(DIGIT_BITS), i64.sub(c64(64), run.get)));
  return checked(
    locals,
    { length, at, place },
    NUMBER_BITS,
    i32.or(i32.atLeast(i32.of(digits), minDigits.get), i32.atLeast(i32.of(run.get), c32(SEEN_OF_NUMBER))),
    // How far it goes on over digits and what may stand between them.
    run.set(i64.ctz(not(from(GAP_BITS)))),
  );
}

/** Marks the characters before which a name stands that has one of the pairs, and those before two slashes. */
function called(locals: Locals, length: Local<'i32'>, at: Local<'i32'>): Code<'none'> {
  const [place, blanks, others] = [locals.add('i32'), locals.add('i64'), locals.add('i64')];
  /** Bits up to a place, as many as eight bytes have; the highest is that of the character right before it. */
  const upTo = (bits: number): Code<'i64'> =>
    i64.shl(i64.load(bits - 8, i32.shr(i32.add(place.get, c32(7)), c32(3))), i64.of(i32.and(i32.sub(c32(0), place.get), c32(7))));
  const before = (bits: number): Code<'i64'> => i64.shl(upTo(bits), blanks.get);
  return checked(
    locals,
    { length, at, place },
    NAMED_BITS,
    i32.or(
      i32.or(
        // A pair stands higher than whatever is no longer of the name; or so much is of it that there may be more.
        i64.moreThan(before(PAIR_BITS), others.get),
        i64.lessThan(others.get, c64(2 ** (MAX_BETWEEN + 8))),
      ),
      i32.equal(i32.load16(BYTES + 1, place.get), c32(TWO_SLASHES)),
    ),
    blanks.set(i64.clz(not(upTo(BETWEEN_BITS)))),
    others.set(not(before(NAME_BITS))),
  );
}
