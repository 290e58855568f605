/**
 * This process among the replicas: a lease that it renews, and what becomes of those whose lease has run out. A replica
 * that cannot renew in time takes itself for dead before anyone else does: it owns nothing any more.
 */
import { randomBytes } from 'node:crypto';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { type Database, one, type Queryable, retried } from './database.ts';
import { SCHEMA_VERSION } from './migrate.ts';

export interface ReplicaOptions {
  readonly version: string;
  readonly log: Log;
  /** How long a lease lasts, in milliseconds. */
  readonly leaseMs?: number;
  readonly renewMs?: number;
  /** Called when this process must let go of everything: its lease could not be renewed. It comes back under another id. */
  readonly onFenced: () => void;
  /** Gives up what a dead replica owned, in the transaction that ends it. */
  readonly onDead: (tx: Queryable, replica: string) => Promise<void>;
}

const LEASE_MS = 15_000;
const RENEW_MS = 3_000;
/** A replica lets go of everything this long before others may take it for dead, in milliseconds. */
const MARGIN_MS = 2_000;

export class Replica {
  #id = '';
  readonly #db: Database;
  readonly #options: ReplicaOptions;
  readonly #leaseMs: number;
  /** By this process's own steady clock. */
  #goodUntil = 0;
  #timer: NodeJS.Timeout | undefined;
  #fenceTimer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;
  #state: 'new' | 'alive' | 'fenced' | 'stopped' = 'new';

  constructor(db: Database, options: ReplicaOptions) {
    this.#db = db;
    this.#options = options;
    this.#leaseMs = options.leaseMs ?? LEASE_MS;
  }

  /** Whether this process may act on what it owns. */
  get alive(): boolean {
    return this.#state === 'alive' && performance.now() < this.#goodUntil;
  }

  /** Another one after every fencing, so that nothing of before is taken for this process's. */
  get id(): string {
    return this.#id;
  }

  async start(): Promise<void> {
    await this.#register();
    const every = this.#options.renewMs ?? RENEW_MS;
    this.#timer = setInterval(() => void (this.#renewing ??= this.#turn().finally(() => (this.#renewing = undefined))), every);
    this.#timer.unref();
    await this.#sweep();
  }

  async #register(): Promise<void> {
    const began = performance.now();
    const id = `rep_${randomBytes(16).toString('base64url')}`;
    await this.#db.query('INSERT INTO replicas (id, version, schema, lease_until) VALUES ($1, $2, $3, ms() + $4::bigint)', [
      id,
      this.#options.version,
      SCHEMA_VERSION,
      this.#leaseMs,
    ]);
    this.#id = id;
    this.#state = 'alive';
    this.#renewed(began);
  }

  /** Gives the lease back. What is still owned is given up as for a dead one. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    clearTimeout(this.#fenceTimer);
    await this.#renewing;
    if (this.#state === 'new') return;
    this.#state = 'stopped';
    await retried(this.#db, (tx) => this.#end(tx, this.id));
  }

  async #turn(): Promise<void> {
    const began = performance.now();
    try {
      if (this.#state === 'fenced') return await this.#register();
      const row = await one<{ id: string }>(
        this.#db,
        'UPDATE replicas SET lease_until = ms() + $2::bigint WHERE id = $1 AND ended_at IS NULL AND lease_until > ms() RETURNING id',
        [this.id, this.#leaseMs],
      );
      if (!row) return this.#fence('its lease has run out');
      this.#renewed(began);
      await this.#sweep();
    } catch (cause) {
      this.#options.log.warn('replica.not-renewed', { cause });
    }
  }

  #renewed(began: number): void {
    if (this.#state !== 'alive') return;
    const lasts = this.#leaseMs - Math.min(MARGIN_MS, this.#leaseMs / 4);
    this.#goodUntil = began + lasts;
    clearTimeout(this.#fenceTimer);
    this.#fenceTimer = setTimeout(() => this.#fence('its lease could not be renewed'), Math.max(0, this.#goodUntil - performance.now()));
    this.#fenceTimer.unref();
  }

  #fence(why: string): void {
    if (this.#state !== 'alive') return;
    this.#state = 'fenced';
    this.#options.log.error('replica.fenced', { why });
    this.#options.onFenced();
  }

  async #sweep(): Promise<void> {
    const dead = await this.#db.query<{ id: string }>('SELECT id FROM replicas WHERE ended_at IS NULL AND lease_until <= ms()');
    for (const { id } of dead) {
      await retried(this.#db, (tx) => this.#end(tx, id)).catch((cause: unknown) => this.#options.log.warn('replica.not-swept', { replica: id, cause }));
    }
  }

  async #end(tx: Queryable, id: string): Promise<void> {
    // Whoever renews, records or spends takes this row first: they come before, or find it ended.
    const row = await one<{ id: string }>(
      tx,
      'SELECT id FROM replicas WHERE id = $1 AND ended_at IS NULL AND (id = $2 OR lease_until <= ms()) FOR UPDATE SKIP LOCKED',
      [id, this.id],
    );
    if (!row) return;
    await this.#options.onDead(tx, id);
    await tx.query('UPDATE replicas SET ended_at = ms() WHERE id = $1', [id]);
    this.#options.log.info('replica.ended', { replica: id, own: id === this.id });
  }
}
