/** Masks what a server says of itself and of what it offers: lists, its introduction, answers that carry nothing. */
import type { SessionMasking } from '../../masking/masking.ts';
import { isObject, type Json, type JsonObject } from './message.ts';
import { PERSONAL } from './request.ts';

/** What a client has to say again exactly: which thing it means, and where a list goes on. */
const SAID_AGAIN: ReadonlySet<string> = new Set(['name', 'nextCursor']);
/** Words for people and models. */
const PROSE: ReadonlySet<string> = new Set(['description', 'title', 'instructions']);

/**
 * Secrets are masked wherever they stand, in a default, an enum, an address: a server may say back what it was given. Addresses of
 * people are masked in prose alone, for elsewhere they are what is chosen from.
 */
export function maskListed<T extends Json>(value: T, masking: SessionMasking): T {
  return walk(value, undefined, masking) as T;
}

function walk(value: Json, key: string | undefined, masking: SessionMasking): Json {
  if (typeof value === 'string') return key !== undefined && SAID_AGAIN.has(key) ? value : text(value, key !== undefined && PROSE.has(key), masking);
  if (Array.isArray(value)) return value.map((item: Json) => walk(item, key, masking));
  if (!isObject(value) || ('rawJSON' in value && Object.isFrozen(value))) return value;
  const out: JsonObject = Object.fromEntries(Object.entries(value).map(([name, inner]) => [text(name, false, masking), walk(inner, name, masking)]));
  return out;
}

function text(value: string, prose: boolean, masking: SessionMasking): string {
  const scrubbed = masking.scrub(value);
  return prose || scrubbed.findings.some(({ by }) => !PERSONAL.has(by)) ? scrubbed.text : value;
}
