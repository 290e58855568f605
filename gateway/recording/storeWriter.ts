/**
 * Writes the lines of all sessions of this process into the store, in batches: what is appended while a batch is under way
 * goes with the next, and whoever waits for the disk shares one commit. A session that is not ours any more is fenced: its
 * lines are refused by the statement that would write them.
 */
import { Problem } from '../../contract/problem.ts';
import type { Clock, Log } from '../../proxy/pipeline/engine.ts';
import type { ChainHost } from '../../proxy/recording/chainFile.ts';
import type { Database } from '../store/database.ts';
import { storeProblem } from '../store/postgres.ts';
import type { ChainLine } from './chainLine.ts';

/** How long a line waits for others to share its write, in milliseconds. */
const GATHER_MS = 5;
/** Most lines, and about the most characters, of one batch. */
const BATCH_LINES = 1_000;
const BATCH_CHARS = 4 * 1024 * 1024;
/** Waits between attempts while the store is away, in milliseconds. */
const RETRY_MS = [50, 100, 250, 500, 1_000] as const;
/** How long the store may be away until nothing new is forwarded, in milliseconds. */
const PATIENCE_MS = 3_000;

interface Waiting extends ChainLine {
  readonly session: string;
}

interface Waiter {
  /** How many lines, counted over all sessions, must have been written. */
  readonly upTo: number;
  resolve(): void;
  reject(cause: Error): void;
}

export interface StoreWriterOptions {
  readonly db: Database;
  readonly clock: Clock;
  readonly log: Log;
  /** The replica that owns what is written. */
  readonly owner: () => string;
  /** The session belongs to another process now, or was closed by one: it must be cut here. */
  readonly onFenced: (session: string) => void;
  /** Nothing can be recorded for now: every session must be cut. Undefined: it can again. */
  readonly onHalt: (sentence: string | undefined) => void;
  readonly patienceMs?: number;
}

export class StoreWriter implements ChainHost {
  queued = 0;
  readonly #options: StoreWriterOptions;
  #queue: Waiting[] = [];
  #appended = 0;
  #written = 0;
  #waiters: Waiter[] = [];
  #timer: NodeJS.Timeout | undefined;
  #pumping = false;
  #attempt = 0;
  #patience: NodeJS.Timeout | undefined;
  #halted: string | undefined;
  #stopped = false;
  readonly #idle: (() => void)[] = [];

  constructor(options: StoreWriterOptions) {
    this.#options = options;
  }

  get halted(): string | undefined {
    return this.#halted;
  }

  halt(doing: string, cause: unknown): void {
    this.#options.log.error('recorder.halted', { doing, cause });
    this.#halt(cause instanceof Problem ? cause.message : storeProblem(cause).message);
  }

