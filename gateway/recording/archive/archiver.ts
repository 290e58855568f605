/**
 * Moves ended sessions from the database to the archive, part by part: put, read back, and only then, in one transaction,
 * noted and taken out of the database. Whatever ends it in between, the next to come finds the lines in the database, and an
 * object that is the same as the one that it would write. docs/adr/archived-records.md says more.
 */
import { randomBytes } from 'node:crypto';
import type { StorageHealth } from '../../../contract/gateway/sessions.ts';
import { Problem } from '../../../contract/problem.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import { GENESIS } from '../../../proxy/recording/chainFile.ts';
import { type Database, one, type Queryable, retried } from '../../store/database.ts';
import type { ObjectStore } from '../objects/objectStore.ts';
import { bytesOf, follow, linesOf, objectName, type Place, SEGMENT_COLUMNS, type SegmentRow, type StoredLine, sha256Of } from './segment.ts';

/** About how much goes into one object, in characters. */
const SEGMENT_CHARS = 4 * 1024 * 1024;
const PAGE = 500;
/** How often it looks, and how long it leaves a place alone that fails at most, in milliseconds. */
const EVERY_MS = 15_000;
const MAX_WAIT_MS = 5 * 60_000;
/** How long the others leave a session to whoever is at it, in milliseconds. */
const CLAIM_MS = 120_000;

export interface ArchiverOptions {
  readonly db: Database;
  readonly store: ObjectStore;
  readonly log: Log;
  /** How long after its end a session stays in the database, in milliseconds. */
  readonly afterMs: number;
  readonly archived: (bytes: number) => void;
  readonly segmentChars?: number;
  readonly everyMs?: number;
}

export interface ArchiveState {
  /** Sessions whose time has come and that are in the database still. */
  readonly waiting: number;
  /** Sessions whose record does not hold: they stay where they are. */
  readonly broken: number;
  /** Why nothing goes there, in a sentence. */
  readonly problem: string | undefined;
}

/** Another replica is at the same session: it is left to it until its claim has run out. */
class Elsewhere extends Error {}

interface Claimed {
  readonly id: string;
  readonly opened_at: number;
  readonly entries: number;
  readonly head: string;
}

export class Archiver {
  readonly #options: ArchiverOptions;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;
  #failures = 0;
  #state: ArchiveState = { waiting: 0, broken: 0, problem: undefined };

  constructor(options: ArchiverOptions) {
    this.#options = options;
  }

  get state(): ArchiveState {
    return this.#state;
  }

