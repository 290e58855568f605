/**
 * Reads the catalog inside the client's own open transaction, so that what the transaction has made or changed is understood by
 * what it is. Everything is asked inside a savepoint that is taken back: settings, locks and a failure of ours go with it.
 */
import { randomBytes } from 'node:crypto';
import { Problem } from '../../../contract/problem.ts';
import type { Catalog, Inside } from './sql/catalog.ts';

/** Longest that one look may hold the client's transaction up, and wait for others' locks, in milliseconds. */
const LOOK_MS = 5000;
const LOCK_MS = 100;

/** Runs a query of ours on the client's connection. Undefined: the server refused it. */
export type Ask = (sql: string) => Promise<readonly (readonly (string | null)[])[] | undefined>;

/** @returns undefined where the server would not say, and in transactions in which SQL sees less of the catalog than the server does */
export async function look(ask: Ask, inside: Inside): Promise<Catalog | undefined> {
  const savepoint = `countersign_${randomBytes(8).toString('hex')}`;
  const back = `ROLLBACK TO SAVEPOINT ${savepoint}; RELEASE SAVEPOINT ${savepoint}`;
  // Left out of the path, the session's temporary relations would come first: one called pg_class could say anything.
  const answer = await ask(`SAVEPOINT ${savepoint};
SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL statement_timeout = ${LOOK_MS}; SET LOCAL lock_timeout = ${LOCK_MS};
SELECT 'isolation', current_setting('transaction_isolation');
${inside.query};
${back}`);
  if (!answer) {
    if (!(await ask(back)))
      throw new Problem('unsettled', 'Countersign could not look at what this transaction has changed, and has left it failed. Connect again.');
    return undefined;
  }
  const [isolation, ...rows] = answer;
  // A snapshot that is kept shows the catalog as it was when it was taken, but for one's own changes.
  return isolation?.[1] === 'read committed' ? await inside.catalog(rows) : undefined;
}