  haltedProblem(): Problem {
    return new Problem('recorder-halted', this.#halted ?? 'The gateway cannot record anything at the moment. Try again in a moment.');
  }

  append(session: string, line: ChainLine): void {
    this.#queue.push({ session, ...line });
    this.#appended++;
    this.queued += line.line.length;
    if (this.#queue.length >= BATCH_LINES) this.#kick();
    else this.#timer ??= setTimeout(() => this.#kick(), GATHER_MS);
  }

  /**
   * Resolves when all that was appended so far, of whatever session, is in the store for good, or was refused because its session
   * is not ours any more: then the session has been cut by now, and whoever waited looks whether theirs was.
   */
  sync(): Promise<void> {
    if (this.#halted !== undefined) return Promise.reject(this.haltedProblem());
    if (this.#written >= this.#appended) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ upTo: this.#appended, resolve, reject });
      this.#kick();
    });
  }

  /** As `sync`, however long it takes; never rejects. */
  settled(): Promise<void> {
    if (this.#written >= this.#appended || this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.#kick();
    });
  }

  /** Gives up what could not be written: another replica closes those sessions. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#patience);
    this.#release(new Problem('recorder-halted', 'The gateway is shutting down.'));
  }

  #kick(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (!this.#pumping && !this.#stopped) void this.#pump();
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    try {
      while (this.#queue.length > 0 && !this.#stopped) {
        const batch = this.#take();
        await this.#write(batch, this.#attempt > 0);
        this.#back();
        this.#queue.splice(0, batch.length);
        this.#written += batch.length;
        for (const { line } of batch) this.queued -= line.length;
        this.#wake();
      }
    } catch (cause) {
      this.#options.log.warn('recorder.store-away', { cause });
      this.#patience ??= setTimeout(() => this.#halt(storeProblem(cause).message), this.#options.patienceMs ?? PATIENCE_MS);
      const wait = RETRY_MS[Math.min(this.#attempt++, RETRY_MS.length - 1)] ?? 1_000;
      if (!this.#stopped) this.#timer = setTimeout(() => this.#kick(), wait);
    } finally {
      this.#pumping = false;
    }
  }

  #take(): Waiting[] {
    let chars = 0;
    let lines = 0;
    for (const { line } of this.#queue) {
      if (lines > 0 && (lines >= BATCH_LINES || chars + line.length > BATCH_CHARS)) break;
      chars += line.length;
      lines++;
    }
    return this.#queue.slice(0, lines);
  }

  /** @param again a batch before may have been written without our having heard of it */
  async #write(batch: readonly Waiting[], again: boolean): Promise<void> {
    const { db, owner } = this.#options;
    const columns = [batch.map((b) => b.session), batch.map((b) => b.seq), batch.map((b) => b.hash), batch.map((b) => b.line)];
    const written = await db.query<{ session: string; seq: number }>(
      `WITH mine AS (SELECT id FROM sessions WHERE id = ANY($1::text[]) AND owner = $5 AND closed_at IS NULL FOR SHARE)
       INSERT INTO entries (session, seq, hash, line)
       SELECT l.session, l.seq, l.hash, l.line FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[]) AS l (session, seq, hash, line) JOIN mine ON mine.id = l.session
       ON CONFLICT DO NOTHING RETURNING session, seq`,
      [...columns, owner()],
    );
    if (written.length === batch.length) return;
    const there = new Set(written.map(({ session, seq }) => `${session} ${seq}`));
    const missing = batch.filter(({ session, seq }) => !there.has(`${session} ${seq}`));
    const known = again
      ? await db.query<{ session: string; seq: number }>(
          `SELECT e.session, e.seq FROM entries e JOIN unnest($1::text[], $2::bigint[], $3::text[]) AS l (session, seq, hash) ON e.session = l.session AND e.seq = l.seq AND e.hash = l.hash`,
          [missing.map((b) => b.session), missing.map((b) => b.seq), missing.map((b) => b.hash)],
        )
      : [];
    const ours = new Set(known.map(({ session, seq }) => `${session} ${seq}`));
    for (const session of new Set(missing.filter(({ session, seq }) => !ours.has(`${session} ${seq}`)).map((b) => b.session))) {
      this.#options.log.error('recorder.fenced', { session });
      this.#options.onFenced(session);
    }
  }

  #back(): void {
    this.#attempt = 0;
    clearTimeout(this.#patience);
    this.#patience = undefined;
    if (this.#halted === undefined) return;
    this.#halted = undefined;
    this.#options.log.info('recorder.store-back');
    this.#options.onHalt(undefined);
  }

  #halt(sentence: string): void {
    if (this.#halted !== undefined) return;
    this.#halted = sentence;
    this.#release(this.haltedProblem());
    this.#options.onHalt(sentence);
  }

  #wake(): void {
    const due = this.#waiters.filter(({ upTo }) => upTo <= this.#written);
    this.#waiters = this.#waiters.filter(({ upTo }) => upTo > this.#written);
    for (const waiter of due) waiter.resolve();
    if (this.#queue.length === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #release(cause: Error): void {
    for (const waiter of this.#waiters.splice(0)) waiter.reject(cause);
    if (this.#stopped) for (const resolve of this.#idle.splice(0)) resolve();
  }
}
