/** From the text of a query to what is known of it. Pure: the same text, catalog, plan and settings give the same answer. */
import type { Facts } from '../../../../contract/facts.ts';
import type { MaskPlan } from '../../../policy/policy.ts';
import type { Catalog } from './catalog.ts';
import { describe } from './describe.ts';
import { Budget } from './findings.ts';
import type { StatementInfo } from './info.ts';
import { normalise } from './lexer.ts';
import { as, kindOf, walk } from './nodes.ts';
import { isDefinition, Overlay } from './overlay.ts';
import { loadParser, type ParsedStatement, type Parser } from './parser.ts';
import { type MaskedLiterals, ordinalsAt, recordSql } from './recorded.ts';
import { type Session, trackSettings } from './session.ts';

export type { Control, CopyInfo, LiteralPlace, OutputColumn, StatementInfo } from './info.ts';
export { normalise } from './lexer.ts';
export { type MaskedLiterals, recordSql } from './recorded.ts';

/** What of the session decides what a statement means. A cached answer is good for the same settings only. */
export interface SqlSettings {
  /** Schema names as SET gave them, unquoted; `$user` may be among them. */
  readonly searchPath: readonly string[];
  readonly standardConformingStrings: boolean;
  /** Texts of prepared statements by name, whether by PREPARE (that whole statement) or by Parse. */
  readonly prepared?: ReadonlyMap<string, string>;
  /** Open cursors and named portals. */
  readonly cursors?: ReadonlyMap<string, StatementInfo>;
  /** Temporary relations of this session by name, from `StatementInfo.creates` and `flows`. */
  readonly temporary?: Session['temporary'];
  /** A statement that may have put sensitive data into a setting has run (`changesSession` with `touchesSensitive`). */
  readonly settingsTainted?: boolean;
  /** Names that statements of a transaction that is not over have changed (`StatementInfo.changes`). */
  readonly changed?: ReadonlySet<string>;
}

export interface Classified {
  /** One entry a statement; one for an empty text. */
  readonly parts: readonly [Facts, ...Facts[]];
  readonly statements: readonly StatementInfo[];
  /** `normalise(sql)` where any other text of that shape, under the same settings and catalog, gets the same facts and outputs. */
  readonly shape: string | undefined;
  /** The text with sensitive literals masked. */
  readonly recorded: string;
  /** Which literals those are: `recordSql(other, maskedLiterals)` does the same for another text of the same shape. */
  readonly maskedLiterals: MaskedLiterals;
  /** Names that the catalog did not know. Not empty: refresh the catalog and classify again. */
  readonly misses: readonly string[];
}

/** Kinds of which texts of the same shape differ in literals only. */
const SHAPED: ReadonlySet<string> = new Set(['SelectStmt', 'InsertStmt', 'UpdateStmt', 'DeleteStmt', 'MergeStmt', 'TransactionStmt']);

export class SqlClassifier {
  readonly #parser: Parser;

  private constructor(parser: Parser) {
    this.#parser = parser;
  }

  static async load(): Promise<SqlClassifier> {
    return new SqlClassifier(await loadParser());
  }

