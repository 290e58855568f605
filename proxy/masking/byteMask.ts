/**
 * Masks written from bytes to bytes: what `MaskForms` gives, without a string in between where the value lets it. Results
 * have millions of values, and making a string of each costs more than everything else that is done to it.
 */
import type { MaskKind } from '../../contract/verdict.ts';
import type { MaskForms } from './forms.ts';
import { writeCheck } from './tokenText.ts';

/** How much longer than its value a mask may be, in bytes of UTF-8. */
export const MASK_ROOM = 64;

/**
 * Writes the mask of the UTF-8 value in `source[start, end)` to `target` from `at` on, where there must be room for the
 * value's length and `MASK_ROOM`. @returns where the mask ends.
 */
export type ByteMask = (source: Buffer, start: number, end: number, target: Buffer, at: number) => number;

export function byteMask(forms: MaskForms, kind: MaskKind, label: string): ByteMask {
  const ofText: ByteMask = (source, start, end, target, at) => writeText(forms.make(source.toString('utf8', start, end), kind, label), target, at);
  switch (kind) {
    case 'redact': {
      const redacted = Buffer.from(forms.make('', kind, label));
      return (_source, _start, _end, target, at) => copyBytes(redacted, 0, redacted.length, target, at);
    }
    case 'partial':
      return (source, start, end, target, at) => {
        const mail = partialOfMail(source, start, end, target, at);
        const done = mail < 0 ? partialOfAscii(source, start, end, target, at) : mail;
        return done < 0 ? ofText(source, start, end, target, at) : done;
      };
    case 'token': {
      const before = Buffer.from(`‹${forms.nameOf(label)}·`);
      const between = Buffer.from('·');
      const after = Buffer.from('›');
      const redacted = Buffer.from(forms.make('', 'redact', label));
      const numbered = forms.numbered(label);
      return (source, start, end, target, at) => {
        const number = numbered ? numbered.number(source, start, end) : 0;
        if (!numbered || number === 0) return copyBytes(redacted, 0, redacted.length, target, at);
        const numberEnd = writeNumber(number, target, copyBytes(before, 0, before.length, target, at));
        const checkEnd = writeCheck(numbered.check(number), target, copyBytes(between, 0, between.length, target, numberEnd));
        return copyBytes(after, 0, after.length, target, checkEnd);
      };
    }
    case 'hash':
      return ofText;
  }
}

/** UTF-8 of a short text. */
function writeText(text: string, target: Buffer, from: number): number {
  let at = from;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) target[at++] = code;
    else if (code < 0x800 || (code >= 0xd800 && code < 0xe000)) return from + target.write(text, from, 'utf8');
    else {
      target[at++] = 0xe0 | (code >> 12);
      target[at++] = 0x80 | ((code >> 6) & 0x3f);
      target[at++] = 0x80 | (code & 0x3f);
    }
  }
  return at;
}

function writeNumber(number: number, target: Buffer, from: number): number {
  let digits = 1;
  for (let rest = number; rest >= 10; rest = Math.floor(rest / 10)) digits++;
  let rest = number;
  for (let at = from + digits - 1; at >= from; at--) {
    target[at] = 48 + (rest % 10);
    rest = Math.floor(rest / 10);
  }
  return from + digits;
}

const SPACE = 1;
const DOMAIN = 2;
const DIGIT = 4;
/** What a number may be written with besides its digits. */
const PUNCTUATION = 8;
const ALNUM = 16;
const CLASSES = Uint8Array.from({ length: 128 }, (_, code) => {
  const char = String.fromCharCode(code);
  return (
    (/\s/.test(char) ? SPACE : 0) |
    (/[A-Za-z0-9.-]/.test(char) ? DOMAIN : 0) |
    (/\d/.test(char) ? DIGIT : 0) |
    (/[\s().+/-]/.test(char) ? PUNCTUATION : 0) |
    (/[A-Za-z0-9]/.test(char) ? ALNUM : 0)
  );
});
const AT_SIGN = 64;
/** As in `partial` of `forms.ts`, which this must agree with on every value (held by a test). */
const MAX_DOMAIN = 255;

