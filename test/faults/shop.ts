/** The demo's shop in a real PostgreSQL of its own, which can crash and come back, and tells what was really done in it. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { freePort } from '../../demo/freePort.ts';
import { type RunningPostgres, SUPERUSER } from '../../demo/postgres.ts';
import { createShop, DATABASE } from '../../demo/shop.ts';
import { startCluster } from '../support/cluster.ts';
import { until } from '../support/soon.ts';

const SETTINGS = ['fsync=off', 'max_connections=300', 'shared_buffers=32MB'];
export const UPSTREAM = { user: 'shop_app', password: 'upstream-password-of-the-shop' };

/**
 * Counts each statement that sets out to change orders, before it does: a sequence keeps what a rollback takes away, so
 * it also tells of what was executed and undone.
 */
const COUNTER = `
  create sequence attempts;
  create function count_attempt() returns trigger language plpgsql security definer as $$ begin perform nextval('attempts'); return null; end $$;
  create trigger counted before insert or update or delete or truncate on orders for each statement execute function count_attempt();
`;

export class Shop {
  readonly port: number;
  readonly database = DATABASE;
  readonly #folder: string;
  readonly #direct = new Set<Client>();
  /** For what is asked over and over: to connect takes longer than the answer. */
  #asking: Promise<Client> | undefined;
  #server: RunningPostgres;

  private constructor(folder: string, server: RunningPostgres) {
    this.#folder = folder;
    this.#server = server;
    this.port = server.port;
  }

  /** @param more SQL that the superuser adds to the shop. */
  static async open(more = ''): Promise<Shop> {
    const folder = mkdtempSync(join(tmpdir(), 'cs-faults-'));
    const server = await startCluster({ folder, port: await freePort(), password: UPSTREAM.password, settings: SETTINGS });
    await createShop(server.port, UPSTREAM.password, UPSTREAM);
    const shop = new Shop(folder, server);
    await (await shop.direct()).query(COUNTER + more);
    return shop;
  }

  /** Straight to the database, past everything of ours. */
  async direct(): Promise<Client> {
    const client = new Client({ host: '127.0.0.1', port: this.port, database: DATABASE, user: SUPERUSER, password: UPSTREAM.password });
    client.on('error', () => undefined);
    await client.connect();
    this.#direct.add(client);
    return client;
  }

  async #ask<Row extends object>(sql: string, params: unknown[] = []): Promise<Row[]> {
    this.#asking ??= this.direct();
    try {
      return (await (await this.#asking).query<Row>(sql, params)).rows;
    } catch (cause) {
      this.#asking = undefined;
      throw cause;
    }
  }

  async status(order: number): Promise<string | undefined> {
    return (await this.#ask<{ status: string }>('select status from orders where id = $1', [order]))[0]?.status;
  }

  /** How many statements have set out to change orders so far. */
  async attempts(): Promise<number> {
    const [row] = await this.#ask<{ count: string }>('select case when is_called then last_value else 0 end as count from attempts');
    return Number(row?.count);
  }

  /** What the proxy's sessions are connected as and doing, apart from the proxy's own look at the catalog. */
  async backends(): Promise<{ pid: number; state: string; wait_event_type: string | null; query: string }[]> {
    return this.#ask(`select pid, state, wait_event_type, query from pg_stat_activity where usename = $1 and application_name <> 'countersign catalog'`, [
      UPSTREAM.user,
    ]);
  }

  /** Resolves when no session of the proxy is left in the database. */
  async abandoned(): Promise<void> {
    await until('the backends to go', async () => (await this.backends()).length === 0);
  }

  /** As a power cut does it. */
  async crash(): Promise<void> {
    this.#asking = undefined;
    await this.#server.stop('immediate');
  }

  async revive(): Promise<void> {
    this.#server = await startCluster({ folder: this.#folder, port: this.port, password: UPSTREAM.password, settings: SETTINGS });
  }

  async close(): Promise<void> {
    await Promise.all([...this.#direct].map((client) => client.end().catch(() => undefined)));
    await this.#server.stop('immediate');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