  /** Never throws. What cannot be parsed or resolved is `unknown`. */
  classify(sql: string, catalog: Catalog, plan: MaskPlan, settings: SqlSettings): Classified {
    const sensitivity = catalog.sensitivity(plan);
    if (!settings.standardConformingStrings && sql.includes('\\'))
      return notUnderstood(sql, 'backslashes in strings, with standard_conforming_strings off', sensitivity.any);
    const parsed = this.#parser.parse(sql);
    if (!parsed.ok) return notUnderstood(sql, REASONS[parsed.why], sensitivity.any);
    const [first] = parsed.statements;
    if (!first) return empty(sql);

    const budget = new Budget();
    const session: Session = {
      searchPath: settings.searchPath,
      prepared: new Map(settings.prepared),
      cursors: new Map(settings.cursors),
      temporary: new Map(settings.temporary),
      settingsTainted: settings.settingsTainted ?? false,
      changed: new Set(settings.changed),
      touchedPath: false,
    };
    const described = [];
    let seen: { readonly catalog: Catalog; readonly overlay?: Overlay } = { catalog };
    for (const statement of parsed.statements) {
      const text = textOf(sql, statement);
      const one = describe(
        { catalog: seen.catalog, sensitivity: seen.catalog.sensitivity(plan), budget, session, parser: this.#parser, sql: text },
        statement.node,
      );
      described.push(one);
      seen = this.#after(seen, catalog, one.info, statement.node, session, statement !== parsed.statements.at(-1), (settings.changed?.size ?? 0) === 0);
      trackSettings(session, one.info, text);
    }
    const infos = described.map((d) => d.info);
    const maskedLiterals = masked(sql, described, parsed.statements);
    const misses = [...new Set(described.flatMap((d) => d.misses))];
    const shaped =
      settings.standardConformingStrings &&
      misses.length === 0 &&
      described.every((d) => !d.literalsDecide && d.info.facts.effect !== 'unknown') &&
      parsed.statements.every((s) => SHAPED.has(kindOf(s.node)) && as(s.node, 'TransactionStmt')?.gid === undefined);
    const parts = infos.map((info) => info.facts);
    return {
      parts: parts as [Facts, ...Facts[]],
      statements: infos,
      shape: shaped ? normalise(sql) : undefined,
      recorded: recordSql(sql, maskedLiterals),
      maskedLiterals,
      misses,
    };
  }

  /** The catalog as the next statement finds it. What is not followed is in `session.changed`. */
  #after(
    seen: { readonly catalog: Catalog; readonly overlay?: Overlay },
    base: Catalog,
    info: StatementInfo,
    node: ParsedStatement['node'],
    session: Session,
    goesOn: boolean,
    known: boolean,
  ): { readonly catalog: Catalog; readonly overlay?: Overlay } {
    const { changes, control } = info;
    // What was made is gone again, as far back as nobody follows here.
    if (seen.overlay && (control?.kind === 'rollback' || control?.kind === 'rollback-to')) {
      for (const name of seen.overlay.names) session.changed.add(name);
      seen.overlay.lose();
      return { catalog: base, overlay: seen.overlay };
    }
    if (!goesOn || !(changes || isDefinition(node))) return seen;
    const overlay = seen.overlay ?? new Overlay(base, this.#parser);
    const { searchPath } = session;
    // Where an earlier text of the transaction has changed something, it is looked at first.
    if (known && searchPath && info.facts.effect === 'schema' && overlay.follow(node, info, { searchPath, temporary: session.temporary }))
      return { catalog: overlay, overlay };
    for (const name of changes ?? []) session.changed.add(name);
    if (overlay.bears(node)) return { catalog: seen.catalog, overlay };
    for (const name of overlay.names) session.changed.add(name);
    overlay.lose();
    return { catalog: base, overlay };
  }

  /** The text of every string literal, decoded, and every mention of a parameter; undefined for what cannot be parsed. */
  constants(sql: string): Constants | undefined {
    const parsed = this.#parser.parse(sql);
    if (!parsed.ok) return undefined;
    const strings: { location: number; text: string }[] = [];
    const params: { location: number; number: number }[] = [];
    walk(
      parsed.statements.map(({ node }) => node),
      (kind, body) => {
        if (kind === 'A_Const') {
          const { location = 0, sval } = body as { readonly location?: number; readonly sval?: { readonly sval?: string } };
          if (sval) strings.push({ location, text: sval.sval ?? '' });
        } else if (kind === 'ParamRef') {
          const { location = 0, number = 0 } = body as { readonly location?: number; readonly number?: number };
          params.push({ location, number });
        }
        return true;
      },
    );
    return { strings, params };
  }
}

/** Places are byte offsets. */
export interface Constants {
  readonly strings: readonly { readonly location: number; readonly text: string }[];
  readonly params: readonly { readonly location: number; readonly number: number }[];
}

const REASONS = {
  syntax: 'it is not valid SQL, or newer than this parser',
  'too-long': 'it is too long to be read',
  'too-many': 'it holds too many statements',
  'not-text': 'it is not valid text',
  broken: 'the parser could not read it',
} as const;

function textOf(sql: string, statement: ParsedStatement): string {
  return Buffer.from(sql).subarray(statement.start, statement.end).toString().trim();
}

function masked(
  sql: string,
  described: readonly { readonly literals: ReadonlySet<number>; readonly allLiterals: boolean }[],
  statements: readonly ParsedStatement[],
): MaskedLiterals {
  if (described.some((d) => d.allLiterals)) {
    const bodies = statements.every((s) => as(s.node, 'DoStmt') !== undefined || as(s.node, 'CreateFunctionStmt') !== undefined);
    return bodies ? 'bodies' : 'all';
  }
  const places = described.flatMap((d) => [...d.literals]);
  return places.length === 0 ? [] : (ordinalsAt(sql, places) ?? 'all');
}

const NO_SQL_FACTS = { where: false, functions: [], returned: [], predicates: [], written: [], session: false };

function notUnderstood(sql: string, why: string, sensitive: boolean): Classified {
  const verb = (/^[\s(]*([a-z]+)/i.exec(sql)?.[1] ?? 'SQL').toUpperCase().slice(0, 20);
  const facts: Facts = {
    effect: 'unknown',
    verb,
    targets: [],
    bulk: false,
    sensitive: sensitive ? ['not understood'] : [],
    headline: `${verb}: not understood`,
    notes: [why],
    sql: { ...NO_SQL_FACTS, statement: verb },
  };
  const maskedLiterals: MaskedLiterals = sensitive ? 'all' : [];
  const info: StatementInfo = {
    facts,
    outputs: 'opaque',
    sensitiveParams: new Map(),
    touchesSensitive: sensitive,
    changesSession: true,
    flows: [],
  };
  return { parts: [facts], statements: [info], shape: undefined, recorded: recordSql(sql, maskedLiterals), maskedLiterals, misses: [] };
}

function empty(sql: string): Classified {
  const facts: Facts = {
    effect: 'read',
    verb: 'EMPTY',
    targets: [],
    bulk: false,
    sensitive: [],
    headline: 'empty query',
    notes: [],
    sql: { ...NO_SQL_FACTS, statement: 'EMPTY' },
  };
  return { parts: [facts], statements: [], shape: normalise(sql), recorded: sql, maskedLiterals: [], misses: [] };
}
