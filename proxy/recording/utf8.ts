/**
 * Long texts as UTF-8. The platform's own encoder takes texts that hold anything beyond Latin-1, as every masked text does, one character
 * after another at several times the cost of a loop.
 */

/** Shorter texts are left to the platform, and so are longer ones than are copied, in UTF-16 units. */
const FROM = 512;
const TO = 131_072;
/** Bytes that one UTF-16 unit can become. */
export const MAX_UTF8_BYTES = 3;
const BEYOND_LATIN1 = /[^\0-\xff]/;

const units = new Uint16Array(TO);
const unitBytes = Buffer.from(units.buffer);

/** A text as a stream takes it: as bytes where they are sooner had from here. */
export function forStream(text: string): string | Buffer {
  const { length } = text;
  if (length < FROM || length > TO || !BEYOND_LATIN1.test(text)) return text;
  const bytes = Buffer.allocUnsafe(length * MAX_UTF8_BYTES);
  return bytes.subarray(0, writeUtf8(text, bytes, 0));
}

/**
 * As `target.write(text, at)`: half a surrogate pair becomes U+FFFD.
 * @param target with room for all that the text can become
 * @returns how many bytes it has become
 */
export function writeUtf8(text: string, target: Buffer, at: number): number {
  const { length } = text;
  if (length < FROM || length > TO || !BEYOND_LATIN1.test(text)) return target.write(text, at);
  if (target.length - at < length * MAX_UTF8_BYTES) return target.write(text, at);
  unitBytes.write(text, 0, 'utf16le');
  let to = at;
  for (let i = 0; i < length; i++) {
    const unit = units[i] as number;
    if (unit < 0x80) target[to++] = unit;
    else if (unit < 0x800) {
      target[to++] = 0xc0 | (unit >> 6);
      target[to++] = 0x80 | (unit & 63);
    } else {
      const low = unit >= 0xd800 && unit <= 0xdbff && i + 1 < length ? (units[i + 1] as number) : 0;
      if (low >= 0xdc00 && low <= 0xdfff) {
        const point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        i++;
        target[to++] = 0xf0 | (point >> 18);
        target[to++] = 0x80 | ((point >> 12) & 63);
        target[to++] = 0x80 | ((point >> 6) & 63);
        target[to++] = 0x80 | (point & 63);
      } else {
        const whole = unit >= 0xd800 && unit <= 0xdfff ? 0xfffd : unit;
        target[to++] = 0xe0 | (whole >> 12);
        target[to++] = 0x80 | ((whole >> 6) & 63);
        target[to++] = 0x80 | (whole & 63);
      }
    }
  }
  return to - at;
}
