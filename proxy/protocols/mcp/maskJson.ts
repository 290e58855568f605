/** Masks every string of a JSON value, wherever it stands, and leaves its form as it was. */

import { namesPassword } from '../../masking/detectors/secret.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import { type EncodedText, isBase64, textInBase64 } from './base64Text.ts';
import { isObject, type Json, type JsonObject } from './message.ts';

/** One value that was masked: where it stood, and which detector saw it. */
export interface MaskedPlace {
  readonly path: readonly (string | number)[];
  readonly by: string;
}

/** A value after masking, and what it took. */
export interface MaskedJson<T extends Json> {
  readonly value: T;
  readonly masked: number;
  /** At most `MAX_PLACES` of them. */
  readonly places: readonly MaskedPlace[];
}

const MAX_PLACES = 1_000;

/** Longest string that is also looked at together with the name it stands under. */
const MAX_NAMED = 1024;

export function maskJson<T extends Json>(value: T, masking: SessionMasking): MaskedJson<T> {
  const walk = new Walk(masking);
  return { value: walk.value(value, undefined) as T, masked: walk.masked, places: walk.places };
}

class Walk {
  masked = 0;
  readonly places: MaskedPlace[] = [];
  readonly #path: (string | number)[] = [];
  readonly #masking: SessionMasking;

  constructor(masking: SessionMasking) {
    this.#masking = masking;
  }

  value(value: Json, name: string | undefined): Json {
    if (typeof value === 'string') return this.#text(value, name);
    if (typeof value === 'number') return this.#number(value, name) ? 0 : value;
    if (value === null || typeof value !== 'object') return value;
    if (Array.isArray(value)) return this.#list(value as readonly Json[], name);
    // A number kept as it was written is an object to JavaScript.
    if ('rawJSON' in value && Object.isFrozen(value)) return this.#number(Number(value.rawJSON), name, JSON.stringify(value)) ? 0 : value;
    return this.#object(value as JsonObject);
  }

  #object(object: JsonObject): JsonObject {
    const out: Record<string, Json> = {};
    /** Names that came of several, and the last number that one of them was given: a thousand addresses as keys are one name. */
    const twice = new Map<string, number>();
    const media = typeof object.mimeType === 'string' ? object.mimeType : undefined;
    for (const key of Object.keys(object)) {
      const value = object[key] as Json;
      const masked = this.#text(key, undefined);
      let name: string = masked;
      // Two names that look the same once they are masked stay two.
      for (let n = (twice.get(masked) ?? 1) + 1; Object.hasOwn(out, name); n++) {
        name = `${masked} ${n}`;
        twice.set(masked, n);
      }
      this.#path.push(name);
      const inner =
        typeof value === 'string' && (key === 'blob' || (key === 'data' && media !== undefined)) ? this.#encoded(value, media) : this.value(value, key);
      this.#path.pop();
      // Assigning to it would not make a property.
      if (name === '__proto__') Object.defineProperty(out, name, { value: inner, writable: true, enumerable: true, configurable: true });
      else out[name] = inner;
    }
    return out;
  }

  #list(list: readonly Json[], name: string | undefined): readonly Json[] {
    return list.map((item, i) => {
      this.#path.push(i);
      const masked = this.value(item, name);
      this.#path.pop();
      return masked;
    });
  }

  #found(findings: readonly { readonly by: string }[]): void {
    this.masked += findings.length;
    for (const { by } of findings) if (this.places.length < MAX_PLACES) this.places.push({ path: [...this.#path], by });
  }

  #text(text: string, name: string | undefined): string {
    const scrubbed = this.#masking.scrub(text);
    this.#found(scrubbed.findings);
    if (scrubbed.findings.length > 0) return scrubbed.text;
    const named = name === undefined || text.length > MAX_NAMED ? undefined : this.#named(text, name);
    return named ?? this.#hidden(textInBase64(text)) ?? scrubbed.text;
  }

  /** Base64 of text with something sensitive in it. */
  #hidden(encoded: EncodedText | undefined): string | undefined {
    if (!encoded) return undefined;
    const { findings, text } = this.#masking.scrub(encoded.text);
    this.#found(findings);
    return findings.length > 0 ? encoded.encode(text) : undefined;
  }

  /** `{"password": "…"}`, `{"ssn": "123456789"}`: what a value is can lie in its name alone. */
  #named(text: string, name: string): string | undefined {
    const before = `"${name.slice(0, 64)}": "`;
    const [finding] = this.#masking.scrub(`${before}${text}"`).findings;
    if (!finding || finding.at[0] < before.length) return undefined;
    this.#found([finding]);
    return this.#masking.mask(text, finding.mask, finding.label);
  }

  /**
   * A number must stay one: 0 stands for a card number that is not written as text.
   * @param text as it was written, where a double is another number
   */
  #number(value: number, name: string | undefined, text = String(value)): boolean {
    // Few small numbers are anything, and numbers are many.
    if (Math.abs(value) < 1_000_000 && (name === undefined || !namesPassword(name))) return false;
    const { findings } = this.#masking.scrub(text);
    if (findings.length > 0) this.#found(findings.slice(0, 1));
    return findings.length > 0 || (name !== undefined && this.#named(text, name) !== undefined);
  }

  /** Pictures and sounds are left as they are, and not read as text. */
  #encoded(value: string, media: string | undefined): string {
    if (!isBase64(value)) return this.#text(value, undefined);
    return this.#hidden(textInBase64(value, media !== undefined && TEXT.test(media))) ?? value;
  }
}

const TEXT = /^(?:text\/|application\/(?:[\w.+-]*\+)?(?:json|xml|yaml|x-yaml|javascript|sql|toml)\b)/i;

/** What a person reads of a result: its text, else all of it as JSON. */
export function readableText(result: JsonObject): string {
  const texts = textsOf(result);
  return texts.length > 0 ? texts.join('\n') : JSON.stringify(result, null, 2);
}

/** Its blocks as text; none where it has no blocks. */
export function textsOf(result: JsonObject): readonly string[] {
  const blocks = [result.content, result.contents, result.messages].find(Array.isArray) as readonly Json[] | undefined;
  return (blocks ?? []).flatMap((block) => {
    if (!isObject(block)) return [];
    const inner = isObject(block.content) ? block.content : isObject(block.resource) ? block.resource : block;
    return typeof inner.text === 'string'
      ? [inner.text]
      : [`[${typeof inner.mimeType === 'string' ? inner.mimeType : typeof inner.type === 'string' ? inner.type : 'data'}]`];
  });
}
