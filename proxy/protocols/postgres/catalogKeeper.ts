/**
 * Keeps the catalog snapshot of one connection: read at start, and again when a statement may have changed it or a result
 * names a table that it does not know. Sessions wait while it is read; without one, nothing is forwarded.
 */

import { Problem } from '../../../contract/problem.ts';
import type { Backend } from './backend.ts';
import { closeBackend } from './backend.ts';
import { ownQueries, StatementRefused } from './ownQueries.ts';
import { type Catalog, type CatalogOptions, loadCatalog } from './sql/catalog.ts';

/** The proxy's own sessions, as they show in `pg_stat_activity`. */
export const CATALOG_APPLICATION = 'countersign catalog';
/** A snapshot older than this is read again before the next statement: others change the schema past us, in milliseconds. */
const MAX_AGE_MS = 30_000;
/** The same for one that lacks what somebody had locked. */
const MAX_AGE_PARTIAL_MS = 1000;
/** Tries at a snapshot while others change what it is read from, or lock it. */
const READ_TRIES = 5;
const LOCK_NOT_AVAILABLE = '55P03';
const QUERY_CANCELED = '57014';

/** What the catalog itself is stored in is locked: nothing can be said of any statement as long as that lasts. */
export const CATALOG_LOCKED = 'catalog-locked';

export interface CatalogKeeperOptions {
  readonly open: (signal: AbortSignal) => Promise<Backend>;
  readonly now: () => number;
  /** How it is to be read now. */
  readonly reading?: () => CatalogOptions | undefined;
  /** Told after each attempt. */
  readonly changed: (problem: unknown) => void;
}

export class CatalogKeeper {
  readonly #options: CatalogKeeperOptions;
  readonly #abort = new AbortController();
  #catalog: Catalog | undefined;
  #readAt = 0;
  /** Raised by everything that may have changed the catalog. */
  #changes = 0;
  #readChanges = -1;
  #reading: Promise<void> | undefined;
  #problem: unknown;

  constructor(options: CatalogKeeperOptions) {
    this.#options = options;
  }

  /** The snapshot, while it is known to be good; undefined: call `fresh()` first. */
  get current(): Catalog | undefined {
    return this.#readChanges === this.#changes ? this.#catalog : undefined;
  }

  /** Why there is none. */
  get problem(): unknown {
    return this.#problem;
  }

  get loaded(): boolean {
    return this.#catalog !== undefined;
  }

  /** The catalog may have changed: the next statement of any session waits for a new snapshot. */
  stale(): void {
    this.#changes++;
  }

  /** Whether the snapshot was read longer ago than this, in milliseconds. */
  olderThan(ms: number): boolean {
    return this.#options.now() - this.#readAt > ms;
  }

  /** As `stale`, where what is known has merely become old. */
  ageOut(): void {
    if (this.#catalog && this.olderThan(this.#catalog.partial ? MAX_AGE_PARTIAL_MS : MAX_AGE_MS)) this.stale();
  }

  /** A snapshot that was read after the last change. Rejects where it cannot be read; the next call tries again. */
  async fresh(): Promise<Catalog> {
    for (;;) {
      const known = this.current;
      if (known) return known;
      this.#reading ??= this.#read().finally(() => {
        this.#reading = undefined;
      });
      await this.#reading;
    }
  }

  /**
   * A snapshot for a result that names what the last one does not know; that one again where somebody has locked the catalog:
   * what it does not know is masked whole.
   */
  async newer(): Promise<Catalog> {
    const known = this.current;
    this.stale();
    try {
      return await this.fresh();
    } catch (cause) {
      if (known && cause instanceof Problem && cause.code === CATALOG_LOCKED) return known;
      throw cause;
    }
  }

  stop(): void {
    this.#abort.abort(new Error('stopped'));
  }

  /** What is dropped while its definition is asked for fails the whole: a snapshot does not cover definitions. */
  async #load(query: ReturnType<typeof ownQueries>): Promise<Catalog> {
    // Whoever migrates holds its locks for as long as it likes: nobody else's statements wait for that.
    let guarded = this.#catalog?.partial ?? false;
    for (let left = READ_TRIES - 1; ; left--) {
      try {
        return await loadCatalog(query, this.#options.reading?.(), this.#catalog, guarded);
      } catch (cause) {
        if (!(cause instanceof StatementRefused) || this.#abort.signal.aborted) throw cause;
        const locked = cause.sqlstate === LOCK_NOT_AVAILABLE;
        if (cause.sqlstate === QUERY_CANCELED || (locked && left <= 0))
          throw new Problem(CATALOG_LOCKED, 'The database’s catalog cannot be read now: somebody has locked it, or it takes too long. Try again.', { cause });
        if (left <= 0) throw cause;
        guarded ||= locked;
      }
    }
  }

  async #read(): Promise<void> {
    const changes = this.#changes;
    let backend: Backend | undefined;
    try {
      backend = await this.#options.open(this.#abort.signal);
      const catalog = await this.#load(ownQueries(backend));
      this.#abort.signal.throwIfAborted();
      this.#catalog = catalog;
      this.#readChanges = changes;
      this.#readAt = this.#options.now();
      this.#problem = undefined;
      this.#options.changed(undefined);
    } catch (cause) {
      this.#problem = cause;
      this.#options.changed(cause);
      throw cause;
    } finally {
      if (backend) closeBackend(backend);
    }
  }
}
