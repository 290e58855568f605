/**
 * Marks where in a text anything may begin at all, for the scanner to look there. What is passed over is certain; what is marked is looked
 * at again. The looking itself is a small program in WebAssembly (`placesModule.ts`), made when the first long text comes.
 */

import { MAX_BETWEEN, MAX_NAME, type NamesBefore } from './detectors/detector.ts';
import {
  BETWEEN_ROWS,
  CODES,
  DIGIT,
  FIRSTS,
  GAP,
  HIGH_NIBBLES,
  LETTER_FROM_P,
  LETTER_TO_O,
  LITERAL_BYTES,
  LITERALS,
  LOW_NIBBLES,
  literalBit,
  MARKED,
  MOST_PAIRS,
  NAME_ROWS,
  NAMED,
  NAMES_HIGH_NIBBLES,
  NAMES_LOW_NIBBLES,
  PADDING,
  PAIRS_HIGH_NIBBLES,
  PAIRS_LOW_NIBBLES,
  PLACE_BITS,
  placesModule,
  REACH_OF_ESCAPE,
  ROWS,
  SECONDS_HIGH_NIBBLES,
  SECONDS_LOW_NIBBLES,
} from './placesModule.ts';

/** What is known of the characters of a scanner; the same as its walk goes by. */
export interface Beginnings {
  /** Something begins at the character, whatever stands around it. */
  readonly marks: (code: number) => boolean;
  /** Something begins at it where a name of some kind ends before it, or two slashes follow. */
  readonly named: (code: number) => boolean;
  readonly names: NamesBefore | undefined;
  /** All threes of characters with which a literal begins. What is not ASCII is 128. */
  readonly literals: () => Iterable<readonly [first: number, second: number, third: number]>;
  /** What may stand between the digits of a number; whatever is not ASCII may. */
  readonly isGap: (code: number) => boolean;
  /** Digits that a number must have to be looked at. */
  readonly minDigits: number;
}

/** How far before a place is looked, in characters: at a name and what stands before it, or at an escape. */
const BEFORE = MAX_BETWEEN + MAX_NAME + REACH_OF_ESCAPE + 2;
/** More digits than any number has: nothing is marked for the sake of them. */
const NO_NUMBERS = 1_000;
const ASCII = 128;
/** From a small letter's code to the capital's. */
const CASE = 32;

/** The little that is needed of it: Node has it, and the types of the language have not. */
interface WithWebAssembly {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object) => { readonly exports: { readonly memory: { readonly buffer: ArrayBuffer }; readonly run: Engine['run'] } };
}

interface Engine {
  readonly run: (length: number, minDigits: number) => void;
  readonly bytes: Buffer;
  readonly codes: Uint16Array;
  /** A bit for each place, the lowest first. */
  readonly marks: Int32Array;
  /** Whose tables lie in it. */
  owner?: Places;
}

let engine: Engine | undefined | 'none';

/** Undefined where it cannot run: on a processor without what it is made of, or where no memory is to be had. */
function theEngine(): Engine | undefined {
  if (engine === undefined) {
    try {
      const { Instance, Module } = (globalThis as unknown as { readonly WebAssembly: WithWebAssembly }).WebAssembly;
      const { memory, run } = new Instance(new Module(placesModule())).exports;
      const { buffer } = memory;
      engine = { run, bytes: Buffer.from(buffer), codes: new Uint16Array(buffer, CODES), marks: new Int32Array(buffer, PLACE_BITS) };
    } catch {
      engine = 'none';
    }
  }
  return engine === 'none' ? undefined : engine;
}

export class Places {
  readonly #engine: Engine;
  readonly #tables: Uint8Array;
  readonly #minDigits: number;

  private constructor(engine: Engine, beginnings: Beginnings) {
    this.#engine = engine;
    this.#tables = tablesOf(beginnings);
    this.#minDigits = Math.min(beginnings.minDigits, NO_NUMBERS);
  }

  /** Undefined where this machine cannot: then every place must be looked at. */
  static of(beginnings: Beginnings): Places | undefined {
    const engine = theEngine();
    return engine && new Places(engine, beginnings);
  }

