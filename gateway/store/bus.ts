/**
 * What changed, told to every replica: written in the transaction that changed it, announced by NOTIFY, and read again by
 * polling, because a notification can be missed and must not matter.
 */
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { Database, Queryable } from './database.ts';

/** What can change. The subject is an id: the receiver reads the rest from the store. */
const TOPICS = ['policy', 'approval', 'grant', 'login', 'session', 'key', 'account', 'person', 'credential', 'edge', 'pin'] as const;
export type Topic = (typeof TOPICS)[number];

export interface Change {
  readonly topic: Topic;
  readonly subject: string;
}

const CHANNEL = 'countersign';
/** How often what was missed is looked for, in milliseconds. */
const POLL_MS = 1_000;
/** How far back each look goes: transactions end in another order than they began. */
const OVERLAP_MS = 15_000;
/** How long changes are kept, in milliseconds. */
const KEEP_MS = 10 * 60_000;
const CLEAN_EVERY_MS = 60_000;
const MAX_READ = 5_000;

export class Bus {
  readonly #db: Database;
  readonly #log: Log;
  readonly #listeners = new Map<Topic | '*', Set<(change: Change) => void>>();
  /** Ids that were delivered, oldest first, over the time that is read again. */
  readonly #seen = new Map<number, number>();
  #poll: NodeJS.Timeout | undefined;
  #cleanedAt = 0;
  #polling = false;
  #stopped = false;

  constructor(db: Database, log: Log) {
    this.#db = db;
    this.#log = log;
  }

  async start(): Promise<void> {
    // What happened before is in the tables that each reads at its own start.
    for (const { id } of await this.#recent()) this.#seen.set(id, Date.now());
    await this.#db.listen(
      CHANNEL,
      (payload) => this.#heard(payload),
      () => void this.#look(),
    );
    this.#poll = setInterval(() => void this.#look(), POLL_MS);
    this.#poll.unref();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#poll);
    this.#listeners.clear();
  }

  on(topic: Topic | '*', listener: (change: Change) => void): { dispose(): void } {
    const listeners = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, listeners.add(listener));
    return { dispose: () => void listeners.delete(listener) };
  }

  #heard(payload: string): void {
    const [id, topic, ...subject] = payload.split(' ');
    this.#deliver(Number(id), topic as Topic, subject.join(' '));
  }

  /** Reads what was missed. A store that is away is asked again at the next turn. */
  async #look(): Promise<void> {
    if (this.#polling || this.#stopped) return;
    this.#polling = true;
    try {
      for (const { id, topic, subject } of await this.#recent()) this.#deliver(id, topic, subject);
      const old = Date.now() - 2 * OVERLAP_MS;
      for (const [id, at] of this.#seen) {
        if (at > old) break;
        this.#seen.delete(id);
      }
      if (Date.now() - this.#cleanedAt > CLEAN_EVERY_MS) {
        this.#cleanedAt = Date.now();
        await this.#db.query('DELETE FROM events WHERE at < ms() - $1::bigint', [KEEP_MS]);
      }
    } catch (cause) {
      if (!this.#stopped) this.#log.warn('bus.not-read', { cause });
    } finally {
      this.#polling = false;
    }
  }

  #recent(): Promise<{ id: number; topic: Topic; subject: string }[]> {
    return this.#db.query(`SELECT id, topic, subject FROM events WHERE at > ms() - ${OVERLAP_MS} ORDER BY id LIMIT ${MAX_READ}`);
  }

  #deliver(id: number, topic: Topic, subject: string): void {
    if (this.#seen.has(id) || !TOPICS.includes(topic)) return;
    this.#seen.set(id, Date.now());
    const change = { topic, subject };
    for (const listener of [...(this.#listeners.get(topic) ?? []), ...(this.#listeners.get('*') ?? [])]) {
      try {
        listener(change);
      } catch (cause) {
        this.#log.error('bus.listener-failed', { topic, cause });
      }
    }
  }
}

/** Tells every replica, once the transaction that this is part of has ended well. */
export async function tell(tx: Queryable, topic: Topic, subject: string): Promise<void> {
  await tx.query(
    `WITH event AS (INSERT INTO events (topic, subject) VALUES ($1, $2) RETURNING id) SELECT pg_notify('${CHANNEL}', id || ' ' || $1::text || ' ' || $2::text) FROM event`,
    [topic, subject],
  );
}