  get health(): NonNullable<StorageHealth['archive']> {
    const { problem, ...counts } = this.#state;
    return { place: this.#options.store.title, ...counts, ...(problem !== undefined && { problem }) };
  }

  start(): void {
    const every = this.#options.everyMs ?? EVERY_MS;
    // Replicas that were started together do not come together.
    this.#later(every * (0.5 + Math.random()));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #later(ms: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      this.#running = this.run().then(() => this.#later(Math.min((this.#options.everyMs ?? EVERY_MS) * 2 ** this.#failures, MAX_WAIT_MS)));
    }, ms);
    this.#timer.unref();
  }

  /** Moves all whose time has come; what goes wrong is in `state`. */
  async run(): Promise<void> {
    const { log, store } = this.#options;
    let problem: string | undefined;
    try {
      while (!this.#stopped && (await this.#next()));
      if (this.#failures > 0) log.info('archive.back', { place: store.title });
      this.#failures = 0;
    } catch (cause) {
      this.#failures++;
      problem = cause instanceof Problem ? cause.message : 'Records could not be archived, and stay in the database. The gateway’s log says more.';
      log.warn('archive.failed', { place: store.title, cause });
    }
    this.#state = { ...this.#state, problem, ...(await this.#count().catch(() => ({}))) };
  }

  async #count(): Promise<Pick<ArchiveState, 'waiting' | 'broken'>> {
    const row = await one<{ waiting: number; broken: number }>(
      this.#options.db,
      `SELECT count(*) FILTER (WHERE archive_problem IS NULL AND closed_at <= ms() - $1::bigint) AS waiting, count(*) FILTER (WHERE archive_problem IS NOT NULL) AS broken
       FROM sessions WHERE archived_at IS NULL AND closed_at IS NOT NULL`,
      [this.#options.afterMs],
    );
    return row ?? { waiting: 0, broken: 0 };
  }

  /** @returns whether there was one */
  async #next(): Promise<boolean> {
    const { afterMs, db } = this.#options;
    const session = await one<Claimed>(
      db,
      `UPDATE sessions SET archiving_until = ms() + ${CLAIM_MS} WHERE id = (
         SELECT id FROM sessions WHERE archived_at IS NULL AND closed_at <= ms() - $1::bigint AND archive_problem IS NULL AND coalesce(archiving_until, 0) <= ms()
         ORDER BY closed_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id, opened_at, entries, head`,
      [afterMs],
    );
    if (!session) return false;
    try {
      const problem = (await this.#holds(session)) ?? (await this.#move(session));
      if (problem !== undefined) {
        this.#options.log.error('archive.does-not-hold', { session: session.id, problem });
        await db.query('UPDATE sessions SET archive_problem = $2, archiving_until = NULL WHERE id = $1', [session.id, problem]);
      }
    } catch (cause) {
      if (cause instanceof Elsewhere) return true;
      await db.query('UPDATE sessions SET archiving_until = NULL WHERE id = $1', [session.id]).catch(() => undefined);
      throw cause;
    }
    return true;
  }

  /** Before anything of it leaves the database: what does not hold is not moved, so that it can be looked into. @returns what is wrong */
  async #holds({ entries, head, id }: Claimed): Promise<string | undefined> {
    const from = await this.#place(this.#options.db, id);
    let place = from;
    let problem: string | undefined;
    while (problem === undefined) {
      const lines = await this.#read(id, place.seq, PAGE);
      if (lines.length === 0) break;
      const next = follow(id, place, lines);
      if ('problem' in next) problem = next.problem;
      else place = next;
    }
    if (problem === undefined && (place.seq !== entries || place.head !== head)) problem = 'it is not what it was when it was closed';
    // Where another replica has moved a part meanwhile, lines were missing for that.
    if (problem !== undefined && (await this.#place(this.#options.db, id)).seq !== from.seq) throw new Elsewhere();
    return problem;
  }

  async #move({ entries, id, opened_at }: Claimed): Promise<undefined> {
    const { db } = this.#options;
    for (;;) {
      const place = await this.#place(db, id);
      if (place.seq >= entries) break;
      if (this.#stopped) {
        await db.query('UPDATE sessions SET archiving_until = NULL WHERE id = $1', [id]);
        return;
      }
      await this.#moveOne(id, opened_at, place);
    }
    await db.query('UPDATE sessions SET archived_at = ms(), archiving_until = NULL WHERE id = $1 AND archived_at IS NULL', [id]);
  }

  async #moveOne(session: string, openedAt: number, place: Place): Promise<void> {
    const { archived, db, store } = this.#options;
    const lines = await this.#gather(session, place.seq);
    const end = follow(session, place, lines);
    if (lines.length === 0 || 'problem' in end) {
      if ((await this.#place(db, session)).seq !== place.seq) throw new Elsewhere();
      // Between the look at all of it and now somebody changed it.
      throw new Error(`session ${session} was changed while it was archived`);
    }
    const bytes = bytesOf(lines);
    const sha256 = sha256Of(bytes);
    const put = async (object: string): Promise<SegmentRow> => {
      const version = (await store.put(object, bytes, sha256)) ?? null;
      const { head, seq: first } = place;
      const at = { store: store.id, object, version, sha256: sha256.toString('hex'), bytes: bytes.length };
      const row = { session, first, last: end.seq - 1, prev: head, head: end.head, ...at };
      // What is not there, whole, as it will be read, does not leave the database.
      linesOf(row, await store.get(object, version ?? undefined, bytes.length + 1), store.title);
      return row;
    };
    const name = objectName(session, openedAt, place.seq, sha256);
    const row = await put(name).catch((cause: unknown) => {
      if (!(cause instanceof Problem) || cause.code !== 'archive-broken') throw cause;
      this.#options.log.error('archive.read-back', { session, object: name, cause });
      // Something else has that name, and stays: it may be locked, and is worth a look.
      return put(name.replace(/\.jsonl$/, `-${randomBytes(6).toString('hex')}.jsonl`));
    });
    await retried(db, async (tx) => {
      await tx.query('SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE', [session]);
      const now = await this.#place(tx, session);
      // Another replica was faster: the same object, noted once.
      if (now.seq !== row.first || now.head !== row.prev) return;
      await tx.query(`INSERT INTO segments (${SEGMENT_COLUMNS}) VALUES ($1, $2::bigint, $3::bigint, $4, $5, $6, $7, $8, $9, $10::bigint)`, [
        row.session,
        row.first,
        row.last,
        row.prev,
        row.head,
        row.store,
        row.object,
        row.version,
        row.sha256,
        row.bytes,
      ]);
      const gone = await tx.query<{ seq: number; line: string }>(
        'DELETE FROM entries WHERE session = $1 AND seq BETWEEN $2::bigint AND $3::bigint RETURNING seq, line',
        [session, row.first, row.last],
      );
      // What is taken out is what was put there, to the byte.
      const same = bytesOf(gone.toSorted((a, b) => a.seq - b.seq)).equals(bytes);
      if (!same) throw new Error(`session ${session} was changed while it was archived`);
      await tx.query(`UPDATE sessions SET archiving_until = ms() + ${CLAIM_MS} WHERE id = $1`, [session]);
    });
    archived(bytes.length);
  }

  /** Where the archive's part of a session ends. */
  async #place(on: Queryable, session: string): Promise<Place> {
    const last = await one<{ last: number; head: string }>(on, 'SELECT last, head FROM segments WHERE session = $1 ORDER BY first DESC LIMIT 1', [session]);
    return last ? { seq: last.last + 1, head: last.head } : { seq: 0, head: GENESIS };
  }

  async #gather(session: string, from: number): Promise<StoredLine[]> {
    const most = this.#options.segmentChars ?? SEGMENT_CHARS;
    const lines: StoredLine[] = [];
    let chars = 0;
    for (;;) {
      const page = await this.#read(session, from + lines.length, PAGE);
      for (const line of page) {
        if (lines.length > 0 && chars + line.line.length > most) return lines;
        lines.push(line);
        chars += line.line.length;
      }
      if (page.length < PAGE) return lines;
    }
  }

  #read(session: string, from: number, limit: number): Promise<StoredLine[]> {
    return this.#options.db.query<StoredLine>('SELECT seq, line FROM entries WHERE session = $1 AND seq >= $2::bigint ORDER BY seq LIMIT $3::int', [
      session,
      from,
      limit,
    ]);
  }
}
