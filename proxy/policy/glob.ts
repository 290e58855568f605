/** Patterns with `*` (any run of characters) and `?` (one), matched in linear space and without backtracking over more than one star. */

export type TextTest = (text: string) => boolean;

/** @param ignoreCase compares without regard to case: for rules that stop, never for those that allow */
export function glob(pattern: string, ignoreCase: boolean): TextTest {
  const wanted = ignoreCase ? pattern.toLowerCase() : pattern;
  const fold = ignoreCase ? (text: string): string => text.toLowerCase() : (text: string): string => text;
  if (!/[*?]/.test(wanted)) return (text) => fold(text) === wanted;
  return (text) => wildcard(wanted, fold(text));
}

/** The same, but a `*` stays between two separators. */
export function globWithin(pattern: string, separator: string): TextTest {
  const parts = pattern.split(separator);
  return (text) => {
    const pieces = text.split(separator);
    return pieces.length === parts.length && parts.every((part, i) => wildcard(part, pieces[i] ?? ''));
  };
}

function wildcard(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (p < pattern.length && pattern[p] === '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) {
      p++;
      t++;
    } else if (star >= 0) {
      p = star + 1;
      t = ++resume;
    } else return false;
  }
  while (pattern[p] === '*') p++;
  return p === pattern.length;
}
