/** A long text in JSON's quotes, made once for those who write it one after another: to the client, and into the record. */

/** Shorter texts are quoted as fast as they are looked up, and longer ones are not kept for long; in characters. */
export const QUOTED_FROM = 1_024;
const QUOTED_TO = 1_048_576;

let lastText = '';
let lastQuoted = '""';

/** As `JSON.stringify`. */
export function quoted(text: string): string {
  if (text.length < QUOTED_FROM || text.length > QUOTED_TO) return JSON.stringify(text);
  if (text !== lastText) {
    lastQuoted = JSON.stringify(text);
    lastText = text;
  }
  return lastQuoted;
}
