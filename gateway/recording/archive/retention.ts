/**
 * Removes records whose time is over: first the audit says so, in the transaction that takes the lines out of the database,
 * then their objects go. That a session was there, whose it was and what its record's last hash was stays.
 */
import { Problem } from '../../../contract/problem.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import { type Database, one, retried } from '../../store/database.ts';
import { appendAudit } from '../auditStore.ts';
import type { ObjectStore } from '../objects/objectStore.ts';
import type { RecordKey } from '../recordKey.ts';

const DAY_MS = 86_400_000;
const EVERY_MS = 10 * 60_000;
/** Objects that are removed in one go. */
const BATCH = 200;

export interface RetentionOptions {
  readonly db: Database;
  readonly key: RecordKey;
  readonly stores: ReadonlyMap<string, ObjectStore>;
  readonly log: Log;
  readonly keepDays: number;
  /** Someone's chain has grown, and wants a checkpoint. */
  readonly grew: (chain: string) => void;
  readonly now?: () => number;
}

interface Due {
  readonly chain: string;
  readonly entries: number;
  readonly head: string;
}

export class Retention {
  readonly #options: RetentionOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#running ??= this.run()
        .catch((cause: unknown) => this.#options.log.warn('retention.failed', { cause }))
        .finally(() => (this.#running = undefined));
    }, EVERY_MS);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  async run(): Promise<void> {
    while (!this.#stopped && (await this.#expireOne()));
    await this.#removeObjects();
  }

  /** @returns whether there was one */
  async #expireOne(): Promise<boolean> {
    const { db, grew, keepDays, key, log, now = Date.now } = this.#options;
    const found = await one<{ id: string }>(db, 'SELECT id FROM sessions WHERE closed_at < $1::bigint AND expired_at IS NULL ORDER BY closed_at LIMIT 1', [
      now() - keepDays * DAY_MS,
    ]);
    if (!found) return false;
    const { id } = found;
    const chain = await retried(db, async (tx) => {
      // The chain's row before the session's, in the order that all take them.
      const session = await one<Due>(tx, 'SELECT chain, entries, head FROM sessions WHERE id = $1', [id]);
      if (!session) return undefined;
      const at = now();
      await appendAudit(tx, key, session.chain, at, [{ type: 'session.expired', session: id, entries: session.entries, head: session.head, days: keepDays }]);
      const mine = await one(
        tx,
        'UPDATE sessions SET expired_at = $2::bigint, archived_at = coalesce(archived_at, $2::bigint) WHERE id = $1 AND expired_at IS NULL RETURNING id',
        [id, at],
      );
      if (!mine) throw new AnotherWasFaster();
      await tx.query('DELETE FROM entries WHERE session = $1', [id]);
      return session.chain;
    }).catch((cause: unknown) => {
      if (cause instanceof AnotherWasFaster) return undefined;
      throw cause;
    });
    if (chain === undefined) return true;
    log.info('retention.expired', { session: id, days: keepDays });
    grew(chain);
    return true;
  }

  /** What a lock still holds, or a place that is away, is left for the next time. */
  async #removeObjects(): Promise<void> {
    const { db, log, stores } = this.#options;
    let after = '';
    for (;;) {
      const rows = await db.query<{ session: string; first: number; store: string; object: string; version: string | null }>(
        `SELECT g.session, g.first, g.store, g.object, g.version FROM segments g JOIN sessions s ON s.id = g.session WHERE s.expired_at IS NOT NULL AND g.object > $1 ORDER BY g.object LIMIT ${BATCH}`,
        [after],
      );
      for (const { first, object, session, store, version } of rows) {
        if (this.#stopped) return;
        try {
          const place = stores.get(store);
          if (!place) throw new Problem('archive-away', `This gateway is not told of ${store}. Name it in \`recordings.before\`.`);
          await place.remove(object, version ?? undefined);
          await db.query('DELETE FROM segments WHERE session = $1 AND first = $2::bigint', [session, first]);
        } catch (cause) {
          log.warn('retention.not-removed', { object, cause });
        }
      }
      after = rows.at(-1)?.object ?? after;
      if (rows.length < BATCH) return;
    }
  }
}

/** Another replica has written it into the audit: what this one wrote is taken back. */
class AnotherWasFaster extends Error {}
