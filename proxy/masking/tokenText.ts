/**
 * How tokens are written, and what else a mask looks like (docs/adr/reversible-tokens.md).
 *
 *   ‹email·12·rtkzq›     what the value is, its number in the conversation, and a check of the two
 *   <email.12.rtkzq>     the same in ASCII, for who cannot write the other; only ever read, never written by us
 */

/** Letters of a check. No vowels, so that no word comes of it; no digits, so that no detector takes it for a number. */
const LETTERS = 'bcdfghjkmnpqrstvwxyz';
/** How long a check is: one made up is right once in 3.2 million times. */
const CHECK_LENGTH = 5;
const CHECKS = LETTERS.length ** CHECK_LENGTH;
/** Longest name of what a value is, in characters. */
export const MAX_NAME = 40;

export interface TokenText {
  readonly name: string;
  readonly number: number;
  readonly check: string;
}

/** Letters of a check as numbers, five bits each: what is kept of every token. */
export function packedCheck(macBits: number): number {
  let rest = (macBits >>> 0) % CHECKS;
  let packed = 0;
  for (let i = 0; i < CHECK_LENGTH; i++) {
    packed |= (rest % LETTERS.length) << (i * 5);
    rest = Math.floor(rest / LETTERS.length);
  }
  return packed;
}

export function checkOf(packed: number): string {
  let text = '';
  for (let i = 0; i < CHECK_LENGTH; i++) text += LETTERS[(packed >> (i * 5)) & 31];
  return text;
}

const CODES = Uint8Array.from(LETTERS, (letter) => letter.charCodeAt(0));

/** The same, written to bytes. @returns where it ends */
export function writeCheck(packed: number, target: Uint8Array, from: number): number {
  for (let i = 0, bits = packed; i < CHECK_LENGTH; i++, bits >>= 5) target[from + i] = CODES[bits & 31] as number;
  return from + CHECK_LENGTH;
}

export function tokenText({ name, number, check }: TokenText): string {
  return `‹${name}·${number}·${check}›`;
}

const NAME = `[A-Za-z0-9_-]{1,${MAX_NAME}}`;
/** Whatever is meant as a token, right or not: also one whose number or check was altered or left out. */
const CLOSE_TO_ONE = new RegExp(`‹(${NAME})·(\\d{1,9})(?:·([^›\\s]{0,20}))?›|<(${NAME})\\.(\\d{1,9})\\.([${LETTERS}]{${CHECK_LENGTH}})>`, 'g');

/** A place of a text that reads like a token; offsets in UTF-16. */
export interface TokenLike extends TokenText {
  readonly start: number;
  readonly end: number;
  /** Written in ASCII: other things look like that, too. */
  readonly ascii: boolean;
}

export function tokensLikeIn(text: string): readonly TokenLike[] {
  if (!text.includes('‹') && !text.includes('<')) return NONE;
  return Array.from(text.matchAll(CLOSE_TO_ONE), (match) => {
    const ascii = match[1] === undefined;
    return {
      name: match[1] ?? match[4] ?? '',
      number: Number(match[2] ?? match[5]),
      check: match[3] ?? match[6] ?? '',
      ascii,
      start: match.index,
      end: match.index + match[0].length,
    };
  });
}

const NONE: readonly never[] = [];

/** What stands where a value was withheld, wherever it stands in a text. */
const WITHHELD = new RegExp(`‹(?:redacted|masked|hidden|${NAME}·[0-9a-f]{6})›|<redacted>`, 'u');
/** A whole text that shows part of a value, or nothing of it: `a•••@example.org`, `••••1234`, `***`. */
const PARTIAL = /^(?:[^@\s•]?•{3}@[A-Za-z0-9.-]{1,255}|•{4}[A-Za-z0-9]{0,4}|[•*]{3,}|\*{3,}[A-Za-z0-9]{0,4}|[^@\s*]?\*{3,}@[A-Za-z0-9.-]{1,255})$/u;

/**
 * What of a mask a text holds: `withheld` wherever it stands, `partial` as a whole. Tokens are neither: they can be turned back.
 */
export function maskIn(text: string): 'withheld' | 'partial' | undefined {
  if (WITHHELD.test(text)) return 'withheld';
  return PARTIAL.test(text.trim()) ? 'partial' : undefined;
}

/** In ASCII, `<` is an operator above all. */
const ASCII = new RegExp(`<(?:redacted|${NAME}\\.\\d{1,9}\\.[${LETTERS}]{${CHECK_LENGTH}})>`);

/** A fast answer to "may a literal in this statement be a token or a mask?"; false is certain. Escapes can spell anything. */
export function mayHoldMask(text: string): boolean {
  return (
    text.includes('‹') || text.includes('•') || text.includes('***') || text.includes('\\') || (text.includes('<') && ASCII.test(text)) || U_ESCAPED.test(text)
  );
}

const U_ESCAPED = /u&'/i;

/** The same for a value by itself, in UTF-8. */
export function bytesMayHoldMask(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === 0xe2 || byte === 0x2a || byte === 0x3c) return true;
  }
  return false;
}
