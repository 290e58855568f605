/** Kinds of characters, told by a table: an expression costs ten times as much, and hostile text has us ask at every character. */

export interface Chars {
  /** By UTF-16 code below 128: 1 where it is of the kind. */
  readonly ascii: Uint8Array;
  /** Tells the rest; left out where nothing beyond ASCII is of the kind. */
  readonly wide: RegExp | undefined;
}

/** @param one matches a single character; @param beyond whether it also matches some that are not ASCII */
export function chars(one: RegExp, beyond: 'ascii' | 'wide' = 'ascii'): Chars {
  return {
    ascii: Uint8Array.from({ length: 128 }, (_, code) => (one.test(String.fromCharCode(code)) ? 1 : 0)),
    wide: beyond === 'wide' ? one : undefined,
  };
}

/** False for NaN (outside the text). */
export function isOf(kind: Chars, code: number): boolean {
  return code < 128 ? kind.ascii[code] === 1 : kind.wide !== undefined && code >= 128 && kind.wide.test(String.fromCharCode(code));
}
