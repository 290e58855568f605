/**
 * Masks what errors and notices say. Their texts quote data: `invalid input syntax for type integer: "ann@example.com"`,
 * `Key (email)=(…) already exists.`, whatever a function RAISEs.
 */
import type { SessionMasking } from '../../masking/masking.ts';
import type { Diagnostic } from './messages.ts';
import { HIDDEN, hideAfterColon, hideAllButNames, hideEach, hideFromFirst, hideNumbers, type MayShow, type Shown } from './quoted.ts';

export { HIDDEN } from './quoted.ts';

/** How far a statement's diagnostics can be trusted. */
export type Reach =
  /** Nothing sensitive is in this database. */
  | 'none'
  /** There is, but the statement is not known to touch it. */
  | 'possible'
  /** The statement writes sensitive columns, or names a table that has some, and reads none of their values. */
  | 'near'
  /** The statement reads sensitive values. */
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

const WITHHELD = 'The database said something that may hold sensitive values; Countersign withheld it.';

/** `data_exception`: the class itself. */
const DATA_EXCEPTION = '22000';
const FAILED_ON_VALUE =
  'A value that was read, or made from one, did not fit what is done with it (a cast, a calculation, a length, a name that is looked up). Masked columns take part in this statement, so Countersign does not say which value it was nor how it failed.';

/** Letters whose text can hold data. The rest are codes, positions and places in the server's source. */
const TEXTS = ['M', 'D', 'H', 'W', 'q'] as const;
const NAMES = ['s', 't', 'c', 'd', 'n'] as const;
const PLACES = ['P', 'p'] as const;

