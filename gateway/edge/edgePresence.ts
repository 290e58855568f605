/**
 * Who is connected where, kept in the store for the other replicas and for people: rows follow the links of this process,
 * and what the others have is read. Also cuts the links of keys that do not stand any more.
 */
import { type EdgeKeyView, type EdgeProcess, EdgeView } from '../../contract/gateway/edges.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { ConnectionConfig } from '../../proxy/policy/policy.ts';
import type { Bus } from '../store/bus.ts';
import type { Database, Queryable } from '../store/database.ts';
import type { Replica } from '../store/replica.ts';
import type { EdgeLinks } from './edgeLinks.ts';
import type { EdgeStore } from './edgeStore.ts';

/** How often what is in the store and what is connected are compared, in milliseconds. */
const EVERY_MS = 2_000;
/** How soon after a change, in milliseconds. */
const SOON_MS = 20;
const ALIVE = 'SELECT id FROM replicas WHERE ended_at IS NULL AND lease_until > ms()';

export interface EdgePresenceOptions {
  readonly db: Database;
  readonly bus: Bus;
  readonly replica: Replica;
  readonly store: EdgeStore;
  readonly links: () => EdgeLinks;
  readonly cut: (key: string) => void;
  /** Another replica has a link to it now, or has none any more. */
  readonly changed: (edge: string) => void;
  readonly log: Log;
}

export class EdgePresence {
  readonly #options: EdgePresenceOptions;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Timeout | undefined;
  #turning: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  #replicas: readonly string[] = [];
  #elsewhere: ReadonlySet<string> = new Set();
  /** What this process has in the store, as text by link. */
  #written = new Map<string, string>();
  #writtenAs = '';

  constructor(options: EdgePresenceOptions) {
    this.#options = options;
    options.bus.on('edge', () => this.soon());
  }

  async start(): Promise<void> {
    await this.#turn();
    this.#timer = setInterval(() => this.#run(), EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
  }

  /** The replicas that run, this one among them. */
  get replicas(): { readonly self: string; readonly all: readonly string[] } {
    const self = this.#options.replica.id;
    return { self, all: this.#replicas.includes(self) ? this.#replicas : [...this.#replicas, self] };
  }

  /** Whether another replica has a link to it. */
  elsewhere(edge: string): boolean {
    return this.#elsewhere.has(edge);
  }

  /** Links have come, gone or changed. */
  soon(): void {
    if (this.#stopped) return;
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#run();
    }, SOON_MS).unref();
  }

