/** The admin login's connection: opened when it is first needed and again when it was lost, one statement at a time. */
import { Problem } from '../../../contract/problem.ts';
import { type AdminFacts, inspectAdmin, type Query } from './inspect.ts';
import { MEMBERSHIP_OPTIONS } from './layoutSql.ts';
import type { RunNames } from './names.ts';

/** How long one of our statements may run, and wait for a lock, in milliseconds. */
const STATEMENT_TIMEOUT_MS = 15_000;
const LOCK_TIMEOUT_MS = 5_000;
/** The first version that ends idle sessions by itself where it is told to. */
const IDLE_TIMEOUT = 140_000;

/** A connection that is logged in as admin and that no client uses. */
export interface AdminQuery {
  /** Runs SQL (simple protocol); the rows of all its statements, values as text. A refusal of the server's has a `sqlstate`. */
  query: Query;
  readonly closed: boolean;
  close(): void;
}

export interface AdminLinkOptions {
  readonly connect: () => Promise<AdminQuery>;
  readonly names: RunNames;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

interface Open {
  readonly connection: AdminQuery;
  readonly facts: AdminFacts;
  /** Server's clock minus ours, in milliseconds. */
  readonly ahead: number;
}

export class AdminLink {
  readonly #options: AdminLinkOptions;
  #open: Promise<Open> | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(options: AdminLinkOptions) {
    this.#options = options;
  }

  /** Runs `work` when everything that was asked for before has ended. */
  run<T>(work: (query: Query, facts: AdminFacts, serverNow: number) => Promise<T>): Promise<T> {
    const result = this.#tail.then(async () => {
      const { ahead, connection, facts } = await this.#opened();
      try {
        return await work(connection.query, facts, this.#options.now() + ahead);
      } catch (cause) {
        // A script that failed half-way leaves its transaction open.
        if (!connection.closed) await connection.query('rollback').catch(() => connection.close());
        throw cause;
      }
    });
    this.#tail = result.catch(() => {});
    return result;
  }

  /** Closes it when what is under way has ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#tail;
    await this.#open?.then(
      ({ connection }) => connection.close(),
      () => {},
    );
  }

  async #opened(): Promise<Open> {
    if (this.#stopped) throw new Problem('stopped', 'The connection is no longer served.');
    const known = await this.#open?.catch(() => undefined);
    if (known && !known.connection.closed) return known;
    this.#open = this.#connect();
    return this.#open;
  }

  async #connect(): Promise<Open> {
    const { connect, names, now } = this.#options;
    const connection = await connect();
    try {
      // Nothing that somebody puts into another schema is ever called with this login's rights.
      await connection.query(`set search_path = pg_catalog, pg_temp; set statement_timeout = ${STATEMENT_TIMEOUT_MS}; set lock_timeout = ${LOCK_TIMEOUT_MS}`);
      const facts = await inspectAdmin(connection.query);
      const settings = [`select pg_advisory_lock_shared(${names.lockKey(names.run)})`, 'set client_min_messages = error'];
      if (facts.version >= IDLE_TIMEOUT) settings.push('set idle_session_timeout = 0');
      // A role that we make is one that we may end, clean up after, and (for the views' owner) hand something to.
      if (facts.version >= MEMBERSHIP_OPTIONS) settings.push(`set createrole_self_grant = 'set, inherit'`);
      await connection.query(settings.join('; '));
      return { connection, facts, ahead: facts.now - now() };
    } catch (cause) {
      connection.close();
      throw cause;
    }
  }
}
