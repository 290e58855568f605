/** SQL text → what the pipeline decides on and what the answer's mask follows. The understanding itself is in `sql/`. */
import type { Facts } from '../../../contract/facts.ts';
import type { MaskPlan } from '../../policy/policy.ts';
import type { Reach } from './diagnostics.ts';
import type { Reading } from './flight.ts';
import { followed } from './plans.ts';
import { changesReading, refusedChange } from './settings.ts';
import { type MaskedLiterals, normalise, recordSql, type SqlClassifier, type SqlSettings, type StatementInfo } from './sql/classifier.ts';

/** Shapes that are kept for one reading. */
const MAX_SHAPES = 2000;

/** One Query or one Parse, understood. */
export interface Batch {
  readonly parts: readonly [Facts, ...Facts[]];
  readonly statements: readonly StatementInfo[];
  /** Every statement only reads. */
  readonly reads: boolean;
  readonly shape: string | undefined;
  /** The text with literals masked that touch sensitive columns. */
  readonly recorded: string;
  readonly reach: Reach;
  /** What must be read again from the server before later statements are understood: the search path alone, or all names. */
  readonly unsettles: 'nothing' | 'path' | 'all';
  /** It names prepared statements or cursors, so those must be known for certain first. */
  readonly usesNames: boolean;
  /** Relations, columns or functions may be others afterwards. */
  readonly changesCatalog: boolean;
  /** Ends or rolls back a transaction, or part of it: settings and temporary tables may go back to what they were. */
  readonly endsTransaction: boolean;
  /** Some COPY … FROM STDIN. */
  readonly copiesIn: boolean;
  /** Refused whatever policy says, and why. */
  readonly refused: string | undefined;
  /** What its answers are masked by, where statements of it move sensitive data that later ones read. */
  readonly plan?: MaskPlan | undefined;
  /** Which literals of the text are masked in the record. */
  readonly maskedLiterals: MaskedLiterals;
  /** Names that the catalog did not know. */
  readonly misses: readonly string[];
}

/** What a session adds to a reading: names that only it knows. */
export type SessionNames = Pick<SqlSettings, 'prepared' | 'cursors' | 'temporary' | 'settingsTainted' | 'changed'>;

interface Known {
  readonly batch: Batch;
  readonly maskedLiterals: MaskedLiterals;
}

/** Text of a known shape is understood once for a reading. */
const caches = new WeakMap<Reading, Cache>();

interface Cache {
  readonly shapes: Map<string, Known>;
  /** The last text that was found there. */
  last: { readonly sql: string; readonly batch: Batch } | undefined;
}

export interface Circumstances {
  /** An earlier statement changes what names mean, and that has not been read again. */
  readonly uncertain: boolean;
  /** The end of a transaction takes something back that names depend on. */
  readonly uncertainAfterTransaction: boolean;
  /** The session promised to change nothing. */
  readonly readOnly: boolean;
  /** Understood from exactly this text, whatever is known of its shape: places in it are looked at. */
  readonly exactly?: boolean;
}

export function classify(classifier: SqlClassifier, sql: string, reading: Reading, names: SessionNames, circumstances: Circumstances): Batch {
  const { exactly, readOnly, uncertain, uncertainAfterTransaction } = circumstances;
  const plain =
    !exactly &&
    !uncertain &&
    !uncertainAfterTransaction &&
    !readOnly &&
    !names.settingsTainted &&
    (names.temporary?.size ?? 0) === 0 &&
    (names.changed?.size ?? 0) === 0;
  const cache = shapesOf(reading);
  const last = plain ? cache.last : undefined;
  // A prepared statement comes again to the letter.
  if (last?.sql === sql) return last.batch;
  const key = plain ? normalise(sql) : undefined;
  const known = key === undefined ? undefined : cache.shapes.get(key);
  if (known) {
    const recorded = recordSql(sql, known.maskedLiterals);
    const batch = recorded === known.batch.recorded ? known.batch : { ...known.batch, recorded };
    cache.last = { sql, batch };
    return batch;
  }
  const { classified, plan } = inOrder(classifier, sql, reading, { ...names, searchPath: reading.searchPath, standardConformingStrings: true });
  let unsure = uncertain;
  const statements = classified.statements.map((statement) => {
    const plainly = !unsure || TRANSACTION.has(statement.control?.kind);
    if (uncertainAfterTransaction && endsTransaction(statement)) unsure = true;
    if (!plainly) return doubtful(statement);
    return exactly ? statement : anywhere(statement);
  });
  const [first, ...rest] = statements.map((s) => s.facts);
  const parts: readonly [Facts, ...Facts[]] = first ? [first, ...rest] : classified.parts;
  const kinds = statements.map((s) => s.control?.kind);
  const batch: Batch = {
    parts,
    statements,
    reads: parts.every(({ effect }) => effect === 'read'),
    shape: uncertain ? undefined : classified.shape,
    recorded: classified.recorded,
    reach: reachOf(statements, reading),
    unsettles: unsettles(statements),
    usesNames: kinds.some((kind) => kind === 'execute' || kind === 'fetch'),
    changesCatalog:
      parts.some((f) => f.effect === 'schema' || f.effect === 'admin' || f.effect === 'execute' || f.effect === 'unknown') || statements.some((s) => s.creates),
    endsTransaction: statements.some(endsTransaction),
    copiesIn: statements.some((s) => s.copy?.direction === 'in' && s.copy.via === 'client'),
    refused: statements.map((s) => refusal(s, readOnly)).find((why) => why !== undefined),
    plan: plan === reading.plan ? undefined : plan,
    maskedLiterals: classified.maskedLiterals,
    misses: classified.misses,
  };
  if (key !== undefined && key === classified.shape) {
    const { shapes } = cache;
    if (shapes.size >= MAX_SHAPES) for (const oldest of shapes.keys()) if (shapes.size >= MAX_SHAPES) shapes.delete(oldest);
    shapes.set(key, { batch, maskedLiterals: classified.maskedLiterals });
  }
  return batch;
}

