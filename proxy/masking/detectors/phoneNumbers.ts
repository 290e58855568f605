/**
 * Whether digits are a number that some country gives out. The library takes a number apart to tell; where a country has its calling code
 * to itself and one pattern for all of its numbers, a number that the pattern matches is valid whatever else is found in it, and that is told
 * at once.
 */
import metadata from 'libphonenumber-js/metadata.min.json';
import { isValidPhoneNumber } from 'libphonenumber-js/min';

/** Where a country's entry has the pattern of its numbers, and the patterns of their kinds. */
const PATTERN = 2;
const KINDS = 11;
const MAX_CALLING_CODE = 3;

/** By calling code; made when the first number of one comes. */
const patterns = new Map<string, RegExp | undefined>();

function patternOf(callingCode: string): RegExp | undefined {
  if (patterns.has(callingCode)) return patterns.get(callingCode);
  const [country, ...others] = (metadata.country_calling_codes as Readonly<Record<string, readonly string[]>>)[callingCode] ?? [];
  const entry = country === undefined || others.length > 0 ? undefined : (metadata.countries as Readonly<Record<string, readonly unknown[]>>)[country];
  const pattern = entry?.[PATTERN];
  const found = typeof pattern === 'string' && !entry?.[KINDS] ? new RegExp(`^(?:${pattern})$`) : undefined;
  patterns.set(callingCode, found);
  return found;
}

/** @param digits after the plus */
export function isPhoneNumber(digits: string): boolean {
  for (let length = 1; length <= MAX_CALLING_CODE; length++) {
    if (patternOf(digits.slice(0, length))?.test(digits.slice(length)) === true) return true;
  }
  return isValidPhoneNumber(`+${digits}`);
}
