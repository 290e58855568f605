/** Masks every string of a JSON value, wherever it stands, and leaves its form as it was. */

import { namesPassword } from '../../masking/detectors/secret.ts';
import { type MaskedText, type Scrubbed, type SessionMasking, UNREAD, UNREAD_TEXT } from '../../masking/masking.ts';
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
  /** Some of it was left out, because it would have taken too long to look through. */
  readonly unread: boolean;
}

const MAX_PLACES = 1_000;

/** Longest string that is also looked at together with the name it stands under. */
const MAX_NAMED = 1024;
/** Longer strings are looked through in pieces, in characters. */
const MAX_WHOLE = 65_536;
/** Effort that one value may take, as the masking counts it: about a second. Fifteen megabytes of rows with an address in each take it. */
const MAX_EFFORT = 1_000_000;
/** Characters that are looked through at once: a third of a second of ordinary text. No request of an agent's has so many. */
const MAX_AT_ONCE = 16 * 1024 * 1024;
/** Characters after which it is seen whether it is somebody else's turn, and after how many milliseconds it is. */
const LOOK_UP_EACH = 16_384;
const TURN_MS = 5;

/** At once: for what is short, and where an order must be kept. */
export function maskJson<T extends Json>(value: T, masking: SessionMasking): MaskedJson<T> {
  const walk = new Walk(masking, MAX_AT_ONCE);
  const steps = walk.value(value, undefined);
  for (;;) {
    const step = steps.next();
    if (step.done) return walk.masked(step.value as T);
  }
}

/** In turns of a few milliseconds, between which everything else goes on. What takes one turn or less is there at once. */
export function maskJsonInTurns<T extends Json>(value: T, masking: SessionMasking): MaskedJson<T> | Promise<MaskedJson<T>> {
  const walk = new Walk(masking, Number.POSITIVE_INFINITY);
  const steps = walk.value(value, undefined);
  const first = steps.next();
  return first.done ? walk.masked(first.value as T) : inTurns<T>(walk, steps);
}

async function inTurns<T extends Json>(walk: Walk, steps: Steps<Json>): Promise<MaskedJson<T>> {
  for (;;) {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    walk.turn();
    const step = steps.next();
    if (step.done) return walk.masked(step.value as T);
  }
}

/** Stops where it is somebody else's turn. */
type Steps<T> = Generator<undefined, T, undefined>;

type Leaf = string | number | boolean | null | { readonly rawJSON: string };

/** What is looked through in one step. */
function isLeaf(value: Json): value is Leaf & Json {
  if (typeof value === 'string') return value.length <= MAX_WHOLE;
  return value === null || typeof value !== 'object' || ('rawJSON' in value && Object.isFrozen(value));
}

class Walk {
  #count = 0;
  #unread = false;
  readonly #places: MaskedPlace[] = [];
  readonly #path: (string | number)[] = [];
  readonly #masking: SessionMasking;
  #effort = 0;
  /** Characters that may still be looked through. */
  #left: number;
  /** Characters since the clock was looked at, and when it is somebody else's turn. */
  #chars = 0;
  #until = performance.now() + TURN_MS;

  constructor(masking: SessionMasking, most: number) {
    this.#masking = masking;
    this.#left = most;
  }

