/**
 * Marks where in a text anything may begin at all, for the scanner to look there. What is passed over is certain; what is marked is looked
 * at again. The looking itself is a small program in WebAssembly (`placesModule.ts`), made when the first long text comes.
 */
import {
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
  PADDING,
  PLACE_BITS,
  placesModule,
  REACH_OF_ESCAPE,
  ROWS,
} from './placesModule.ts';

/** What is known of the characters of a scanner; the same as its walk goes by. */
export interface Beginnings {
  /** Something begins at the character, whatever stands around it. */
  readonly marks: (code: number) => boolean;
  /** All threes of characters with which a literal begins. What is not ASCII is 128. */
  readonly literals: () => Iterable<readonly [first: number, second: number, third: number]>;
  /** What may stand between the digits of a number; whatever is not ASCII may. */
  readonly isGap: (code: number) => boolean;
  /** Digits that a number must have to be looked at. */
  readonly minDigits: number;
}

/** How far before a place is looked, in characters: at an escape and what stands before that. */
const BEFORE = 2 * (REACH_OF_ESCAPE + 1);
/** More digits than any number has: nothing is marked for the sake of them. */
const NO_NUMBERS = 1_000;
const ASCII = 128;

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
function tablesOf({ isGap, literals, marks }: Beginnings): Uint8Array {
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
  /** A class is whatever has one of the low and one of the high halves. */
  const put = (classBit: number, codes: readonly number[]): void => {
    for (const code of codes) {
      tables[LOW_NIBBLES + (code & 15)] = (tables[LOW_NIBBLES + (code & 15)] as number) | classBit;
      tables[HIGH_NIBBLES + (code >> 4)] = (tables[HIGH_NIBBLES + (code >> 4)] as number) | classBit;
    }
  };
  const ascii = Array.from({ length: ASCII }, (_, code) => code);
  put(DIGIT, ascii.filter(isDigit));
  put(
    LETTER_TO_O,
    ascii.filter((code) => isLetter(code) && (code & 16) === 0),
  );
  put(
    LETTER_FROM_P,
    ascii.filter((code) => isLetter(code) && (code & 16) !== 0),
  );
  put(GAP, ascii.filter(isGap));
  const rows = [...ROWS];
  for (const [kind, codes] of [
    [MARKED, ascii.filter(marks)],
    [FIRSTS, [...firsts]],
  ] as const) {
    let classes = 0;
    for (const row of Map.groupBy(codes, (code) => code >> 4).values()) {
      const classBit = rows.shift();
      if (classBit === undefined) throw new Error('too many characters of too many kinds for one table');
      put(classBit, row);
      classes |= classBit;
    }
    tables.fill(classes, kind, kind + 16);
  }
  return tables;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

function isLetter(code: number): boolean {
  const lower = code | 32;
  return lower >= 97 && lower <= 122;
}
