import { type Detector, endsEscape, isAlnum, MAX_BEFORE } from './detector.ts';

/** RFC 5321 (section 4.5.3.1) has 64 and 255; a longer local part is masked as far as this, whatever it is. */
const MAX_LOCAL = MAX_BEFORE;
const MAX_DOMAIN = 255;
/** How an at-sign is written: plain, in escaped JSON, in a URL. */
const AT_SIGNS = ['\\u0040', '%40', '@'] as const;

/** Characters of our own masks are no letters of an address. */
const MASKS = '•‹›·…';

function isWide(text: string, i: number): boolean {
  const code = text.charCodeAt(i);
  // Letters beyond ASCII (internationalised addresses), not punctuation (U+2000–U+206F, U+00A0–U+00BF) or spaces.
  return code > 0xbf && !(code >= 0x2000 && code <= 0x206f) && code !== 0x3000 && code !== 0xfeff && !MASKS.includes(text.charAt(i));
}

const LOCAL = /[A-Za-z0-9._%+-]/;
const DOMAIN = /[A-Za-z0-9.-]/;

export const email: Detector = {
  id: 'email',
  title: 'Email address',
  longest: 8 + MAX_DOMAIN,
  anchors: { chars: '@', literals: ['\\u0040', '%40'] },
  scan(text, anchor, found) {
    const sign = AT_SIGNS.find((s) => text.startsWith(s, anchor));
    if (sign === undefined) return true;
    let start = anchor;
    while (start > 0 && anchor - start < MAX_LOCAL && (LOCAL.test(text.charAt(start - 1)) || isWide(text, start - 1))) start--;
    // A run that is longer than any local part is cut where a word begins, so that what is left of it ends as it did before.
    if (anchor - start === MAX_LOCAL && isAlnum(text.charCodeAt(start - 1))) {
      const word = text.slice(start, anchor).search(/[._%+-]/);
      if (word >= 0) start += word;
    }
    // The letter of an escape (`\n`) is not part of the address.
    if (text.charCodeAt(start - 1) === 92 && endsEscape(text, start + 1)) start++;
    while (start < anchor && '.-%'.includes(text.charAt(start))) start++;
    if (start === anchor) return true;

    const from = anchor + sign.length;
    let end = from;
    while (end - from < MAX_DOMAIN && (DOMAIN.test(text.charAt(end)) || isWide(text, end))) end++;
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
    return before >= 128 || LOCAL.test(text.charAt(anchor - 1));
  },
};

/** How many letters a label begins with (`xn--` and what follows are letters in disguise). */
function topLength(domain: string, from: number, end: number): number {
  const puny = /^xn--[a-z0-9-]{1,59}$/i.exec(domain.slice(from, end));
  if (puny) return end - from;
  let i = from;
  while (i < end && (/[A-Za-z]/.test(domain.charAt(i)) || isWide(domain, i))) i++;
  return i - from;
}

/** Things with an at-sign that are no addresses: `git@host:path`, `icon@2x.png`, the password of a URL. */
function isOther(text: string, start: number, anchor: number, domain: string, next: string): boolean {
  if (next === ':' && text.slice(start, anchor) === 'git') return true;
  if (/^\dx\.(?:png|jpe?g|gif|svg|webp)$/.test(domain)) return true;
  // Userinfo with a password belongs to the detector for secrets; an encoded sign does not end userinfo.
  return text.charCodeAt(anchor) === 64 && /:\/\/[^\s/?#@:"'<>]{0,79}:[^\s/?#@"'<>]{0,120}$/.test(text.slice(Math.max(0, start - 200), start));
}
