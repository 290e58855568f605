/** What stands in place of a value. None of it is ever detected again. */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { assertNever } from '../../contract/problem.ts';
import type { MaskKind } from '../../contract/verdict.ts';
import { checkOf, MAX_NAME, tokenText } from './tokenText.ts';
import { bytesOf, type Numbered, type TokenVault } from './vault.ts';

/** Labels whose names are remembered. */
const MAX_NAMES = 1000;
/** Longest outline of a value, in characters. */
const MAX_SHAPE = 64;
/** Characters that tell a value's form. */
const TELLING = '@.,:;/+() _-';
/** A value must be this many times as long as what a partial mask shows of it. */
const SHOWN_FRACTION = 3;

/** By UTF-16 code: 1 for those. */
const IS_TELLING = Uint8Array.from({ length: 128 }, (_, code) => (TELLING.includes(String.fromCharCode(code)) ? 1 : 0));

/** The value's outline: letters and digits as dots, and of the rest only what tells its form. */
export function shapeOf(value: string): string {
  let shape = '';
  const end = Math.min(value.length, MAX_SHAPE - 1);
  for (let i = 0; i < end; i++) {
    const code = value.charCodeAt(i);
    shape += code < 128 && IS_TELLING[code] === 1 ? value.charAt(i) : '•';
    // Both halves of a surrogate pair are one dot.
    if (code >= 0xd800 && code < 0xdc00 && i + 1 < end && isLowSurrogate(value.charCodeAt(i + 1))) i++;
  }
  return value.length >= MAX_SHAPE ? `${shape}…` : shape;
}

function isLowSurrogate(code: number): boolean {
  return code >= 0xdc00 && code < 0xe000;
}

/** Makes the replacements of one session: the same value gets the same token for as long as the conversation lives. */
export class MaskForms {
  readonly #vault: TokenVault;
  readonly #connection: string;
  /** Made once: a key in bytes is imported anew for every digest, which costs more than the digest. */
  readonly #key: KeyObject;
  readonly #numbered = new Map<string, Numbered>();
  readonly #names = new Map<string, string>();

  /** @param connection by which the vault tells where values came from */
  constructor(key: Uint8Array, vault: TokenVault, connection: string) {
    this.#key = createSecretKey(key);
    this.#vault = vault;
    this.#connection = connection;
  }

  make(value: string, kind: MaskKind, label: string): string {
    switch (kind) {
      case 'redact':
        return '‹redacted›';
      case 'partial':
        return partial(value);
      case 'hash':
        return `‹${this.nameOf(label)}·${this.#digest(value).slice(0, 6)}›`;
      case 'token':
        return this.#token(value, label);
      default:
        return assertNever(kind);
    }
  }

  #digest(value: string): string {
    // Lone surrogates are kept apart: UTF-8 would make them all the same.
    return createHmac('sha256', this.#key).update(Buffer.from(value, 'utf16le')).digest('hex');
  }

  /** Who numbers the values of a label; undefined where none are any more. */
  numbered(label: string): Numbered | undefined {
    let numbered = this.#numbered.get(label);
    if (!numbered) {
      numbered = this.#vault.numbered(this.nameOf(label), `${this.#connection}/${label}`);
      if (numbered && this.#numbered.size < MAX_NAMES) this.#numbered.set(label, numbered);
    }
    return numbered;
  }

  #token(value: string, label: string): string {
    const numbered = this.numbered(label);
    const bytes = bytesOf(value);
    const number = numbered?.number(bytes, 0, bytes.length) ?? 0;
    if (!numbered || number === 0) return '‹redacted›';
    return tokenText({ name: this.nameOf(label), number, check: checkOf(numbered.check(number)) });
  }

  /** What a mask calls the value. */
  nameOf(label: string): string {
    let name = this.#names.get(label);
    if (name === undefined) {
      name = nameOf(label);
      if (this.#names.size < MAX_NAMES) this.#names.set(label, name);
    }
    return name;
  }
}

/** The last part of `customers.email`, in characters that a mask may hold. */
function nameOf(label: string): string {
  const name = label
    .slice(label.lastIndexOf('.') + 1)
    .replace(/[^A-Za-z0-9_-]/g, '_')
    .slice(0, MAX_NAME);
  return name === '' ? 'value' : name;
}

const DOTS = '•••';

function partial(value: string): string {
  const mail = /^([^@\s•‹›])[^@\s]*@([A-Za-z0-9.-]{1,255})$/.exec(value);
  if (mail && value.indexOf('@') >= 2) return `${mail[1]}${DOTS}@${mail[2]}`;
  if (mail) return `${DOTS}@${mail[2]}`;
  const digits = value.replace(/\D/g, '');
  const written = value.replace(/[\s().+/-]/g, '').length;
  if (digits.length === written && digits.length >= 12) return `••••${digits.slice(-4)}`;
  if (digits.length === written && digits.length >= 6) return `••••${digits.slice(-2)}`;
  const show = Math.min(4, Math.floor(value.length / SHOWN_FRACTION / 2));
  const end = value.slice(-show);
  // Only letters and digits are shown, and only where enough stays hidden; half a surrogate pair is none.
  return show >= 2 && /^[A-Za-z0-9]+$/.test(end) ? `••••${end}` : '••••';
}
