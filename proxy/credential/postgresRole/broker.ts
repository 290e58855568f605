/**
 * Makes a PostgreSQL role for each session, which the server itself holds to the policy's grants, and takes it away when
 * the session has ended. The admin login that does so never leaves this process's memory, and no session ever gets it.
 */
import { randomBytes } from 'node:crypto';
import { Problem } from '../../../contract/problem.ts';
import { Secret } from '../../../contract/secret.ts';
import type { Clock, Log } from '../../pipeline/engine.ts';
import type { MaskPlan, TableGrant } from '../../policy/policy.ts';
import { scramVerifier } from '../../protocols/postgres/scram.ts';
import type { Catalog } from '../../protocols/postgres/sql/catalog.ts';
import { AdminLink, type AdminQuery } from './adminLink.ts';
import { dropSessionRoles, sweepLeftovers } from './cleaning.ts';
import { type AdminFacts, inspectServer, type Query } from './inspect.ts';
import { cannotMint, type Layout, layoutOf } from './layout.ts';
import { createLayoutSql, createSessionRoleSql, dropLayoutsSql, type PlacedLayout, placedLayout } from './layoutSql.ts';
import { RunNames } from './names.ts';

const PASSWORD_BYTES = 32;
/** How long a session that is over may take to leave the server by itself, in milliseconds. */
const LEAVE_MS = 50;
/** Tries to drop a role before it is left to the next sweep. */
const DROP_TRIES = 40;
/** Time between two looks for what a killed proxy left connected, in milliseconds. */
const SWEEP_AGAIN_MS = 60_000;
/** Views stand in the way of changing the columns they show: unused for so long, in milliseconds, they go. */
const IDLE_LAYOUT_MS = 5 * 60_000;

export interface PostgresRoleBrokerOptions {
  /** Logs in as admin. */
  readonly connect: () => Promise<AdminQuery>;
  /** The catalog as it is now; called again after `changed`. */
  readonly catalog: () => Promise<Catalog>;
  readonly plan: () => MaskPlan;
  /** `schema.table` → what is granted; undefined: reading every table. */
  readonly grants: ReadonlyMap<string, TableGrant> | undefined;
  /** How long a role can log in, in milliseconds. */
  readonly ttlMs: number;
  readonly connection: string;
  readonly database: string;
  /** What tells this installation from others; secret or not, only a hash of it is shown. */
  readonly installation: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The masked views were made or dropped: names mean something else now. */
  readonly changed?: () => void;
}

export interface MintedRole {
  readonly user: string;
  readonly password: Secret;
  /** As the value of `search_path`; it is the role's default, too. */
  readonly searchPath: string;
  /** Ends what the role still runs and drops it. Resolves when it is gone, or left to the next sweep. Never rejects. */
  release(): Promise<void>;
}

export class PostgresRoleBroker {
  readonly #options: PostgresRoleBrokerOptions;
  readonly #names: RunNames;
  /** Sessions wait for this one. */
  readonly #minting: AdminLink;
  /** Nobody waits for this one. */
  readonly #cleaning: AdminLink;
  /** Session role → the layout it uses. */
  readonly #held = new Map<string, PlacedLayout>();
  readonly #releases = new Set<Promise<void>>();
  #current: { readonly placed: PlacedLayout; readonly catalog: Catalog; readonly plan: MaskPlan } | undefined;
  #retired: PlacedLayout[] = [];
  #preparing: Promise<PlacedLayout> | undefined;
  #idle: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;
  #stopped = false;
  #unreachable = false;

