import { chars, isOf } from './chars.ts';
import { type Detector, endsEscape, isAlnum, isDigit, MAX_BEFORE } from './detector.ts';

/** RFC 5321 (section 4.5.3.1) has 64 and 255; a longer local part is masked as far as this, whatever it is. */
const MAX_LOCAL = MAX_BEFORE;
const MAX_DOMAIN = 255;

const LOCAL = chars(/[A-Za-z0-9._%+-]/);
const DOMAIN = chars(/[A-Za-z0-9.-]/);
const AFTER_USERINFO = chars(/[\s/?#@"'<>]/, 'wide');

/** Letters beyond ASCII (internationalised addresses), not punctuation (U+2000–U+206F with what our masks are written in, U+00A0–U+00BF) or spaces. */
function isWide(code: number): boolean {
  return code > 0xbf && !(code >= 0x2000 && code <= 0x206f) && code !== 0x3000 && code !== 0xfeff;
}

/** How long an at-sign is: plain, in a URL, in escaped JSON; 0 where there is none. */
function signLength(text: string, at: number): number {
  switch (text.charCodeAt(at)) {
    case 64:
      return 1;
    case 37:
      return text.startsWith('%40', at) ? 3 : 0;
    default:
      return text.startsWith('\\u0040', at) ? 6 : 0;
  }
}

export const email: Detector = {
  id: 'email',
  title: 'Email address',
  longest: 8 + MAX_DOMAIN,
  anchors: { chars: '@', literals: ['\\u0040', '%40'] },
  scan(text, anchor, found) {
    const sign = signLength(text, anchor);
    if (sign === 0) return true;
    let start = anchor;
    for (const limit = Math.max(0, anchor - MAX_LOCAL); start > limit; start--) {
      const code = text.charCodeAt(start - 1);
      if (!isOf(LOCAL, code) && !isWide(code)) break;
    }
    // A run that is longer than any local part is cut where a word begins, so that what is left of it ends as it did before.
    if (anchor - start === MAX_LOCAL && isAlnum(text.charCodeAt(start - 1))) {
      let word = start;
      while (word < anchor && !isSeparator(text.charCodeAt(word))) word++;
      if (word < anchor) start = word;
    }
    // The letter of an escape (`\n`) is not part of the address.
    if (text.charCodeAt(start - 1) === 92 && endsEscape(text, start + 1)) start++;
    while (start < anchor && '.-%'.includes(text.charAt(start))) start++;
    if (start === anchor) return true;

    const from = anchor + sign;
    let end = from;
    for (const limit = from + MAX_DOMAIN; end < limit; end++) {
      const code = text.charCodeAt(end);
      if (!isOf(DOMAIN, code) && !isWide(code)) break;
    }
    const decided = end < text.length;
    while (end > from && '.-'.includes(text.charAt(end - 1))) end--;
    // The last label is a top-level domain: letters, which a version number (`name@1.2.3`) has not.
    const domain = text.slice(from, end);
    for (let stop = domain.length, dot = domain.lastIndexOf('.'); dot > 0; stop = dot, dot = domain.lastIndexOf('.', dot - 1)) {
      const top = topLength(domain, dot + 1, stop);
      if (top < 2) continue;
      const last = dot + 1 + top;
      if (!isOther(text, start, anchor, domain.slice(0, last), text.charAt(from + last))) found(start, from + last);
      break;
    }
    return decided;
  },
  maybe(text, anchor) {
    const before = text.charCodeAt(anchor - 1);
    return before >= 128 || isOf(LOCAL, before);
  },
};

/** `.`, `_`, `%`, `+` or `-`. */
function isSeparator(code: number): boolean {
  return code === 46 || code === 95 || code === 37 || code === 43 || code === 45;
}

function isLetter(code: number): boolean {
  return isWide(code) || (isAlnum(code) && !isDigit(code));
}

/** How many letters a label begins with (`xn--` and what follows are letters in disguise). */
function topLength(domain: string, from: number, end: number): number {
  if (end - from > 4 && /^xn--[a-z0-9-]{1,59}$/i.test(domain.slice(from, end))) return end - from;
  let i = from;
  while (i < end && isLetter(domain.charCodeAt(i))) i++;
  return i - from;
}

/** Things with an at-sign that are no addresses: `git@host:path`, `icon@2x.png`, the password of a URL. */
function isOther(text: string, start: number, anchor: number, domain: string, next: string): boolean {
  if (next === ':' && text.slice(start, anchor) === 'git') return true;
  if (isDigit(domain.charCodeAt(0)) && /^\dx\.(?:png|jpe?g|gif|svg|webp)$/.test(domain)) return true;
  // Userinfo with a password belongs to the detector for secrets; an encoded sign does not end userinfo. Mostly an address stands behind a
  // blank or a quote, where no userinfo goes on: to look for where one began costs as much as all the rest.
  return (
    text.charCodeAt(anchor) === 64 &&
    start > 0 &&
    !isOf(AFTER_USERINFO, text.charCodeAt(start - 1)) &&
    /:\/\/[^\s/?#@:"'<>]{0,79}:[^\s/?#@"'<>]{0,120}$/.test(text.slice(Math.max(0, start - 200), start))
  );
}