/** What a byte may be in a mail address before its sign, and after it. */
const LOCAL_PART = Uint8Array.from({ length: 256 }, (_, code) => (code < 128 && code !== AT_SIGN && ((CLASSES[code] as number) & SPACE) === 0 ? 1 : 0));
const DOMAIN_PART = Uint8Array.from({ length: 256 }, (_, code) => (code < 128 && ((CLASSES[code] as number) & DOMAIN) !== 0 ? 1 : 0));

/** What `partialOfAscii` gives of a mail address, looked at and written in one pass. @returns -1 for what is none */
function partialOfMail(source: Buffer, start: number, end: number, target: Buffer, from: number): number {
  let sign = start;
  while (sign < end && LOCAL_PART[source[sign] as number] === 1) sign++;
  const domain = end - sign - 1;
  if (sign === start || domain < 1 || domain > MAX_DOMAIN || source[sign] !== AT_SIGN) return -1;
  let at = from;
  if (sign - start >= 2) target[at++] = source[start] as number;
  at = dots(target, at, 3);
  target[at++] = AT_SIGN;
  for (let i = sign + 1; i < end; i++) {
    const code = source[i] as number;
    if (DOMAIN_PART[code] === 0) return -1;
    target[at++] = code;
  }
  return at;
}

/** @returns where the mask ends; -1 for a value that is not ASCII: nothing was written then. */
function partialOfAscii(source: Buffer, start: number, end: number, target: Buffer, from: number): number {
  let digits = 0;
  let punctuation = 0;
  let sign = -1;
  let mail = true;
  for (let i = start; i < end; i++) {
    const code = source[i] as number;
    if (code >= 128) return -1;
    const kind = CLASSES[code] as number;
    if ((kind & DIGIT) !== 0) digits++;
    if ((kind & PUNCTUATION) !== 0) punctuation++;
    if (code === AT_SIGN) {
      if (sign >= 0) mail = false;
      else sign = i;
    } else if (sign < 0 ? (kind & SPACE) !== 0 : (kind & DOMAIN) === 0) mail = false;
  }
  const length = end - start;
  const domain = end - sign - 1;
  if (mail && sign > start && domain >= 1 && domain <= MAX_DOMAIN) {
    let at = from;
    if (sign - start >= 2) target[at++] = source[start] as number;
    return copyBytes(source, sign, end, target, dots(target, at, 3));
  }
  const at = dots(target, from, 4);
  if (digits === length - punctuation && digits >= 6) return lastDigits(source, end, digits >= 12 ? 4 : 2, target, at);
  const show = Math.min(4, Math.floor(length / 6));
  if (show < 2) return at;
  for (let i = end - show; i < end; i++) if (((CLASSES[source[i] as number] as number) & ALNUM) === 0) return at;
  return copyBytes(source, end - show, end, target, at);
}

function dots(target: Buffer, from: number, count: number): number {
  const end = from + count * 3;
  for (let at = from; at < end; at += 3) {
    target[at] = 0xe2;
    target[at + 1] = 0x80;
    target[at + 2] = 0xa2;
  }
  return end;
}

function lastDigits(source: Buffer, end: number, count: number, target: Buffer, at: number): number {
  let left = count;
  for (let i = end - 1; left > 0; i--) {
    const code = source[i] as number;
    if (((CLASSES[code] as number) & DIGIT) !== 0) target[at + --left] = code;
  }
  return at + count;
}

/** A loop up to this many bytes beats a call out of JavaScript. */
const SHORT = 64;

/** @returns where the copy ends. */
export function copyBytes(source: Buffer, start: number, end: number, target: Buffer, at: number): number {
  const length = end - start;
  if (length > SHORT) source.copy(target, at, start, end);
  else for (let i = 0; i < length; i++) target[at + i] = source[start + i] as number;
  return at + length;
}
