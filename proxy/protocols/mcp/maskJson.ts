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
/** Characters after which what was spent is counted, and how many each string counts for besides its own. */
const COUNT_EACH = 2_048;
const STRING_CHARS = 8;

/**
 * At once: for what is short, and where an order must be kept.
 * @param most characters that are looked through; what comes after them is left out
 */
export function maskJson<T extends Json>(value: T, masking: SessionMasking, most = MAX_AT_ONCE): MaskedJson<T> {
  const walk = new Walk(masking, most);
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

/** Most members of what is looked through in one step: a row, a block. */
const MAX_FLAT = 64;

/** Whether an object is as quickly looked through as one value: each step of a walk that can stop costs as much as a short text. */
function isFlat(value: Json): value is { readonly [key: string]: Leaf & Json } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  let members = 0;
  let chars = 0;
  for (const key of Object.keys(value)) {
    const member = (value as JsonObject)[key] as Json;
    if (++members > MAX_FLAT || !isLeaf(member)) return false;
    chars += key.length + (typeof member === 'string' ? member.length : 0);
    if (chars > LOOK_UP_EACH) return false;
  }
  return true;
}

class Walk {
  #count = 0;
  #unread = false;
  readonly #places: MaskedPlace[] = [];
  readonly #path: (string | number)[] = [];
  readonly #masking: SessionMasking;
  /** Effort of the turns before this one, and where the masking's own count stood when it began: others use it in between. */
  #effort = 0;
  #effortBefore: number;
  /** Characters that may still be looked through. */
  #left: number;
  /** No more may be spent: whatever comes then is left out. */
  #over = false;
  /** Characters since what was spent was counted; since the clock was looked at; and when it is somebody else's turn. */
  #uncounted = 0;
  #chars = 0;
  #until = performance.now() + TURN_MS;
  /** Of an object's names that came of several, the last number that one was given: a thousand addresses as keys are one name. */
  readonly #lastOf = new WeakMap<object, Map<string, number>>();

  constructor(masking: SessionMasking, most: number) {
    this.#masking = masking;
    this.#left = most;
    this.#effortBefore = masking.effort();
  }

