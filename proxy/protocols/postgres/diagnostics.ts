/**
 * Masks what errors and notices say. Their texts quote data: `invalid input syntax for type integer: "ann@example.com"`,
 * `Key (email)=(…) already exists.`, whatever a function RAISEs.
 */
import type { SessionMasking } from '../../masking/masking.ts';
import type { Diagnostic } from './messages.ts';

/** How far a statement's diagnostics can be trusted. */
export type Reach =
  /** Nothing sensitive is in this database. */
  | 'none'
  /** There is, but the statement is not known to touch it. */
  | 'possible'
  /** The statement touches it. */
  | 'sensitive'
  /** The statement runs code that is not understood and can say anything. */
  | 'code';

const HIDDEN = '‹hidden›';
const WITHHELD = 'The database said something that may hold sensitive values; Countersign withheld it.';

/** Letters whose text can hold data. The rest are codes, positions and places in the server's source. */
const TEXTS = ['M', 'D', 'H', 'W', 'q'] as const;
const NAMES = ['s', 't', 'c', 'd', 'n'] as const;

/**
 * @param own text that the client itself sent (the statement and its parameters): quoting it back gives nothing away
 * @returns the fields to send, and how many values were masked
 */
export function maskDiagnostic(
  fields: Diagnostic,
  reach: Reach,
  own: () => string,
  masking: SessionMasking,
): { readonly fields: Diagnostic; readonly masked: number } {
  const out = new Map(fields);
  let masked = 0;
  const put = (letter: string, text: string): void => {
    const scrubbed = masking.scrub(text);
    masked += scrubbed.findings.length;
    out.set(letter, scrubbed.text);
  };
  const known = NAMES.flatMap((letter) => fields.get(letter) ?? []);
  for (const letter of TEXTS) {
    const text = fields.get(letter);
    if (text === undefined) continue;
    if (reach === 'none') put(letter, text);
    else if (reach === 'code') {
      masked++;
      if (letter === 'M') out.set('M', raisedByServer(fields) ? scrubQuoted(text, known, undefined, () => masked++, masking) : WITHHELD);
      else out.delete(letter);
    } else if (reach === 'sensitive' && letter === 'M' && raisedByCode(fields)) {
      masked++;
      out.set('M', WITHHELD);
    } else if (reach === 'sensitive' && (letter === 'W' || letter === 'q')) {
      masked++;
      out.delete(letter);
    } else {
      const hidden = scrubQuoted(text, known, reach === 'sensitive' ? identifiersOf(own()) : own(), () => masked++, masking);
      put(letter, hidden);
    }
  }
  for (const letter of NAMES) {
    const text = fields.get(letter);
    if (text === undefined) continue;
    // RAISE … USING COLUMN = … puts data here.
    if (reach === 'code') out.delete(letter);
    else put(letter, text);
  }
  return { fields: out, masked };
}

/** Errors whose message is the server's own, whatever code was running: cancellation, shutdown, time-outs. */
function raisedByServer(fields: Diagnostic): boolean {
  return (
    fields.get('V') !== 'NOTICE' &&
    /^(57|55|53|08)/.test(fields.get('C') ?? '') &&
    /^(canceling|terminating|could not obtain lock|too many)/.test(fields.get('M') ?? '')
  );
}

/** Notices, and errors out of a function's body: their words are the function's, and it has seen the data. */
function raisedByCode(fields: Diagnostic): boolean {
  return fields.get('V') !== 'ERROR' || (fields.get('C') ?? '').startsWith('P0') || /function|PL\//i.test(fields.get('W') ?? '');
}

/** Values in quotes, and in the parentheses of `(…)=(…)` and `contains (…)`. */
const QUOTED = /"((?:[^"]|"")*)"|(=\s*\(|contains \()([\s\S]*?)\)(?= (?:already exists|is (?:not|still|duplicated)|conflicts)|\.|$)/g;

function scrubQuoted(
  text: string,
  known: readonly string[],
  own: string | ReadonlySet<string> | undefined,
  onHidden: () => void,
  masking: SessionMasking,
): string {
  const allowed = (value: string): boolean =>
    known.includes(value) || (own !== undefined && value !== '' && (typeof own === 'string' ? own.includes(value) : own.has(value.toLowerCase())));
  return masking.scrub(
    text.replace(QUOTED, (whole, quoted: string | undefined, open: string | undefined, inner: string | undefined) => {
      if (quoted !== undefined) {
        if (allowed(quoted)) return whole;
        onHidden();
        return `"${HIDDEN}"`;
      }
      if (inner !== undefined && typeof own === 'string' && inner !== '' && own.includes(inner)) return whole;
      onHidden();
      return `${open ?? ''}${HIDDEN})`;
    }),
  ).text;
}

const IDENTIFIER = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/g;

/** The identifiers that the client wrote outside string literals, and qualified names of them. */
function identifiersOf(sql: string): ReadonlySet<string> {
  const outside = sql.replace(/'(?:[^']|'')*'/g, "''");
  const names = new Set<string>();
  for (const [name] of outside.matchAll(IDENTIFIER)) names.add(name.toLowerCase());
  for (const [name] of outside.matchAll(/[\w$]+(?:\.[\w$]+)+/g)) names.add(name.toLowerCase());
  return names;
}
