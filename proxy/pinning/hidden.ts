/** Characters that are there and cannot be seen, or that change how others are seen. */

/**
 * Controls, format characters (joiners, bidi marks, tags, which spell ASCII invisibly), fillers that are blank, private use, lone
 * surrogates, line and paragraph separators.
 */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu;
/** Tab and line ends, and the sixteen selectors that choose how a picture is drawn. */
const PLAIN = /^(?:[\t\n\r]|\p{Variation_Selector})$/u;
/** Selectors beyond the sixteen choose variants of ideographs, and can carry bytes that nobody sees. */
const FAR_SELECTOR = 0xe0100;

const JOINERS = new Set(['\u200c', '\u200d']);
/** Scripts that are written with joiners, and pictures that are put together by them. */
const JOINED =
  /[\p{Script=Arabic}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Tamil}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f]/u;

function isPlain(char: string): boolean {
  return PLAIN.test(char) && (char.codePointAt(0) ?? 0) < FAR_SELECTOR;
}

/** Code points of what is hidden in a text, each once, at most ten. */
export function hiddenIn(text: string): string[] {
  const found = new Set<string>();
  for (const match of text.matchAll(HIDDEN)) {
    const [char] = match;
    if (isPlain(char)) continue;
    if (JOINERS.has(char) && JOINED.test(charBefore(text, match.index)) && JOINED.test(charAt(text, match.index + 1))) continue;
    found.add(`U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`);
    if (found.size >= 10) break;
  }
  return [...found];
}

export function stripHidden(text: string): string {
  return text.replace(HIDDEN, (char) => (isPlain(char) ? char : ''));
}

/** What the invisible letters of the tag block spell; empty where there are none. */
export function spelledByTags(text: string): string {
  let out = '';
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (code >= 0xe0020 && code <= 0xe007e) out += String.fromCharCode(code - 0xe0000);
  }
  return out;
}

function charAt(text: string, at: number): string {
  const code = text.codePointAt(at);
  return code === undefined ? '' : String.fromCodePoint(code);
}

function charBefore(text: string, at: number): string {
  const last = text.charCodeAt(at - 1);
  return charAt(text, last >= 0xdc00 && last <= 0xdfff ? at - 2 : at - 1);
}
