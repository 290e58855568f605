/** The store as the rest of the gateway uses it: the same SQL whether PostgreSQL runs beside many replicas or inside this process. */

/** A row as it comes back; each query says what its rows are, and tables are ours alone to write. */
export type Row = Readonly<Record<string, unknown>>;

export interface Queryable {
  query<T extends object = Row>(sql: string, params?: readonly unknown[]): Promise<T[]>;
}

/** `bigint` comes as a number (what is counted and timed here stays below 2^53), `jsonb` as the value it stands for. */
export interface Database extends Queryable {
  readonly kind: 'postgres' | 'embedded';
  /** All or nothing; a rejection of `work` rolls back and is passed on. */
  transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T>;
  /**
   * Hears `pg_notify` on a channel until the store is closed. `gap` is called when notifications may have been missed: at
   * the start, and whenever the connection was lost and is back.
   */
  listen(channel: string, heard: (payload: string) => void, gap: () => void): Promise<void>;
  close(): Promise<void>;
}

/** The first row, where a statement can give one at most. */
export async function one<T extends object>(db: Queryable, sql: string, params: readonly unknown[] = []): Promise<T | undefined> {
  const rows = await db.query<T>(sql, params);
  return rows[0];
}

/** For `$1::jsonb`: drivers would make an SQL array of a list. */
export function json(value: unknown): string {
  return JSON.stringify(value);
}

/** SQLSTATEs that say "try the transaction again": it lost a race and changed nothing. */
const RETRIED = new Set(['40001', '40P01']);
const MAX_TRIES = 5;

/** A transaction that is begun again when the server says that it lost a race. */
export async function retried<T>(db: Database, work: (tx: Queryable) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await db.transaction(work);
    } catch (cause) {
      if (attempt >= MAX_TRIES || !RETRIED.has((cause as { code?: string }).code ?? '')) throw cause;
    }
  }
}
