/**
 * Writes what sessions append to the store, many entries to a statement, in order, until it is told that they are there. What
 * a fenced replica still holds is not written: the sessions it belongs to were sealed by another.
 */
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { Database } from '../store/database.ts';
import type { Replica } from '../store/replica.ts';

/** Entries and characters of one statement. */
const MAX_BATCH = 2_000;
const MAX_BATCH_CHARS = 4 * 1024 * 1024;
/** How long an entry waits for others to share its statement, in milliseconds. */
const GATHER_MS = 1;
const RETRY_MS = [50, 100, 250, 500, 1_000] as const;

export interface Line {
  readonly session: string;
  readonly seq: number;
  readonly hash: string;
  readonly line: string;
}

interface Waiting {
  readonly entry: Line;
  readonly at: number;
  readonly written: () => void;
  readonly lost: () => void;
}

export class EntryWriter {
  readonly #db: Database;
  readonly #replica: Replica;
  readonly #log: Log;
  #queue: Waiting[] = [];
  #writing = false;
  #gathering = false;
  /** When the oldest entry that is not written was appended, by the process's steady clock. */
  #oldest: number | undefined;

  constructor(db: Database, replica: Replica, log: Log) {
    this.#db = db;
    this.#replica = replica;
    this.#log = log;
  }

  /** How long the oldest entry has waited, in milliseconds. */
  get behindMs(): number {
    return this.#oldest === undefined ? 0 : performance.now() - this.#oldest;
  }

  add(entry: Line, written: () => void, lost: () => void): void {
    this.#queue.push({ entry, at: performance.now(), written, lost });
    this.#oldest ??= performance.now();
    if (this.#writing || this.#gathering) return;
    this.#gathering = true;
    setTimeout(() => void this.#pump(), GATHER_MS);
  }

  async #pump(): Promise<void> {
    this.#gathering = false;
    if (this.#writing) return;
    this.#writing = true;
    try {
      while (this.#queue.length > 0) {
        let chars = 0;
        let n = 0;
        while (n < this.#queue.length && n < MAX_BATCH && (n === 0 || chars < MAX_BATCH_CHARS)) chars += this.#queue[n++]?.entry.line.length ?? 0;
        const batch = this.#queue.slice(0, n);
        await this.#write(batch);
        this.#queue = this.#queue.slice(n);
        this.#oldest = this.#queue[0]?.at;
      }
    } finally {
      this.#writing = false;
    }
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    const owner = this.#replica.id;
    for (let attempt = 0; ; attempt++) {
      if (!this.#replica.alive || this.#replica.id !== owner) {
        for (const { lost } of batch) lost();
        return;
      }
      try {
        const there = await this.#insert(batch, owner);
        for (const { entry, written, lost } of batch) (there.has(`${entry.session} ${entry.seq}`) ? written : lost)();
        return;
      } catch (cause) {
        this.#log.warn('recording.not-written', { entries: batch.length, attempt, cause });
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]));
      }
    }
  }

  /** @returns which of them are in the store now: also those that an earlier attempt had brought there without hearing of it */
  async #insert(batch: readonly Waiting[], owner: string): Promise<ReadonlySet<string>> {
    const entries = batch.map(({ entry }) => entry);
    const columns = [entries.map((e) => e.session), entries.map((e) => e.seq), entries.map((e) => e.hash), entries.map((e) => e.line)];
    return await this.#db.transaction(async (tx) => {
      // The lock keeps whoever seals a dead replica's sessions out until these are in; or it was first, and none are open.
      const open = await tx.query<{ id: string }>('SELECT id FROM sessions WHERE id = ANY($1) AND owner = $2 AND closed_at IS NULL ORDER BY id FOR SHARE', [
        [...new Set(entries.map((e) => e.session))],
        owner,
      ]);
      const rows = await tx.query<{ session: string; seq: number }>(
        `WITH given AS (SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS g (session, seq, hash, line) WHERE session = ANY($5)),
         written AS (INSERT INTO entries (session, seq, hash, line) SELECT session, seq, hash, line FROM given ON CONFLICT DO NOTHING RETURNING session, seq)
         SELECT session, seq FROM written UNION ALL SELECT e.session, e.seq FROM entries e JOIN given g ON g.session = e.session AND g.seq = e.seq AND g.hash = e.hash`,
        [...columns, open.map(({ id }) => id)],
      );
      return new Set(rows.map(({ session, seq }) => `${session} ${seq}`));
    });
  }
}
