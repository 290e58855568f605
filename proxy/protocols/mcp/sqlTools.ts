/** Runs one statement on a served database, over the same wire as any client: it is decided and masked there. */
import type { Duplex } from 'node:stream';
import { Client, DatabaseError, Query } from 'pg';
import { Problem } from '../../../contract/problem.ts';

/** Rows of a result that go to the agent. */
const MAX_ROWS = 200;
/** Characters of all values together that go to the agent. */
const MAX_CHARS = 100_000;
/** Rows that are counted before the rest is left alone. */
const MAX_COUNTED = 100_000;

export type Param = string | number | boolean | null;

export interface ResultTable {
  /** What the server calls what it did: `SELECT`, `UPDATE`. */
  readonly command: string;
  readonly columns: readonly string[];
  /** At most `MAX_ROWS`; values as PostgreSQL writes them in text. */
  readonly rows: readonly (readonly (string | null)[])[];
  /** Rows there were, or were changed. */
  readonly rowCount: number;
  /** There were more, and `rowCount` stopped there. */
  readonly more: boolean;
}

/** What pg needs of a socket besides a stream. */
function asSocket(stream: Duplex): Duplex {
  const nothing = (): Duplex => stream;
  return Object.assign(stream, {
    setNoDelay: nothing,
    setKeepAlive: nothing,
    ref: nothing,
    unref: nothing,
    connect: () => {
      process.nextTick(() => stream.emit('connect'));
      return stream;
    },
  });
}

export interface Statement {
  readonly stream: Duplex;
  readonly user: string;
  readonly database: string;
  readonly sql: string;
  readonly params: readonly Param[];
}

/**
 * Runs a statement and closes the connection. One table for each statement in it.
 * @throws pg's `DatabaseError` as the proxy or the server sent it; a `Problem` where the connection ended
 */
export async function runStatement(statement: Statement, signal: AbortSignal): Promise<readonly ResultTable[]> {
  const stream = asSocket(statement.stream);
  const client = new Client({ stream: () => stream as never, user: statement.user, database: statement.database, ssl: false });
  const abort = (): void => void stream.destroy();
  signal.addEventListener('abort', abort, { once: true });
  try {
    if (signal.aborted) stream.destroy();
    await client.connect();
    return await collect(client, statement);
  } catch (cause) {
    if (signal.aborted) throw new Problem('cancelled', 'Cancelled.', { cause });
    if (cause instanceof DatabaseError || cause instanceof Problem) throw cause;
    throw new Problem(
      'connection-lost',
      'The connection to the database ended before the answer was complete. Try again; if it was a change, look first whether it was made.',
      {
        cause,
      },
    );
  } finally {
    signal.removeEventListener('abort', abort);
    // Politely first: the session is to end as done, not as lost.
    await Promise.race([client.end().catch(() => {}), new Promise((resolve) => stream.once('close', resolve))]);
    stream.destroy();
  }
}

function collect(client: Client, { sql, params }: Statement): Promise<readonly ResultTable[]> {
  return new Promise((resolve, reject) => {
    const kept = new Map<object, (string | null)[][]>();
    const counts = new Map<object, number>();
    let chars = 0;
    let cut: object | undefined;
    const query = new Query({
      text: sql,
      rowMode: 'array',
      types: { getTypeParser: () => (value: string) => value },
      ...(params.length > 0 && { values: params.map((p) => (p === null ? null : String(p))) }),
    } as never);
    client.on('error', reject);
    client.once('end', () => {
      if (cut === undefined) reject(new Error('the connection ended'));
    });
    query.on('row', (row: unknown, result: object | undefined) => {
      if (!result || cut) return;
      const values = row as (string | null)[];
      const count = (counts.get(result) ?? 0) + 1;
      counts.set(result, count);
      const rows = kept.get(result) ?? [];
      kept.set(result, rows);
      if (rows.length === count - 1 && rows.length < MAX_ROWS && chars < MAX_CHARS) {
        rows.push(values);
        for (const value of values) chars += value?.length ?? 4;
      }
      if (count > MAX_COUNTED) {
        cut = result;
        resolve([table(result as Raw, rows, count - 1, true)]);
      }
    });
    query.on('error', reject);
    query.on('end', (results: unknown) => {
      const all = (Array.isArray(results) ? results : [results]) as Raw[];
      resolve(all.filter((r) => r.command !== null).map((r) => table(r, kept.get(r) ?? [], counts.get(r) ?? r.rowCount ?? 0, false)));
    });
    client.query(query);
  });
}

interface Raw {
  readonly command: string | null;
  readonly rowCount: number | null;
  readonly fields: readonly { readonly name: string }[];
}

function table(raw: Raw, rows: readonly (readonly (string | null)[])[], rowCount: number, more: boolean): ResultTable {
  return { command: raw.command ?? 'SELECT', columns: raw.fields.map((f) => f.name), rows, rowCount, more };
}

/** Widest column, in characters; longer values stand out of line. */
const MAX_WIDTH = 40;

/** A table as text, with a line that says how much of it there is. */
export function renderTable(result: ResultTable): string {
  const { columns, rows, rowCount, command, more } = result;
  if (columns.length === 0) return `${command}: ${rowCount === 1 ? '1 row' : `${rowCount} rows`}`;
  const cells = rows.map((row) =>
    row.map((value) => (value === null ? 'NULL' : value.replace(/[\r\n\t]/g, (c) => ({ '\r': '\\r', '\n': '\\n', '\t': '\\t' })[c] ?? c))),
  );
  const widths = columns.map((name, i) => Math.min(MAX_WIDTH, Math.max(name.length, ...cells.map((row) => row[i]?.length ?? 0))));
  const line = (values: readonly string[]): string =>
    values
      .map((value, i) => value.padEnd(widths[i] ?? 0))
      .join(' | ')
      .trimEnd();
  const total = more ? `more than ${rowCount}` : String(rowCount);
  const summary =
    rows.length < rowCount || more ? `First ${rows.length} of ${total} rows. Narrow the query to see others.` : rowCount === 1 ? '1 row' : `${rowCount} rows`;
  return [line(columns), widths.map((w) => '-'.repeat(w)).join('-+-'), ...cells.map(line), '', summary].join('\n');
}