  /**
   * Calls `look` with each place of `text[from, to)`, at most `BLOCK` of them, at which anything may begin, in order, until it returns true.
   * @param known how far the text is looked at to tell that
   */
  visit(text: string, from: number, to: number, known: number, look: (at: number) => boolean): boolean {
    const { bytes, codes, marks, owner, run } = this.#engine;
    if (owner !== this) {
      bytes.set(this.#tables);
      this.#engine.owner = this;
    }
    const first = Math.max(0, from - BEFORE);
    const length = known - first;
    bytes.write(first === 0 && known === text.length ? text : text.slice(first, known), CODES, length * 2, 'utf16le');
    codes.fill(0, length, length + PADDING);
    run(length, this.#minDigits);
    for (let at = first, word = 0; at < to; at += 32, word++) {
      for (let bits = marks[word] as number; bits !== 0; bits &= bits - 1) {
        const place = at + 31 - Math.clz32(bits & -bits);
        if (place < from) continue;
        if (place >= to) return false;
        if (look(place)) return true;
      }
    }
    return false;
  }
}

/** What the program goes by, as it lies at the beginning of its memory. */
function tablesOf({ isGap, literals, marks, named, names }: Beginnings): Uint8Array {
  const tables = new Uint8Array(LITERALS + LITERAL_BYTES);
  const firsts = new Set<number>();
  for (const [first, second, third] of literals()) {
    if (!isLetter(first)) firsts.add(first);
    for (let code = third; code < (third < ASCII ? third + 1 : 256); code++) {
      const bit = literalBit(first, second, code);
      const at = LITERALS + (bit >> 3);
      tables[at] = (tables[at] as number) | (1 << (bit & 7));
    }
  }
  const classes = new Classes(tables, LOW_NIBBLES, HIGH_NIBBLES);
  classes.put(DIGIT, ASCII_CODES.filter(isDigit));
  classes.put(
    LETTER_TO_O,
    ASCII_CODES.filter((code) => isLetter(code) && (code & 16) === 0),
  );
  classes.put(
    LETTER_FROM_P,
    ASCII_CODES.filter((code) => isLetter(code) && (code & 16) !== 0),
  );
  classes.put(GAP, ASCII_CODES.filter(isGap));
  const rows = [...ROWS];
  tables.fill(classes.putRows(rows, ASCII_CODES.filter(marks)), MARKED, MARKED + 16);
  tables.fill(classes.putRows(rows, ASCII_CODES.filter(named)), NAMED, NAMED + 16);
  tables.fill(classes.putRows(rows, [...firsts]), FIRSTS, FIRSTS + 16);
  if (names !== undefined) putNames(tables, names);
  return tables;
}

function putNames(tables: Uint8Array, { isBetween, isName, pairs }: NamesBefore): void {
  const classes = new Classes(tables, NAMES_LOW_NIBBLES, NAMES_HIGH_NIBBLES);
  classes.putRows(
    [...NAME_ROWS],
    ASCII_CODES.filter((code) => isName(code) && !isLetter(code) && !isDigit(code)),
  );
  classes.putRows([...BETWEEN_ROWS], ASCII_CODES.filter(isBetween));
  if (pairs.length > MOST_PAIRS) throw new Error('more pairs of letters than there is room for');
  const firsts = new Classes(tables, PAIRS_LOW_NIBBLES, PAIRS_HIGH_NIBBLES);
  const seconds = new Classes(tables, SECONDS_LOW_NIBBLES, SECONDS_HIGH_NIBBLES);
  for (const [n, pair] of pairs.entries()) {
    const [first, second] = [pair.charCodeAt(0), pair.charCodeAt(1)];
    firsts.put(1 << n, [first, first - CASE]);
    seconds.put(1 << n, [second, second - CASE]);
  }
}

const ASCII_CODES = Array.from({ length: ASCII }, (_, code) => code);

/** Two tables: a class is whatever has one of the low and one of the high halves of its characters. */
class Classes {
  readonly #tables: Uint8Array;
  readonly #low: number;
  readonly #high: number;

  constructor(tables: Uint8Array, low: number, high: number) {
    this.#tables = tables;
    this.#low = low;
    this.#high = high;
  }

  put(classBit: number, codes: readonly number[]): void {
    for (const code of codes) {
      for (const at of [this.#low + (code & 15), this.#high + (code >> 4)]) this.#tables[at] = (this.#tables[at] as number) | classBit;
    }
  }

  /** A class for each row of characters. @param bits that are left, of which those are taken @returns those */
  putRows(bits: number[], codes: readonly number[]): number {
    let all = 0;
    for (const row of Map.groupBy(codes, (code) => code >> 4).values()) {
      const classBit = bits.shift();
      if (classBit === undefined) throw new Error('too many kinds of characters for one table');
      this.put(classBit, row);
      all |= classBit;
    }
    return all;
  }
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

function isLetter(code: number): boolean {
  const lower = code | 32;
  return lower >= 97 && lower <= 122;
}
