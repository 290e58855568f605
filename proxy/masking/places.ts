/**
 * Finds where in a text anything may begin at all, for the scanner to look there: an automaton that takes one look at each character,
 * whatever it is, where the scanner's own walk goes another way at each end of a word. What is passed over is certain; what is
 * pointed at is looked at again.
 */

/** What is known of the characters of a scanner; the same as its walk goes by. */
export interface Beginnings {
  /** Something begins at the character, or it changes how what follows is read. */
  readonly stops: (code: number) => boolean;
  readonly isLetter: (code: number) => boolean;
  /** Whether a literal may begin with two characters, and with three. What is not ASCII is 128. */
  readonly mayBegin: (first: number, second: number) => boolean;
  readonly begins: (first: number, second: number, third: number) => boolean;
  /** All threes with which one begins. */
  readonly beginnings: () => Iterable<readonly [first: number, second: number, third: number]>;
  readonly isGap: (code: number) => boolean;
  /** Digits that a number must have to be looked at, and most separators in a row that it goes on over. */
  readonly minDigits: number;
  readonly maxGap: number;
}

const ASCII = 128;
/** All that is not ASCII is alike. */
const WIDE = 128;
/** States that end the walk. */
const AT_LITERAL = 65_533;
const AT_NUMBER = 65_534;
const AT_CHARACTER = 65_535;
const FIRST_END = AT_LITERAL;

/**
 * What can be told of a text from its last few characters, as one number: whether they are a word, how many digits the number has that
 * goes on and how many separators stand behind the last of them, and the beginnings of literals, below.
 */
const IN_WORD = 1;
const GAP = 2;
const DIGITS = 16;
/** The last character, where a literal may begin with it, plus 1. */
const FIRST = 256;
/** The last two, where one may begin with both: the first times 128, and the second, plus 1. */
const PAIR = 65_536;
/** More digits than this need not be counted: whatever has so many is looked at. */
const MOST_DIGITS = 8;

export class Places {
  /** By state and column: the next state. States are offsets in it. */
  readonly #table: Uint16Array;
  readonly #column: Uint8Array;
  readonly #inWord: number;

  constructor(beginnings: Beginnings) {
    const { column, firsts, samples } = columnsOf(beginnings);
    const states = [0, IN_WORD];
    const places = new Map(states.map((state, place) => [state, place]));
    const next: number[] = [];
    // While it is gone through, more of them come up.
    for (const state of states) {
      for (const code of samples) {
        const then = after(state, code, beginnings, firsts);
        let place = then < 0 ? -then : places.get(then);
        if (place === undefined) {
          place = states.push(then) - 1;
          places.set(then, place);
        }
        next.push(place);
      }
    }
    if (next.length >= FIRST_END) throw new Error('too many literals for one automaton');
    this.#table = Uint16Array.from(next, (place) => (place >= FIRST_END ? place : place * samples.length));
    this.#column = column;
    this.#inWord = samples.length;
  }

  /**
   * @param inWord whether a letter or digit stands before `from`
   * @returns the first place in `codes[from, to)` at which anything may begin, whatever stood before it; `to` where there is none
   */
  next(codes: Uint16Array, from: number, to: number, inWord: boolean): number {
    const table = this.#table;
    const column = this.#column;
    let state = inWord ? this.#inWord : 0;
    for (let i = from; i < to; i++) {
      const code = codes[i] as number;
      state = table[state + (column[code < ASCII ? code : WIDE] as number)] as number;
      if (state < FIRST_END) continue;
      if (state === AT_CHARACTER) return i;
      const begun = Math.max(from, i - 2);
      return state === AT_LITERAL ? begun : Math.min(begun, beginningOfNumber(codes, from, i));
    }
    // What has begun in the last two characters is told by what stands behind them.
    return to;
  }
}

/** Characters that nothing tells apart share a column, so that what is walked over stays small. @returns one of each as well */
function columnsOf({ beginnings, isGap, isLetter, stops }: Beginnings): { column: Uint8Array; firsts: ReadonlySet<number>; samples: readonly number[] } {
  const firsts = new Set<number>();
  /** By character: behind what it is a second, and a third. */
  const told: Set<number>[] = Array.from({ length: ASCII + 1 }, () => new Set());
  for (const [first, second, third] of beginnings()) {
    firsts.add(first);
    told[second]?.add(first);
    told[third]?.add((first + 1) * ASCII + second);
  }
  const column = new Uint8Array(ASCII + 1);
  const columns = new Map<string, number>();
  const samples: number[] = [];
  for (let code = 0; code <= ASCII; code++) {
    const own = firsts.has(code) ? code : '';
    const behind = [...(told[code] ?? [])].sort((a, b) => a - b).join();
    const key = `${own} ${stops(code)} ${isLetter(code)} ${isDigit(code)} ${isGap(code)} ${behind}`;
    const known = columns.get(key) ?? samples.push(code) - 1;
    columns.set(key, known);
    column[code] = known;
  }
  return { column, firsts, samples };
}

/** What is known after one more character, or, negative, how the walk ends there. */
function after(known: number, code: number, about: Beginnings, firsts: ReadonlySet<number>): number {
  const pair = Math.floor(known / PAIR) - 1;
  const digits = (known >> 4) & 15;
  const gap = (known >> 1) & 7;
  // In the middle of a number, that must be looked at from its beginning: it may turn out to be long enough.
  if (pair >= 0 && about.begins(pair >> 7, pair & 127, code)) return digits > 0 ? -AT_NUMBER : -AT_LITERAL;
  if (about.stops(code)) return -AT_CHARACTER;
  const inWord = (known & IN_WORD) !== 0;
  const last = ((known >> 8) & 255) - 1;
  let then = last >= 0 && code < ASCII && about.mayBegin(last, code) ? (last * ASCII + code + 1) * PAIR : 0;
  const letter = about.isLetter(code);
  if (firsts.has(code) && !(letter && inWord)) then += (code + 1) * FIRST;
  if (letter) return then + IN_WORD;
  if (isDigit(code)) {
    if (digits + 1 >= Math.min(about.minDigits, MOST_DIGITS)) return -AT_NUMBER;
    return then + IN_WORD + (about.minDigits === Number.POSITIVE_INFINITY ? 0 : (digits + 1) * DIGITS);
  }
  return digits > 0 && gap < about.maxGap && about.isGap(code) ? then + digits * DIGITS + (gap + 1) * GAP : then;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/** Where the run of digits and what may stand between them begins that ends at `at`. */
function beginningOfNumber(codes: Uint16Array, from: number, at: number): number {
  let start = at;
  for (let i = at; i >= from; i--) {
    const code = codes[i] as number;
    if (code >= 48 && code <= 57) start = i;
    else if ((code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code < 32) break;
  }
  return start;
}
