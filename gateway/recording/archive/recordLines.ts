/** The lines of a session, wherever they lie: in the database, in the archive, or its beginning there and its end here. */
import { Problem } from '../../../contract/problem.ts';
import { one, type Queryable } from '../../store/database.ts';
import type { ObjectStore } from '../objects/objectStore.ts';
import { linesOf, SEGMENT_COLUMNS, type SegmentRow, type StoredLine } from './segment.ts';

/** Parts that are kept at hand for whoever pages through a session, in bytes altogether. */
const CACHE_BYTES = 32 * 1024 * 1024;

export class RecordLines {
  readonly #stores: ReadonlyMap<string, ObjectStore>;
  readonly #cache = new Map<string, { readonly lines: readonly StoredLine[]; readonly bytes: number }>();
  #cached = 0;

  constructor(stores: ReadonlyMap<string, ObjectStore>) {
    this.#stores = stores;
  }

  /**
   * From a line on, some of them, in order and without a gap: fewer than `limit` say nothing, none at all says that it ends here.
   * @throws Problem `archive-away`, `archive-broken`
   */
  async page(db: Queryable, session: string, from: number, limit: number): Promise<readonly StoredLine[]> {
    // The database first: what was moved in between is then in the archive, and never in neither.
    const here = await db.query<StoredLine>('SELECT seq, line FROM entries WHERE session = $1 AND seq >= $2::bigint ORDER BY seq LIMIT $3::int', [
      session,
      from,
      limit,
    ]);
    if (here[0]?.seq === from) return here;
    const row = await one<SegmentRow>(db, `SELECT ${SEGMENT_COLUMNS} FROM segments WHERE session = $1 AND first <= $2::bigint AND last >= $2::bigint`, [
      session,
      from,
    ]);
    // A gap: whoever checks finds it by the numbers.
    if (!row) return here;
    return (await this.#segment(row)).slice(from - row.first, from - row.first + limit);
  }

  /** Reads it from its place and checks it, whatever is at hand. @throws Problem `archive-away`, `archive-broken` */
  async check(row: SegmentRow): Promise<void> {
    await this.#read(row);
  }

  async #segment(row: SegmentRow): Promise<readonly StoredLine[]> {
    const key = `${row.store} ${row.object} ${row.version ?? ''} ${row.sha256} ${row.prev} ${row.head}`;
    const known = this.#cache.get(key);
    if (known) {
      // The one that was used last is the last to go.
      this.#cache.delete(key);
      this.#cache.set(key, known);
      return known.lines;
    }
    const lines = await this.#read(row);
    this.#cache.set(key, { lines, bytes: row.bytes });
    this.#cached += row.bytes;
    for (const [oldest, { bytes }] of this.#cache) {
      if (this.#cached <= CACHE_BYTES || oldest === key) break;
      this.#cache.delete(oldest);
      this.#cached -= bytes;
    }
    return lines;
  }

  async #read(row: SegmentRow): Promise<StoredLine[]> {
    const store = this.#stores.get(row.store);
    if (!store)
      throw new Problem(
        'archive-away',
        `Lines of session ${row.session} lie in ${row.store}, and this gateway is not told of that place. Name it in \`recordings.before\`.`,
      );
    return linesOf(row, await store.get(row.object, row.version ?? undefined, row.bytes + 1), store.title);
  }
}
