/**
 * One walk over a text that finds every anchor, asks the detectors there, and settles what overlaps. Exact over streams:
 * what is said about a character depends on a bounded stretch of text around it, and `hold` says from where on more text
 * could still change the answer.
 */
import { ANCHOR_AHEAD, type Detector, isAlnum, isDigit, LOOK_BACK, MAX_BEFORE, MAX_LEAD, type NamesBefore, startsWord } from './detectors/detector.ts';
import { Places } from './places.ts';
import { BLOCK } from './placesModule.ts';

export interface Hit {
  readonly start: number;
  readonly end: number;
  readonly detector: Detector;
  /** Mixed up with another span, or what is left of one: redacted whatever policy says. */
  readonly remainder: boolean;
}

export interface Scan {
  /** Not overlapping, in order. */
  readonly hits: readonly Hit[];
  /** Everything before this offset is settled. */
  readonly hold: number;
  /** Spans that begin before `hold` and end after it: what found them may be out of reach in the next scan. */
  readonly crossing: readonly Hit[];
  /** There was more to look at than it was allowed: what was found says nothing of the text. */
  readonly gaveUp: boolean;
}

/** What a value that was found costs, beside a place that was looked at: it is replaced and described. */
const FOUND_COSTS = 5;

/** How much text before the first unsettled character must stay in hand for the next scan. */
export const CONTEXT = LOOK_BACK + MAX_LEAD;

const CHAR = 1;
const LITERAL = 2;
const DIGITS = 4;
const LETTER = 8;
const ESCAPE = 16;
/** With `CHAR`: whatever name stands before it. */
const UNNAMED = 32;
/** What a literal's third character may be, as bits: most places that begin like one go on differently. */
const THIRD_DIGIT = 1;
const THIRD_LETTER = 2;
const THIRD_OTHER = 4;
const ANY_THIRD = THIRD_DIGIT | THIRD_LETTER | THIRD_OTHER;
/** Longest escape that may end right before a word (`\u000a`), in characters after its first. */
const MAX_ESCAPE = 6;
/** Longest run that is masked because it is stuck to a value, in characters. */
const MAX_GLUED = 256;
/** Separators that a number may hold between two digits, counted in Latin-1 characters of UTF-8 as well. */
const MAX_GAP = 6;

/** Longest value that is looked through byte by byte. */
const MAX_SHORT = 256;
/** How many clean values are remembered, and the longest, in bytes. */
const REMEMBERED = 251;
const MAX_REMEMBERED = 32;

/** How many clean texts are remembered, a power of two, and the longest, in characters. */
const CLEAN_TEXTS = 256;
const MAX_CLEAN_TEXT = 512;

/** Shorter texts are walked through without looking for places first, in UTF-16 units. */
const SHORT_TEXT = 64;
/** Beyond what fits here, in UTF-16 units, a text's codes are copied to a place of their own. */
const MAX_CODES = 65_536;
const scratch = new Uint16Array(MAX_CODES + 1);
const scratchBytes = Buffer.from(scratch.buffer);

/**
 * The UTF-16 codes of `text[from, to]`, 65535 beyond its end: reading them out of a string one by one costs several times as much as
 * copying it first. Good until the next call: nothing that is called from a visit may scan.
 */
function codesOf(text: string, from: number, to: number): Uint16Array {
  const length = to - from;
  const codes = length <= MAX_CODES ? scratch : new Uint16Array(length + 1);
  const bytes = codes === scratch ? scratchBytes : Buffer.from(codes.buffer);
  bytes.write(from === 0 && to >= text.length ? text : text.slice(from, to + 1), 0, (length + 1) * 2, 'utf16le');
  if (to >= text.length) codes[length] = 0xffff;
  return codes;
}

/** Returns true to stop. */
type Visit = (detector: Detector, anchor: number) => boolean;

interface Literal {
  readonly text: string;
  readonly anyCase: boolean;
  readonly detector: Detector;
}

