/**
 * Keeps the catalog snapshot of one connection: read at start, and again when a statement may have changed it or a result
 * names a table that it does not know. Sessions wait while it is read; without one, nothing is forwarded.
 */

import type { Backend } from './backend.ts';
import { closeBackend } from './backend.ts';
import { ownQueries, StatementRefused } from './ownQueries.ts';
import { type Catalog, type CatalogOptions, loadCatalog } from './sql/catalog.ts';

/** The proxy's own sessions, as they show in `pg_stat_activity`. */
export const CATALOG_APPLICATION = 'countersign catalog';
/** A snapshot older than this is read again before the next statement: others change the schema past us, in milliseconds. */
const MAX_AGE_MS = 30_000;
/** Tries at a snapshot while others change what it is read from. */
const READ_TRIES = 5;

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
    if (this.#catalog && this.olderThan(MAX_AGE_MS)) this.stale();
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

  stop(): void {
    this.#abort.abort(new Error('stopped'));
  }

  /** What is dropped while its definition is asked for fails the whole: a snapshot does not cover definitions. */
  async #load(query: ReturnType<typeof ownQueries>): Promise<Catalog> {
    for (let left = READ_TRIES - 1; ; left--) {
      try {
        return await loadCatalog(query, this.#options.reading?.(), this.#catalog);
      } catch (cause) {
        if (left <= 0 || !(cause instanceof StatementRefused) || this.#abort.signal.aborted) throw cause;
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
