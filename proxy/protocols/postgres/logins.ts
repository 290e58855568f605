/** Whom the proxy and its sessions log in to the database as: one login for all, or a role made for each session. */
import { Problem } from '../../../contract/problem.ts';
import type { Secret } from '../../../contract/secret.ts';
import { PostgresRoleBroker } from '../../credential/postgresRole/broker.ts';
import { connectAdmin } from '../../credential/postgresRole/connectAdmin.ts';
import type { MintedCredential, PostgresConnection } from '../../policy/policy.ts';
import type { ProtocolHost } from '../protocol.ts';
import type { CatalogKeeper } from './catalogKeeper.ts';
import type { CatalogOptions } from './sql/catalog.ts';

/** What one session logs in with. */
export interface SessionLogin {
  /** With the session's own user where it has one. */
  readonly connection: PostgresConnection;
  readonly password: Secret | undefined;
  /** The default `search_path` of the login, where we gave it one. */
  readonly searchPath: string | undefined;
  /** The session is over. Never rejects. */
  release(): Promise<void>;
}

export class Logins {
  readonly #connection: PostgresConnection;
  readonly #host: ProtocolHost;
  readonly #broker: PostgresRoleBroker | undefined;
  readonly #abort = new AbortController();
  #swept = false;

  constructor(connection: PostgresConnection, host: ProtocolHost, catalogs: () => CatalogKeeper) {
    this.#connection = connection;
    this.#host = host;
    this.#broker = connection.credential && this.#brokerFor(connection.credential, catalogs);
  }

  /** The secret that is needed, by name. */
  get secretName(): string {
    return (this.#connection.credential?.admin ?? this.#connection.password)?.name ?? '';
  }

  /**
   * The password of the connection's own `user`: for the catalog, and for sessions where no role is made for each.
   * @throws Problem `needs-secret` where nobody has provided it yet
   */
  own(): Secret | undefined {
    const { credential, name, password } = this.#connection;
    const ref = credential?.admin ?? password;
    if (!ref) return undefined;
    const secret = this.#host.secret(ref);
    if (secret) return secret;
    throw new Problem('needs-secret', `${name} needs the secret "${ref.name}" to log in to the database. Enter it in the Connections view.`);
  }

  /** How the catalog is read for sessions with roles of their own. */
  get catalogOptions(): CatalogOptions | undefined {
    return this.#broker && { standIns: this.#broker.standIns };
  }

  /** The database has answered: what an earlier run left there can be taken away. */
  reached(): void {
    if (this.#swept || !this.#broker) return;
    this.#swept = true;
    this.#broker.sweep().catch((cause: unknown) => {
      this.#swept = false;
      this.#host.engine.log.warn('postgres-role.sweep', { connection: this.#connection.name, cause });
    });
  }

  /** @throws Problem `cannot-mint`, and what logging in throws: there is no other login to fall back to */
  async session(): Promise<SessionLogin> {
    const connection = this.#connection;
    if (!this.#broker) return { connection, password: this.own(), searchPath: undefined, release: () => Promise.resolve() };
    const role = await this.#broker.mint();
    return {
      connection: { ...connection, upstream: { ...connection.upstream, user: role.user } },
      password: role.password,
      searchPath: role.searchPath,
      release: () => role.release(),
    };
  }

  async stop(): Promise<void> {
    await this.#broker?.stop();
    this.#abort.abort();
  }

  #brokerFor({ grants, ttlMs }: MintedCredential, catalogs: () => CatalogKeeper): PostgresRoleBroker {
    const { name, upstream } = this.#connection;
    const { engine } = this.#host;
    return new PostgresRoleBroker({
      connect: () => connectAdmin(this.#connection, this.own(), this.#abort.signal),
      catalog: () => catalogs().fresh(),
      plan: () => engine.policy().maskPlan(name),
      grants,
      ttlMs,
      connection: name,
      database: upstream.database,
      installation: engine.digest(['postgres-role', upstream.host, String(upstream.port)]),
      clock: engine.clock,
      log: engine.log,
      changed: () => catalogs().stale(),
    });
  }
}
