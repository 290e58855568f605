import { type Detector, isAlnum, isDigit, startsWord } from './detector.ts';

/** Length by country, from SWIFT's IBAN registry. */
const LENGTHS: Readonly<Record<string, number>> = Object.fromEntries(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 ' +
    'GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 ' +
    'OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
);

const MAX_LENGTH = Math.max(...Object.values(LENGTHS));
/** The values of the characters of the number that is looked at: 0–9, and 10–35 for letters; good until the next is. */
const values = new Uint8Array(MAX_LENGTH);

/** ISO 7064 MOD 97-10 over the number with its first four characters moved to the end. */
function mod97(length: number): boolean {
  let rest = 0;
  for (let i = 0; i < length; i++) {
    const value = values[(i + 4) % length] as number;
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1;
}

export const iban: Detector = {
  id: 'iban',
  title: 'Bank account number (IBAN)',
  longest: 64,
  anchors: { words: Object.keys(LENGTHS), wordsThen: 'digit' },
  scan(text, anchor, found) {
    const length = LENGTHS[text.slice(anchor, anchor + 2).toUpperCase()];
    if (length === undefined || !this.maybe?.(text, anchor) || !startsWord(text, anchor)) return false;
    let count = 0;
    let i = anchor;
    for (; count < length; i++) {
      const code = text.charCodeAt(i);
      if (isAlnum(code)) values[count++] = isDigit(code) ? code - 48 : (code | 32) - 87;
      else if (!((code === 32 || code === 45) && isAlnum(text.charCodeAt(i + 1)))) return i < text.length;
    }
    if (!isAlnum(text.charCodeAt(i)) && mod97(length)) found(anchor, i);
    return i < text.length;
  },
  maybe(text, anchor) {
    return isDigit(text.charCodeAt(anchor + 2)) && isDigit(text.charCodeAt(anchor + 3));
  },
};