  #run(): void {
    if (this.#stopped) return;
    if (this.#turning) {
      this.#again = true;
      return;
    }
    this.#turning = this.#turn()
      .catch((cause: unknown) => this.#options.log.warn('edges.not-compared', { cause }))
      .finally(() => {
        this.#turning = undefined;
        if (!this.#again) return;
        this.#again = false;
        this.#run();
      });
  }

  async #turn(): Promise<void> {
    const { db, replica, store, cut } = this.#options;
    const links = this.#options.links();
    if (!replica.alive) return;
    const self = replica.id;
    for (const key of new Set(links.all.map((link) => link.key))) if (!(await store.stands(key))) cut(key);
    const rows = await db.query<{ id: string }>(`${ALIVE} ORDER BY id`);
    const before = JSON.stringify(this.#replicas) + this.#writtenAs;
    this.#replicas = rows.map(({ id }) => id);
    await this.#write(self);
    const others = await db.query<{ edge: string }>(`SELECT DISTINCT edge FROM edge_links WHERE replica IN (${ALIVE}) AND replica <> $1 AND NOT draining`, [
      self,
    ]);
    const had = this.#elsewhere;
    this.#elsewhere = new Set(others.map(({ edge }) => edge));
    for (const edge of new Set([...had, ...this.#elsewhere])) if (had.has(edge) !== this.#elsewhere.has(edge)) this.#options.changed(edge);
    if (before !== JSON.stringify(this.#replicas) + self) links.announce();
  }

  async #write(self: string): Promise<void> {
    const { db } = this.#options;
    if (this.#writtenAs !== self) this.#written = new Map();
    this.#writtenAs = self;
    const now = new Map(this.#options.links().all.map((link) => [link.id, link]));
    for (const id of this.#written.keys()) {
      if (now.has(id)) continue;
      await db.query('DELETE FROM edge_links WHERE id = $1', [id]);
      this.#written.delete(id);
    }
    for (const [id, link] of now) {
      const text = JSON.stringify(link);
      if (this.#written.get(id) === text) continue;
      const { edge, key, host, version, draining } = link;
      await db.query(
        `INSERT INTO edge_links (id, edge, key, replica, host, version, draining) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (id) DO UPDATE SET replica = $4, host = $5, draining = $7`,
        [id, edge, key, self, host.slice(0, 200), version.slice(0, 60), draining],
      );
      this.#written.set(id, text);
    }
  }
}

/** What a dead replica has left, in the transaction that ends it. */
export async function forgetLinksOf(tx: Queryable, replica: string): Promise<void> {
  await tx.query('DELETE FROM edge_links WHERE replica = $1', [replica]);
}

/** Every edge with its keys and where it is connected, for people. */
export async function listEdges(db: Queryable, connections: Iterable<ConnectionConfig>): Promise<EdgeView[]> {
  const edges = await db.query<{ name: string; created_at: number; removed_at: number | null }>('SELECT * FROM edges ORDER BY name LIMIT 200');
  const keys = await db.query<{ id: string; edge: string; host: string; joined_at: number; seen_at: number | null; revoked_at: number | null; late: boolean }>(
    'SELECT *, revoked_at <= ms() AS late FROM edge_keys ORDER BY joined_at DESC LIMIT 2000',
  );
  const links = await db.query<{ edge: string; key: string; replica: string; host: string; version: string; connected_at: number; draining: boolean }>(
    `SELECT * FROM edge_links WHERE replica IN (${ALIVE}) ORDER BY connected_at`,
  );
  const [alive] = await db.query<{ n: number }>(`SELECT count(*)::int AS n FROM (${ALIVE}) AS alive`);
  const replicas = alive?.n ?? 0;
  const named = new Map<string, string[]>();
  for (const { edge, name } of connections) if (edge !== undefined) named.set(edge, [...(named.get(edge) ?? []), name]);
  // One that policy names and nobody has added is shown, too: it is why something does not work.
  const all = [
    ...edges,
    ...[...named.keys()].filter((name) => !edges.some((edge) => edge.name === name)).map((name) => ({ name, created_at: 0, removed_at: null })),
  ];
  return all.map(({ name, created_at, removed_at }) => {
    const processes = new Map<string, EdgeProcess & { readonly at: Set<string> }>();
    for (const link of links) {
      if (link.edge !== name) continue;
      const id = `${link.key} ${link.host}`;
      const known = processes.get(id);
      const at = new Set([...(known?.at ?? []), link.replica]);
      processes.set(id, {
        host: link.host,
        version: link.version,
        connectedAt: known?.connectedAt ?? link.connected_at,
        draining: link.draining,
        replicas: at.size,
        at,
      });
    }
    const mine = keys.filter(({ edge }) => edge === name);
    const running = [...processes.values()];
    const held = mine.map(({ id, host, joined_at, seen_at, revoked_at, late }): EdgeKeyView => {
      return {
        id,
        host,
        joinedAt: joined_at,
        ...(seen_at !== null && { seenAt: seen_at }),
        ...(revoked_at !== null && late && { revokedAt: revoked_at }),
      };
    });
    return EdgeView.parse({
      name,
      createdAt: created_at,
      ...(removed_at !== null && { removedAt: removed_at }),
      connections: (named.get(name) ?? []).slice(0, 500),
      keys: held.slice(0, 200),
      processes: running.slice(0, 200),
      replicas,
      ...standing(name, removed_at !== null, created_at === 0, held, running, replicas),
    });
  });
}

function standing(
  name: string,
  removed: boolean,
  unknown: boolean,
  keys: readonly EdgeKeyView[],
  processes: readonly EdgeProcess[],
  replicas: number,
): Pick<EdgeView, 'state' | 'sentence'> {
  const taking = processes.filter(({ draining }) => !draining);
  if (unknown) return { state: 'never-joined', sentence: `Policy names the edge ${name}, and there is none. Add it: countersign gateway edge add ${name}.` };
  if (removed) return { state: 'removed', sentence: `The edge ${name} was removed.` };
  if (taking.length === 0) {
    if (!keys.some(({ revokedAt }) => revokedAt === undefined))
      return { state: 'never-joined', sentence: `The edge ${name} has not joined yet, or its keys were revoked.` };
    return { state: 'away', sentence: `The edge ${name} is not connected. Start it, or look at its log.` };
  }
  if (!taking.some((process) => process.replicas >= replicas))
    return {
      state: 'degraded',
      sentence: `The edge ${name} is not connected to all ${replicas} replicas of the gateway yet. Sessions at the others wait for it.`,
    };
  return { state: 'connected', sentence: `The edge ${name} is connected${taking.length > 1 ? `, ${taking.length} times` : ''}.` };
}
