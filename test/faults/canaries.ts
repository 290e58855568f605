/** Values that nobody behind the proxy may see, and the search for them in whatever shape they may come out. */

/** Shortest piece of a value that is looked for: less would be found by chance. Digits alone are found by chance sooner. */
const PIECE = 8;
const DIGITS = 12;

/** What a reader of raw bytes could turn back into the value, as lower-case text. */
function disguises(value: string): string[] {
  const bytes = Buffer.from(value);
  const reversed = value.split('').reverse().join('');
  // Base64 of a value in the middle of other bytes begins at any of three offsets; the ends depend on the neighbours.
  const base64 = [0, 1, 2].map((offset) =>
    Buffer.concat([Buffer.alloc(offset), bytes])
      .toString('base64')
      .slice(offset === 0 ? 0 : 4, -4),
  );
  return [value, reversed, bytes.toString('hex'), Buffer.from(reversed).toString('hex'), bytes.toString('utf16le'), ...base64]
    .map((text) => text.toLowerCase())
    .filter((text) => text.length >= PIECE);
}

/** Every piece of a value that is long enough to be no chance, wherever it was cut. */
function pieces(value: string): string[] {
  const length = /^[\d\s.-]+$/.test(value) ? DIGITS : PIECE;
  return value.length <= length ? [] : Array.from({ length: value.length - length + 1 }, (_, at) => value.slice(at, at + length));
}

export class Canaries {
  readonly #disguises = new Map<string, string>();

  /** @param whole values of which no piece may be seen either; of others a mask may show part */
  constructor(values: readonly string[], whole: readonly string[] = []) {
    for (const value of [...values, ...whole]) for (const disguise of disguises(value)) this.#disguises.set(disguise, value);
    for (const value of whole) {
      for (const piece of pieces(value)) {
        const reversed = piece.split('').toReversed().join('');
        for (const disguise of [piece, reversed, Buffer.from(piece).toString('hex')]) this.#disguises.set(disguise.toLowerCase(), value);
      }
    }
  }

  /** The values that stand in these bytes in any disguise, with what is around each. */
  in(bytes: Buffer | string): string[] {
    // Upper case is undone here; latin1 keeps every byte.
    const text = (typeof bytes === 'string' ? Buffer.from(bytes) : bytes).toString('latin1').toLowerCase();
    return [...this.#disguises].flatMap(([disguise, value]) => {
      const at = text.indexOf(disguise);
      return at < 0 ? [] : [`${value} as ${disguise}: …${text.slice(Math.max(0, at - 80), at + disguise.length + 40)}…`];
    });
  }
}
