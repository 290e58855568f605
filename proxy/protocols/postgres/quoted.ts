/**
 * What the texts of errors and notices quote. A value stands in them as it is: it can hold the quotes that are put around
 * it, so that where it ends cannot be told from what follows. Only the last quote of a text is certain to be the server's.
 */

/** Stands for what may hold a sensitive value and cannot be told apart from it. */
export const HIDDEN = '‹hidden›';

export interface Shown {
  readonly text: string;
  /** Values that were hidden, or turned back into the token that the client wrote. */
  readonly hidden: number;
}

/** @param quoted in double quotes, which names are written in, too */
export type MayShow = (value: string, quoted: boolean) => boolean;
export type TokenOf = (value: string) => string | undefined;

/** Values in double quotes, and in the parentheses of `(…)=(…)` and `contains (…)`. */
const QUOTED = /"((?:[^"]|"")*)"|(=\s*\(|contains \()([\s\S]*?)\)(?= (?:already exists|is (?:not|still|duplicated)|conflicts)|\.|$)/g;

/** Each by itself: for texts about the client's own statement, in which no data can stand. */
export function hideEach(text: string, mayShow: MayShow, token: TokenOf): Shown {
  let hidden = 0;
  const shown = text.replace(QUOTED, (whole, quoted: string | undefined, open: string | undefined, inner: string | undefined) => {
    const own = token(quoted ?? inner ?? '');
    if (own === undefined && mayShow(quoted ?? inner ?? '', quoted !== undefined)) return whole;
    hidden++;
    const put = own ?? HIDDEN;
    return quoted === undefined ? `${open ?? ''}${put})` : `"${put}"`;
  });
  return { text: shown, hidden };
}

/** Where data can begin. Servers whose messages are translated quote as their language does. */
const OPENING = /["«»„“”‟「『]|=\s*\(|contains \(/;
const CLOSING = /["«»„“”‟」』]/g;

/** From the first value that may not be shown to the end of the last: what stands between them may be part of either. */
export function hideFromFirst(text: string, mayShow: MayShow, token: TokenOf): Shown {
  for (const match of text.matchAll(QUOTED)) {
    const [, quoted, , inner] = match;
    if (token(quoted ?? inner ?? '') === undefined && mayShow(quoted ?? inner ?? '', quoted !== undefined)) continue;
    return hideAll(text, match.index, token);
  }
  return { text, hidden: 0 };
}

/** What the server writes between two names. Whatever else stands there can be a value's. */
const BETWEEN =
  /^ (?:of|for|in|on|from) (?:relation|table|column|domain|type|view|sequence|schema|index|constraint|materialized view|foreign table) $|^ violates (?:unique|check|foreign key|exclusion|not-null) constraint $/;

/** Names alone, and only the server's own words between them: everything else from the first quote to the last is hidden. */
export function hideAllButNames(text: string, isName: MayShow, token: TokenOf): Shown {
  const first = text.search(OPENING);
  if (first < 0) return { text, hidden: 0 };
  return namesAlone(text, isName) ? { text, hidden: 0 } : hideAll(text, first, token);
}

function namesAlone(text: string, isName: MayShow): boolean {
  const pieces = text.split('"');
  if (pieces.length % 2 === 0 || text.replaceAll('"', '').search(OPENING) >= 0) return false;
  return pieces.every((piece, i) => (i % 2 === 1 ? isName(piece, true) : i === 0 || i === pieces.length - 1 || BETWEEN.test(piece)));
}

function hideAll(text: string, first: number, token: TokenOf): Shown {
  const opening = OPENING.exec(text.slice(first))?.[0] ?? '"';
  const from = first + opening.length;
  const inParentheses = opening.endsWith('(');
  let last = inParentheses ? -1 : lastQuote(text);
  // Quotes behind the parentheses are around names; parentheses behind the quotes may be around data.
  if (inParentheses || (last >= 0 && text.slice(last).search(/=\s*\(|contains \(/) >= 0)) last = Math.max(last, text.lastIndexOf(')'));
  const to = last < from ? text.length : last;
  const value = text.slice(from, to);
  return { text: text.slice(0, from) + (token(value) ?? HIDDEN) + text.slice(to), hidden: 1 };
}

function lastQuote(text: string): number {
  let last = -1;
  for (const { index } of text.matchAll(CLOSING)) last = index;
  return last;
}

/** Numbers by themselves, in any form that the server writes: `index 4711 out of valid range`, `0x1f`, `9.08e+11`. */
const NUMBER = /(?<![\w‹])[-+]?(?:0x[0-9a-f]+|\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?!\w)/gi;

export function hideNumbers(text: string): Shown {
  let hidden = 0;
  const shown = text.replace(NUMBER, () => {
    hidden++;
    return HIDDEN;
  });
  return { text: shown, hidden };
}

/** What follows a colon without quotes: `operator does not exist: …`. */
export function hideAfterColon(text: string): Shown {
  const colon = text.indexOf(': ');
  if (colon < 0 || OPENING.test(text.charAt(colon + 2))) return { text, hidden: 0 };
  return { text: text.slice(0, colon + 2) + HIDDEN, hidden: 1 };
}
