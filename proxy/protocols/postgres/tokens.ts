/**
 * Tokens that come back in SQL (docs/adr/reversible-tokens.md): found, checked, and turned into the values they stand for,
 * before anything is decided. What is shown, recorded and decided on is the client's text with the tokens; what is digested and
 * sent is the same text with the values.
 */
import { maskIn, type SessionMasking, UNKNOWN_TOKEN } from '../../masking/masking.ts';
import type { MaskPlan } from '../../policy/policy.ts';
import type { Batch } from './classify.ts';
import { type BindMessage, formatOf } from './messages.ts';
import { type Bound, carriesText } from './operations.ts';
import { type Piece, Rewrite } from './rewrite.ts';
import type { Constants, LiteralPlace, SqlClassifier } from './sql/classifier.ts';
import { literalsIn } from './sql/lexer.ts';
import { type Elements, readArrayBinary, readArrayText, writeArrayBinary, writeArrayText } from './textArrays.ts';
import { isTextLike, mayBeTextArray } from './types.ts';

/** Tokens in one statement's text and parameters. */
const MAX_TOKENS = 1000;

/** What goes upstream in place of what the client sent. */
export interface Revealed {
  readonly sql: string;
  readonly params: readonly (Buffer | null)[];
  readonly rewrite: Rewrite;
  /** Tokens in the text by the byte offset of their literal, and in parameters by index. */
  readonly literals: ReadonlySet<number>;
  readonly inParams: ReadonlySet<number>;
  /** Those of them that hold nothing else: they may stand in the record. */
  readonly recordable: { readonly literals: ReadonlySet<number>; readonly params: ReadonlySet<number> };
}

export type Looked =
  | { readonly kind: 'plain'; readonly writesMask: boolean }
  | { readonly kind: 'revealed'; readonly revealed: Revealed; readonly writesMask: boolean }
  | { readonly kind: 'refused'; readonly why: string };

const WHERE =
  'A token can stand only by itself, as a whole literal or parameter that is compared with a masked column by =, IN or = ANY (…), or that is written into one by VALUES or SET.';

class Refused extends Error {}

function refuse(why: string): never {
  throw new Refused(why);
}

/** @param batch understood from exactly this text, not from one of its shape */
export function lookForTokens(classifier: SqlClassifier, sql: string, bound: Bound | undefined, batch: Batch, masking: SessionMasking, plan: MaskPlan): Looked {
  const constants = classifier.constants(sql);
  const places = batch.statements.flatMap((statement) => statement.places ?? []);
  try {
    const pieces = inText(sql, constants, places, masking);
    const params = bound ? inParams(bound.bind, bound.types, constants, places, masking) : NO_PARAMS;
    const writesMask = plan.columns.size > 0 || masking.tokens.any ? maskWritten(batch, constants, bound, places) : false;
    if (pieces.length === 0 && params.size === 0) return { kind: 'plain', writesMask };
    if (pieces.length + params.size > MAX_TOKENS) refuse(`More than ${MAX_TOKENS} tokens in one statement: send it in parts.`);
    const placeOf = ({ start }: Piece): number => Buffer.byteLength(sql.slice(0, start));
    const known = new Map<string, string>();
    for (const { stands } of [...pieces, ...params.values()]) for (const [value, token] of stands) known.set(value, token);
    const revealed: Revealed = {
      sql: pieces.length === 0 ? sql : replaced(sql, pieces),
      params: bound ? bound.bind.params.map((param, i) => params.get(i)?.bytes ?? param) : [],
      rewrite: new Rewrite(sql, pieces, known),
      literals: new Set(pieces.map(placeOf)),
      inParams: new Set(params.keys()),
      recordable: {
        literals: new Set(pieces.filter(({ mixed }) => !mixed).map(placeOf)),
        params: new Set([...params].flatMap(([i, { mixed }]) => (mixed ? [] : [i]))),
      },
    };
    return { kind: 'revealed', revealed, writesMask };
  } catch (cause) {
    if (cause instanceof Refused) return { kind: 'refused', why: cause.message };
    throw cause;
  }
}

