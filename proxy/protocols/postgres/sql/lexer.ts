/**
 * PostgreSQL's lexical rules (SQL manual 4.1; `scan.l`), as far as literals and white space need them. Used where the
 * grammar would be too slow (the cache key of every statement) and where source text must be cut (the record). Assumes
 * `standard_conforming_strings = on`. Where this and the server could disagree, the answer is undefined.
 */

/** Longest text that gets a shape, in UTF-16 units. */
export const MAX_SHAPE_LENGTH = 16_384;

const STRING = 0;
const NUMBER = 1;
const BITS = 2;
const GAP = 3;

/** Character classes of ASCII; everything above it may be part of a name. */
const SPACE = 1;
const DIGIT = 2;
const LETTER = 3;
const classes = new Uint8Array(128);
for (const c of [9, 10, 11, 12, 13, 32]) classes[c] = SPACE;
for (let c = 48; c < 58; c++) classes[c] = DIGIT;
for (let c = 65; c < 91; c++) classes[c] = LETTER;
for (let c = 97; c < 123; c++) classes[c] = LETTER;
classes[95] = LETTER;

const QUOTE = 39;
const DOLLAR = 36;
const NEWLINE = 10;
const RETURN = 13;

function classOf(code: number): number {
  return code < 128 ? (classes[code] ?? 0) : LETTER;
}

function isNamePart(code: number): boolean {
  const kind = classOf(code);
  return kind === LETTER || kind === DIGIT || code === DOLLAR;
}

/**
 * Flat triples (start, end, kind) of literals and of gaps that are not exactly one space; undefined for text that the
 * server's lexer refuses, or (`strict`) for forms whose literals change what other tokens mean.
 */
function lex(sql: string, strict: boolean): number[] | undefined {
  const found: number[] = [];
  const length = sql.length;
  let at = 0;
  while (at < length) {
    const code = sql.charCodeAt(at);
    const kind = classOf(code);
    if (kind === LETTER) {
      const next = sql.charCodeAt(at + 1);
      if (next === QUOTE && (code | 32) !== 95) {
        const lower = code | 32;
        // n'…' is a keyword and a string to the server's lexer.
        if (lower === 101 || lower === 98 || lower === 120) {
          const end = endOfString(sql, at + 1, lower === 101);
          // A bit string ends at its first quote; two in a row are no valid statement.
          if (end < 0 || (lower !== 101 && sql.slice(at + 2, end).includes("''"))) return undefined;
          found.push(at, end, lower === 98 || lower === 120 ? BITS : STRING);
          at = end;
          continue;
        }
      }
      // U&'…' and U&"…": the UESCAPE literal after them decides what they spell.
      if ((code | 32) === 117 && next === 38) {
        const quote = sql.charCodeAt(at + 2);
        if (quote === QUOTE || quote === 34) {
          if (strict) return undefined;
          const end = quote === QUOTE ? endOfString(sql, at + 2, false) : endOfQuoted(sql, at + 2, 34);
          if (end < 0) return undefined;
          if (quote === QUOTE) found.push(at, end, STRING);
          at = end;
          continue;
        }
      }
      at++;
      while (at < length && isNamePart(sql.charCodeAt(at))) at++;
      continue;
    }
    if (kind === SPACE || (code === 45 && sql.charCodeAt(at + 1) === 45) || (code === 47 && sql.charCodeAt(at + 1) === 42)) {
      const end = endOfGap(sql, at);
      if (end < 0) return undefined;
      if (end !== at + 1 || code !== 32) found.push(at, end, GAP);
      at = end;
      continue;
    }
    // Two dots are a token of their own, and no valid SQL.
    if (code === 46 && sql.charCodeAt(at + 1) === 46) return undefined;
    if (code === QUOTE) {
      const end = endOfString(sql, at, false);
      if (end < 0) return undefined;
      found.push(at, end, STRING);
      at = end;
      continue;
    }
    if (code === 34) {
      at = endOfQuoted(sql, at, 34);
      if (at < 0) return undefined;
      continue;
    }
    if (kind === DIGIT || (code === 46 && classOf(sql.charCodeAt(at + 1)) === DIGIT)) {
      const end = endOfNumber(sql, at);
      if (end < 0) return undefined;
      found.push(at, end, NUMBER);
      at = end;
      continue;
    }
    if (code === DOLLAR) {
      if (classOf(sql.charCodeAt(at + 1)) === DIGIT) {
        at += 2;
        while (classOf(sql.charCodeAt(at)) === DIGIT) at++;
        if (at < length && isNamePart(sql.charCodeAt(at))) return undefined;
        continue;
      }
      const end = endOfDollarQuote(sql, at);
      if (end < 0) return undefined;
      found.push(at, end, STRING);
      at = end;
      continue;
    }
    at++;
  }
  return found;
}

/** Offset after the closing quote, continuation over a line break included; -1 where it never closes. */
function endOfString(sql: string, quote: number, escapes: boolean): number {
  let at = quote;
  for (;;) {
    at = escapes ? endOfEscaped(sql, at) : endOfQuoted(sql, at, QUOTE);
    if (at < 0) return -1;
    const next = continuation(sql, at);
    if (next === UNCERTAIN) return -1;
    if (next < 0) return at;
    at = next;
  }
}

