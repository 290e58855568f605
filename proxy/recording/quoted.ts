/**
 * A long text in JSON's quotes, as UTF-8, made once for those who write it one after another: to the client, and into the record.
 * A masked text is made of what it was put together from: its pieces are mostly Latin-1, which is quoted and encoded
 * several times as fast as the whole, in which a mask's marks are not.
 */

/** Shorter texts are quoted as fast as they are looked up, and longer ones are not kept for long; in characters. */
const QUOTED_FROM = 1_024;
const QUOTED_TO = 1_048_576;
/** How a half of a surrogate pair is quoted. A text may hold the same letters. */
const HALF_OF_A_PAIR = '\\ud';
/** The largest room that is kept for the next text, in bytes. */
const KEPT_BYTES = 262_144;

export interface Quoted {
  /** JSON, as `JSON.stringify` writes it. */
  readonly bytes: Buffer;
  /** It has no half of a surrogate pair: other texts have no UTF-8. */
  readonly wellFormed: boolean;
}

/** The last long text. */
let text = '';
let pieces: readonly string[] = [''];
let quoted: Quoted | undefined;

/** @param madeOf what follows one another in the text */
export function putTogether(whole: string, madeOf: readonly string[]): void {
  if (!isLong(whole)) return;
  text = whole;
  pieces = madeOf;
  quoted = undefined;
}

export function isLong(whole: string): boolean {
  return whole.length >= QUOTED_FROM && whole.length <= QUOTED_TO;
}

/** @param whole a long text */
export function quotedBytes(whole: string): Quoted {
  if (whole !== text) putTogether(whole, [whole]);
  quoted ??= quote(pieces) ?? quoteWhole(whole);
  return quoted;
}

let room = Buffer.alloc(0);

/** @returns undefined where a piece may end within a character */
function quote(parts: readonly string[]): Quoted | undefined {
  const json = parts.map((part) => JSON.stringify(part));
  let most = 2;
  for (const part of json) {
    if (part.includes(HALF_OF_A_PAIR)) return undefined;
    most += part.length * 3;
  }
  const into = most <= room.length ? room : Buffer.allocUnsafeSlow(most);
  if (most <= KEPT_BYTES) room = into;
  let end = 1;
  for (const part of json) {
    // Its opening quote falls on what stands there already, and its closing one is written over by the next.
    const before = into[end - 1] as number;
    const written = into.write(part, end - 1);
    into[end - 1] = before;
    end += written - 2;
  }
  into[0] = 34;
  into[end++] = 34;
  return { bytes: Buffer.from(into.subarray(0, end)), wellFormed: true };
}

function quoteWhole(whole: string): Quoted {
  return { bytes: Buffer.from(JSON.stringify(whole)), wellFormed: whole.isWellFormed() };
}
