import { chars, isOf } from './chars.ts';
import { type Detector, type Found, isAlnum, MAX_BETWEEN, MAX_NAME } from './detector.ts';
import { NextMatch } from './nextMatch.ts';
import { Runs } from './run.ts';

const MAX_VALUE = 1024;
/** How far a value may stand after its `:` or `=`: blanks, quotes and the backslashes before them. */
const MAX_GAP = 16;

/** A name whose value is a secret whatever it looks like. */
const PASSWORD = /pass(?:word|wd|phrase|code)|(?:^|[_.-])p(?:ass|wd)$|pwd$/;
/** A name whose value is one when it looks like it: long, letters and digits. */
const KEYED =
  /secret|token$|api[_-]?key|access[_-]?key|account[_-]?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|credential|^sig$|session[_-]?id|auth[_-]?key|authorization$/;
/** Of each of those names one pair that little else has: `pass`, `pwd`; `secret`, `credential`; `token`, `…key`; `session`; `sig`; `authorization`. */
const PAIRS = ['ss', 'wd', 'ec', 'ia', 'ke', 'ig', 'iz'];
/** Names that contain such a word and mean something else. */
const HARMLESS =
  /(?:hint|policy|length|age|expir\w*|reset|change[ds]?(?:[_-]at)?|updated\w*|at|count|type|name|field|url|uri|id|enabled|required|min|max|score|strength)$/;
