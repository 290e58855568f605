import { type Detector, isAlnum, isDigit, startsWord } from './detector.ts';
import { isPhoneNumber } from './phoneNumbers.ts';

const MIN_DIGITS = 7;
/** E.164. */
const MAX_DIGITS = 15;
/** Longest written form that is read, in characters. */
const MAX_WRITTEN = 40;

/** A word that says a number is a phone number, right before it; also the name of a field. */
const NAMED =
  /(?:phone|mobile|cell|\btel|fax|whatsapp|\bsms|telefon|telefono|téléphone|handy|móvil|mobil)[ _-]?(?:number|num|no|nr|#)?[.\\]*["']?\s*(?:(?:is|at|on|under|[:=>#])\s*){0,2}[\\]*["']?\s*\(?\+?$/i;
/** A word of a sentence that does; as the name of a field it says nothing. */
const ASKED = /\b(?:call(?:ed|ing)?|dial|text|reach)(?: (?:me|us|him|her|them))?(?: (?:at|on|under))? \(?\+?$/i;
const CONTEXT_WINDOW = 64;
/** `tel`, `fax`, `sms`. */
const SHORTEST_WORD = 3;
/** What `announced` cannot do without, also in UTF-8 read as Latin-1. */
const MENTION = /phone|mobil|cell|tel|fax|whatsapp|sms|handy|vil|call|dial|text|reach/i;
/** Forms that are a phone number by themselves in North America: (415) 555-2671, 415-555-2671, 415.555.2671 */
const NORTH_AMERICAN = /^(?:1[-. ])?(?:\([2-9]\d\d\) ?[2-9]\d\d[-. ]|[2-9]\d\d([-.])[2-9]\d\d\1)\d{4}$/;
/** Their lengths, from `415-555-2671` to `1-(415) 555-2671`. */
const MIN_FORM = 12;
const MAX_FORM = 16;
const DAY_FIRST = /^[0-3]?\d[-./][0-3]?\d[-./](?:19|20)\d\d(?:\D|$)/;

/** Offsets after the number that is looked at and each of its groups, and how many digits stand before each; good until the next is. */
const ends = new Int32Array(MAX_WRITTEN + 1);
const counts = new Int32Array(MAX_WRITTEN + 1);

/** Blank, no-break space, hyphens, dot, brackets, slash. */
function isSeparator(code: number): boolean {
  return code === 32 || code === 45 || code === 46 || code === 40 || code === 41 || code === 47 || code === 0xa0 || code === 0x2011;
}

/** Digits with up to two separators between them, from `at`. @returns how many groups they are */
function read(text: string, at: number): number {
  let count = 0;
  let groups = 0;
  let i = at;
  while (i - at < MAX_WRITTEN && count <= MAX_DIGITS) {
    const code = text.charCodeAt(i);
    if (isDigit(code)) {
      count++;
      i++;
      continue;
    }
    if (!isSeparator(code)) break;
    const gap = isDigit(text.charCodeAt(i + 1)) ? 1 : isSeparator(text.charCodeAt(i + 1)) && isDigit(text.charCodeAt(i + 2)) ? 2 : 0;
    if (gap === 0 || count === 0) break;
    ends[groups] = i;
    counts[groups++] = count;
    i += gap;
  }
  ends[groups] = i;
  counts[groups++] = count;
  return groups;
}

/** Phone numbers: written with a plus and valid, in a North American form, or after a word that says so. */
export const phone: Detector = {
  id: 'phone',
  title: 'Phone number',
  longest: MAX_WRITTEN + 4,
  anchors: { digits: MIN_DIGITS },
  scan(text, anchor, found) {
    if (!startsWord(text, anchor)) return true;
    const plus = plusBefore(text, anchor);
    const bracket = text.charAt(anchor - 1) === '(' ? anchor - 1 : anchor;
    const groups = read(text, anchor);
    if ((counts[groups - 1] as number) < MIN_DIGITS) return false;
    // What stands before it says so for each of its ends.
    let named: boolean | undefined;
    for (let g = groups - 1; g >= 0; g--) {
      const end = ends[g] as number;
      const count = counts[g] as number;
      if (count < MIN_DIGITS || count > MAX_DIGITS || isAlnum(text.charCodeAt(end))) continue;
      if (plus !== undefined && isPhoneNumber(text.slice(anchor, end).replace(/\D/g, ''))) {
        found(plus, end);
        return false;
      }
      if (!isNorthAmerican(text, bracket, end)) {
        named ??= announced(text, bracket);
        if (!named) continue;
      }
      found(bracket, end);
      return false;
    }
    return false;
  },
  maybe(text, anchor) {
    // Times and dates are what most long numbers are.
    if (text.charCodeAt(anchor - 1) === 43 || text.charCodeAt(anchor - 2) === 43) return true;
    if (startsDate(text, anchor)) return false;
    if (maybeNorthAmerican(text, anchor)) return true;
    // Anything else needs a word before it.
    const before = sinceDigit(text, anchor, 3 * CONTEXT_WINDOW);
    return before.length >= SHORTEST_WORD && MENTION.test(before);
  },
};

/** Whether a number may begin like `415-555-2671` or `1 (415) 555-2671`; false is certain. */
function maybeNorthAmerican(text: string, at: number): boolean {
  const first = text.charCodeAt(at);
  if (isDigit(text.charCodeAt(at + 1))) {
    const fourth = text.charCodeAt(at + 3);
    return first >= 50 && isDigit(text.charCodeAt(at + 2)) && (fourth === 41 || fourth === 45 || fourth === 46);
  }
  const third = text.charCodeAt(at + 2);
  return first === 49 && (third === 40 || (third >= 50 && third <= 57));
}

function isNorthAmerican(text: string, start: number, end: number): boolean {
  const length = end - start;
  if (length < MIN_FORM || length > MAX_FORM) return false;
  // All of them end in four digits, and little else is written so.
  for (let i = end - 4; i < end; i++) if (!isDigit(text.charCodeAt(i))) return false;
  return NORTH_AMERICAN.test(text.slice(start, end));
}

/** Whether the text right before a number says that it is a phone number. */
function announced(text: string, at: number): boolean {
  const before = sinceDigit(text, at, CONTEXT_WINDOW);
  if (before.length < SHORTEST_WORD) return false;
  return NAMED.test(before) || ASKED.test(before);
}

/**
 * What stands before `at`, from the last digit on and at most so far: between a word and the number that it announces there is none, and
 * so nothing is looked at twice for two numbers.
 */
function sinceDigit(text: string, at: number, most: number): string {
  const limit = Math.max(0, at - most);
  let start = at;
  while (start > limit) if (isDigit(text.charCodeAt(--start))) break;
  return text.slice(start, at);
}

function startsDate(text: string, at: number): boolean {
  const first = text.charCodeAt(at);
  if (first > 51) return false;
  const second = text.charCodeAt(at + 1);
  const year = (first === 49 && second === 57) || (first === 50 && second === 48);
  if (year && startsYearFirst(text, at)) return true;
  return (isDateSeparator(second) || (isDigit(second) && isDateSeparator(text.charCodeAt(at + 2)))) && DAY_FIRST.test(text.slice(at, at + 11));
}

/** `2026-03-04`, with or without separators; its first two digits are those of a year. */
function startsYearFirst(text: string, at: number): boolean {
  if (!isDigit(text.charCodeAt(at + 2)) || !isDigit(text.charCodeAt(at + 3))) return false;
  let i = at + 4;
  let code = text.charCodeAt(i);
  if (isDateSeparator(code) || code === 32) code = text.charCodeAt(++i);
  if ((code !== 48 && code !== 49) || !isDigit(text.charCodeAt(i + 1))) return false;
  i += 2;
  code = text.charCodeAt(i);
  if (isDateSeparator(code) || code === 32) code = text.charCodeAt(++i);
  return code >= 48 && code <= 51 && isDigit(text.charCodeAt(i + 1)) && !isDigit(text.charCodeAt(i + 2));
}

/** `-`, `.` or `/`. */
function isDateSeparator(code: number): boolean {
  return code >= 45 && code <= 47;
}

/** Where a `+` stands for this number: right before it or its opening bracket. */
function plusBefore(text: string, anchor: number): number | undefined {
  if (text.charAt(anchor - 1) === '+') return anchor - 1;
  return text.startsWith('+(', anchor - 2) ? anchor - 2 : undefined;
}
