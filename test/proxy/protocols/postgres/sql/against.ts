/** Puts a statement before the real server and before the classifier, and says where they disagree. */
import type { Client, QueryArrayResult } from 'pg';
import type { Catalog } from '../../../../../proxy/protocols/postgres/sql/catalog.ts';
import type { SqlClassifier, StatementInfo } from '../../../../../proxy/protocols/postgres/sql/classifier.ts';
import { columnText } from './record.ts';
import { PLAN, SETTINGS } from './server.ts';

/** Values that the schema seeds in sensitive columns. */
const SEEDED = ['ada@example.com', 'bob@example.org', '123-45-6789', '987-65-4321', '4111111111111111', '5500000000000004', '98761', '98762', 'canary-body'];
const FRAGMENTS = ['ada@', 'bob@', '@example', '123-45', '45-6789', '987-65', '65-4321', '41111', '55000000', '98761', '98762', 'canary'];

/** Everything in which a seeded value could be recognised by eye or by simple means. */
const CANARIES: readonly string[] = [
  ...FRAGMENTS,
  ...FRAGMENTS.map((f) => f.split('').toReversed().join('')),
  ...SEEDED.map((s) => Buffer.from(s).toString('hex')),
  ...SEEDED.map((s) => Buffer.from(s).toString('base64').slice(0, -3)),
].map((s) => s.toLowerCase());

export function holdsCanary(text: string): boolean {
  const lower = text.toLowerCase();
  return CANARIES.some((canary) => lower.includes(canary));
}

/** SQLSTATE of what a read-only transaction refuses. */
export const READ_ONLY_VIOLATION = '25006';

export interface Answered {
  readonly error?: string;
  readonly result?: QueryArrayResult<(string | null)[]>;
}

/** Runs it in a read-only transaction, which is always rolled back. */
export async function askServer(client: Client, sql: string, values?: readonly string[]): Promise<Answered> {
  await client.query('begin read only');
  try {
    const text = { text: sql, rowMode: 'array' as const, types: { getTypeParser: () => (value: string | null) => value } };
    const result = await client.query<(string | null)[]>((values ? { ...text, values: [...values] } : text) as never);
    return { result: result as QueryArrayResult<(string | null)[]> };
  } catch (error) {
    return { error: String((error as { code?: unknown }).code) };
  } finally {
    await client.query('rollback');
  }
}

/** What a statement's columns are, and its rows: no unmasked value may hold a canary. Undefined where all is well. */
export function disagreement(info: StatementInfo, result: QueryArrayResult<(string | null)[]>, catalog: Catalog): string | undefined {
  const { outputs } = info;
  const masked = result.fields.map((field, i) => {
    const output = outputs === 'opaque' || outputs.length !== result.fields.length ? undefined : outputs[i];
    const byServer = field.tableID !== 0 && catalog.maskFor(field.tableID, field.columnID, PLAN) !== undefined;
    const byUs =
      output === undefined ? field.tableID === 0 && info.touchesSensitive : output.kind === 'mask' || (output.kind === 'origin' && output.mask !== undefined);
    return byServer || byUs;
  });
  for (const row of result.rows) {
    for (const [i, value] of row.entries()) if (!masked[i] && value !== null && holdsCanary(value)) return `column ${i + 1} shows ${value}`;
  }
  if (outputs === 'opaque') return undefined;
  if (outputs.length !== result.fields.length) return `${outputs.length} columns foretold, ${result.fields.length} came`;
  for (const [i, output] of outputs.entries()) {
    const field = result.fields[i];
    const place = output.kind === 'origin' ? `${output.table}.${output.attribute}` : '0.0';
    if (field && place !== `${field.tableID}.${field.tableID === 0 ? 0 : field.columnID}`)
      return `column ${i + 1}: ${columnText(output)}, the server says ${field.tableID}.${field.columnID}`;
  }
  return undefined;
}

export function classifyOne(classifier: SqlClassifier, catalog: Catalog, sql: string): readonly StatementInfo[] {
  return classifier.classify(sql, catalog, PLAN, SETTINGS).statements;
}
