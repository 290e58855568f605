/** A request as a reader gets it: tokens and marks woven together, whole lines, and an honest count of what is not shown. */
import { type TokenKind, tokens } from './tokens.ts';
import { countHidden, type HiddenKind, type Piece, pieces } from './untrustedText.ts';

interface Span {
  readonly text: string;
  readonly token: TokenKind;
  readonly kind: Piece['kind'];
  readonly title?: string;
}

export interface Payload {
  readonly spans: readonly Span[];
  readonly hidden: ReadonlyMap<HiddenKind, number>;
  readonly lines: number;
  /** Lines that `spans` leaves out because the text was folded. */
  readonly linesLeft: number;
  /** Characters left out because the text is larger than a panel can hold. */
  readonly charactersLeft: number;
}

/** A longer request is folded until the person opens it, in lines. Two more than this are not worth folding. */
export const FOLD_LINES = 24;
/** What counts as a line for folding where there are no line breaks, in characters. */
const WIDE_LINE = 60;
/** Most of a request that a panel shows, in characters; the rest is said to be there. */
export const MAX_SHOWN = 262_144;

export function payloadOf(text: string, language: string, folded: boolean): Payload {
  const within = text.slice(0, MAX_SHOWN);
  const lines = countLines(within);
  const shown = folded && lines > FOLD_LINES + 2 ? firstLines(within, FOLD_LINES) : within;
  const found = pieces(within, { code: language === 'sql' || language === 'shell' });
  return {
    spans: weave(
      within,
      found.filter((p) => p.start < shown.length),
      language,
      shown.length,
    ),
    hidden: countHidden(found),
    lines,
    linesLeft: shown.length < within.length ? lines - FOLD_LINES : 0,
    charactersLeft: text.length - within.length,
  };
}

function weave(text: string, found: readonly Piece[], language: string, end: number): Span[] {
  const all = tokens(text, language);
  const out: Span[] = [];
  let next = 0;
  for (const piece of found) {
    while ((all[next]?.end ?? Infinity) <= piece.start) next++;
    if (piece.kind !== 'plain') {
      out.push({ text: piece.text, token: all[next]?.kind ?? 'text', kind: piece.kind, ...(piece.title !== undefined && { title: piece.title }) });
      continue;
    }
    // A plain piece stands for its own text except that CR LF became LF.
    for (let i = next; i < all.length; i++) {
      const token = all[i];
      if (!token || token.start >= Math.min(piece.end, end)) break;
      const part = text.slice(Math.max(token.start, piece.start), Math.min(token.end, piece.end, end)).replaceAll('\r\n', '\n');
      if (part !== '') out.push({ text: part, token: token.kind, kind: 'plain' });
    }
  }
  return out;
}

function countLines(text: string): number {
  let lines = 0;
  for (const line of text.split('\n')) lines += Math.max(1, Math.ceil(line.length / WIDE_LINE));
  return lines;
}

function firstLines(text: string, count: number): string {
  let at = 0;
  let lines = 0;
  while (lines < count && at < text.length) {
    const lineEnd = text.indexOf('\n', at);
    const end = lineEnd < 0 ? text.length : lineEnd + 1;
    const tall = Math.max(1, Math.ceil((end - at) / WIDE_LINE));
    if (lines + tall > count) return text.slice(0, at + (count - lines) * WIDE_LINE);
    lines += tall;
    at = end;
  }
  return text.slice(0, at);
}
