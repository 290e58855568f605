import { type Detector, isDigit, startsWord } from './detector.ts';

/** Area 001–899 without 666, group and serial not zero (SSA, since randomisation in 2011). */
function valid(area: string, group: string, serial: string): boolean {
  return area !== '000' && area !== '666' && !area.startsWith('9') && group !== '00' && serial !== '0000';
}

/** What says that an unhyphenated number is one: `ssn`, `social security number`, right before it. */
const CONTEXT = /(?:ssn|social[ _-]?sec(?:urity)?)[ _-]?(?:number|num|no|nr|#)?[.\\]*["']?\s*(?:is|[:=#>])?\s*[\\]*["']?$/i;
const CONTEXT_WINDOW = 48;

export const usSsn: Detector = {
  id: 'us-ssn',
  title: 'US social security number',
  longest: 16,
  anchors: { digits: 9 },
  scan(text, anchor, found) {
    const match = /^(\d{3})([- ]?)(\d{2})\2(\d{4})(?![0-9A-Za-z])/.exec(text.slice(anchor, anchor + 12));
    if (!match || !startsWord(text, anchor)) return false;
    const [all, area = '', separator, group = '', serial = ''] = match;
    const end = anchor + all.length;
    // A piece of a longer number: 1-123-45-6789, 123-45-6789-0
    if (/(?:^|[\s"':=,([{])\d{1,2}-$/.test(text.slice(Math.max(0, anchor - 4), anchor))) return false;
    if (/^[-.]\d{1,2}(?![0-9A-Za-z])/.test(text.slice(end, end + 4))) return false;
    if (!valid(area, group, serial)) return false;
    if (separator === '-' || CONTEXT.test(text.slice(Math.max(0, anchor - CONTEXT_WINDOW), anchor))) found(anchor, end);
    return false;
  },
  maybe(text, anchor) {
    // Three digits, two and four: in a row, or with the same separator between them.
    if (!isDigit(text.charCodeAt(anchor + 1)) || !isDigit(text.charCodeAt(anchor + 2))) return false;
    const separator = text.charCodeAt(anchor + 3);
    if (isDigit(separator)) return digitsAt(text, anchor + 4, 5);
    return (
      (separator === 45 || separator === 32) && digitsAt(text, anchor + 4, 2) && text.charCodeAt(anchor + 6) === separator && digitsAt(text, anchor + 7, 4)
    );
  },
};

function digitsAt(text: string, at: number, count: number): boolean {
  for (let i = at; i < at + count; i++) if (!isDigit(text.charCodeAt(i))) return false;
  return true;
}
