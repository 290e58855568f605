/** What stands in place of a value. None of it is ever detected again. */
import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';
import { assertNever } from '../../contract/problem.ts';
import type { MaskKind } from '../../contract/verdict.ts';
import { TokenNumbers } from './tokenNumbers.ts';

/** Distinct values that a session numbers; beyond it a value is redacted instead. */
const MAX_TOKENS = 100_000;
/** Labels whose names are remembered. */
const MAX_NAMES = 1000;
/** Longest outline of a value, in characters. */
const MAX_SHAPE = 64;
/** A value must be this many times as long as what a partial mask shows of it. */
const SHOWN_FRACTION = 3;

/** The value's outline: letters and digits as dots, and of the rest only what tells its form. */
export function shapeOf(value: string): string {
  const shape = value.slice(0, MAX_SHAPE - 1).replace(/[^@.,:;/+() _-]/gsu, '•');
  return value.length >= MAX_SHAPE ? `${shape}…` : shape;
}

/** Makes the replacements of one session: the same value gets the same token for as long as the session lives. */
export class MaskForms {
  /** Made once: a key in bytes is imported anew for every digest, which costs more than the digest. */
  readonly #key: KeyObject;
  readonly #tokens = new Map<string, TokenNumbers>();
  #tokenCount = 0;
  readonly #names = new Map<string, string>();

  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
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
        return this.#token(value, this.nameOf(label));
      default:
        return assertNever(kind);
    }
  }

  #digest(value: string): string {
    // Lone surrogates are kept apart: UTF-8 would make them all the same.
    return createHmac('sha256', this.#key).update(Buffer.from(value, 'utf16le')).digest('hex');
  }

  /** @returns 0 for a new value where no more are numbered. */
  tokenNumber(bytes: Uint8Array, start: number, end: number, name: string): number {
    let numbers = this.#tokens.get(name);
    if (!numbers) {
      numbers = new TokenNumbers();
      this.#tokens.set(name, numbers);
    }
    const before = numbers.count;
    const number = numbers.of(bytes, start, end, this.#tokenCount < MAX_TOKENS);
    this.#tokenCount += numbers.count - before;
    return number;
  }

  #token(value: string, name: string): string {
    // Lone surrogates are kept apart: UTF-8 would make them all the same. No UTF-8 begins with this byte.
    const bytes = value.isWellFormed() ? Buffer.from(value) : Buffer.concat([Buffer.of(0xff), Buffer.from(value, 'utf16le')]);
    const number = this.tokenNumber(bytes, 0, bytes.length, name);
    return number === 0 ? '‹redacted›' : `‹${name}·${number}›`;
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
    .slice(0, 40);
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
