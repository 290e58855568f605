/** The store inside this process: PostgreSQL itself, compiled to WebAssembly, on a folder. For one gateway on one machine. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { PGlite } from '@electric-sql/pglite';
import { Problem } from '../../contract/problem.ts';
import { type Lock, takeLock } from '../../proxy/daemon/exclusive.ts';
import type { Database, Queryable } from './database.ts';

type Tx = Pick<PGlite, 'query'>;

/** @throws `Problem` `store-locked` where another process has the folder open, `store-missing` where the engine is not installed */
export async function openEmbedded(folder: string): Promise<Database> {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const lock = takeLock(join(folder, 'gateway.lock'));
  if (!lock) {
    throw new Problem(
      'store-locked',
      `Another gateway runs on ${folder}. The embedded store is for one process: end the other one, or give both a PostgreSQL with DATABASE_URL.`,
    );
  }
  try {
    const { PGlite } = await load();
    const db = await PGlite.create({ dataDir: join(folder, 'store'), relaxedDurability: false, parsers: { 20: Number } });
    return wrap(db, lock);
  } catch (cause) {
    lock.release();
    throw cause;
  }
}

async function load(): Promise<typeof import('@electric-sql/pglite')> {
  try {
    return await import('@electric-sql/pglite');
  } catch (cause) {
    throw new Problem(
      'store-missing',
      'The embedded store is not installed with this gateway. Set DATABASE_URL to a PostgreSQL, or install the package @electric-sql/pglite beside it.',
      { cause },
    );
  }
}

function wrap(db: PGlite, lock: Lock): Database {
  const queryable = (on: Tx): Queryable => ({
    query: async <T extends object>(sql: string, params: readonly unknown[] = []) => (await on.query<T>(sql, [...params])).rows,
  });
  return {
    kind: 'embedded',
    query: (sql, params) => queryable(db).query(sql, params),
    transaction: async (work) => {
      // The engine's type says that nothing may come back where it was rolled back; then it rejects.
      return (await db.transaction(async (tx) => await work(queryable(tx)))) as Awaited<ReturnType<typeof work>>;
    },
    async listen(channel, heard, gap) {
      await db.listen(channel, heard);
      gap();
    },
    async close() {
      await db.close();
      lock.release();
    },
  };
}
