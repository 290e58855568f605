/** Sessions in the store as people see them; and which are open in this process, so that they can be cut. */
import { Actor } from '../contract/actor.ts';
import type { GatewaySession } from '../contract/gateway/sessions.ts';
import { Problem } from '../contract/problem.ts';
import type { Log } from '../proxy/pipeline/engine.ts';
import type { Session } from '../proxy/pipeline/session.ts';
import type { RecordLines } from './recording/archive/recordLines.ts';
import { type Database, one } from './store/database.ts';

interface SessionRow {
  readonly id: string;
  readonly conversation: string;
  readonly person: string;
  readonly actor: unknown;
  readonly connection: string;
  readonly protocol: string;
  readonly surface: string;
  readonly opened_at: number;
  readonly closed_at: number | null;
  readonly close_reason: string | null;
  readonly entries: number | null;
  readonly lines: number | null;
  readonly recovered: boolean;
  readonly expired_at: number | null;
}

/** How many lines one that is open has: found at the end of its own, whatever their number. */
const COLUMNS = 's.*, CASE WHEN s.closed_at IS NULL THEN (SELECT max(e.seq) + 1 FROM entries e WHERE e.session = s.id) END AS lines';

export interface SessionFilter {
  /** Only of this person or service account; undefined: everybody's. */
  readonly person: string | undefined;
  readonly live: boolean | undefined;
  readonly connection: string | undefined;
  readonly before: number | undefined;
  readonly limit: number;
}

export class Sessions {
  readonly #db: Database;
  readonly #lines: RecordLines;

  constructor(db: Database, lines: RecordLines) {
    this.#db = db;
    this.#lines = lines;
  }

  async list({ person, live, connection, before, limit }: SessionFilter): Promise<{ sessions: GatewaySession[]; more: boolean }> {
    const rows = await this.#db.query<SessionRow>(
      `SELECT ${COLUMNS} FROM sessions s WHERE ($1::text IS NULL OR person = $1) AND ($2::boolean IS NULL OR (closed_at IS NULL) = $2) AND ($3::text IS NULL OR connection = $3) AND ($4::bigint IS NULL OR opened_at < $4)
       ORDER BY opened_at DESC, id LIMIT $5`,
      [person ?? null, live ?? null, connection ?? null, before ?? null, limit + 1],
    );
    return { sessions: rows.slice(0, limit).map(viewOf), more: rows.length > limit };
  }

  /** @param person only if it is theirs. @throws `Problem` `not-found`, for what is not there and for what is not theirs alike */
  async get(id: string, person: string | undefined): Promise<GatewaySession> {
    const row = await one<SessionRow>(this.#db, `SELECT ${COLUMNS} FROM sessions s WHERE id = $1 AND ($2::text IS NULL OR person = $2)`, [id, person ?? null]);
    if (!row) throw new Problem('not-found', 'There is nothing of this name here, or it is not yours to see.');
    return viewOf(row);
  }

  async entries(id: string, person: string | undefined, after: number, limit: number): Promise<{ session: string; lines: string[]; more: boolean }> {
    const { expiredAt } = await this.get(id, person);
    if (expiredAt !== undefined)
      throw new Problem(
        'record-expired',
        `The record of this session was removed on ${new Date(expiredAt).toISOString().slice(0, 10)}, when its time was over. The audit holds that it was there.`,
      );
    const lines: string[] = [];
    while (lines.length <= limit) {
      const page = await this.#lines.page(this.#db, id, after + lines.length, limit + 1 - lines.length);
      if (page.length === 0) break;
      lines.push(...page.map(({ line }) => line));
    }
    return { session: id, lines: lines.slice(0, limit), more: lines.length > limit };
  }
}

function viewOf(row: SessionRow): GatewaySession {
  return {
    id: row.id,
    conversation: row.conversation,
    actor: Actor.parse(row.actor),
    connection: row.connection,
    protocol: row.protocol,
    surface: row.surface,
    openedAt: row.opened_at,
    ...(row.closed_at !== null && { closedAt: row.closed_at }),
    ...(row.close_reason !== null && { closeReason: row.close_reason }),
    ...(row.entries !== null && { entries: row.entries }),
    ...(row.lines !== null && { lines: row.lines }),
    recovered: row.recovered,
    ...(row.expired_at !== null && { expiredAt: row.expired_at }),
  };
}

/** The sessions of this process, with what each stands on. */
export class OpenSessions {
  readonly #open = new Map<string, { readonly session: Session; readonly basis: string }>();
  readonly #log: Log;
  readonly #basisOf: (session: Session) => string;

  constructor(log: Log, basisOf: (session: Session) => string) {
    this.#log = log;
    this.#basisOf = basisOf;
  }

  get size(): number {
    return this.#open.size;
  }

  get ids(): readonly string[] {
    return [...this.#open.keys()];
  }

  opened(session: Session): void {
    this.#open.set(session.id, { session, basis: this.#basisOf(session) });
  }

  closed(session: Session): void {
    this.#open.delete(session.id);
  }

  /** Sessions that stand on a login or a service account. */
  on(basis: string): readonly string[] {
    return [...this.#open].filter(([, open]) => open.basis === basis).map(([id]) => id);
  }

  onConnection(connection: string): readonly string[] {
    return [...this.#open].filter(([, { session }]) => session.request.connection === connection).map(([id]) => id);
  }

  get bases(): ReadonlySet<string> {
    return new Set([...this.#open.values()].map(({ basis }) => basis));
  }

  /** Ends the named sessions with a sentence; resolves when their records are closed, or cannot be. */
  async end(reason: string, ids: Iterable<string> = this.ids): Promise<void> {
    const sessions = [...ids].flatMap((id) => this.#open.get(id)?.session ?? []);
    await Promise.all(
      sessions.map((session) => session.close(reason).catch((cause: unknown) => this.#log.warn('session.not-closed', { session: session.id, cause }))),
    );
  }
}
