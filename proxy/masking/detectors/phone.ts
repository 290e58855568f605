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
/** What `announced` cannot do without, also in UTF-8 read as Latin-1. */
const MENTION = /phone|mobil|cell|tel|fax|whatsapp|sms|handy|vil|call|dial|text|reach/i;
/** Forms that are a phone number by themselves in North America: (415) 555-2671, 415-555-2671, 415.555.2671 */
const NORTH_AMERICAN = /^(?:1[-. ])?(?:\([2-9]\d\d\) ?[2-9]\d\d[-. ]|[2-9]\d\d([-.])[2-9]\d\d\1)\d{4}$/;
const DATE = /^(?:19|20)\d\d[-./ ]?[01]\d[-./ ]?[0-3]\d(?:\D|$)|^[0-3]?\d[-./][0-3]?\d[-./](?:19|20)\d\d(?:\D|$)/;

interface Written {
  /** How many digits. */
  readonly count: number;
  /** Offset after the number, and after each of its groups before the last. */
  readonly ends: readonly number[];
}

/** Blank, no-break space, hyphens, dot, brackets, slash. */
function isSeparator(code: number): boolean {
  return code === 32 || code === 45 || code === 46 || code === 40 || code === 41 || code === 47 || code === 0xa0 || code === 0x2011;
}

/** Digits with up to two separators between them, from `at`. */
function read(text: string, at: number): Written {
  let count = 0;
  const ends: number[] = [];
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
    ends.push(i);
    i += gap;
  }
  ends.push(i);
  return { count, ends };
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
    const written = read(text, anchor);
    if (written.count < MIN_DIGITS) return false;
    for (let g = written.ends.length - 1; g >= 0; g--) {
      const end = written.ends[g] ?? anchor;
      if (isAlnum(text.charCodeAt(end))) continue;
      const digits = text.slice(anchor, end).replace(/\D/g, '');
      if (digits.length < MIN_DIGITS || digits.length > MAX_DIGITS) continue;
      if (plus !== undefined && isPhoneNumber(digits)) {
        found(plus, end);
        return false;
      }
      const form = text.slice(bracket, end);
      if (!NORTH_AMERICAN.test(form) && !announced(text.slice(Math.max(0, bracket - CONTEXT_WINDOW), bracket))) continue;
      found(bracket, end);
      return false;
    }
    return false;
  },
  maybe(text, anchor) {
    // Times and dates are what most long numbers are.
    if (text.charCodeAt(anchor - 1) === 43 || text.charCodeAt(anchor - 2) === 43) return true;
    if (startsDate(text, anchor)) return false;
    // Three digits and a separator may be a North American form; anything else needs a word before it.
    return (
      (isDigit(text.charCodeAt(anchor)) && !isDigit(text.charCodeAt(anchor + 3))) ||
      !isDigit(text.charCodeAt(anchor + 1)) ||
      MENTION.test(text.slice(Math.max(0, anchor - 3 * CONTEXT_WINDOW), anchor))
    );
  },
};

/** Whether the text right before a number says that it is a phone number. */
function announced(before: string): boolean {
  return NAMED.test(before) || ASKED.test(before);
}

function startsDate(text: string, at: number): boolean {
  const first = text.charCodeAt(at);
  if (first > 51) return false;
  return DATE.test(text.slice(at, at + 11));
}

/** Where a `+` stands for this number: right before it or its opening bracket. */
function plusBefore(text: string, anchor: number): number | undefined {
  if (text.charAt(anchor - 1) === '+') return anchor - 1;
  return text.startsWith('+(', anchor - 2) ? anchor - 2 : undefined;
}
