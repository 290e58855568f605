/**
 * What a detector is. It never searches: the scanner walks the text once, and calls a detector at its anchors (a `@`, the
 * start of a long number, `ghp_`). From there it looks a bounded way back and ahead, with loops or regular expressions over
 * short windows, so hostile text costs no more than plain text, and a stream can be cut anywhere.
 */

/** How far before an anchor a detector may look, in UTF-16 units. */
export const LOOK_BACK = 512;
/** How far before its anchor a span may start. */
export const MAX_BEFORE = 256;
/** How far after its anchor a span may start. */
export const MAX_LEAD = 96;
/** How far ahead the scanner itself looks to tell an anchor. */
export const ANCHOR_AHEAD = 64;

/** The longest name that a detector may go by, and how much may stand between it and the character behind it, in characters: what is looked back at is one word of 64 bits. */
export const MAX_NAME = 48;
export const MAX_BETWEEN = 16;

/** A name right before a character; of ASCII. */
export interface NamesBefore {
  /** Pairs of small letters: the name has one of them, in any case. */
  readonly pairs: readonly string[];
  /** Besides letters and digits. */
  readonly isName: (code: number) => boolean;
  /** What may stand between the name and the character. */
  readonly isBetween: (code: number) => boolean;
}

interface Anchors {
  /** Each of these characters, wherever it stands. */
  readonly chars?: string;
  /** Where they stand, as `maybe` says it again: only where such a name ends before them, or two slashes follow. */
  readonly names?: NamesBefore;
  /** Exact text. Where it begins with a letter or digit, it counts at the start of a word only. */
  readonly literals?: readonly string[];
  /** The same in any case; ASCII letters. */
  readonly words?: readonly string[];
  /** What must follow a word of two letters. */
  readonly wordsThen?: 'digit';
  /** The first digit of each group in a number that goes on for at least so many digits, separators skipped. */
  readonly digits?: number;
}

/** Reports a span: `[start, end)` in UTF-16 units. */
export type Found = (start: number, end: number) => void;

export interface Detector {
  /** Stable; policy names it, findings carry it. */
  readonly id: string;
  readonly title: string;
  /** Longest distance from an anchor to the last character that a decision may depend on. */
  readonly longest: number;
  readonly anchors: Anchors;
  /**
   * Decides about one anchor.
   * @returns true where text beyond the end of `text` could not change what was decided
   */
  scan(text: string, anchor: number, found: Found): boolean;
  /** A cheap check made before `scan`, also on UTF-8 read as Latin-1: false is certain there too. Absent: every anchor counts. */
  maybe?(text: string, anchor: number): boolean;
}

const DIGIT = 1;
const LETTER = 2;
const CLASS = new Uint8Array(128);
for (let c = 48; c < 58; c++) CLASS[c] = DIGIT;
for (let c = 65; c < 91; c++) CLASS[c] = CLASS[c + 32] = LETTER;

export function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/** ASCII letter or digit; false for NaN (outside the text). */
export function isAlnum(code: number): boolean {
  return code < 128 && CLASS[code] !== 0;
}

/** Single characters that follow a backslash in escaped text: `\n`, `\t`, … */
const ESCAPES = 'nrtbfv0';

/**
 * Whether a word may start at `at`: no letter or digit stands before it, or only one that belongs to an escape (`\n`,
 * `\u000a`, `%0A`), so that text inside JSON strings and URLs is read as what it stands for.
 */
export function startsWord(text: string, at: number): boolean {
  const before = text.charCodeAt(at - 1);
  if (!isAlnum(before)) return before !== 0x2022 || !followsMask(text, at);
  return endsEscape(text, at);
}

/** Whether the characters right before `at` are an escape sequence. */
export function endsEscape(text: string, at: number): boolean {
  if (text.charCodeAt(at - 2) === 92) return ESCAPES.includes(text.charAt(at - 1));
  if (text.charCodeAt(at - 6) === 92 && text.charCodeAt(at - 5) === 117)
    return isHex(text.charCodeAt(at - 4)) && isHex(text.charCodeAt(at - 3)) && isHex(text.charCodeAt(at - 2)) && isHex(text.charCodeAt(at - 1));
  if (text.charCodeAt(at - 3) === 37) return isHex(text.charCodeAt(at - 2)) && isHex(text.charCodeAt(at - 1));
  return false;
}

function isHex(code: number): boolean {
  return isDigit(code) || (code >= 65 && code <= 70) || (code >= 97 && code <= 102);
}

/** The end of a partly masked value (`••••1111`): what follows the dots is no word of its own. */
function followsMask(text: string, at: number): boolean {
  if (!text.startsWith('••••', at - 4)) return false;
  let end = at;
  while (end < at + 5 && isAlnum(text.charCodeAt(end))) end++;
  return end - at <= 4;
}