  constructor(options: PostgresRoleBrokerOptions) {
    this.#options = options;
    this.#names = new RunNames(options.installation, options.database);
    const link = { connect: options.connect, names: this.#names, now: () => options.clock.now() };
    this.#minting = new AdminLink(link);
    this.#cleaning = new AdminLink(link);
  }

  /** Schema of the masked views → schema of the tables that they stand for; what `loadCatalog` wants to know. */
  get standIns(): ReadonlyMap<string, string> {
    return this.#current?.placed.standIns ?? new Map();
  }

  /** Puts the views and grants in place, or finds that they are. @throws Problem `cannot-mint` */
  async prepare(): Promise<void> {
    await this.#prepared();
  }

  /** @throws Problem `cannot-mint` with what is missing; `unreachable`, `login`, … where the admin login cannot log in */
  async mint(): Promise<MintedRole> {
    const password = new Secret(randomBytes(PASSWORD_BYTES).toString('base64url'));
    const user = this.#names.session();
    const verifying = scramVerifier(password);
    const [placed, verifier] = [await this.#prepared(user), await verifying];
    this.#cancelIdle();
    try {
      const open = await this.#minting.run(async (query, facts, serverNow) => {
        const [row] = await query(createSessionRoleSql(user, verifier, serverNow + this.#options.ttlMs, placed, facts.version));
        return row?.[0];
      });
      if (open !== undefined && open !== null) throw this.#openToAll(placed.layout.sensitive[Number(open) - 1]?.label ?? 'A sensitive column');
    } catch (cause) {
      // It may be there all the same: the answer can have been lost.
      void this.#release(user);
      throw this.#explained(cause);
    }
    // The server was away and is back, with the roles that could not be dropped meanwhile.
    if (this.#unreachable) this.#sweepAgain();
    let released: Promise<void> | undefined;
    return { user, password, searchPath: placed.searchPath, release: () => (released ??= this.#release(user)) };
  }

  /** Drops what earlier runs of this installation left. Resolves with how many roles went. */
  async sweep(): Promise<number> {
    clearTimeout(this.#again);
    this.#again = undefined;
    const { log } = this.#options;
    const { dropped, left } = await this.#cleaning.run((query, facts) =>
      sweepLeftovers(query, facts, { names: this.#names, held: (role) => this.#held.has(role), log }),
    );
    if (dropped.length > 0) log.info('postgres-role.swept', { connection: this.#options.connection, dropped: dropped.length });
    if (left.length > 0) this.#sweepLater();
    return dropped.length;
  }

  /** Drops every role, the views and the grants, and closes the connections. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#again);
    this.#cancelIdle();
    await this.#preparing?.catch(() => {});
    await Promise.all([...this.#held.keys()].map((user) => this.#release(user)));
    await Promise.all(this.#releases);
    const layouts = [...this.#retired.splice(0), ...(this.#current ? [this.#current.placed] : [])];
    this.#current = undefined;
    if (layouts.length > 0 && !this.#unreachable) await this.#dropLayouts(layouts);
    await Promise.all([this.#minting.stop(), this.#cleaning.stop()]);
  }

  // ── the layout ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param user a session role that will use it: the layout is not dropped under its feet */
  async #prepared(user?: string): Promise<PlacedLayout> {
    for (;;) {
      if (this.#stopped) throw this.#cannot('The connection is no longer served.');
      const catalog = await this.#options.catalog();
      const plan = this.#options.plan();
      let placed = this.#current?.catalog === catalog && this.#current.plan === plan ? this.#current.placed : undefined;
      if (!placed) {
        // One prepares for all who ask meanwhile.
        this.#preparing ??= this.#prepare(catalog, plan).finally(() => {
          this.#preparing = undefined;
        });
        try {
          placed = await this.#preparing;
        } catch (cause) {
          throw this.#explained(cause);
        }
        // The policy may have changed under the one that was joined.
        if (this.#current?.placed !== placed || this.#current.plan !== this.#options.plan()) continue;
      }
      if (user !== undefined) this.#held.set(user, placed);
      return placed;
    }
  }

  async #prepare(catalog: Catalog, plan: MaskPlan): Promise<PlacedLayout> {
    const before = this.#current;
    const placed = await this.#minting.run(async (query, facts) => {
      if (!facts.createsRoles) {
        throw this.#cannot(`The login ${facts.user} may not create roles. Run: ALTER ROLE ${facts.user} CREATEROLE.`);
      }
      const layout = await this.#layout(query, facts, catalog, plan);
      if (before && before.placed.layout.fingerprint === layout.fingerprint) return { ...before.placed, layout };
      if (layout.maskedSchemas.length > 0 && !facts.createsSchemas) {
        throw this.#cannot(
          `The login ${facts.user} may not create the schema of the masked views. Run: GRANT CREATE ON DATABASE ${facts.database} TO ${facts.user}.`,
        );
      }
      const next = placedLayout(layout, this.#names);
      // Back to what it was a moment ago: it is still there.
      const known = this.#retired.find(({ grants }) => grants === next.grants);
      if (known) this.#retired = this.#retired.filter((one) => one !== known);
      else await query(createLayoutSql(next, facts));
      return next;
    });
    this.#current = { placed, catalog, plan };
    if (before?.placed.grants !== placed.grants) {
      if (before) this.#retired.push(before.placed);
      this.#dropUnused();
      this.#options.changed?.();
    }
    return placed;
  }

  async #layout(query: Query, facts: AdminFacts, catalog: Catalog, plan: MaskPlan): Promise<Layout> {
    const { connection, grants, log } = this.#options;
    const server = await inspectServer(query, facts);
    const layout = layoutOf({ catalog, plan, grants, server, connection });
    if (server.definers.length > 0) log.info('postgres-role.definers', { connection, functions: server.definers });
    return layout;
  }

  #dropUnused(): void {
    const used = new Set([...this.#held.values()].map(({ grants }) => grants));
    const unused = this.#retired.filter(({ grants }) => !used.has(grants));
    if (unused.length === 0) return;
    this.#retired = this.#retired.filter((placed) => !unused.includes(placed));
    this.#track(this.#dropLayouts(unused));
  }

  async #dropLayouts(layouts: readonly PlacedLayout[]): Promise<void> {
    const roles = layouts.flatMap(({ grants, owner }) => [grants, owner]);
    const schemas = layouts.flatMap(({ standIns }) => [...standIns.keys()]);
    await this.#cleaning
      .run((query) => query(dropLayoutsSql(roles, schemas)))
      .catch((cause: unknown) => this.#options.log.warn('postgres-role.layout-left', { roles, cause }));
  }

  #rest(): void {
    if (this.#held.size > 0 || this.#stopped || this.#idle) return;
    this.#idle = setTimeout(() => {
      this.#idle = undefined;
      const current = this.#current;
      if (this.#held.size > 0 || this.#preparing || !current) return;
      this.#current = undefined;
      this.#track(this.#dropLayouts([current.placed]));
      this.#options.changed?.();
    }, IDLE_LAYOUT_MS);
    this.#idle.unref();
  }

  #cancelIdle(): void {
    clearTimeout(this.#idle);
    this.#idle = undefined;
  }

  // ── the end of a role ──────────────────────────────────────────────────────────────────────────────────────────────

  #release(user: string): Promise<void> {
    const release = this.#drop(user).finally(() => {
      this.#held.delete(user);
      this.#dropUnused();
      this.#rest();
    });
    this.#track(release);
    return release;
  }

  async #drop(user: string): Promise<void> {
    const { log } = this.#options;
    try {
      for (let i = 0; i < DROP_TRIES; i++) {
        // Leaving, a server that does not answer is asked once, not once for each role.
        if (this.#stopped && this.#unreachable) break;
        if (i > 0) await new Promise((resolve) => setTimeout(resolve, LEAVE_MS));
        // A session that is over leaves by itself within the first pause; one that does not is ended.
        const { left } = await this.#cleaning.run((query, facts) => dropSessionRoles(query, facts, [user], i > 0, log));
        this.#unreachable = false;
        if (left.length === 0) return;
      }
      log.warn('postgres-role.left', { role: user });
    } catch (cause) {
      this.#unreachable = true;
      log.warn('postgres-role.left', { role: user, cause });
    }
    this.#sweepLater();
  }

  /** Until it has worked: a server that is away now may be back with all its roles. */
  #sweepLater(): void {
    if (this.#stopped || this.#again) return;
    this.#again = setTimeout(() => this.#sweepAgain(), SWEEP_AGAIN_MS);
    this.#again.unref();
  }

  #sweepAgain(): void {
    this.#unreachable = false;
    this.sweep().catch((cause: unknown) => {
      this.#options.log.warn('postgres-role.sweep', { cause });
      this.#again = undefined;
      this.#sweepLater();
    });
  }

  #track(work: Promise<void>): void {
    this.#releases.add(work);
    void work.finally(() => this.#releases.delete(work));
  }

  // ── what went wrong, for people ────────────────────────────────────────────────────────────────────────────────────

  #cannot(sentence: string): Problem {
    return cannotMint(this.#options.connection, sentence);
  }

  #openToAll(column: string): Problem {
    const table = column.slice(0, column.lastIndexOf('.'));
    return this.#cannot(`${column} is masked by policy, but every role of this database may read it in place. Run: REVOKE SELECT ON ${table} FROM PUBLIC.`);
  }

  #explained(cause: unknown): unknown {
    if (!(cause instanceof Problem) || cause.code !== 'own-statement') return cause;
    return new Problem('cannot-mint', this.#cannot(`The login that makes roles was refused: ${cause.message}`).message, { cause });
  }
}
