/** Text inside Base64: told by what the bytes are, never by what they are said to be. */
import { isUtf8 } from 'node:buffer';

/** Shorter than this nothing sensitive fits, in characters: what looks like Base64 there is a name or a number. */
const SHORTEST = 16;
const BASE64 = /^[A-Za-z0-9+/_-][A-Za-z0-9+/_\-\r\n]*(?:={1,2}[\r\n]*)?$/;

export interface EncodedText {
  readonly text: string;
  /** The Base64 of another text in its place. */
  readonly encode: (text: string) => string;
}

export function isBase64(value: string): boolean {
  return BASE64.test(value);
}

/** @param said its type is said to be text; @returns undefined where it is no Base64, or its bytes are a picture's, a sound's or a program's */
export function textInBase64(value: string, said = false): EncodedText | undefined {
  if (value.length < SHORTEST || !isBase64(value)) return undefined;
  const bytes = Buffer.from(value, 'base64');
  const form = /[-_]/.test(value) ? 'base64url' : 'base64';
  // A byte order mark is kept, as the first character of the text.
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return { text: bytes.toString('utf16le'), encode: (text) => Buffer.from(text, 'utf16le').toString(form) };
  if (bytes[0] === 0xfe && bytes[1] === 0xff && bytes.length % 2 === 0) {
    return { text: Buffer.from(bytes).swap16().toString('utf16le'), encode: (text) => Buffer.from(text, 'utf16le').swap16().toString(form) };
  }
  const encode = (text: string): string => Buffer.from(text).toString(form);
  if (said || isUtf8(bytes)) return { text: bytes.toString(), encode };
  return isBinary(bytes) ? undefined : { text: bytes.toString('latin1'), encode };
}

/** Holds what no text of a single byte a character does: control characters other than blanks and escapes. */
function isBinary(bytes: Buffer): boolean {
  return bytes.some((byte) => byte < 9 || (byte > 13 && byte < 32 && byte !== 27));
}
