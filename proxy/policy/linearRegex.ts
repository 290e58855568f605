/**
 * Regular expressions that people write, run on what agents send: only those that V8 can run in linear time, so that no
 * input can make one hang.
 */
import { setFlagsFromString } from 'node:v8';

/** Longest text that a pattern is tried on, in UTF-16 units; longer text counts as unknown. */
export const MAX_MATCHED_CHARS = 65_536;

// Only permits the `l` flag; ordinary expressions run as before.
setFlagsFromString('--enable-experimental-regexp-engine');

/** V8's own `l`: refuse what cannot be run in linear time. `s`: a dot is any character. */
const FLAGS: string = ['l', 's'].join('');

export type LinearRegex = { readonly ok: true; readonly found: RegExp; readonly whole: RegExp } | { readonly ok: false; readonly why: string };

/** `found` matches anywhere, `whole` the entire text. */
export function linearRegex(pattern: string): LinearRegex {
  try {
    // On its own first: a pattern must not be able to close the group that is put around it.
    const plain = new RegExp(pattern, 's');
    return { ok: true, found: new RegExp(plain.source, FLAGS), whole: new RegExp(`^(?:${plain.source})$`, FLAGS) };
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : '';
    if (text.includes('linear')) {
      return {
        ok: false,
        why: 'this pattern cannot be run in bounded time. Do without look-around, back-references and large counts, and write `[Aa]` for either case',
      };
    }
    if (text.includes('flags')) return { ok: false, why: 'this editor’s runtime cannot run patterns in bounded time, so none can be used here' };
    return { ok: false, why: `this is not a regular expression (${text.replace(/^Invalid regular expression: /, '')})` };
  }
}