  masked<T extends Json>(value: T): MaskedJson<T> {
    return { value, masked: this.#count, places: this.#places, unread: this.#unread };
  }

  turn(): void {
    this.#until = performance.now() + TURN_MS;
  }

  *value(value: Json, name: string | undefined): Steps<Json> {
    if (this.#chars >= LOOK_UP_EACH) {
      this.#chars = 0;
      if (performance.now() > this.#until) yield;
    }
    if (isLeaf(value)) return this.#leaf(value, name);
    if (typeof value === 'string') return yield* this.#long(value);
    return Array.isArray(value) ? yield* this.#list(value as readonly Json[], name) : yield* this.#object(value as JsonObject);
  }

  /** Most of any value: a step of its own for each would cost as much as looking through it. */
  #leaf(value: Leaf, name: string | undefined): Json {
    if (typeof value === 'string') return this.#text(value, name);
    if (typeof value === 'number') return this.#number(value, name) ? 0 : value;
    if (value === null || typeof value !== 'object') return value;
    // A number kept as it was written is an object to JavaScript.
    return this.#number(Number(value.rawJSON), name, JSON.stringify(value)) ? 0 : (value as unknown as Json);
  }

  *#object(object: JsonObject): Steps<JsonObject> {
    const out: Record<string, Json> = {};
    /** Names that came of several, and the last number that one of them was given: a thousand addresses as keys are one name. */
    const twice = new Map<string, number>();
    const media = typeof object.mimeType === 'string' ? object.mimeType : undefined;
    for (const key of Object.keys(object)) {
      if (this.#spent()) break;
      const value = object[key] as Json;
      const masked = this.#text(key, undefined);
      let name: string = masked;
      // Two names that look the same once they are masked stay two.
      for (let n = (twice.get(masked) ?? 1) + 1; Object.hasOwn(out, name); n++) {
        name = `${masked} ${n}`;
        twice.set(masked, n);
      }
      this.#path.push(name);
      const encoded = typeof value === 'string' && (key === 'blob' || (key === 'data' && media !== undefined));
      const inner = encoded
        ? yield* this.#encoded(value, media)
        : isLeaf(value) && this.#chars < LOOK_UP_EACH
          ? this.#leaf(value, key)
          : yield* this.value(value, key);
      this.#path.pop();
      // Assigning to it would not make a property.
      if (name === '__proto__') Object.defineProperty(out, name, { value: inner, writable: true, enumerable: true, configurable: true });
      else out[name] = inner;
    }
    return out;
  }

  *#list(list: readonly Json[], name: string | undefined): Steps<readonly Json[]> {
    const out: Json[] = [];
    for (let i = 0; i < list.length && !this.#spent(); i++) {
      const item = list[i] as Json;
      this.#path.push(i);
      out.push(isLeaf(item) && this.#chars < LOOK_UP_EACH ? this.#leaf(item, name) : yield* this.value(item, name));
      this.#path.pop();
    }
    return out;
  }

  #found(findings: readonly { readonly by: string }[]): void {
    this.#count += findings.length;
    for (const { by } of findings) {
      if (by === UNREAD) this.#unread = true;
      if (this.#places.length < MAX_PLACES) this.#places.push({ path: [...this.#path], by });
    }
  }

  /** Whether there is no more to spend: whatever comes then is left out. */
  #spent(): boolean {
    if (this.#effort <= MAX_EFFORT && this.#left >= 0) return false;
    if (!this.#unread) this.#found([{ by: UNREAD }]);
    return true;
  }

  #scrub(text: string): Scrubbed {
    if (this.#spent())
      return { text: UNREAD_TEXT as MaskedText, findings: [{ label: UNREAD, by: UNREAD, mask: 'redact', at: [0, UNREAD_TEXT.length], shape: '' }] };
    const before = this.#masking.effort();
    const scrubbed = this.#masking.scrub(text);
    this.#effort += this.#masking.effort() - before;
    this.#chars += text.length;
    this.#left -= text.length;
    return scrubbed;
  }

  #text(text: string, name: string | undefined): string {
    const scrubbed = this.#scrub(text);
    this.#found(scrubbed.findings);
    if (scrubbed.findings.length > 0) return scrubbed.text;
    const named = name === undefined || text.length > MAX_NAMED ? undefined : this.#named(text, name);
    return named ?? this.#hidden(textInBase64(text)) ?? scrubbed.text;
  }

  /** A text that is too long to be looked through at once. */
  *#long(text: string): Steps<string> {
    const plain = yield* this.#pieces(text);
    if (plain !== undefined) return plain;
    return (yield* this.#longHidden(textInBase64(text))) ?? text;
  }

  /** @returns undefined where nothing was found */
  *#pieces(text: string): Steps<string | undefined> {
    let out = '';
    let found = false;
    let before = this.#masking.effort();
    for (const piece of this.#masking.pieces(text)) {
      this.#effort += this.#masking.effort() - before;
      this.#left -= piece.text.length;
      if (this.#spent()) return UNREAD_TEXT;
      this.#found(piece.findings);
      found ||= piece.findings.length > 0;
      out += piece.text;
      if (performance.now() > this.#until) yield;
      before = this.#masking.effort();
    }
    return found ? out : undefined;
  }

  *#longHidden(encoded: EncodedText | undefined): Steps<string | undefined> {
    const text = encoded && (yield* this.#pieces(encoded.text));
    return text === undefined ? undefined : encoded?.encode(text);
  }

  /** Base64 of text with something sensitive in it. */
  #hidden(encoded: EncodedText | undefined): string | undefined {
    if (!encoded) return undefined;
    const { findings, text } = this.#scrub(encoded.text);
    this.#found(findings);
    return findings.length > 0 ? encoded.encode(text) : undefined;
  }

  /** `{"password": "…"}`, `{"ssn": "123456789"}`: what a value is can lie in its name alone. */
  #named(text: string, name: string): string | undefined {
    const before = `"${name.slice(0, 64)}": "`;
    const [finding] = this.#scrub(`${before}${text}"`).findings;
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
    const { findings } = this.#scrub(text);
    if (findings.length > 0) this.#found(findings.slice(0, 1));
    return findings.length > 0 || (name !== undefined && this.#named(text, name) !== undefined);
  }

  /** Pictures and sounds are left as they are, and not read as text. */
  *#encoded(value: string, media: string | undefined): Steps<string> {
    if (!isBase64(value)) return value.length > MAX_WHOLE ? yield* this.#long(value) : this.#text(value, undefined);
    const encoded = textInBase64(value, media !== undefined && TEXT.test(media));
    return (value.length > MAX_WHOLE ? yield* this.#longHidden(encoded) : this.#hidden(encoded)) ?? value;
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
