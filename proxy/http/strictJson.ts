/** JSON that can be read in one way only, so that nobody after us reads it differently. */
import { Problem } from '../../contract/problem.ts';

/** Deepest nesting. */
export const MAX_DEPTH = 100;

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * JSON with one meaning only: no key twice, no `__proto__`, bounded depth. Numbers that a double cannot hold are kept as
 * they were written.
 * @throws a `Problem` that quotes nothing
 */
export function parseStrict(text: string): Json {
  let checked: unknown;
  try {
    checked = JSON.parse(text);
  } catch (cause) {
    throw new Problem('malformed-json', 'A message was refused: it is not JSON.', { cause });
  }
  const exact = scan(text);
  return (exact ? parseExact(text) : checked) as Json;
}

const refuse = (what: string): Problem => new Problem('ambiguous-json', `A message was refused: ${what}.`);

const QUOTE = 34;
const BACKSLASH = 92;
const COMMA = 44;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;
const OPEN_ARRAY = 91;
const CLOSE_ARRAY = 93;

/** Walks text that is known to be JSON. Returns whether it has a number that must be kept as written. */
function scan(text: string): boolean {
  const keys: (Set<string> | undefined)[] = [];
  let exact = false;
  let expectKey = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) {
      const end = endOfString(text, i);
      if (expectKey) {
        expectKey = false;
        takeKey(text.slice(i, end + 1), keys.at(-1));
      }
      i = end;
    } else if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
      keys.push(code === OPEN_OBJECT ? new Set() : undefined);
      if (keys.length > MAX_DEPTH) throw refuse(`it is nested deeper than ${MAX_DEPTH}`);
      expectKey = code === OPEN_OBJECT;
    } else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) {
      keys.pop();
      expectKey = false;
    } else if (code === COMMA) expectKey = keys.at(-1) !== undefined;
    else if (code === 45 || isDigit(code)) {
      const start = i;
      while (isOfNumber(text.charCodeAt(i + 1))) i++;
      // What is shorter and has no exponent a double holds exactly enough to be written again the same.
      if (i - start >= 15 || hasExponent(text, start, i)) exact ||= isInexact(text.slice(start, i + 1));
    }
  }
  return exact;
}

/** Where a string that begins at `start` ends. Strings are most of what is sent, and most of them have no escape. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return end;
  }
}

function takeKey(quoted: string, own: Set<string> | undefined): void {
  const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
  if (key === '__proto__') throw refuse('it holds a key "__proto__"');
  if (own?.has(key)) throw refuse('it holds a key twice');
  own?.add(key);
}

const isDigit = (code: number): boolean => code >= 48 && code <= 57;
const isExponent = (code: number): boolean => code === 101 || code === 69;
/** A digit, a sign, a point or an exponent. */
const isOfNumber = (code: number): boolean => isDigit(code) || code === 43 || code === 45 || code === 46 || isExponent(code);

function hasExponent(text: string, start: number, end: number): boolean {
  for (let i = start; i <= end; i++) if (isExponent(text.charCodeAt(i))) return true;
  return false;
}

/** Whether writing the double again would say another number. */
function isInexact(literal: string): boolean {
  const value = Number(literal);
  return !Number.isFinite(value) || decimal(literal) !== decimal(String(value));
}

/** A number's digits and their exponent, without zeros that say nothing; equal for equal numbers. */
function decimal(literal: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/.exec(literal) ?? [];
  const digits = (whole + fraction).replace(/^0+/, '');
  const kept = digits.replace(/0+$/, '');
  return kept === '' ? '0' : `${sign}${kept}e${BigInt(exponent) - BigInt(fraction.length) + BigInt(digits.length - kept.length)}`;
}

/** Keeps such numbers as raw JSON (ECMAScript's JSON.parse source text access; in every Node that runs this). */
function parseExact(text: string): unknown {
  const rawJson = (JSON as unknown as { rawJSON?: (text: string) => unknown }).rawJSON;
  if (!rawJson) throw new Problem('inexact-number', 'A message was refused: it holds a number that cannot be kept as it is written.');
  const reviver = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === 'number' && context?.source !== undefined && isInexact(context.source) ? rawJson(context.source) : value;
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}