export class Scanner {
  /** By UTF-16 code: what it may begin. */
  readonly #action = new Uint8Array(65_536);
  readonly #chars: (readonly Detector[] | undefined)[] = Array.from({ length: 128 });
  readonly #literals = new Map<number, Literal[]>();
  /** By a literal's first two characters: what its third may be. */
  readonly #second = new Uint8Array(128 * 128);
  /** What texts with a literal begin with: three characters as one number, 128 for one that is not ASCII. */
  readonly #three = new Set<number>();
  readonly #digits: Detector[] = [];
  readonly #minDigits: number;
  /** More need not be counted. */
  readonly #mostDigits: number;
  /** Values in which nothing was found, by a place that their bytes give. */
  readonly #clean: (Uint8Array | undefined)[] = Array.from({ length: REMEMBERED });
  /** The same of texts: a statement that comes again and again is looked through once. */
  readonly #cleanTexts: (string | undefined)[] = Array.from({ length: CLEAN_TEXTS });
  readonly #rank: ReadonlyMap<Detector, number>;
  #names: NamesBefore | undefined;
  #places: Places | undefined;
  #effort = 0;

  constructor(detectors: readonly Detector[]) {
    this.#rank = new Map(detectors.map((d, i) => [d, i]));
    for (let c = 65; c < 91; c++) {
      this.#mark(c, LETTER);
      this.#mark(c + 32, LETTER);
    }
    for (let c = 48; c < 58; c++) this.#mark(c, DIGITS);
    this.#mark(92, ESCAPE);
    this.#mark(37, ESCAPE);
    let least = Number.POSITIVE_INFINITY;
    for (const detector of detectors) {
      const { chars = '', literals = [], names, words = [], digits } = detector.anchors;
      if (names !== undefined) {
        if (this.#names !== undefined) throw new Error('only one detector can go by names');
        this.#names = names;
      }
      for (const char of chars) {
        const code = char.charCodeAt(0);
        this.#mark(code, names === undefined ? CHAR | UNNAMED : CHAR);
        this.#chars[code] = [...(this.#chars[code] ?? []), detector];
      }
      for (const text of literals) this.#addLiteral({ text, anyCase: false, detector });
      for (const text of words) this.#addLiteral({ text: text.toLowerCase(), anyCase: true, detector });
      if (digits !== undefined) {
        this.#digits.push(detector);
        least = Math.min(least, digits);
      }
    }
    this.#minDigits = least;
    this.#mostDigits = Math.max(0, ...this.#digits.map(({ anchors }) => anchors.digits ?? 0));
  }

  #mark(code: number, action: number): void {
    this.#action[code] = (this.#action[code] ?? 0) | action;
  }