  masked<T extends Json>(value: T): MaskedJson<T> {
    return { value, masked: this.#count, places: this.#places, unread: this.#unread };
  }

  turn(): void {
    this.#until = performance.now() + TURN_MS;
    this.#effortBefore = this.#masking.effort();
  }

  /** To be called before every `yield`, and often enough. */
  #account(): void {
    const effort = this.#masking.effort();
    this.#effort += effort - this.#effortBefore;
    this.#effortBefore = effort;
    this.#left -= this.#uncounted;
    this.#uncounted = 0;
    if (this.#effort <= MAX_EFFORT && this.#left >= 0) return;
    this.#over = true;
    if (!this.#unread) this.#found([{ by: UNREAD }]);
  }

  *value(value: Json, name: string | undefined): Steps<Json> {
    if (this.#chars >= LOOK_UP_EACH) {
      this.#chars = 0;
      this.#account();
      if (performance.now() > this.#until) yield;
    }
    const now = this.#now(value, name);
    if (now !== undefined) return now;
    if (typeof value === 'string') return yield* this.#long(value);
    return Array.isArray(value) ? yield* this.#list(value as readonly Json[], name) : yield* this.#object(value as JsonObject);
  }

  /** What needs no step of its own; undefined for the rest. */
  #now(value: Json, name: string | undefined): Json | undefined {
    if (isLeaf(value)) return this.#leaf(value, name);
    return isFlat(value) ? this.#flat(value) : undefined;
  }

  /** Most of any value: a step of its own for each would cost as much as looking through it. */
  #leaf(value: Leaf, name: string | undefined): Json {
    if (typeof value === 'string') return this.#text(value, name);
    if (typeof value === 'number') return this.#number(value, name) ? 0 : value;
    if (value === null || typeof value !== 'object') return value;
    // A number kept as it was written is an object to JavaScript.
    return this.#number(Number(value.rawJSON), name, JSON.stringify(value)) ? 0 : (value as unknown as Json);
  }

  #flat(object: { readonly [key: string]: Leaf & Json }): JsonObject {
    const out: Record<string, Json> = {};
    for (const key of Object.keys(object)) {
      if (this.#over) break;
      const value = object[key] as Leaf & Json;
      const name = this.#name(key, out);
      this.#path.push(name);
      put(out, name, isEncoded(object, key, value) ? this.#encoded(value, mediaOf(object)) : this.#leaf(value, key));
      this.#path.pop();
    }
    return out;
  }

  *#object(object: JsonObject): Steps<JsonObject> {
    const out: Record<string, Json> = {};
    for (const key of Object.keys(object)) {
      if (this.#over) break;
      const value = object[key] as Json;
      const name = this.#name(key, out);
      this.#path.push(name);
      if (isEncoded(object, key, value)) {
        put(out, name, value.length > MAX_WHOLE ? yield* this.#longEncoded(value, mediaOf(object)) : this.#encoded(value, mediaOf(object)));
      } else {
        const now = this.#chars < LOOK_UP_EACH ? this.#now(value, key) : undefined;
        put(out, name, now === undefined ? yield* this.value(value, key) : now);
      }
      this.#path.pop();
    }
    return out;
  }

  /** A member's name, masked. Two names that look the same once they are masked stay two. */
  #name(key: string, out: Readonly<Record<string, Json>>): string {
    const masked: string = this.#text(key, undefined);
    if (!Object.hasOwn(out, masked)) return masked;
    let last = this.#lastOf.get(out);
    if (!last) this.#lastOf.set(out, (last = new Map<string, number>()));
    let n = (last.get(masked) ?? 1) + 1;
    while (Object.hasOwn(out, `${masked} ${n}`)) n++;
    last.set(masked, n);
    return `${masked} ${n}`;
  }

  *#list(list: readonly Json[], name: string | undefined): Steps<readonly Json[]> {
    const out: Json[] = [];
    for (let i = 0; i < list.length && !this.#over; i++) {
      const item = list[i] as Json;
      this.#path.push(i);
      const now = this.#chars < LOOK_UP_EACH ? this.#now(item, name) : undefined;
      out.push(now === undefined ? yield* this.value(item, name) : now);
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

  #scrub(text: string): Scrubbed {
    if (this.#over)
      return { text: UNREAD_TEXT as MaskedText, findings: [{ label: UNREAD, by: UNREAD, mask: 'redact', at: [0, UNREAD_TEXT.length], shape: '' }] };
    const scrubbed = this.#masking.scrub(text);
    this.#chars += text.length + STRING_CHARS;
    this.#uncounted += text.length + STRING_CHARS;
    if (this.#uncounted >= COUNT_EACH) this.#account();
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
    for (const piece of this.#masking.pieces(text)) {
      this.#uncounted += piece.text.length;
      this.#account();
      if (this.#over) return UNREAD_TEXT;
      this.#found(piece.findings);
      found ||= piece.findings.length > 0;
      out += piece.text;
      if (performance.now() > this.#until) yield;
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
  #encoded(value: string, media: string | undefined): string {
    if (!isBase64(value)) return this.#text(value, undefined);
    return this.#hidden(textInBase64(value, media !== undefined && TEXT.test(media))) ?? value;
  }

  *#longEncoded(value: string, media: string | undefined): Steps<string> {
    if (!isBase64(value)) return yield* this.#long(value);
    return (yield* this.#longHidden(textInBase64(value, media !== undefined && TEXT.test(media)))) ?? value;
  }
}

/** Whether a member is bytes in base64, as the specification has them. */
function isEncoded(object: JsonObject, key: string, value: Json): value is string {
  return typeof value === 'string' && (key === 'blob' || (key === 'data' && mediaOf(object) !== undefined));
}

function mediaOf({ mimeType }: JsonObject): string | undefined {
  return typeof mimeType === 'string' ? mimeType : undefined;
}

/** Assigning to `__proto__` would not make a property. */
function put(out: Record<string, Json>, name: string, value: Json): void {
  if (name === '__proto__') Object.defineProperty(out, name, { value, writable: true, enumerable: true, configurable: true });
  else out[name] = value;
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
