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

/** Tokens in one statement's text and parameters. */
const MAX_TOKENS = 1000;

/** What goes upstream in place of what the client sent. */
export interface Revealed {
  readonly sql: string;
  readonly params: readonly (Buffer | null)[];
  readonly rewrite: Rewrite;
  /** Tokens in the text by the byte offset of their literal, and in parameters by index: they may stand in the record. */
  readonly literals: ReadonlySet<number>;
  readonly inParams: ReadonlySet<number>;
}

export type Looked =
  | { readonly kind: 'plain'; readonly writesMask: boolean }
  | { readonly kind: 'revealed'; readonly revealed: Revealed; readonly writesMask: boolean }
  | { readonly kind: 'refused'; readonly why: string };

const WHERE =
  'A token can stand only by itself, as a whole literal or parameter that is compared with a masked column by =, IN or = ANY (ARRAY[…]), or that is written into one by VALUES or SET.';

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
    const known = new Map<string, string>();
    for (const { token, value } of [...pieces, ...params.values()]) known.set(value, token);
    const revealed: Revealed = {
      sql: pieces.length === 0 ? sql : replaced(sql, pieces),
      params: bound ? bound.bind.params.map((param, i) => (params.has(i) ? Buffer.from(params.get(i)?.value ?? '') : param)) : [],
      rewrite: new Rewrite(sql, pieces, known),
      literals: new Set(pieces.map(({ start }) => Buffer.byteLength(sql.slice(0, start)))),
      inParams: new Set(params.keys()),
    };
    return { kind: 'revealed', revealed, writesMask };
  } catch (cause) {
    if (cause instanceof Refused) return { kind: 'refused', why: cause.message };
    throw cause;
  }
}

const NO_PARAMS: ReadonlyMap<number, Piece> = new Map();

/** Tokens in the text, each with what is written for it. */
function inText(sql: string, constants: Constants | undefined, places: readonly LiteralPlace[], masking: SessionMasking): readonly Piece[] {
  const found = masking.tokens.find(sql);
  if (found.length === 0) return [];
  const literals = literalsIn(sql);
  const [first] = found;
  if (!literals || !constants) return refuse(`${first?.text ?? 'A token'} cannot stand here: the statement was not understood. ${WHERE}`);
  return found.map((one) => {
    if (one.state === 'unknown') return refuse(`${one.text} ${UNKNOWN_TOKEN}`);
    const literal = literals.find(({ end, start }) => start <= one.start && one.end <= end);
    if (!literal) return refuse(`${one.text} stands in a comment or a name. ${WHERE}`);
    const around = sql.slice(literal.start, one.start) + sql.slice(one.end, literal.end);
    const location = Buffer.byteLength(sql.slice(0, literal.start));
    const constant = constants.strings.find((string) => string.location === location);
    if ((around !== "''" && around !== "E''" && around !== "e''") || constant?.text !== one.text)
      return refuse(`${one.text} is part of a longer literal. ${WHERE}`);
    const place = places.find((known) => known.location === location && known.param === undefined);
    if (!place) return refuse(`${one.text} cannot stand where it does. ${WHERE}`);
    const value = valueFor(one.token, place, masking);
    return { start: literal.start, end: literal.end, text: `'${value.replaceAll("'", "''")}'`, token: one.text, value };
  });
}

/** Parameters that are tokens: every mention of one must be a place for it. */
function inParams(
  bind: BindMessage,
  types: readonly number[],
  constants: Constants | undefined,
  places: readonly LiteralPlace[],
  masking: SessionMasking,
): ReadonlyMap<number, Piece> {
  const pieces = new Map<number, Piece>();
  bind.params.forEach((bytes, i) => {
    if (bytes === null || !carriesText(formatOf(bind.paramFormats, i), types[i] ?? 0)) return;
    const text = bytes.toString();
    const found = masking.tokens.find(text);
    const [one] = found;
    if (!one) return;
    const called = `${one.text} in parameter $${i + 1}`;
    if (one.state === 'unknown') return refuse(`${called} ${UNKNOWN_TOKEN}`);
    if (one.text !== text) return refuse(`${called} is part of a longer value. ${WHERE}`);
    const mentions = constants?.params.filter(({ number }) => number === i + 1) ?? [];
    if (mentions.length === 0) return refuse(`${called} cannot stand where it does. ${WHERE}`);
    let value = '';
    for (const { location } of mentions) {
      const place = places.find((known) => known.location === location && known.param === i + 1);
      if (!place) return refuse(`${called} cannot stand where it does. ${WHERE}`);
      value = valueFor(one.token, place, masking);
    }
    pieces.set(i, { start: 0, end: 0, text: value, token: one.text, value });
  });
  return pieces;
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
        carriesText(formatOf(bound.bind.paramFormats, i), bound.types[i] ?? 0) &&
        counts(bytes.toString(), (known) => known.param === i + 1),
    ) ?? false
  );
}