  #addLiteral(literal: Literal): void {
    const [first = '', second = ''] = literal.text;
    const third = literal.text.length > 2 ? thirdOf(literal.text.charCodeAt(2)) : literal.detector.anchors.wordsThen === 'digit' ? THIRD_DIGIT : ANY_THIRD;
    const cases = (c: string): Set<string> => (literal.anyCase ? new Set([c.toLowerCase(), c.toUpperCase()]) : new Set([c]));
    const thirds =
      literal.text.length > 2
        ? Array.from(cases(literal.text.charAt(2)), (c) => c.charCodeAt(0))
        : Array.from({ length: 129 }, (_, c) => c).filter((c) => (third & thirdOf(c)) !== 0);
    for (const a of cases(first)) {
      for (const b of cases(second)) {
        const key = a.charCodeAt(0) * 128 + b.charCodeAt(0);
        this.#mark(a.charCodeAt(0), LITERAL);
        this.#second[key] = (this.#second[key] ?? 0) | third;
        this.#literals.set(key, [...(this.#literals.get(key) ?? []), literal]);
        for (const c of thirds) this.#three.add(key * 256 + c);
      }
    }
  }

  /** Calls `visit` for each detector at each of its anchors in `[from, to)`, in order, until it returns true. */
  anchors(text: string, from: number, to: number, visit: Visit): boolean {
    if (to <= from) return false;
    // A number or literal that begins before `to` may be told by what stands behind it.
    const ahead = (end: number): number => Math.min(text.length, end + ANCHOR_AHEAD);
    const places = to - from > SHORT_TEXT ? this.#marks() : undefined;
    if (places === undefined) return this.#walk(text, codesOf(text, from, ahead(to)), from, to - from, visit);
    const look = (at: number): boolean => this.#look(text, at, visit);
    for (let at = from; at < to; at += BLOCK) {
      const end = Math.min(to, at + BLOCK);
      if (places.visit(text, at, end, ahead(end), look)) return true;
    }
    return false;
  }

  #marks(): Places | undefined {
    this.#places ??= Places.of({
      marks: (code) => ((this.#action[code] as number) & UNNAMED) !== 0,
      named: (code) => ((this.#action[code] as number) & (CHAR | UNNAMED)) === CHAR,
      names: this.#names,
      literals: () => Array.from(this.#three, (three) => [three >> 15, (three >> 8) & 127, three & 255] as const),
      isGap,
      minDigits: this.#minDigits,
    });
    return this.#places;
  }

  /** Looks at one place. */
  #look(text: string, at: number, visit: Visit): boolean {
    const code = text.charCodeAt(at);
    const act = this.#action[code] as number;
    if ((act & DIGITS) !== 0) return this.#visitNumber(text, at, visit);
    if ((act & CHAR) !== 0 && this.#visitChar(text, at, code, visit)) return true;
    return (
      (act & (LITERAL | LETTER)) !== 0 &&
      this.#mayBegin(text, at, code, text.charCodeAt(at + 1)) &&
      this.#visitLiterals(text, at, code, text.charCodeAt(at + 1), visit)
    );
  }

  /**
   * Looks at each place of a stretch: as long as it takes to have it marked, where it is short.
   * @param codes those of the text from `from` on
   */
  #walk(text: string, codes: Uint16Array, from: number, length: number, visit: Visit): boolean {
    const action = this.#action;
    let inWord = isAlnum(text.charCodeAt(from - 1));
    // A letter may begin a word although a letter stands before it, if that one belongs to an escape.
    let escape = 0;
    let i = 0;
    while (i < length) {
      const code = codes[i] as number;
      const act = action[code] as number;
      if ((act & LETTER) !== 0) {
        if (!inWord || i - escape <= MAX_ESCAPE) {
          const next = codes[i + 1] as number;
          if (this.#mayBegin(text, from + i, code, next) && this.#visitLiterals(text, from + i, code, next, visit)) return true;
        }
        inWord = true;
        i++;
        // The rest of the word: nothing can begin in it, and it is most of any text.
        if (i - escape > MAX_ESCAPE) while (i < length && ((action[codes[i] as number] as number) & LETTER) !== 0) i++;
        continue;
      }
      inWord = (act & DIGITS) !== 0;
      if (inWord) {
        if (this.#visitNumber(text, from + i, visit)) return true;
      } else if (act !== 0) {
        if ((act & ESCAPE) !== 0) escape = i;
        if ((act & CHAR) !== 0 && this.#visitChar(text, from + i, code, visit)) return true;
        if ((act & LITERAL) !== 0 && this.#visitLiterals(text, from + i, code, codes[i + 1] as number, visit)) return true;
      }
      i++;
    }
    return false;
  }

  /** Whether a literal may begin with two characters and the one behind them. */
  #mayBegin(text: string, i: number, code: number, next: number): boolean {
    const third = next < 128 ? (this.#second[code * 128 + next] as number) : 0;
    return third !== 0 && (third & thirdOf(text.charCodeAt(i + 2))) !== 0;
  }

  #visitChar(text: string, i: number, code: number, visit: Visit): boolean {
    for (const detector of this.#chars[code] ?? []) {
      if (detector.maybe && !detector.maybe(text, i)) continue;
      if (visit(detector, i)) return true;
    }
    return false;
  }

  #visitLiterals(text: string, i: number, code: number, next: number, visit: Visit): boolean {
    if (isAlnum(code) && !startsWord(text, i)) return false;
    let last: Detector | undefined;
    for (const literal of this.#literals.get(code * 128 + next) ?? []) {
      if (literal.detector === last || !goesOn(text, i, literal)) continue;
      if (literal.detector.maybe && !literal.detector.maybe(text, i)) continue;
      last = literal.detector;
      if (visit(literal.detector, i)) return true;
    }
    return false;
  }

  #visitNumber(text: string, i: number, visit: Visit): boolean {
    if (isDigit(text.charCodeAt(i - 1)) && !startsWord(text, i)) return false;
    let count = 1;
    let gap = 0;
    // Enough for the longest minimum with gaps between all digits would be more than ANCHOR_AHEAD: beyond it, count as long.
    const limit = i + ANCHOR_AHEAD;
    let j = i + 1;
    for (; j < limit && count < this.#mostDigits; j++) {
      const code = text.charCodeAt(j);
      if (isDigit(code)) {
        count++;
        gap = 0;
      } else if (gap < MAX_GAP && isGap(code)) gap++;
      else break;
    }
    if (j === limit) count = this.#mostDigits;
    if (count < this.#minDigits) return false;
    for (const detector of this.#digits) {
      if (count < (detector.anchors.digits ?? 0) || (detector.maybe && !detector.maybe(text, i))) continue;
      if (visit(detector, i)) return true;
    }
    return false;
  }

  /**
   * @param from where the text that has not been settled begins; what stands before it is context
   * @param final no more text will come
   * @param crossing from the scan before, with offsets in this text
   * @param most effort that it may take
   */
  scan(text: string, from: number, final: boolean, crossing: readonly Hit[] = [], most = Number.POSITIVE_INFINITY): Scan {
    const found: Hit[] = [...crossing];
    let detector: Detector | undefined;
    const push = (start: number, end: number) => {
      if (!detector || end <= from) return;
      found.push({ start, end, detector, remainder: false });
      this.#effort += FOUND_COSTS;
    };
    const stop = this.#effort + most;
    const to = final ? text.length : Math.max(0, text.length - ANCHOR_AHEAD);
    let hold = final ? text.length : Math.max(from, to - MAX_BEFORE);
    const gaveUp = this.anchors(text, Math.max(0, from - MAX_LEAD), to, (candidate, anchor) => {
      if (++this.#effort > stop) return true;
      detector = candidate;
      const decided = candidate.scan(text, anchor, push);
      if (!final && !decided && anchor + candidate.longest > text.length) hold = Math.min(hold, Math.max(from, anchor - MAX_BEFORE));
      return false;
    });
    if (gaveUp) return { hits: [], hold: from, crossing: [], gaveUp };
    if (found.length > 1) found.sort((a, b) => a.start - b.start || this.#order(a) - this.#order(b));
    const { hits, settled } = settle(text, found, from, hold, final);
    return { hits, hold: settled, crossing: found.filter((hit) => hit.start < settled && hit.end > settled), gaveUp };
  }

  /** What looking has taken so far: places at which a detector was asked, and what was found. It is the same on any machine. */
  get effort(): number {
    return this.#effort;
  }

  /** Whether a whole text is known to hold nothing; false says nothing. */
  isKnownClean(text: string): boolean {
    return text.length <= MAX_CLEAN_TEXT && this.#cleanTexts[placeOf(text)] === text;
  }

  /** A scan of the whole text has found nothing. */
  rememberClean(text: string): void {
    if (text.length <= MAX_CLEAN_TEXT) this.#cleanTexts[placeOf(text)] = text;
  }

  /** True where a scan could find something. Certain when false, also for UTF-8 read as Latin-1. */
  suspicious(text: string): boolean {
    return this.anchors(text, 0, text.length, () => true);
  }

  /** The same of a short value in UTF-8, without making a text of it; true more often. */
  mayHold(bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start > MAX_SHORT) return true;
    const action = this.#action;
    const second = this.#second;
    let inWord = false;
    let digits = 0;
    // No escape has been seen: inside a word, another begins only after one.
    let escape = start - MAX_ESCAPE - 1;
    for (let i = start; i < end; i++) {
      const code = bytes[i] as number;
      const act = code < 128 ? (action[code] as number) : 0;
      if ((act & LETTER) !== 0) {
        if (inWord && i - escape > MAX_ESCAPE) continue;
        inWord = true;
        const next = i + 1 < end ? (bytes[i + 1] as number) : 128;
        if (next < 128 && ((second[code * 128 + next] as number) & thirdOf(i + 2 < end ? (bytes[i + 2] as number) : 128)) !== 0)
          return this.#suspiciousBytes(bytes, start, end);
        continue;
      }
      inWord = (act & DIGITS) !== 0;
      if (inWord) {
        // However they are grouped: fewer than the least that any detector wants are none.
        if (++digits >= this.#minDigits) return true;
        continue;
      }
      if ((act & CHAR) !== 0) return true;
      if ((act & ESCAPE) !== 0) escape = i;
      if ((act & LITERAL) === 0) continue;
      const next = i + 1 < end ? (bytes[i + 1] as number) : 128;
      if (next < 128 && ((second[code * 128 + next] as number) & thirdOf(i + 2 < end ? (bytes[i + 2] as number) : 128)) !== 0)
        return this.#suspiciousBytes(bytes, start, end);
    }
    return false;
  }

  #suspiciousBytes(bytes: Uint8Array, start: number, end: number): boolean {
    const length = end - start;
    // Columns of a few words (a city, a status) are mostly what is looked at again and again.
    const place = length <= MAX_REMEMBERED ? ((bytes[start] as number) * 7 + (bytes[end - 1] as number) * 31 + length) % REMEMBERED : -1;
    const known = place < 0 ? undefined : this.#clean[place];
    if (known !== undefined && known.length === length) {
      let i = 0;
      while (i < length && known[i] === bytes[start + i]) i++;
      if (i === length) return false;
    }
    const suspicious = this.suspicious(Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('latin1'));
    if (!suspicious && place >= 0) this.#clean[place] = Uint8Array.from(bytes.subarray(start, end));
    return suspicious;
  }

  #order(hit: Hit): number {
    return this.#rank.get(hit.detector) ?? 0;
  }
}

/** What may stand between the digits of a number. */
function isGap(code: number): boolean {
  return code > 127 || code === 32 || code === 45 || code === 46 || code === 40 || code === 41 || code === 47;
}

/** The end of a text is as good as any other character: no literal goes on there. */
function thirdOf(code: number): number {
  if (code >= 48 && code <= 57) return THIRD_DIGIT;
  const lower = code | 32;
  return lower >= 97 && lower <= 122 && code < 128 ? THIRD_LETTER : THIRD_OTHER;
}

/** Whether a literal stands at a place, of which the first two characters are known to. Its end tells it sooner: what begins like one is alike for longer. */
function goesOn(text: string, at: number, literal: Literal): boolean {
  for (let i = literal.text.length - 1; i >= 2; i--) {
    const code = text.charCodeAt(at + i);
    const here = literal.anyCase && code >= 65 && code <= 90 ? code + 32 : code;
    if (here !== literal.text.charCodeAt(i)) return false;
  }
  return true;
}

function placeOf(text: string): number {
  const { length } = text;
  return (length * 31 + text.charCodeAt(length >> 1) * 7 + text.charCodeAt(length - 1)) & (CLEAN_TEXTS - 1);
}

/**
 * Leftmost first; what another span has taken the beginning of is masked from there on, so that nothing found gets through.
 * That other span may have gone out already: then the rest begins at `from`.
 */
function settle(text: string, found: readonly Hit[], from: number, hold: number, final: boolean): { readonly hits: readonly Hit[]; readonly settled: number } {
  const hits: Hit[] = [];
  let done = from;
  for (const [i, hit] of found.entries()) {
    if (hit.end <= done) continue;
    const start = Math.max(hit.start, done);
    const glued = gluedEnd(text, hit.end);
    // A span is settled once all that it may overlap is: before that, nothing from its start on goes out.
    const open = !final && (hit.end > hold || (glued === text.length && glued - hit.end < MAX_GLUED));
    if (open || hit.start >= hold) return { hits, settled: Math.max(done, Math.min(hold, hit.start)) };
    const remainder = start !== hit.start || overlapped(found, i);
    hits.push(remainder ? { ...hit, start, remainder } : hit);
    if (glued > hit.end) hits.push({ ...hit, start: hit.end, end: glued, remainder: true });
    done = glued;
  }
  return { hits, settled: Math.max(hold, done) };
}

/** Whether another span begins inside this one, or begins with it and goes on: what a mask shows of one may be the other. */
function overlapped(found: readonly Hit[], index: number): boolean {
  const hit = found[index];
  if (!hit) return false;
  for (let i = index + 1; i < found.length; i++) {
    const other = found[i];
    if (!other || other.start >= hit.end) return false;
    if (other.start > hit.start || other.end > hit.end) return true;
  }
  return false;
}

/**
 * What is stuck to the end of a value without a break goes with it: it is part of it, or another value whose beginning
 * cannot be told. So a mask is always followed by a break, and uncovers nothing when it is scanned again.
 */
function gluedEnd(text: string, from: number): number {
  const limit = Math.min(text.length, from + MAX_GLUED);
  let end = from;
  while (end < limit) {
    const code = text.charCodeAt(end);
    if (!isAlnum(code) && code !== 95 && !(code === 45 && (end + 1 === text.length || isAlnum(text.charCodeAt(end + 1))))) break;
    end++;
  }
  return end;
}
