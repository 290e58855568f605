/** Questions to the index. */
import type { DatabaseSync, SQLInputValue, SQLOutputValue } from 'node:sqlite';
import type { Actor } from '../../contract/actor.ts';
import type { OperationPage, OperationQuery, OperationSummary } from '../../contract/control.ts';
import type { Filter, FilterKey } from '../../contract/operationFilter.ts';
import { OutcomeKind } from '../../contract/recording.ts';

type Row = Record<string, SQLOutputValue>;

/** Newest first. A page never ends within a millisecond, so that `before` finds the next one without a gap. */
export function selectOperations(database: DatabaseSync, filter: Filter, query: Pick<OperationQuery, 'before' | 'limit'>): OperationPage {
  const where: string[] = [];
  const values: SQLInputValue[] = [];
  const add = (sql: string, ...given: SQLInputValue[]): void => {
    where.push(`(${sql})`);
    values.push(...given);
  };
  if (query.before !== undefined) add('at < ?', query.before);
  if (filter.before !== undefined) add('at < ?', filter.before);
  if (filter.after !== undefined) add('at >= ?', filter.after);
  for (const [key, wanted] of filter.terms) {
    const parts = wanted.map((value) => TERMS[key](value));
    add(parts.map((part) => part.sql).join(' OR '), ...parts.flatMap((part) => part.values));
  }
  const text = filter.text.map(phrase).join(' ');
  if (text !== '') add('id IN (SELECT rowid FROM search WHERE search MATCH ?)', text);
  const condition = where.length > 0 ? `WHERE ${where.join(' AND ')}` : '';

  const rows = database.prepare(`SELECT * FROM operations ${condition} ORDER BY at DESC, id DESC LIMIT ?`).all(...values, query.limit + 1);
  const more = rows.length > query.limit;
  if (!more) return { operations: rows.map(summaryOf), more };
  const page = rows.slice(0, query.limit);
  const last = page.at(-1)?.at ?? 0;
  const same = rows.at(-1)?.at === last;
  if (!same) return { operations: page.map(summaryOf), more };
  const rest = database
    .prepare(`SELECT * FROM operations ${condition} ${condition === '' ? 'WHERE' : 'AND'} at = ? ORDER BY id DESC`)
    .all(...values, last)
    .filter((row) => !page.some((shown) => shown.id === row.id));
  const older = database.prepare(`SELECT 1 FROM operations ${condition} ${condition === '' ? 'WHERE' : 'AND'} at < ? LIMIT 1`).get(...values, last);
  return { operations: [...page, ...rest].map(summaryOf), more: older !== undefined };
}

interface Part {
  readonly sql: string;
  readonly values: readonly string[];
}

const contains =
  (column: string) =>
  (value: string): Part => ({ sql: `${column} LIKE ? ESCAPE '\\'`, values: [`%${value.replaceAll(/[\\%_]/g, String.raw`\$&`)}%`] });
const equals =
  (column: string) =>
  (value: string): Part => ({ sql: `${column} = ? COLLATE NOCASE`, values: [value] });

/** In the words of a person: `denied` is what was stopped, by a rule or by somebody. */
const VERDICTS: ReadonlyMap<string, string> = new Map([
  ['allow', "decision = 'allow'"],
  ['allowed', "decision = 'allow'"],
  ['ask', "decision = 'ask'"],
  ['asked', "decision = 'ask'"],
  ['deny', "decision = 'deny' OR outcome = 'denied'"],
  ['denied', "decision = 'deny' OR outcome = 'denied'"],
  ['approved', "answer LIKE 'approved%'"],
]);

const TERMS: Readonly<Record<FilterKey, (value: string) => Part>> = {
  verdict: (value) => ({ sql: VERDICTS.get(value) ?? 'FALSE', values: [] }),
  outcome: equals('outcome'),
  connection: contains('connection'),
  agent: contains('agent'),
  person: contains('person'),
  effect: equals('effect'),
  rule: contains('rule'),
  session: equals('session'),
  conversation: equals('conversation'),
  protocol: equals('protocol'),
};

/** A word as a phrase whose last part may go on; quoted, so that nothing in it is FTS5's syntax. Nothing to find is no word. */
function phrase(word: string): string {
  return /[\p{L}\p{N}]/u.test(word) ? `"${word.replaceAll('"', '""')}"*` : '';
}

export function summaryOf(row: Row): OperationSummary {
  const outcome = OutcomeKind.safeParse(row.outcome);
  const number = (value: SQLOutputValue | undefined): number | undefined => (typeof value === 'number' ? value : undefined);
  const rows = number(row.rows);
  const tookMs = number(row.took_ms);
  const waitedMs = number(row.waited_ms);
  return {
    operation: String(row.operation),
    session: String(row.session),
    conversation: String(row.conversation),
    at: Number(row.at),
    actor: JSON.parse(String(row.actor)) as Actor,
    connection: String(row.connection),
    protocol: String(row.protocol),
    headline: String(row.headline),
    effect: String(row.effect),
    decision: String(row.decision),
    rule: String(row.rule),
    ...(typeof row.approved_by === 'string' && String(row.answer).startsWith('approved') && { approvedBy: row.approved_by }),
    ...(outcome.success && { outcome: outcome.data }),
    ...(rows !== undefined && { rows }),
    masked: Number(row.masked),
    ...(tookMs !== undefined && { tookMs }),
    ...(waitedMs !== undefined && { waitedMs }),
  };
}
