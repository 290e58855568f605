/** Values that nobody behind the proxy may see, and the search for them in whatever shape they may come out. */
import { createHash } from 'node:crypto';

/** Shortest piece of a value that is looked for: less would be found by chance. Hexadecimal digits alone are found by chance sooner. */
const PIECE = 6;
const DIGITS = 12;

/** What a reader of raw bytes could turn back into the value, as lower-case text. */
function disguises(value: string): string[] {
  const bytes = Buffer.from(value);
  const reversed = reversedOf(value);
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
  const length = /^[\da-f\s.:-]+$/.test(value) ? DIGITS : PIECE;
  return value.length <= length ? [] : Array.from({ length: value.length - length + 1 }, (_, at) => value.slice(at, at + length));
}

/** Of what is left when everything but letters and digits is taken away, and of the digits alone: more of it is needed to be no chance. */
const SQUEEZED = 9;
const CODES = 16;
const HASHES = ['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const;
/** As much of a hash as nobody has by chance, in characters. */
const HASH_PIECE = 16;
/** Every needle is found by its first characters, however many there are. */
const KEY = 6;
/** Three bytes as a number. */
const THREE = 0xffffff;

/** Needles by their first characters: the time to look is that of the text, not of what is looked for. */
class Needles {
  readonly #byKey = new Map<string, { readonly needle: string; readonly value: string }[]>();
  /** Which three bytes some needle begins with: of what is kept after a test, megabytes begin with none. */
  readonly #begins = new Uint8Array(THREE + 1);

  add(needle: string, value: string): void {
    const key = needle.slice(0, KEY);
    this.#begins[(needle.charCodeAt(0) << 16) | (needle.charCodeAt(1) << 8) | needle.charCodeAt(2)] = 1;
    const known = this.#byKey.get(key);
    if (!known) this.#byKey.set(key, [{ needle, value }]);
    else if (!known.some((one) => one.needle === needle)) known.push({ needle, value });
  }

  in(text: string, chance: string): string[] {
    const found = new Map<string, string>();
    const begins = this.#begins;
    let three = (text.charCodeAt(0) << 8) | text.charCodeAt(1);
    for (let at = 0; at + KEY <= text.length; at++) {
      three = ((three << 8) | text.charCodeAt(at + 2)) & THREE;
      if (begins[three] === 0) continue;
      for (const { needle, value } of this.#byKey.get(text.slice(at, at + KEY)) ?? []) {
        if (!found.has(value) && text.startsWith(needle, at) && !chance.includes(needle))
          found.set(value, `${value} as ${needle}: …${text.slice(Math.max(0, at - 80), at + needle.length + 40)}…`);
      }
    }
    return [...found.values()];
  }
}

export class Canaries {
  readonly #plain = new Needles();
  /** In letters and digits without what separates them: a value one character at a time. */
  readonly #squeezed = new Needles();
  /** In digits alone: the characters' codes. */
  readonly #codes = new Needles();

  /** @param whole values of which no piece may be seen either; of others a mask may show part */
  constructor(values: readonly string[], whole: readonly string[] = []) {
    for (const value of [...values, ...whole]) {
      for (const disguise of disguises(value)) this.#plain.add(disguise, value);
      for (const hash of HASHES) {
        const digest = createHash(hash).update(value).digest();
        for (const text of [digest.toString('hex'), digest.toString('base64').toLowerCase()]) this.#plain.add(text.slice(0, HASH_PIECE), value);
      }
      const bare = squeezed(value.toLowerCase());
      if (bare.length >= SQUEEZED && /[a-z]/.test(bare)) for (const text of [bare, reversedOf(bare)]) this.#squeezed.add(text, value);
      const codes = [...Buffer.from(value)].join('');
      if (codes.length >= CODES) this.#codes.add(codes, value);
    }
    for (const value of whole) {
      for (const piece of pieces(value)) {
        for (const disguise of [piece, reversedOf(piece), Buffer.from(piece).toString('hex')]) this.#plain.add(disguise.toLowerCase(), value);
      }
    }
  }

  /**
   * The values that stand in these bytes in any disguise, with what is around each.
   * @param chance random text that may stand in the bytes, such as ids: six letters of a value stand in one of some
   *   thousand ids once in a few hundred runs, and what does is no find
   */
  in(bytes: Buffer | string, chance = ''): string[] {
    // Upper case is undone here; latin1 keeps every byte.
    const text = (typeof bytes === 'string' ? Buffer.from(bytes) : bytes).toString('latin1').toLowerCase();
    const random = chance.toLowerCase();
    return [...this.#plain.in(text, random), ...this.#squeezed.in(squeezed(text), random), ...this.#codes.in(text.replaceAll(/\D/g, ''), random)];
  }
}

const reversedOf = (text: string): string => text.split('').toReversed().join('');
const squeezed = (text: string): string => text.replaceAll(/[^a-z0-9]/g, '');

/** A record without the hashes that chain it: random digits by the hundred thousand, among which the six of some value stand once in some runs. */
export function withoutHashes(record: string): string {
  return record.replaceAll(/"(?:prev|hash|digest)":"[\da-f]{64}"/g, '');
}