/** What stands where a value is to be filled in. */
const PLACEHOLDER =
  /^(?:null|nil|none|true|false|undefined|string|required|optional|changeme|redacted|\*+|x+|\.+|<[^>]*>|\$\{?[\w.:-]*\}?|\{\{.*|%\w+%?|process\.env.*|os\.environ.*|env\(.*|secret:\S*|vault:\S*|\[secret\]|\$\d+|:\w+|\?)$/i;
/** What a value without quotes is made of. */
const BARE = chars(/[^\s"'`,;&<>()[\]{}\\|]/, 'wide');
const TOKEN = chars(/[A-Za-z0-9+/=_.~-]/);
const AFTER_VALUE_SIGN = chars(/[\s=:>]/, 'wide');
const AFTER_USERINFO = chars(/[\s/?#"'<>]/, 'wide');
const runs = new Runs();
/** What a mask leaves: never masked again, so that masking twice is masking once. */
const MASKED = /‹[\w.-]+(?:·\w+){0,2}›|•{3}/gu;
const masks = new NextMatch(MASKED);

/** Passwords and secrets by the name they are given: `password=…`, `"apiKey": "…"`, `Authorization: Bearer …`, `scheme://user:…@host`. */
export const secret: Detector = {
  id: 'secret',
  title: 'Password or secret',
  longest: MAX_GAP + 64 + MAX_VALUE,
  anchors: { chars: ':=', names: { pairs: PAIRS, isName: isNameChar, isBetween }, words: ['bearer ', 'basic ', "password '", "identified by '"] },
  scan(text, anchor, found) {
    const char = text.charAt(anchor);
    if (char === ':' && text.startsWith('//', anchor + 1)) return userinfo(text, anchor + 3, found);
    if (char === ':' || char === '=') return assignment(text, anchor, found);
    const lead = /^(?:bearer|basic) {1,4}|^(?:password|identified by) '/i.exec(text.slice(anchor, anchor + 20));
    if (!lead) return false;
    const from = anchor + lead[0].length;
    if (lead[0].endsWith("'")) return quoted(text, from, "'", found);
    let end = from;
    while (end - from < MAX_VALUE && isOf(TOKEN, text.charCodeAt(end))) end++;
    if (end - from >= 12 && looksRandom(text.slice(from, end))) found(from, end);
    return end < text.length;
  },
  maybe(text, anchor) {
    const code = text.charCodeAt(anchor);
    if (code !== COLON && code !== EQUALS) return true;
    if (text.charCodeAt(anchor + 1) === SLASH && text.charCodeAt(anchor + 2) === SLASH) return true;
    return mayBeNamed(text, anchor) && kindOf(keyBefore(text, anchor)) !== undefined;
  },
};

type Kind = 'password' | 'keyed';

const [COLON, EQUALS, SLASH] = [58, 61, 47] as const;
/** By a letter of any case, the lower five bits of its code: those that make one of the pairs with it. */
const PAIRED = new Int32Array(32);
for (const pair of PAIRS) PAIRED[pair.charCodeAt(0) & 31] = (PAIRED[pair.charCodeAt(0) & 31] as number) | (1 << (pair.charCodeAt(1) & 31));

/** Whether the name before `anchor` may be a secret's; false is certain. Most places are left out by this, and the rest is looked up. */
function mayBeNamed(text: string, anchor: number): boolean {
  let i = anchor - 1;
  while (i >= 0 && anchor - i <= MAX_BETWEEN && isBetween(text.charCodeAt(i))) i--;
  let next = 0;
  for (const last = Math.max(0, i - MAX_NAME + 1); i >= last; i--) {
    const code = text.charCodeAt(i);
    if (!isNameChar(code)) return false;
    if (((PAIRED[code & 31] as number) & (1 << (next & 31))) !== 0) return true;
    next = code;
  }
  return false;
}

/** Names come again in every row: what was said about one is kept, up to so many. */
const MAX_REMEMBERED = 2000;
const remembered = new Map<string, Kind | undefined>();

function kindOf(key: string): Kind | undefined {
  if (key.length < 3) return undefined;
  const known = remembered.get(key);
  if (known !== undefined || remembered.has(key)) return known;
  const kind = judge(key);
  if (remembered.size >= MAX_REMEMBERED) remembered.clear();
  remembered.set(key, kind);
  return kind;
}

/** Whether whatever stands under a name is a secret. */
export function namesPassword(name: string): boolean {
  return name.length <= MAX_NAME && kindOf(name) === 'password';
}

function judge(key: string): Kind | undefined {
  const name = key.toLowerCase();
  if (PASSWORD.test(name)) return HARMLESS.test(name) ? undefined : 'password';
  return KEYED.test(name) && !HARMLESS.test(name) ? 'keyed' : undefined;
}

/** The name that ends right before `anchor`, through quotes, blanks and escaped quotes. */
function keyBefore(text: string, anchor: number): string {
  let end = anchor;
  while (end > 0 && anchor - end < MAX_BETWEEN && isBetween(text.charCodeAt(end - 1))) end--;
  let start = end;
  while (start > 0 && end - start < MAX_NAME && isNameChar(text.charCodeAt(start - 1))) start--;
  return text.slice(start, end);
}

const BETWEEN = Uint8Array.from({ length: 128 }, (_, code) => (' "\'\\\t\n\r)]`'.includes(String.fromCharCode(code)) ? 1 : 0));

/** Blank, quote, backslash or closing bracket. */
function isBetween(code: number): boolean {
  return code < 128 && BETWEEN[code] === 1;
}

/** Letter, digit, `_`, `-` or `.`. */
function isNameChar(code: number): boolean {
  return isAlnum(code) || code === 95 || code === 45 || code === 46;
}

function assignment(text: string, anchor: number, found: Found): boolean {
  const kind = kindOf(keyBefore(text, anchor));
  if (kind === undefined) return true;
  let from = anchor + 1;
  while (from - anchor <= MAX_GAP && isOf(AFTER_VALUE_SIGN, text.charCodeAt(from))) from++;
  while (from - anchor <= MAX_GAP && text.charAt(from) === '\\') from++;
  const quote = text.charAt(from);
  if (quote === '"' || quote === "'" || quote === '`') return quoted(text, from + 1, quote, found, kind);
  const scheme = /^(?:bearer|basic|token) +/i.exec(text.slice(from, from + 16));
  if (scheme) from += scheme[0].length;
  const end = runs.end(text, from, BARE, MAX_VALUE);
  report(text, from, end, found, kind);
  return end < text.length;
}

function quoted(text: string, from: number, quote: string, found: Found, kind: Kind = 'password'): boolean {
  let end = from;
  while (end - from < MAX_VALUE && end < text.length && text.charAt(end) !== quote && text.charAt(end) !== '\n') {
    // An escaped quote inside a plain string goes on; in escaped JSON it is the end.
    if (text.charAt(end) === '\\') {
      const escapedOpening = text.charAt(from - 2) === '\\';
      if (escapedOpening && text.charAt(end + 1) === quote) break;
      end++;
    }
    end++;
  }
  report(text, from, Math.min(end, text.length), found, kind);
  return end < text.length;
}

function report(text: string, from: number, end: number, found: Found, kind: Kind): void {
  const value = text.slice(from, end);
  if (PLACEHOLDER.test(value) || masks.within(text, from, end)) return;
  if (kind === 'password' ? value.length >= 4 : value.length >= 12 && looksRandom(value)) found(from, end);
}

/** Letters and digits mixed, or long: no ordinary word. */
function looksRandom(value: string): boolean {
  return (value.length >= 32 || (/\d/.test(value) && /[A-Za-z]/.test(value))) && !/\s/.test(value);
}

/** `user:password@` of a URL. */
function userinfo(text: string, from: number, found: Found): boolean {
  const limit = from + 320;
  let colon = -1;
  for (let i = from; i < limit; i++) {
    const code = text.charCodeAt(i);
    if (Number.isNaN(code)) return false;
    if (isOf(AFTER_USERINFO, code)) return true;
    // A mask in front is no user: what stood there was a path.
    if (colon < 0 && (code === 0x2039 || code === 0x203a || code === 0x2022)) return true;
    if (code === 58 && colon < 0) colon = i;
    if (code === 64) {
      if (colon >= 0 && i > colon + 1 && colon - from < 80) {
        if (!PLACEHOLDER.test(text.slice(colon + 1, i)) && !masks.within(text, colon + 1, i)) found(colon + 1, i);
      }
      return true;
    }
  }
  return true;
}
