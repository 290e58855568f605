/** What a server says of one thing that it offers, in one text for one meaning, so that a hash stands for it. */
import { createHash } from 'node:crypto';
import type { PinKind } from '../../contract/pins.ts';

/** Longest name and longest definition that can be pinned, in characters; what is larger is never shown to an agent. */
const MAX_NAME_CHARS = 512;
const MAX_DEFINITION_CHARS = 262_144;
const MAX_DEPTH = 64;

export interface Definition {
  readonly kind: PinKind;
  readonly name: string;
  /** SHA-256 (hex) of `text`. */
  readonly hash: string;
  /** All that an agent could read of it, as JSON with its keys in order: what a person is shown and what is hashed. */
  readonly text: string;
  /** Every piece of text in it, keys among them, with where it stands. */
  readonly words: readonly { readonly at: string; readonly text: string }[];
}

/** Undefined where it cannot be pinned: no name, or too large to be looked at. */
export function definitionOf(kind: PinKind, item: unknown): Definition | undefined {
  const value = kind === 'instructions' ? { name: 'instructions', text: item } : item;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const named = value as Readonly<Record<string, unknown>>;
  const name = kind === 'template' ? named.uriTemplate : named.name;
  if (typeof name !== 'string' || name === '' || name.length > MAX_NAME_CHARS) return undefined;
  // `_meta` is for programs and may change with every answer; it is scanned, not pinned.
  const { _meta, ...pinned } = named;
  const words: { at: string; text: string }[] = [];
  try {
    collect(named, '', 0, words);
    const text = ordered(pinned, 0);
    if (text.length > MAX_DEFINITION_CHARS) return undefined;
    return { kind, name, text, hash: createHash('sha256').update(text).digest('hex'), words };
  } catch {
    return undefined;
  }
}

/** Every piece of text in a value; undefined where it goes too deep. */
export function wordsIn(value: unknown): Definition['words'] | undefined {
  const words: { at: string; text: string }[] = [];
  try {
    collect(value, '', 0, words);
    return words;
  } catch {
    return undefined;
  }
}

export function keyOf({ kind, name }: { readonly kind: PinKind; readonly name: string }): string {
  return `${kind}\0${name}`;
}

/** JSON, two spaces deep, with keys in order. Numbers kept as they were written stay so. */
function ordered(value: unknown, depth: number): string {
  if (depth > MAX_DEPTH) throw new Error('too deep');
  if (typeof value !== 'object' || value === null || ('rawJSON' in value && Object.isFrozen(value))) return JSON.stringify(value) ?? 'null';
  const pad = '  '.repeat(depth + 1);
  const end = `\n${'  '.repeat(depth)}`;
  if (Array.isArray(value)) {
    if (value.length === 0) return '[]';
    return `[\n${value.map((item) => pad + ordered(item, depth + 1)).join(',\n')}${end}]`;
  }
  const keys = Object.keys(value).sort();
  if (keys.length === 0) return '{}';
  const record = value as Readonly<Record<string, unknown>>;
  return `{\n${keys.map((key) => `${pad}${JSON.stringify(key)}: ${ordered(record[key], depth + 1)}`).join(',\n')}${end}}`;
}

function collect(value: unknown, at: string, depth: number, into: { at: string; text: string }[]): void {
  if (depth > MAX_DEPTH) throw new Error('too deep');
  if (typeof value === 'string') into.push({ at, text: value });
  else if (Array.isArray(value)) value.forEach((item, i) => collect(item, `${at}[${i}]`, depth + 1, into));
  else if (typeof value === 'object' && value !== null) {
    for (const [key, item] of Object.entries(value)) {
      const here = at === '' ? key : `${at}.${key}`;
      into.push({ at: `the name of ${here}`, text: key });
      collect(item, here, depth + 1, into);
    }
  }
}
