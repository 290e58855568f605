/** The text of a statement as it goes into the record: sensitive literals replaced, everything else as it was sent. */
import { type Literal, literalsIn } from './lexer.ts';

/** What stands in a record where a literal stood. */
const MASKED_LITERAL = "'‹masked›'";

/**
 * Which literals are masked, by their ordinal in the text. `bodies` masks inside dollar-quoted code, too, so that a
 * person can still read what a DO block or a function does.
 */
export type MaskedLiterals = 'all' | 'bodies' | readonly number[];

export function recordSql(sql: string, which: MaskedLiterals): string {
  if (typeof which !== 'string' && which.length === 0) return sql;
  const literals = literalsIn(sql);
  // Not even the ends of its literals are certain: nothing of it is kept but its first word.
  if (!literals) return `${/^\s*[a-z]*/i.exec(sql)?.[0] ?? ''} ‹masked›`.trim();
  const chosen = typeof which === 'string' ? undefined : new Set(which);
  let out = '';
  let from = 0;
  literals.forEach((literal, i) => {
    if (chosen && !chosen.has(i)) return;
    out += sql.slice(from, literal.start) + (which === 'bodies' ? maskedBody(sql, literal) : MASKED_LITERAL);
    from = literal.end;
  });
  return out + sql.slice(from);
}

function maskedBody(sql: string, { start, end }: Literal): string {
  const tag = /^\$[^$]*\$/.exec(sql.slice(start, end))?.[0];
  if (tag === undefined) return MASKED_LITERAL;
  const body = sql.slice(start + tag.length, end - tag.length);
  return literalsIn(body) ? tag + recordSql(body, 'bodies') + tag : MASKED_LITERAL;
}

/** Ordinals of the literals at these UTF-8 byte offsets; undefined where one cannot be found. */
export function ordinalsAt(sql: string, offsets: readonly number[]): readonly number[] | undefined {
  const literals = literalsIn(sql);
  if (!literals) return undefined;
  const wanted = new Set(offsets);
  const ordinals: number[] = [];
  let bytes = 0;
  let at = 0;
  let before = -1;
  literals.forEach((literal, i) => {
    bytes += Buffer.byteLength(sql.slice(at, literal.start));
    at = literal.start;
    // A negative number's place is its sign's, possibly with a gap behind it.
    const sign = /-\s*$/.exec(sql.slice(before < 0 ? 0 : before, literal.start))?.[0].length ?? 0;
    before = literal.end;
    if (wanted.delete(bytes) || (sign > 0 && wanted.delete(bytes - sign))) ordinals.push(i);
  });
  return wanted.size === 0 ? ordinals : undefined;
}
