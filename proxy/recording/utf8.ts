/**
 * Texts on their way out as UTF-8, together with what of them has been encoded already. Where a text has one character beyond
 * Latin-1, as every masked one has, the platform encodes it character by character; by way of UTF-16 it is encoded many at a
 * time, in half the time.
 */
import { transcode } from 'node:buffer';

/** Texts that are shorter, or longer, are left to the platform; in UTF-16 units. The copy in UTF-16 has room for the longest. */
const FROM = 1_024;
const TO = 65_536;
const BEYOND_LATIN1 = /[^\0-\xff]/;
/** Bytes that one UTF-16 unit can become. */
const MAX_BYTES_A_UNIT = 3;

let utf16: Buffer | undefined;

/** One text; where it is a list, its parts follow one another, and bytes are UTF-8 of whole characters. */
export type Text = string | readonly (string | Buffer)[];

/** As `Buffer.from(text)`. */
export function utf8(text: Text): Buffer {
  if (typeof text === 'string') return transcoded(text) ?? Buffer.from(text);
  const into = Buffer.allocUnsafe(mostBytes(text));
  return into.subarray(0, writeUtf8(into, text, 0));
}

/** As `into.write(text, at)`, where there is room for all of it. @returns bytes written */
export function writeUtf8(into: Buffer, text: Text, at: number): number {
  if (typeof text !== 'string') {
    let end = at;
    for (const part of text) end += typeof part === 'string' ? writeUtf8(into, part, end) : part.copy(into, end);
    return end - at;
  }
  const bytes = transcoded(text);
  return bytes === undefined ? into.write(text, at) : bytes.copy(into, at);
}

/** At least as many bytes as it takes. */
export function mostBytes(text: Text): number {
  if (typeof text === 'string') return text.length * MAX_BYTES_A_UNIT;
  let most = 0;
  for (const part of text) most += typeof part === 'string' ? part.length * MAX_BYTES_A_UNIT : part.length;
  return most;
}

/** How long it is, in UTF-16 units or bytes: for caps. */
export function lengthOf(text: Text): number {
  if (typeof text === 'string') return text.length;
  let length = 0;
  for (const part of text) length += part.length;
  return length;
}

/** The same as one string. */
export function textOf(text: Text): string {
  if (typeof text === 'string') return text;
  let out = '';
  for (const part of text) out += typeof part === 'string' ? part : part.toString();
  return out;
}

/** Puts texts one behind another. */
export class TextWriter {
  readonly #parts: (string | Buffer)[] = [];
  #last = '';

  add(text: Text): this {
    if (typeof text === 'string') this.#last += text;
    else {
      for (const part of text) {
        if (typeof part === 'string') this.#last += part;
        else this.bytes(part);
      }
    }
    return this;
  }

  /** @param bytes UTF-8 of whole characters, never changed */
  bytes(bytes: Buffer): this {
    this.#parts.push(this.#last, bytes);
    this.#last = '';
    return this;
  }

  get text(): Text {
    return this.#parts.length === 0 ? this.#last : [...this.#parts, this.#last];
  }
}

function transcoded(text: string): Buffer | undefined {
  if (text.length < FROM || text.length > TO || !BEYOND_LATIN1.test(text)) return undefined;
  utf16 ??= Buffer.allocUnsafeSlow(2 * TO);
  try {
    return transcode(utf16.subarray(0, utf16.write(text, 'utf16le')), 'utf16le', 'utf8') as Buffer;
  } catch {
    // Half a surrogate pair, for which UTF-8 has no bytes: the platform puts a replacement there.
    return undefined;
  }
}