/** @returns the fields to send, and how many values were masked */
export function maskDiagnostic(
  fields: Diagnostic,
  reach: Reach,
  known: Known,
  masking: SessionMasking,
): { readonly fields: Diagnostic; readonly masked: number } {
  if (reach === 'sensitive' && failedOnValue(fields)) return { fields: onValue(fields), masked: 1 };
  const out = new Map(fields);
  let masked = 0;
  const put = (letter: string, text: string): void => {
    const scrubbed = masking.scrub(text);
    masked += scrubbed.findings.length;
    out.set(letter, scrubbed.text);
  };
  const touching = reach === 'near' || reach === 'sensitive';
  const byCode = reach === 'code' || (touching && raisedByCode(fields));
  // What RAISE … USING COLUMN = … puts there is data.
  const names = byCode ? [] : NAMES.flatMap((letter) => fields.get(letter) ?? []);
  const hide = (letter: string, text: string, strict: boolean): void => {
    const { hidden, text: shown } = strict ? strictly(text, fields, names, known) : hideFromFirst(text, loosely(names, known), (value) => known.token?.(value));
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
  const byValue = touching && isAboutValues(fields);
  for (const letter of TEXTS) {
    const text = fields.get(letter);
    if (text === undefined) continue;
    if (reach === 'none') put(letter, text);
    else if (reach === 'possible') hide(letter, text, false);
    else if (touching ? letter === 'W' || letter === 'q' || (letter === 'M' && byCode) : letter !== 'M' || !raisedByServer(fields)) drop(letter);
    else if (byValue && letter !== 'M' && !NUMERIC_OVERFLOW.test(text)) drop(letter);
    else hide(letter, text, true);
  }
  // With a context, the place is one in a value that was read as names or code: `to_regtype(ssn)`.
  if ((touching || reach === 'code') && fields.has('W')) for (const letter of PLACES) if (out.delete(letter)) masked++;
  for (const letter of NAMES) {
    const text = fields.get(letter);
    if (text === undefined) continue;
    if (byCode) out.delete(letter);
    else put(letter, text);
  }
  return { fields: out, masked };
}

/**
 * Codes that an error gets by what a value holds: data exceptions, names that it was read as (`ssn::regclass`), and what
 * grew too large from it.
 */
const BY_VALUE = /^(22...|54000)$/;
const BY_NAME = /^(3D000|3F000|42601|42602|42622|42703|42704|42725|42883|42P01)$/;
/** The server's sources that look up what a definition names, not what a value does: `ALTER TABLE … DROP COLUMN nowhere`. */
const DEFINING = /(cmds|define)\.c$/;
/** A parameter could not be read: the client's own, before anything of the statement runs. */
const IN_PARAMETER = /^(unnamed portal|portal "[^"\n]*") parameter \$\d+(?: = '(?:[^']|'')*')?$/;

/**
 * An error that a statement came upon as it ran, and that depends on what it read. That it failed is one answer; which of a
 * cast's five ways to fail it was would be a finer one: `ssn::timestamp` fails otherwise for a word, for a number and for a year
 * that is too far away, and does so with other words, at another place, in another file of the server's source.
 */
function failedOnValue(fields: Diagnostic): boolean {
  const code = fields.get('C') ?? '';
  if (!BY_VALUE.test(code) && (!BY_NAME.test(code) || namedByDefinition(fields))) return false;
  if (!/^(ERROR|FATAL|PANIC)$/.test(fields.get('V') ?? '')) return false;
  const within = fields.get('W');
  return within === undefined ? !fields.has('P') : !IN_PARAMETER.test(within);
}

function namedByDefinition(fields: Diagnostic): boolean {
  return BY_NAME.test(fields.get('C') ?? '') && DEFINING.test(fields.get('F') ?? '');
}

function onValue(fields: Diagnostic): Diagnostic {
  const severity = (['S', 'V'] as const).flatMap((letter): [string, string][] => {
    const text = fields.get(letter);
    return text === undefined ? [] : [[letter, text]];
  });
  return new Map([...severity, ['C', DATA_EXCEPTION], ['M', FAILED_ON_VALUE]]);
}

/** The server's sources that read a statement before anything of it runs. */
const READING = /^(parse_\w+\.c|scan\.l|gram\.y|analyze\.c|namespace\.c)$/;

/**
 * Errors whose message is the server's own, whatever code was running: of the statement itself, before it ran, and
 * cancellation, shutdown, time-outs. Code can choose the SQLSTATE of what it raises, but not the file that raises it.
 */
function raisedByServer(fields: Diagnostic): boolean {
  if (READING.test(fields.get('F') ?? '') && !fields.has('W')) return true;
  return fields.get('F') === 'postgres.c' && /^(canceling|terminating|current transaction is aborted,) /.test(fields.get('M') ?? '');
}

/**
 * An error about data that the statement came upon as it ran. Its SQLSTATE says how it failed; what else is said of the value
 * in whichever words (`Token "…" is invalid`, `Expected end of input`) is how far it could be read. Where nothing that is
 * stored is read, the data is most likely the client's.
 */
function isAboutValues(fields: Diagnostic): boolean {
  return (fields.get('C') ?? '').startsWith('22') && (!fields.has('P') || fields.has('W'));
}

/** Notices, and errors out of a function's body: their words are the function's, and it has seen the data. */
function raisedByCode(fields: Diagnostic): boolean {
  return !/^(ERROR|FATAL|PANIC)$/.test(fields.get('V') ?? '') || (fields.get('C') ?? '').startsWith('P0') || /function|PL\//i.test(fields.get('W') ?? '');
}

/** Whatever the client sent itself, and names. */
function loosely(names: readonly string[], known: Known): MayShow {
  return (value, quoted) => value !== '' && (known.own().includes(value) || (quoted && (names.includes(value) || known.isRelation(value))));
}

/** Errors whose numbers are the schema's or the server's: violated constraints, lengths of types, limits, cancellation. */
const OWN_NUMBERS = /^(23|53|57|22001)/;
const NUMERIC_OVERFLOW = /^A field with precision \d+, scale -?\d+ (?:must round to an absolute value less than 10\^\d+|cannot hold an infinite value)\.$/;

/**
 * Only names: a literal that the client sent, quoted back by an error, would say that the data holds it. What the client
 * itself wrote as a name is shown where the error points at a place of the statement, or is about what a definition names: then
 * nothing has run yet.
 */
function strictly(text: string, fields: Diagnostic, names: readonly string[], known: Known): Shown {
  const token = (value: string): string | undefined => known.token?.(value);
  const isName: MayShow = (value, quoted) => quoted && (names.includes(value) || known.isRelation(value));
  // With a context, what could not be read is not the statement: `'…'::regtype` is read by the same grammar.
  if ((fields.has('P') || namedByDefinition(fields)) && !fields.has('W')) {
    let identifiers: ReadonlySet<string> | undefined;
    const isOwnName: MayShow = (value, quoted) => {
      if (!quoted || isName(value, quoted)) return quoted;
      identifiers ??= identifiersOf(known.own());
      return identifiers.has(value.toLowerCase());
    };
    return hideEach(text, isOwnName, token);
  }
  const all = hideAllButNames(text, isName, token);
  if (OWN_NUMBERS.test(fields.get('C') ?? '') || NUMERIC_OVERFLOW.test(text)) return all;
  const subject = hideSubject(all.text);
  const rest = hideAfterColon(subject.text);
  const numbers = hideNumbers(rest.text);
  return { text: numbers.text, hidden: all.hidden + subject.hidden + rest.hidden + numbers.hidden };
}

/** A value that a text begins with, without quotes: `‹…› is not a valid encoding name`. */
function hideSubject(text: string): Shown {
  const shown = text.replace(/^[^"]+?(?= is not a valid )/, HIDDEN);
  return { text: shown, hidden: shown === text ? 0 : 1 };
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
