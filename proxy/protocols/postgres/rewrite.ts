/** What was put in place of tokens in a statement's text, and the way back: for errors, which point into it and quote it. */
import type { Diagnostic } from './messages.ts';

/** One literal or parameter of the client's, what stands for it upstream, and what the client wrote for which value. Offsets in UTF-16. */
export interface Piece {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly stands: ReadonlyMap<string, string>;
  /** It holds what is no token, too. */
  readonly mixed: boolean;
}

export class Rewrite {
  /** In characters, as the server counts: where a piece is for the client, how long, and how long for the server. */
  readonly #spans: readonly { readonly at: number; readonly length: number; readonly sent: number }[];
  readonly #tokens: ReadonlyMap<string, string>;

  /** @param tokens by the value they stand for */
  constructor(sql: string, pieces: readonly Piece[], tokens: ReadonlyMap<string, string>) {
    this.#spans = pieces
      .filter(({ end }) => end > 0)
      .map(({ end, start, text }) => ({ at: characters(sql.slice(0, start)), length: characters(sql.slice(start, end)), sent: characters(text) }));
    this.#tokens = tokens;
  }

  /** The token that the client wrote for a value. */
  token(value: string): string | undefined {
    return this.#tokens.get(value);
  }

  /** A diagnostic as it would point into the client's text. */
  clientSide(fields: Diagnostic): Diagnostic {
    const position = Number(fields.get('P') ?? 0);
    if (this.#spans.length === 0 || !(position > 0)) return fields;
    return new Map(fields).set('P', String(this.#place(position)));
  }

  /** Positions count characters from 1. */
  #place(position: number): number {
    let longer = 0;
    for (const { at, length, sent } of this.#spans) {
      const start = at + longer;
      if (position - 1 < start) break;
      if (position - 1 < start + sent) return at + 1;
      longer += sent - length;
    }
    return position - longer;
  }
}

function characters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
