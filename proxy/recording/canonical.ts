/**
 * Canonical JSON (RFC 8785): one text for one value, so that a hash over it means something.
 * Strings and numbers are written as ECMAScript writes them (sections 3.2.2.2 and 3.2.2.3), keys stand in UTF-16 order
 * (3.2.3). What has no single meaning is refused: lone surrogates, NaN and infinities, class instances, holes.
 * Runs for every operation, hence the hand-made loops.
 */
import { Problem } from '../../contract/problem.ts';
import { isLong, quotedBytes } from './quoted.ts';
import type { Text } from './utf8.ts';

/** Deepest nesting that is written; deeper input is an attack on the stack. */
export const MAX_DEPTH = 200;

/** Text that needs no escape and holds no surrogate: by far the commonest. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;
/** Longest string that is tried with `PLAIN` first; for longer ones the native writer is quicker. */
const PLAIN_LIMIT = 256;

/** @returns the canonical text. Properties that are `undefined` are left out, as `JSON.stringify` does.
 *  @throws Problem `not-canonical` for a value that canonical JSON cannot hold. */
export function canonical(value: unknown): string {
  return write(value, 0);
}

function write(value: unknown, depth: number): string {
  switch (typeof value) {
    case 'string':
      return text(value);
    case 'number':
      if (!Number.isFinite(value)) throw refuse(`the number ${value}`);
      return `${value}`;
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object':
      if (value === null) return 'null';
      if (depth >= MAX_DEPTH) throw refuse(`nesting deeper than ${MAX_DEPTH}`);
      return Array.isArray(value) ? list(value, depth + 1) : record(value, depth + 1);
    case 'undefined':
    case 'bigint':
    case 'symbol':
    case 'function':
    default:
      throw refuse(`a value of type ${typeof value}`);
  }
}

/** One string as it stands in canonical JSON. */
export function canonicalText(value: string): string {
  return text(value);
}

/** The same of one that may be long, and that others write as well. */
export function canonicalLongText(value: string): Text {
  if (!isLong(value)) return text(value);
  const { bytes, wellFormed } = quotedBytes(value);
  if (!wellFormed) throw refuse('a lone surrogate');
  return [bytes];
}

function text(value: string): string {
  if (value.length <= PLAIN_LIMIT && PLAIN.test(value)) return `"${value}"`;
  const written = JSON.stringify(value);
  // No other escape begins like that of half a surrogate pair, but the text itself may.
  if (written.includes('\\ud') && !value.isWellFormed()) throw refuse('a lone surrogate');
  return written;
}

function list(values: readonly unknown[], depth: number): string {
  if (values.length === 0) return '[]';
  let out = '[';
  for (let i = 0; i < values.length; i++) {
    if (i > 0) out += ',';
    out += write(values[i], depth);
  }
  return `${out}]`;
}

function record(value: object, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw refuse('an object that is not plain data');
  const keys = sorted(Object.keys(value));
  let out = '{';
  for (const key of keys) {
    const member: unknown = (value as Record<string, unknown>)[key];
    if (member === undefined) continue;
    if (out.length > 1) out += ',';
    out += name(key);
    out += write(member, depth);
  }
  return `${out}}`;
}

/** Texts of objects that come in entry after entry: the facts of a statement's shape, a rule's verdict. */
const texts = new WeakMap<object, string>();
/** Longest text that is kept, in characters. */
const MAX_REMEMBERED = 8192;

/** An object's canonical text, kept for the next time. The object is frozen, so that it stays true. */
export function canonicalKept(value: object): string {
  const known = texts.get(value);
  if (known !== undefined) return known;
  const written = write(value, 0);
  if (written.length <= MAX_REMEMBERED) {
    freeze(value);
    texts.set(value, written);
  }
  return written;
}

function freeze(value: object): void {
  for (const member of Object.values(value)) if (typeof member === 'object' && member !== null && !Object.isFrozen(member)) freeze(member);
  Object.freeze(value);
}

/** Names written so far with their quotes and colon. A record's own names are few; an agent's arguments may bring any. */
const names = new Map<string, string>();
const MAX_NAMES = 2000;

function name(key: string): string {
  const known = names.get(key);
  if (known !== undefined) return known;
  const written = `${text(key)}:`;
  if (names.size < MAX_NAMES && key.length <= 64) names.set(key, written);
  return written;
}

/** Above this, the library's sort beats insertion. */
const INSERTION_LIMIT = 24;

/** Sorts in place; JavaScript compares strings by UTF-16 units, which is the order the RFC asks for. */
function sorted(keys: string[]): string[] {
  if (keys.length > INSERTION_LIMIT) return keys.sort();
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i] as string;
    let j = i - 1;
    while (j >= 0 && (keys[j] as string) > key) {
      keys[j + 1] = keys[j] as string;
      j--;
    }
    keys[j + 1] = key;
  }
  return keys;
}

function refuse(what: string): Problem {
  return new Problem('not-canonical', `A record cannot hold ${what}.`);
}
