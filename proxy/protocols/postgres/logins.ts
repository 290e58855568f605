/** Whom the proxy and its sessions log in to the database as: one login for all, or a role made for each session. */
import type { Actor } from '../../../contract/actor.ts';
import { Problem } from '../../../contract/problem.ts';
import type { Secret } from '../../../contract/secret.ts';
import { PostgresRoleBroker } from '../../credential/postgresRole/broker.ts';
import { connectAdmin } from '../../credential/postgresRole/connectAdmin.ts';
import type { MintedCredential, PostgresConnection } from '../../policy/policy.ts';
import type { LeasedLogin, ProtocolHost } from '../protocol.ts';
import type { CatalogKeeper } from './catalogKeeper.ts';
import type { CatalogOptions } from './sql/catalog.ts';

/** What one session logs in with. */
export interface SessionLogin {
  /** With the session's own user where it has one. */
  readonly connection: PostgresConnection;
  readonly password: Secret | undefined;
  /** The default `search_path` of the login, where we gave it one. */
  readonly searchPath: string | undefined;
  /** Aborted when the login ends before the session does. */
  readonly lost?: AbortSignal;
  /** The session is over. Never rejects. */
  release(): Promise<void>;
}

export class Logins {
  readonly #connection: PostgresConnection;
  readonly #host: ProtocolHost;
  readonly #broker: PostgresRoleBroker | undefined;
  readonly #abort = new AbortController();
  #swept = false;
  #catalogLease: Promise<LeasedLogin> | undefined;

  constructor(connection: PostgresConnection, host: ProtocolHost, catalogs: () => CatalogKeeper) {
    this.#connection = connection;
    this.#host = host;
    const { credential } = connection;
    this.#broker = credential && 'mint' in credential ? this.#brokerFor(credential, catalogs) : undefined;
  }

  /** The secret that is needed, by name. */
  get secretName(): string {
    return this.#ref?.name ?? '';
  }

  /**
   * The password of the connection's own `user`: for the catalog, and for sessions where no role is made for each.
   * @throws Problem `needs-secret` where nobody has provided it yet
   */
  own(): Secret | undefined {
    const { name } = this.#connection;
    const ref = this.#ref;
    if (!ref) return undefined;
    const secret = this.#host.secret(ref);
    if (secret) return secret;
    throw new Problem('needs-secret', `${name} needs the secret "${ref.name}" to log in to the database. Enter it in the Connections view.`);
  }

  get #ref(): PostgresConnection['password'] {
    const { credential, password } = this.#connection;
    return (credential && 'admin' in credential ? credential.admin : undefined) ?? password;
  }

  /** What the catalog is read with. @throws Problem as `own` and `session` */
  async forCatalog(): Promise<Pick<SessionLogin, 'connection' | 'password'>> {
    const { credential } = this.#connection;
    if (!credential || !('lease' in credential)) return { connection: this.#connection, password: this.own() };
    if (credential.lease === 'aws-rds') {
      // Such a login opens a connection for a quarter of an hour only: a new one for each.
      const login = await this.#lease();
      void login.release();
      return this.#withLogin(login);
    }
    this.#catalogLease ??= this.#lease().catch((cause: unknown) => {
      this.#catalogLease = undefined;
      throw cause;
    });
    const login = await this.#catalogLease;
    login.lost.addEventListener('abort', () => (this.#catalogLease = undefined), { once: true });
    return this.#withLogin(login);
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
  async session(actor: Actor): Promise<SessionLogin> {
    const connection = this.#connection;
    if (connection.credential && 'lease' in connection.credential) {
      const login = await this.#lease(actor);
      return {
        connection: this.#withLogin(login).connection,
        // As it is when it is used: some change while the session lasts.
        get password() {
          return login.password;
        },
        searchPath: undefined,
        lost: login.lost,
        release: () => login.release(),
      };
    }
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
    await this.#catalogLease?.then(
      (login) => login.release(),
      () => {},
    );
    await this.#broker?.stop();
    this.#abort.abort();
  }

  #lease(actor?: Actor): Promise<LeasedLogin> {
    const { credential, name } = this.#connection;
    const { lease } = this.#host;
    if (!lease || !credential || !('lease' in credential))
      throw new Problem('no-lease', `${name} gets its logins from elsewhere, and nothing here hands them out.`);
    return lease(credential, this.#abort.signal, actor);
  }

  #withLogin({ password, user }: LeasedLogin): Pick<SessionLogin, 'connection' | 'password'> {
    return { connection: { ...this.#connection, upstream: { ...this.#connection.upstream, user } }, password };
  }

  #brokerFor({ grants, ttlMs }: MintedCredential, catalogs: () => CatalogKeeper): PostgresRoleBroker {
    const { name, upstream } = this.#connection;
    const { engine } = this.#host;
    return new PostgresRoleBroker({
      connect: () => connectAdmin(this.#connection, this.own(), this.#abort.signal, this.#host.dial?.(this.#connection)),
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
