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

/** What may be quoted because it gives nothing away. */
export interface Known {
  /** Text that the client itself sent: the statement and its parameters. */
  own(): string;
  /** Whether it is the name of a relation of this database. */
  isRelation(name: string): boolean;
  /** The token that the client wrote, where the value was put in for it. */
  token?(value: string): string | undefined;
}

/** Stands for what may hold a sensitive value and cannot be told apart from it. */
export const HIDDEN = '‹hidden›';
const WITHHELD = 'The database said something that may hold sensitive values; Countersign withheld it.';

/** Letters whose text can hold data. The rest are codes, positions and places in the server's source. */
const TEXTS = ['M', 'D', 'H', 'W', 'q'] as const;
const NAMES = ['s', 't', 'c', 'd', 'n'] as const;

/** @returns the fields to send, and how many values were masked */
export function maskDiagnostic(
  fields: Diagnostic,
  reach: Reach,
  known: Known,
  masking: SessionMasking,
): { readonly fields: Diagnostic; readonly masked: number } {
  const out = new Map(fields);
  let masked = 0;
  const put = (letter: string, text: string): void => {
    const scrubbed = masking.scrub(text);
    masked += scrubbed.findings.length;
    out.set(letter, scrubbed.text);
  };
  // What RAISE … USING COLUMN = … puts there is data.
  const names = reach === 'code' ? [] : NAMES.flatMap((letter) => fields.get(letter) ?? []);
  const hide = (letter: string, text: string, strict: boolean): void => {
    const { hidden, text: shown } = hideQuoted(text, strict ? strictly(names, known) : loosely(names, known), (value) => known.token?.(value));
    // Some quote data without quotes, on lines of its own: xml.c.
    if (strict && shown.includes('\n')) return drop(letter);
    masked += hidden;
    put(letter, shown);
  };
  const drop = (letter: string): void => {
    masked++;
    if (letter === 'M') out.set('M', WITHHELD);
    else out.delete(letter);
  };
  for (const letter of TEXTS) {
    const text = fields.get(letter);
    if (text === undefined) continue;
    if (reach === 'none') put(letter, text);
    else if (reach === 'possible') hide(letter, text, false);
    else if (reach === 'sensitive' ? letter === 'W' || letter === 'q' || (letter === 'M' && raisedByCode(fields)) : letter !== 'M' || !raisedByServer(fields))
      drop(letter);
    else hide(letter, text, true);
  }
  for (const letter of NAMES) {
    const text = fields.get(letter);
    if (text === undefined) continue;
    if (reach === 'code') out.delete(letter);
    else put(letter, text);
  }
  return { fields: out, masked };
}

/** The server's sources that read a statement before anything of it runs. */
const READING = /^(parse_\w+\.c|scan\.l|gram\.y|analyze\.c|namespace\.c)$/;

/**
 * Errors whose message is the server's own, whatever code was running: of the statement itself, before it ran, and
 * cancellation, shutdown, time-outs. Code can choose the SQLSTATE of what it raises, but not the file that raises it.
 */
function raisedByServer(fields: Diagnostic): boolean {
  if (READING.test(fields.get('F') ?? '') && !fields.has('W')) return true;
  return fields.get('F') === 'postgres.c' && /^(canceling|terminating) /.test(fields.get('M') ?? '');
}

/** Notices, and errors out of a function's body: their words are the function's, and it has seen the data. */
function raisedByCode(fields: Diagnostic): boolean {
  return !/^(ERROR|FATAL|PANIC)$/.test(fields.get('V') ?? '') || (fields.get('C') ?? '').startsWith('P0') || /function|PL\//i.test(fields.get('W') ?? '');
}

/** Values in double quotes, and in the parentheses of `(…)=(…)` and `contains (…)`. */
const QUOTED = /"((?:[^"]|"")*)"|(=\s*\(|contains \()([\s\S]*?)\)(?= (?:already exists|is (?:not|still|duplicated)|conflicts)|\.|$)/g;

type MayShow = (value: string, quoted: boolean) => boolean;

function hideQuoted(text: string, mayShow: MayShow, token: (value: string) => string | undefined): { readonly text: string; readonly hidden: number } {
  let hidden = 0;
  const shown = text.replace(QUOTED, (whole, quoted: string | undefined, open: string | undefined, inner: string | undefined) => {
    const own = token(quoted ?? inner ?? '');
    if (own !== undefined) {
      hidden++;
      return quoted === undefined ? `${open ?? ''}${own})` : `"${own}"`;
    }
    if (mayShow(quoted ?? inner ?? '', quoted !== undefined)) return whole;
    hidden++;
    return quoted === undefined ? `${open ?? ''}${HIDDEN})` : `"${HIDDEN}"`;
  });
  return { text: shown, hidden };
}

/** Whatever the client sent itself, and names. */
function loosely(names: readonly string[], known: Known): MayShow {
  return (value, quoted) => value !== '' && (known.own().includes(value) || (quoted && (names.includes(value) || known.isRelation(value))));
}

/** Only identifiers: a literal that the client sent, quoted back by an error, would say that the data holds it. */
function strictly(names: readonly string[], known: Known): MayShow {
  let identifiers: ReadonlySet<string> | undefined;
  return (value, quoted) => {
    if (!quoted) return false;
    if (names.includes(value) || known.isRelation(value)) return true;
    identifiers ??= identifiersOf(known.own());
    return identifiers.has(value.toLowerCase());
  };
}

const IDENTIFIER = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/g;

/** The identifiers that the client wrote outside string literals, and qualified names of them. */
function identifiersOf(sql: string): ReadonlySet<string> {
  const outside = sql.replace(/'(?:[^']|'')*'/g, "''");
  const found = new Set<string>();
  for (const [name] of outside.matchAll(IDENTIFIER)) found.add(name.toLowerCase());
  for (const [name] of outside.matchAll(/[\w$]+(?:\.[\w$]+)+/g)) found.add(name.toLowerCase());
  return found;
}
