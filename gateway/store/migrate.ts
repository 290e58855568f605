/**
 * Brings the tables up to date, under a lock, while older gateways go on serving: a migration only adds (expand), and what
 * it makes superfluous is removed two versions later at the earliest (contract). docs/gateway.md says the rules.
 */
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { Database, Queryable } from './database.ts';
import { MIGRATIONS } from './migrations/index.ts';

export interface Migration {
  readonly version: number;
  readonly name: string;
  /** The oldest schema that a gateway may know and still run on tables after this migration; see `check`. */
  readonly compatibleFrom: number;
  /** Statements, in order. Never one that rewrites or locks a large table for long. */
  readonly statements: readonly string[];
}

/** Any number, the same in every gateway: whoever holds this lock migrates. */
const LOCK = 4_242_017_731;
/** A migration that cannot have its table lock by then gives up, rather than have everyone else queue behind it. */
const LOCK_TIMEOUT = '5s';

/** The schema that this gateway was written for. */
export const SCHEMA_VERSION = MIGRATIONS.at(-1)?.version ?? 0;

/** @returns the versions that were applied now */
export async function migrate(db: Database, log: Log): Promise<readonly number[]> {
  return await db.transaction(async (tx) => {
    await tx.query(`SELECT pg_advisory_xact_lock(${LOCK})`);
    await tx.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`);
    await tx.query('SET LOCAL statement_timeout = 0');
    await tx.query(
      'CREATE TABLE IF NOT EXISTS schema_migrations (version int PRIMARY KEY, name text NOT NULL, compatible_from int NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())',
    );
    await check(tx);
    const done = new Set((await tx.query<{ version: number }>('SELECT version FROM schema_migrations')).map(({ version }) => version));
    const applied: number[] = [];
    for (const migration of MIGRATIONS) {
      if (done.has(migration.version)) continue;
      for (const statement of migration.statements) await tx.query(statement);
      await tx.query('INSERT INTO schema_migrations (version, name, compatible_from) VALUES ($1, $2, $3)', [
        migration.version,
        migration.name,
        migration.compatibleFrom,
      ]);
      log.info('store.migrated', { version: migration.version, name: migration.name });
      applied.push(migration.version);
    }
    return applied;
  });
}

/** @throws `Problem` `store-newer` where a newer gateway has changed the tables in a way that this one does not know */
export async function check(db: Queryable): Promise<void> {
  const rows = await db.query<{ newest: number | null; needed: number | null }>(
    'SELECT max(version) AS newest, max(compatible_from) AS needed FROM schema_migrations',
  );
  const { newest, needed } = rows[0] ?? { newest: null, needed: null };
  if (newest === null || needed === null || needed <= SCHEMA_VERSION) return;
  throw new Problem(
    'store-newer',
    `The store has schema ${newest}, which gateways before schema ${needed} cannot use, and this one knows ${SCHEMA_VERSION}. Run the newer gateway.`,
  );
}