/** A parameter that holds tokens, as it goes upstream. */
interface Param {
  readonly bytes: Buffer;
  readonly stands: ReadonlyMap<string, string>;
  readonly mixed: boolean;
}

const NO_PARAMS: ReadonlyMap<number, Param> = new Map();

/** Tokens in the text, each with what is written for it. */
function inText(sql: string, constants: Constants | undefined, places: readonly LiteralPlace[], masking: SessionMasking): readonly Piece[] {
  const found = masking.tokens.find(sql);
  if (found.length === 0) return [];
  const literals = literalsIn(sql);
  const [first] = found;
  if (!literals || !constants) return refuse(`${first?.text ?? 'A token'} cannot stand here: the statement was not understood. ${WHERE}`);
  const pieces = new Map<number, Piece>();
  for (const one of found) {
    if (one.state === 'unknown') return refuse(`${one.text} ${UNKNOWN_TOKEN}`);
    const literal = literals.find(({ end, start }) => start <= one.start && one.end <= end);
    if (!literal) return refuse(`${one.text} stands in a comment or a name. ${WHERE}`);
    if (pieces.has(literal.start)) continue;
    const location = Buffer.byteLength(sql.slice(0, literal.start));
    const constant = constants.strings.find((string) => string.location === location);
    const place = places.find((known) => known.location === location && known.param === undefined);
    const quoted = /^[Ee]?'/.exec(sql.slice(literal.start, literal.end));
    if (!quoted || constant === undefined) return refuse(`${one.text} is part of a longer literal. ${WHERE}`);
    const { mixed, stands, text } = filled(constant.text, one.text, place, masking);
    // What the escapes of the client's own text were does not matter: the whole literal is written anew.
    pieces.set(literal.start, { start: literal.start, end: literal.end, text: written(text), stands, mixed });
  }
  return [...pieces.values()];
}

