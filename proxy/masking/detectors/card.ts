import { type Detector, isAlnum, readNumber, startsWord } from './detector.ts';

const MAX_DIGITS = 19;

/** Issuer identification numbers (ISO/IEC 7812) of the large schemes, and the lengths they issue. */
function lengths(digits: string): readonly number[] {
  const two = Number(digits.slice(0, 2));
  const three = Number(digits.slice(0, 3));
  const four = Number(digits.slice(0, 4));
  if (digits.startsWith('4')) return [19, 16, 13];
  if ((two >= 51 && two <= 55) || (four >= 2221 && four <= 2720) || (four >= 2200 && four <= 2204)) return [16];
  if (two === 34 || two === 37) return [15];
  if ((three >= 300 && three <= 305) || two === 36 || two === 38 || two === 39) return [14, 16];
  if (four >= 3528 && four <= 3589) return [19, 18, 17, 16];
  if (four === 6011 || (three >= 644 && three <= 649) || two === 65 || two === 62) return [19, 18, 17, 16];
  if ([5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763].includes(four)) return [19, 18, 16, 15, 14, 13, 12];
  return [];
}

/** The check digit of ISO/IEC 7812-1, annex B. */
function luhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i++) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - 48;
    const weighted = i % 2 === 0 ? digit : digit * 2;
    sum += weighted > 9 ? weighted - 9 : weighted;
  }
  return sum % 10 === 0;
}

export const card: Detector = {
  id: 'card',
  title: 'Payment card number',
  longest: 2 * MAX_DIGITS + 2,
  anchors: { digits: 12 },
  scan(text, anchor, found) {
    if (!startsWord(text, anchor)) return true;
    // A fraction: 0.4111111111111111
    if (text.charAt(anchor - 1) === '.' && /(?:^|[:=,"'([{]\s?)0\.$/.test(text.slice(Math.max(0, anchor - 4), anchor))) return true;
    const number = readNumber(text, anchor, MAX_DIGITS, ' -\u00a0\u2011');
    for (const length of lengths(number.digits)) {
      const end = number.ends[length - 1];
      if (end === undefined || isAlnum(text.charCodeAt(end))) continue;
      if (number.groups.length > 1 && number.digits.length >= length && !wellGrouped(number.groups, length)) continue;
      if (luhn(number.digits.slice(0, length))) {
        found(anchor, end);
        return end < text.length;
      }
    }
    return false;
  },
  maybe(text, anchor) {
    // No issuer has numbers that begin with 0, 1, 7, 8 or 9.
    const first = text.charCodeAt(anchor) - 48;
    return first >= 2 && first <= 6;
  },
};

/** Printed in groups of four (the last may be shorter), or 4-6-5 and 4-6-4: other groupings are other numbers. */
function wellGrouped(groups: readonly number[], length: number): boolean {
  let sum = 0;
  const own: number[] = [];
  for (const group of groups) {
    if (sum >= length) break;
    own.push(group);
    sum += group;
  }
  if (sum < length) return false;
  const body = own.slice(0, -1);
  if (own.length === 1) return true;
  return body.every((g) => g === 4) || (own.length === 3 && own[0] === 4 && own[1] === 6);
}