/** What these do does not depend on what names mean. */
const TRANSACTION: ReadonlySet<string | undefined> = new Set(['begin', 'commit', 'rollback', 'savepoint', 'release', 'rollback-to']);

function endsTransaction({ control }: StatementInfo): boolean {
  return control?.kind === 'rollback' || control?.kind === 'commit' || control?.kind === 'rollback-to';
}

function shapesOf(reading: Reading): Cache {
  let cache = caches.get(reading);
  if (!cache) {
    cache = { shapes: new Map(), last: undefined };
    caches.set(reading, cache);
  }
  return cache;
}

function unsettles(statements: readonly StatementInfo[]): Batch['unsettles'] {
  if (statements.some((s) => s.changesSession || s.control?.kind === 'discard' || s.creates?.temporary)) return 'all';
  return statements.some((s) => s.control?.kind === 'set' && (s.control.name === '*' || changesReading(s.control.name))) ? 'path' : 'nothing';
}

function reachOf(statements: readonly StatementInfo[], reading: Reading): Reach {
  if (reading.plan.columns.size === 0) return 'none';
  if (statements.some(({ facts }) => facts.effect === 'execute' || facts.effect === 'unknown' || (facts.sql?.functions.length ?? 0) > 0)) return 'code';
  if (statements.some((s) => s.reads)) return 'sensitive';
  return statements.some((s) => s.touchesSensitive) ? 'near' : 'possible';
}

/** How often data can be handed on in one text before it is given up to follow. */
const MAX_MOVES = 5;

/** Statements of one text are understood each after what the ones before it move. */
function inOrder(
  classifier: SqlClassifier,
  sql: string,
  reading: Reading,
  settings: SqlSettings,
): { readonly classified: ReturnType<SqlClassifier['classify']>; readonly plan: MaskPlan } {
  let { plan } = reading;
  for (let moves = 0; ; moves++) {
    const classified = classifier.classify(sql, reading.catalog, plan, settings);
    if (classified.statements.length < 2) return { classified, plan };
    const next = followed(
      plan,
      classified.statements.slice(0, -1).flatMap((statement) => statement.flows),
    );
    if (next.columns.size === plan.columns.size) return { classified, plan };
    if (moves === MAX_MOVES) return { classified: { ...classified, statements: classified.statements.map(doubtful) }, plan };
    plan = next;
  }
}

/** Without places: in another text of the same shape they are others. */
function anywhere({ places: _places, writes: _writes, ...statement }: StatementInfo): StatementInfo {
  return statement;
}

/** A statement whose names may mean something else by the time it runs. */
function doubtful(statement: StatementInfo): StatementInfo {
  const note = 'sent together with a change that decides what its names mean';
  const facts: Facts = { ...statement.facts, effect: 'unknown', notes: [note, ...statement.facts.notes].slice(0, 20) };
  return { ...statement, facts, outputs: 'opaque', touchesSensitive: true, places: [] };
}

function refusal({ control, copy, refused, touchesSensitive }: StatementInfo, readOnly: boolean): string | undefined {
  if (refused !== undefined) return refused;
  if (control?.kind === 'set' && control.value !== undefined) return refusedChange(control.name, control.value.join(','), readOnly);
  if (readOnly && control?.kind === 'begin' && control.readOnly === false) return 'This session only reads: a transaction that writes is refused.';
  if (copy?.direction === 'out' && copy.via === 'client') {
    const masked =
      touchesSensitive || copy.columns === 'opaque' || copy.columns.some((column) => column.kind === 'mask' || (column.kind === 'origin' && column.mask));
    if (copy.format === 'binary' && masked) return 'COPY in binary format is refused where columns are masked. Use text or CSV.';
    if (copy.encoding !== undefined && !/^utf-?8$/i.test(copy.encoding))
      return 'COPY in another encoding than UTF8 is refused: it could not be read for masking.';
  }
  return undefined;
}

/** CONNECT: opening a session is an operation too. */
export function connectFacts(database: string): Facts {
  return {
    effect: 'read',
    verb: 'CONNECT',
    targets: [{ kind: 'database', name: database }],
    bulk: false,
    sensitive: [],
    headline: `CONNECT ${database}`.slice(0, 300),
    notes: [],
  };
}
