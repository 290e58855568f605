/**
 * Long texts as UTF-8. Where a text has one character beyond Latin-1, as every masked one has, the platform encodes it character
 * by character; by way of UTF-16 it is encoded many at a time, in half the time.
 */
import { transcode } from 'node:buffer';

/** Texts that are shorter, or longer, are left to the platform; in UTF-16 units. The copy in UTF-16 has room for the longest. */
const FROM = 1_024;
const TO = 65_536;
const BEYOND_LATIN1 = /[^\0-\xff]/;

let utf16: Buffer | undefined;

/** As `Buffer.from(text)`. */
export function utf8(text: string): Buffer {
  return transcoded(text) ?? Buffer.from(text);
}

/** As `into.write(text, at)`, where there is room for all of it. @returns bytes written */
export function writeUtf8(into: Buffer, text: string, at: number): number {
  const bytes = transcoded(text);
  return bytes === undefined ? into.write(text, at) : bytes.copy(into, at);
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
