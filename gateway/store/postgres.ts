/** The store on a PostgreSQL server, through a pool. */
import { Client, type ClientConfig, Pool, type PoolClient, types } from 'pg';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { Database, Queryable } from './database.ts';

const MAX_CONNECTIONS = 20;
/** How long a connection may take to come up, in milliseconds: a request must not hang on a store that is gone. */
const CONNECT_TIMEOUT_MS = 3_000;
/** Longest statement, in milliseconds; migrations set their own. */
const STATEMENT_TIMEOUT_MS = 10_000;
/** An answer that does not come by then is a dead connection, in milliseconds. */
const QUERY_TIMEOUT_MS = 12_000;
/** Waits between attempts to listen again, in milliseconds. */
const LISTEN_RETRY_MS = [100, 250, 500, 1_000, 2_000] as const;

/** `bigint`. */
const INT8: number = 20;

/** The driver's own readers; it types the numbers of types as a closed list, which they are not. */
const readerOf = types.getTypeParser as (oid: number, format?: 'text' | 'binary') => (value: string) => unknown;
/** Numbers of 64 bits would be left as text. */
const TYPES = { getTypeParser: (oid: number, format?: 'text' | 'binary') => (oid === INT8 ? Number : readerOf(oid, format)) };

export interface PostgresOptions {
  /** `postgres://…` */
  readonly url: string;
  readonly log: Log;
  readonly maxConnections?: number;
  /** For migrations: a statement may take as long as it takes. */
  readonly patient?: boolean;
}

export function openPostgres({ url, log, maxConnections, patient = false }: PostgresOptions): Database {
  const config: ClientConfig = {
    connectionString: url,
    application_name: 'countersign-gateway',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: patient ? 0 : STATEMENT_TIMEOUT_MS,
    query_timeout: patient ? 0 : QUERY_TIMEOUT_MS,
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
    types: TYPES,
  };
  const pool = new Pool({ ...config, max: maxConnections ?? MAX_CONNECTIONS, idleTimeoutMillis: 30_000 });
  // An idle connection that dies is replaced when the next one is needed.
  pool.on('error', (cause) => log.warn('store.connection-lost', { cause }));
  const listeners = new Set<Listener>();
  const queryable = (client: Pick<PoolClient, 'query'>): Queryable => ({
    query: async <T extends object>(sql: string, params: readonly unknown[] = []) => (await client.query(sql, [...params])).rows as T[],
  });
  return {
    kind: 'postgres',
    query: (sql, params) => queryable(pool as unknown as PoolClient).query(sql, params),
    async transaction(work) {
      const client = await pool.connect();
      let broken: Error | undefined;
      // Between two statements nobody else hears that the connection is gone: unheard, it would end the process.
      const lost = (cause: Error): void => {
        broken = cause;
      };
      client.on('error', lost);
      try {
        await client.query('BEGIN');
        const result = await work(queryable(client));
        await client.query('COMMIT');
        return result;
      } catch (cause) {
        await client.query('ROLLBACK').catch((error: Error) => {
          broken = error;
        });
        throw cause;
      } finally {
        client.off('error', lost);
        client.release(broken);
      }
    },
    async listen(channel, heard, gap) {
      const listener = new Listener({ ...config, statement_timeout: 0, query_timeout: 0 }, channel, heard, gap, log);
      listeners.add(listener);
      await listener.start();
    },
    async close() {
      for (const listener of listeners) await listener.stop();
      await pool.end();
    },
  };
}

/** One connection that only listens, and comes back by itself. */
class Listener {
  readonly #config: ClientConfig;
  readonly #channel: string;
  readonly #heard: (payload: string) => void;
  readonly #gap: () => void;
  readonly #log: Log;
  #client: Client | undefined;
  #timer: NodeJS.Timeout | undefined;
  #attempt = 0;
  #stopped = false;

  constructor(config: ClientConfig, channel: string, heard: (payload: string) => void, gap: () => void, log: Log) {
    this.#config = config;
    this.#channel = channel;
    this.#heard = heard;
    this.#gap = gap;
    this.#log = log;
  }

  async start(): Promise<void> {
    const client = new Client(this.#config);
    const lost = (cause?: unknown): void => {
      if (this.#client !== client) return;
      this.#client = undefined;
      if (this.#stopped) return;
      this.#log.warn('store.listener-lost', { cause });
      this.#again();
    };
    client.on('error', lost);
    client.on('end', () => lost());
    client.on('notification', ({ payload }) => this.#heard(payload ?? ''));
    this.#client = client;
    try {
      await client.connect();
      await client.query(`LISTEN ${client.escapeIdentifier(this.#channel)}`);
      this.#attempt = 0;
      this.#gap();
    } catch (cause) {
      await client.end().catch(() => undefined);
      lost(cause);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  #again(): void {
    const wait = LISTEN_RETRY_MS[Math.min(this.#attempt++, LISTEN_RETRY_MS.length - 1)] ?? 1_000;
    this.#timer = setTimeout(() => void this.start(), wait);
    this.#timer.unref();
  }
}

/** Connection errors of Node and of PostgreSQL (classes 08 and 57P), and the pool's own time-outs, which have no code. */
export function isStoreDown(cause: unknown): boolean {
  const { code } = cause as { code?: unknown };
  if (typeof code === 'string') return /^(ECONN|ENOTFOUND|ETIMEDOUT|EPIPE|08|57P)/.test(code);
  return cause instanceof Error && /timeout|terminated|Connection ended|closed the connection|not queryable/i.test(cause.message);
}

/** What went wrong with the store, for a person; the address and the password stay out of it. */
export function storeProblem(cause: unknown): Problem {
  const code = (cause as { code?: string }).code ?? '';
  const why =
    code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'ETIMEDOUT' || code === 'ECONNRESET'
      ? `nothing answers at its address (${code})`
      : code === '28P01' || code === '28000'
        ? 'it refused the login'
        : code === '3D000'
          ? 'it has no such database'
          : code === ''
            ? 'it did not answer in time'
            : `it answered with ${code}`;
  return new Problem('store-down', `The gateway’s store is out of reach: ${why}. Nothing can be decided or recorded until it is back.`, { cause });
}