/** As a literal. Strings are standard-conforming, whatever the client's own literal was: a backslash in it is one. */
function written(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

/** Parameters that are tokens, or arrays of them: every mention of one must be a place for it. */
function inParams(
  bind: BindMessage,
  types: readonly number[],
  constants: Constants | undefined,
  places: readonly LiteralPlace[],
  masking: SessionMasking,
): ReadonlyMap<number, Param> {
  const pieces = new Map<number, Param>();
  bind.params.forEach((bytes, i) => {
    const [format, type] = [formatOf(bind.paramFormats, i), types[i] ?? 0];
    if (bytes === null || !readAsText(format, type)) return;
    const [one] = masking.tokens.find(bytes.toString());
    if (!one) return;
    const called = `${one.text} in parameter $${i + 1}`;
    if (one.state === 'unknown') return refuse(`${called} ${UNKNOWN_TOKEN}`);
    const mentions = constants?.params.filter(({ number }) => number === i + 1) ?? [];
    if (mentions.length === 0) return refuse(`${called} cannot stand where it does. ${WHERE}`);
    let piece: Param | undefined;
    for (const { location } of mentions) {
      const place = places.find((known) => known.location === location && known.param === i + 1);
      if (format !== 0 && place?.array) piece = filledBinary(bytes, called, place, masking);
      else if (!carriesText(format, type)) return refuse(`${called} cannot stand where it does. ${WHERE}`);
      else {
        const { mixed, stands, text } = filled(bytes.toString(), called, place, masking);
        piece = { bytes: Buffer.from(text), stands, mixed };
      }
    }
    if (piece) pieces.set(i, piece);
  });
  return pieces;
}

/** Arrays in binary format, too: what their elements hold stands in them as it is. */
function readAsText(format: number, type: number): boolean {
  return carriesText(format, type) || mayBeTextArray(type);
}

interface Filled {
  readonly text: string;
  /** What the client wrote, by the value that stands for it. */
  readonly stands: ReadonlyMap<string, string>;
  /** It holds what is no token, too. */
  readonly mixed: boolean;
}

/** A literal's or parameter's text with values for tokens. @param called how a refusal names it */
function filled(text: string, called: string, place: LiteralPlace | undefined, masking: SessionMasking): Filled {
  if (!place?.array) {
    const value = whole(text, called, place, masking);
    return { text: value, stands: new Map([[value, text]]), mixed: false };
  }
  const elements = readArrayText(text);
  if (!elements)
    return refuse(`${called} stands in an array that could not be read. Write it in one dimension, as '{"…","…"}', or give the values one by one with IN.`);
  const { mixed, stands, values } = eachFilled(elements, called, place, masking);
  const array = writeArrayText(values);
  // Whole, too: errors quote the array in which an element is wrong.
  return { text: array, stands: stands.set(array, text), mixed };
}

function filledBinary(bytes: Buffer, called: string, place: LiteralPlace, masking: SessionMasking): Param {
  const array = readArrayBinary(bytes);
  if (!array || !isTextLike(array.elementType))
    return refuse(`${called} stands in an array that could not be read. Send it as an array of text with one dimension.`);
  const { mixed, stands, values } = eachFilled(
    array.elements.map((element) => (element === null ? null : element.toString())),
    called,
    place,
    masking,
  );
  // What is no token goes as it came.
  const elements = array.elements.map((element, i) => (element === null || element.toString() === values[i] ? element : Buffer.from(values[i] ?? '')));
  return { bytes: writeArrayBinary({ elementType: array.elementType, elements }), stands, mixed };
}

function eachFilled(
  elements: Elements,
  called: string,
  place: LiteralPlace,
  masking: SessionMasking,
): { readonly values: Elements; readonly stands: Map<string, string>; readonly mixed: boolean } {
  const stands = new Map<string, string>();
  let mixed = false;
  const values = elements.map((element) => {
    if (element === null) return null;
    if (masking.tokens.find(element).length === 0) {
      mixed = true;
      return element;
    }
    const value = whole(element, called, place, masking);
    stands.set(value, element);
    return value;
  });
  if (stands.size > MAX_TOKENS) refuse(`More than ${MAX_TOKENS} tokens in one array: send it in parts.`);
  return { values, stands, mixed };
}

/** The value of a text that is a token and nothing else. */
function whole(text: string, called: string, place: LiteralPlace | undefined, masking: SessionMasking): string {
  const [one] = masking.tokens.find(text);
  if (one?.state === 'unknown') return refuse(`${one.text} ${UNKNOWN_TOKEN}`);
  if (one?.text !== text) return refuse(`${called} is part of a longer value. ${WHERE}`);
  if (!place) return refuse(`${called} cannot stand where it does. ${WHERE}`);
  return valueFor(one.token, place, masking);
}

function valueFor(token: Parameters<SessionMasking['tokens']['reveal']>[0], place: LiteralPlace, masking: SessionMasking): string {
  const revealed = masking.tokens.reveal(token, { use: place.use, name: place.label, mask: place.mask });
  if (!revealed.ok) return refuse(revealed.why);
  if (revealed.value.includes('\0')) return refuse(`${token.text} stands for a value that PostgreSQL cannot hold.`);
  return revealed.value;
}

function replaced(sql: string, pieces: readonly Piece[]): string {
  let out = '';
  let from = 0;
  for (const { end, start, text } of pieces) {
    out += sql.slice(from, start) + text;
    from = end;
  }
  return out + sql.slice(from);
}

/** Whether something that stood in place of a value goes into a column. A partial one counts where the column is sensitive. */
function maskWritten(batch: Batch, constants: Constants | undefined, bound: Bound | undefined, places: readonly LiteralPlace[]): boolean {
  const writes = new Set(batch.statements.flatMap((statement) => [...(statement.writes ?? [])]));
  if (writes.size === 0) return false;
  const counts = (text: string, place: (known: LiteralPlace) => boolean): boolean => {
    const mask = maskIn(text);
    return mask === 'withheld' || (mask === 'partial' && places.some((known) => known.use === 'write' && place(known)));
  };
  if (
    constants?.strings.some(({ location, text }) => writes.has(location) && counts(text, (known) => known.param === undefined && known.location === location))
  )
    return true;
  return (
    bound?.bind.params.some(
      (bytes, i) =>
        bytes !== null &&
        writes.has(-(i + 1)) &&
        readAsText(formatOf(bound.bind.paramFormats, i), bound.types[i] ?? 0) &&
        counts(bytes.toString(), (known) => known.param === i + 1),
    ) ?? false
  );
}
