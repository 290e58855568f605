/**
 * Finds operations: an SQLite index over the sessions' files, which are the record. It is only ever filled from the
 * files, in slices, so it can be behind, thrown away and built again, and never says more than they do. In the proxy it
 * has a thread of its own (`backgroundIndex.ts`). What goes wrong here is logged and never stops recording.
 */
import { rmSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { OperationPage, OperationQuery } from '../../contract/control.ts';
import { parseFilter } from '../../contract/operationFilter.ts';
import type { Log } from '../pipeline/engine.ts';
import type { Found } from './indexMessages.ts';
import { IndexWriter } from './indexWriter.ts';
import { INDEX_FILE, makeFile, SESSIONS_FOLDER } from './layout.ts';
import { selectOperations, summaryOf } from './operationRows.ts';
import { sessionFiles } from './recovery.ts';

/** How long new entries gather before they are indexed, in milliseconds. */
const GATHER_MS = 150;
/**
 * How long one slice may hold the thread, in milliseconds, and how long the thread is left alone after it. While a slice runs
 * on a machine of two processors, everything else on it waits for its turn more often: a short one touches fewer statements.
 */
const SLICE_MS = 5;
const REST_MS = 20;
/** The same while the proxy has other work most of the time: the record is complete, and what is found can wait. */
const BUSY_REST_MS = 1_000;
/** How long a question may wait for the index to come up to date, in milliseconds. */
const FRESH_MS = 250;

export interface IndexOptions {
  /** The recorder's folder. */
  readonly directory: string;
  readonly log: Pick<Log, 'warn'>;
  /** Called after operations were added or changed. */
  readonly onChange?: () => void;
  /** Keep the index in memory: for a folder that may only be read. */
  readonly inMemory?: boolean;
  /** Whether the machine is wanted for something else just now. */
  readonly busy?: () => boolean;
}

export class OperationIndex {
  readonly #options: IndexOptions;
  #database: DatabaseSync | undefined;
  #writer: IndexWriter | undefined;
  /** Sessions whose files have more than the index: session → file. */
  readonly #behind = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #comparing: Promise<void> | undefined;
  #stopped = false;
  #rebuilds = 0;

  constructor(options: IndexOptions) {
    this.#options = options;
  }

  /** Opens or makes the index. What it lacks is found out and read afterwards. Never throws. */
  start(): void {
    try {
      this.#open();
    } catch (cause) {
      this.#rebuild(cause);
    }
    this.#comparing ??= this.#compare();
  }

  /** A session's file has new entries, written already: cheap. */
  note(session: string, file: string): void {
    if (this.#stopped) return;
    this.#behind.set(session, file);
    this.#schedule(GATHER_MS);
  }

  /** Newest first. @param now epoch milliseconds, for times in the filter that are counted back from it */
  async operations(query: OperationQuery, now: number): Promise<OperationPage> {
    const filter = parseFilter(query.filter, now);
    return (await this.#ask((database) => selectOperations(database, filter, query))) ?? { operations: [], more: false };
  }

  /** Where an operation is recorded. */
  async find(operation: string): Promise<Found | undefined> {
    const row = await this.#ask((database) =>
      database.prepare('SELECT o.*, s.file FROM operations o LEFT JOIN sessions s ON s.session = o.session WHERE o.operation = ?').get(operation),
    );
    if (!row) return undefined;
    const summary = summaryOf(row);
    const { approval_at: approval, file, intent_at: intent, outcome_at: outcome } = row;
    const places =
      typeof file === 'string' && typeof intent === 'number'
        ? { file, intent, ...(typeof approval === 'number' && { approval }), ...(typeof outcome === 'number' && { outcome }) }
        : undefined;
    return { session: summary.session, summary, ...(places && { places }) };
  }

  /** True when nothing is known to be missing. */
  get upToDate(): boolean {
    return this.#behind.size === 0;
  }

  /** Reads all there is, without rest: for a command that does nothing else. */
  async catchUp(): Promise<void> {
    await this.#comparing;
    while (this.#behind.size > 0 && this.#slice()) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  }

  stop(): void {
    if (this.#stopped) return;
    // What is still to be read is read now, so that the next start has less to do; within the time of one question.
    const until = performance.now() + FRESH_MS;
    while (this.#behind.size > 0 && performance.now() < until && this.#slice()) {
      /* goes on */
    }
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#close();
  }

  #open(): void {
    const path = this.#options.inMemory ? ':memory:' : join(this.#options.directory, INDEX_FILE);
    if (!this.#options.inMemory) makeFile(path);
    const database = new DatabaseSync(path, { timeout: 250 });
    this.#database = database;
    this.#writer = new IndexWriter(database, join(this.#options.directory, SESSIONS_FOLDER));
  }

  #close(): void {
    try {
      this.#database?.close();
    } catch {
      // Nothing is lost with it.
    }
    this.#database = undefined;
    this.#writer = undefined;
  }

  /** Throws the index away and starts another; gives up after a few times, until the next start. */
  #rebuild(cause: unknown): void {
    if (this.#stopped) return;
    // SQLITE_BUSY: somebody else is reading or writing; later will do.
    if ((cause as { errcode?: number }).errcode === 5) {
      this.#schedule(GATHER_MS);
      return;
    }
    this.#rebuilds++;
    this.#options.log.warn('index.rebuilt', { cause, times: this.#rebuilds });
    this.#close();
    if (this.#rebuilds > 3) return;
    try {
      if (!this.#options.inMemory) for (const end of ['', '-wal', '-shm']) rmSync(join(this.#options.directory, INDEX_FILE + end), { force: true });
      this.#open();
      this.#comparing = this.#compare();
    } catch (again) {
      this.#close();
      this.#options.log.warn('index.failed', { cause: again });
    }
  }

  /** Looks for files that have more, or other, than the index knows. */
  async #compare(): Promise<void> {
    const folder = join(this.#options.directory, SESSIONS_FOLDER);
    try {
      const known = this.#writer?.known() ?? new Map<string, number>();
      const files = await sessionFiles(folder);
      for (const session of known.keys()) if (!files.has(session)) this.#writer?.forget(session);
      for (const [session, file] of files) {
        const { size } = await stat(join(folder, file));
        if (size !== (known.get(session) ?? 0)) this.#behind.set(session, file);
      }
    } catch (cause) {
      this.#options.log.warn('index.compare', { cause });
    }
    if (this.#behind.size > 0) this.#schedule(0);
  }

  #schedule(ms: number): void {
    if (this.#stopped || !this.#database) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#slice();
      if (this.#behind.size > 0) this.#schedule(this.#options.busy?.() ? BUSY_REST_MS : REST_MS);
    }, ms).unref();
  }

  /** @returns whether it got anywhere. */
  #slice(): boolean {
    const writer = this.#writer;
    if (!writer || this.#behind.size === 0) return false;
    try {
      const until = performance.now() + SLICE_MS;
      const { done, changed } = writer.catchUp(this.#behind, until);
      for (const session of done) this.#behind.delete(session);
      if (changed) this.#options.onChange?.();
      return changed || done.length > 0;
    } catch (cause) {
      this.#rebuild(cause);
      return false;
    }
  }

  /** Asks the index when it is as fresh as it gets; once more where it had to be built again. */
  async #ask<T>(question: (database: DatabaseSync) => T): Promise<T | undefined> {
    for (let tries = 0; tries < 2; tries++) {
      await this.#freshen();
      if (!this.#database) return undefined;
      try {
        return question(this.#database);
      } catch (cause) {
        this.#rebuild(cause);
      }
    }
    return undefined;
  }

  async #freshen(): Promise<void> {
    await this.#comparing;
    const until = performance.now() + FRESH_MS;
    while (this.#behind.size > 0 && performance.now() < until && this.#slice()) {
      await new Promise((resolve) => {
        setImmediate(resolve);
      });
    }
  }
}
