import { type Detector, isAlnum, isDigit, startsWord } from './detector.ts';

const MAX_DIGITS = 19;
const FEWEST_DIGITS = 12;

/** Lengths that are tried, the longest first. */
const NONE: readonly number[] = [];
const VISA = [19, 16, 13];
const SIXTEEN = [16];
const AMEX = [15];
const DINERS = [14, 16];
const LONG = [19, 18, 17, 16];
const MAESTRO = [19, 18, 16, 15, 14, 13, 12];
const MAESTRO_STARTS: ReadonlySet<number> = new Set([5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763]);

/** Issuer identification numbers (ISO/IEC 7812) of the large schemes, and the lengths they issue. @param four its first four digits */
function lengths(four: number): readonly number[] {
  const three = Math.floor(four / 10);
  const two = Math.floor(four / 100);
  if (four >= 4000 && four <= 4999) return VISA;
  if ((two >= 51 && two <= 55) || (four >= 2221 && four <= 2720) || (four >= 2200 && four <= 2204)) return SIXTEEN;
  if (two === 34 || two === 37) return AMEX;
  if ((three >= 300 && three <= 305) || two === 36 || two === 38 || two === 39) return DINERS;
  if (four >= 3528 && four <= 3589) return LONG;
  if (four === 6011 || (three >= 644 && three <= 649) || two === 65 || two === 62) return LONG;
  return MAESTRO_STARTS.has(four) ? MAESTRO : NONE;
}

/** Of the number that is looked at: its digits, the offsets after each, and the sizes of its groups; good until the next is. */
const digits = new Uint8Array(MAX_DIGITS);
const ends = new Int32Array(MAX_DIGITS);
const groups = new Uint8Array(MAX_DIGITS);

/** The check digit of ISO/IEC 7812-1, annex B, over the first digits. */
function luhn(length: number): boolean {
  let sum = 0;
  for (let i = 0; i < length; i++) {
    const digit = digits[length - 1 - i] as number;
    const weighted = i % 2 === 0 ? digit : digit * 2;
    sum += weighted > 9 ? weighted - 9 : weighted;
  }
  return sum % 10 === 0;
}

/** Blank, hyphen, and both where a line may not break. */
function isSeparator(code: number): boolean {
  return code === 32 || code === 45 || code === 0xa0 || code === 0x2011;
}

export const card: Detector = {
  id: 'card',
  title: 'Payment card number',
  longest: 2 * MAX_DIGITS + 2,
  anchors: { digits: FEWEST_DIGITS },
  scan(text, anchor, found) {
    if (!startsWord(text, anchor)) return true;
    // A fraction: 0.4111111111111111
    if (text.charAt(anchor - 1) === '.' && /(?:^|[:=,"'([{]\s?)0\.$/.test(text.slice(Math.max(0, anchor - 4), anchor))) return true;
    let first = 0;
    while (first < MAX_DIGITS && isDigit(text.charCodeAt(anchor + first))) first++;
    // Printed in other groups it is another number, and most hostile text is told from a card's by that.
    if (first !== 4 && first < FEWEST_DIGITS) return false;
    const count = read(text, anchor);
    const four = (digits[0] as number) * 1000 + (digits[1] as number) * 100 + (digits[2] as number) * 10 + (digits[3] as number);
    for (const length of lengths(four)) {
      if (length > count) continue;
      const end = ends[length - 1] as number;
      if (isAlnum(text.charCodeAt(end)) || !wellGrouped(length) || !luhn(length)) continue;
      found(anchor, end);
      return end < text.length;
    }
    return false;
  },
  maybe(text, anchor) {
    // No issuer has numbers that begin with 0, 1, 7, 8 or 9.
    const first = text.charCodeAt(anchor) - 48;
    return first >= 2 && first <= 6;
  },
};

/** Reads digits from `at` on, skipping one separator at a time. @returns how many */
function read(text: string, at: number): number {
  let count = 0;
  let group = 0;
  groups[0] = 0;
  for (let i = at; count < MAX_DIGITS; i++) {
    const code = text.charCodeAt(i);
    if (isDigit(code)) {
      digits[count] = code - 48;
      ends[count++] = i + 1;
      groups[group] = (groups[group] as number) + 1;
    } else if (groups[group] !== 0 && isSeparator(code) && isDigit(text.charCodeAt(i + 1))) groups[++group] = 0;
    else break;
  }
  return count;
}

/** Printed in groups of four (the last may be shorter), or 4-6-5 and 4-6-4: other groupings are other numbers. @param length at most the digits read */
function wellGrouped(length: number): boolean {
  let fours = true;
  let sum = 0;
  for (let group = 0; ; group++) {
    const size = groups[group] as number;
    sum += size;
    if (sum >= length) return group === 0 || fours || (group === 2 && groups[0] === 4 && groups[1] === 6);
    fours &&= size === 4;
  }
}