function endOfQuoted(sql: string, start: number, quote: number): number {
  for (let at = start + 1; ; at += 2) {
    at = sql.indexOf(quote === QUOTE ? "'" : '"', at);
    if (at < 0) return -1;
    if (sql.charCodeAt(at + 1) !== quote) return at + 1;
  }
}

function endOfEscaped(sql: string, start: number): number {
  for (let at = start + 1; at < sql.length; at++) {
    const code = sql.charCodeAt(at);
    if (code === 92) at++;
    else if (code === QUOTE) {
      if (sql.charCodeAt(at + 1) !== QUOTE) return at + 1;
      at++;
    }
  }
  return -1;
}

/** With a comment in between, the server and the parser's grammar disagree. */
const UNCERTAIN = -2;

/** 'a' <line break> 'b' is one literal: the offset of the next quote, or -1. */
function continuation(sql: string, start: number): number {
  let broken = false;
  let commented = false;
  for (let at = start; at < sql.length; ) {
    const code = sql.charCodeAt(at);
    if (code === QUOTE) return !broken ? -1 : commented ? UNCERTAIN : at;
    if (classOf(code) === SPACE) {
      if (code === NEWLINE || code === RETURN) broken = true;
      at++;
    } else if (code === 45 && sql.charCodeAt(at + 1) === 45) {
      commented = true;
      at = endOfLine(sql, at);
    } else return -1;
  }
  return -1;
}

function endOfLine(sql: string, start: number): number {
  let at = start;
  while (at < sql.length && sql.charCodeAt(at) !== NEWLINE && sql.charCodeAt(at) !== RETURN) at++;
  return at;
}

/** White space and comments together; -1 for a comment that never closes. */
function endOfGap(sql: string, start: number): number {
  let at = start;
  while (at < sql.length) {
    const code = sql.charCodeAt(at);
    if (classOf(code) === SPACE) at++;
    else if (code === 45 && sql.charCodeAt(at + 1) === 45) at = endOfLine(sql, at);
    else if (code === 47 && sql.charCodeAt(at + 1) === 42) {
      let depth = 1;
      at += 2;
      while (depth > 0) {
        if (at >= sql.length) return -1;
        const inner = sql.charCodeAt(at);
        const next = sql.charCodeAt(at + 1);
        if (inner === 47 && next === 42) {
          depth++;
          at += 2;
        } else if (inner === 42 && next === 47) {
          depth--;
          at += 2;
        } else at++;
      }
    } else break;
  }
  return at;
}

const NUMBER_FORM =
  /0[xX](?:_?[0-9a-fA-F])+|0[oO](?:_?[0-7])+|0[bB](?:_?[01])+|(?:\d(?:_?\d)*(?:\.(?!\.)(?:\d(?:_?\d)*)?)?|\.\d(?:_?\d)*)(?:[eE][-+]?\d(?:_?\d)*)?/y;

/** -1 where a name or a digit follows: servers of different age read that differently. */
function endOfNumber(sql: string, start: number): number {
  // The common case, a plain integer, without the expression.
  let at = start;
  while (classOf(sql.charCodeAt(at)) === DIGIT) at++;
  const after = sql.charCodeAt(at);
  if (at > start && (at >= sql.length || (after !== 46 && !isNamePart(after)))) return at;
  NUMBER_FORM.lastIndex = start;
  if (!NUMBER_FORM.test(sql)) return -1;
  at = NUMBER_FORM.lastIndex;
  return at < sql.length && (sql.charCodeAt(at) === 46 || isNamePart(sql.charCodeAt(at))) ? -1 : at;
}

function endOfDollarQuote(sql: string, start: number): number {
  let at = start + 1;
  while (at < sql.length && sql.charCodeAt(at) !== DOLLAR && isNamePart(sql.charCodeAt(at))) at++;
  if (sql.charCodeAt(at) !== DOLLAR) return -1;
  const tag = sql.slice(start, at + 1);
  const close = sql.indexOf(tag, at + 1);
  return close < 0 ? -1 : close + tag.length;
}

/**
 * The text with literals replaced by placeholders and white space and comments by one space: a cache key. Undefined
 * where that could bring two statements together that the server tells apart. Case is kept.
 */
export function normalise(sql: string): string | undefined {
  if (sql.length > MAX_SHAPE_LENGTH) return undefined;
  const found = lex(sql, true);
  if (!found) return undefined;
  if (found.length === 0) return sql;
  let out = '';
  let from = 0;
  for (let i = 0; i < found.length; i += 3) {
    const start = found[i] ?? 0;
    const kind = found[i + 2];
    out += sql.slice(from, start);
    from = found[i + 1] ?? start;
    if (kind === GAP) {
      if (start !== 0 && from !== sql.length) out += ' ';
    } else out += kind === STRING ? "'?'" : kind === NUMBER ? '0' : "b'?'";
  }
  return out + sql.slice(from);
}

/** A literal's place in the text, in UTF-16 units. */
export interface Literal {
  readonly start: number;
  readonly end: number;
}

/** Every literal in order; undefined where the text cannot be cut reliably. */
export function literalsIn(sql: string): readonly Literal[] | undefined {
  const found = lex(sql, false);
  if (!found) return undefined;
  const literals: Literal[] = [];
  for (let i = 0; i < found.length; i += 3) {
    if (found[i + 2] !== GAP) literals.push({ start: found[i] ?? 0, end: found[i + 1] ?? 0 });
  }
  return literals;
}
