/** A classification in the corpus's short form: only what is not the default is written. */
import type { Classified, OutputColumn, StatementInfo } from '../../../../../proxy/protocols/postgres/sql/classifier.ts';

export interface CorpusStatement {
  readonly effect: string;
  readonly headline: string;
  readonly bulk?: true;
  readonly where?: true;
  readonly session?: true;
  /** `-` nothing sensitive; `schema.table.column` a plain column; with `!mask` a sensitive one; `mask:label` made from one. */
  readonly out?: readonly string[] | 'opaque';
  readonly copy?: string;
  readonly targets?: readonly string[];
  readonly functions?: readonly string[];
  readonly returned?: readonly string[];
  readonly predicates?: readonly string[];
  /** Every use of a sensitive column in a condition is an equality. */
  readonly equality?: true;
  readonly written?: readonly string[];
  readonly params?: Readonly<Record<string, string>>;
  readonly control?: string;
  /** Whatever policy says. */
  readonly refused?: true;
  readonly flows?: readonly string[];
}

export interface CorpusExpectation {
  readonly statements: readonly CorpusStatement[];
  /** Absent where it is the text itself. */
  readonly recorded?: string;
  /** False where the answer may not be kept for other texts of the same shape. */
  readonly shaped: boolean;
}

export function columnText(column: OutputColumn): string {
  switch (column.kind) {
    case 'clean':
      return '-';
    case 'origin':
      return column.mask ? `${column.column}!${column.mask}` : column.column;
    case 'mask':
      return `${column.mask}:${column.label}`;
  }
}

function some<T>(list: readonly T[] | undefined): readonly T[] | undefined {
  return list && list.length > 0 ? list : undefined;
}

function statement(info: StatementInfo): CorpusStatement {
  const { facts } = info;
  const entries: Record<string, unknown> = {
    effect: facts.effect,
    headline: facts.headline,
    bulk: facts.bulk || undefined,
    where: facts.sql?.where || undefined,
    session: facts.sql?.session || undefined,
    out: info.outputs === 'opaque' ? 'opaque' : some(info.outputs.map(columnText)),
    copy:
      info.copy &&
      `${info.copy.direction} ${info.copy.via} ${info.copy.format} ${info.copy.columns === 'opaque' ? 'opaque' : info.copy.columns.map(columnText).join(' ')}`.trim(),
    targets: some(facts.targets.map((t) => `${t.kind} ${t.name}`)),
    functions: some(facts.sql?.functions),
    returned: some(facts.sql?.returned),
    predicates: some(facts.sql?.predicates),
    equality: facts.sql?.equality || undefined,
    written: some(facts.sql?.written),
    params: info.sensitiveParams.size > 0 ? Object.fromEntries(info.sensitiveParams) : undefined,
    control: info.control?.kind,
    refused: info.refused !== undefined || undefined,
    flows: some(info.flows.map((f) => `${f.table}.${f.column}`)),
  };
  return Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as unknown as CorpusStatement;
}

/** In the form in which it stands in the corpus, for comparing. */
export function asRecord(classified: Classified, sql = ''): CorpusExpectation {
  return {
    statements: classified.statements.map(statement),
    ...(classified.recorded !== sql && { recorded: classified.recorded }),
    shaped: classified.shape !== undefined,
  };
}
