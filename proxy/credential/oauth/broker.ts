/** Upstream tokens, one set a connection: used, renewed, asked for and given up here, and handed to nobody but the server they are for. */
import * as oauth from 'oauth4webapi';
import { Problem } from '../../../contract/problem.ts';
import type { Log } from '../../pipeline/engine.ts';
import { type Challenge, challengeOf, isWithin, scopesOf } from './discovery.ts';
import { KEPT_PREFIX, type Kept, keptFrom } from './kept.ts';
import { authentication, type ClientOptions, type KnownClient } from './registration.ts';
import { isLoopback, SafeFetch } from './safeFetch.ts';
import { codeOf, keptOf, SignIn } from './signIn.ts';

/** A token is renewed this long before it expires, in milliseconds. */
const EARLY_MS = 30_000;

export interface OAuthBrokerOptions {
  readonly now: () => number;
  readonly log: Log;
  /** A state has changed. */
  readonly changed: () => void;
  /** Has the editor keep a secret; null forgets it. */
  readonly keep: (name: string, value: string | null) => void;
}

export interface OAuthSettings {
  readonly name: string;
  readonly url: URL;
  readonly client: () => ClientOptions;
  readonly scopes: readonly string[];
}

export type SignInState = 'unknown' | 'needed' | 'signed-in';

export class OAuthBroker {
  readonly #options: OAuthBrokerOptions;
  readonly #connections = new Map<string, OAuthConnection>();
  /** Handed over by an editor before there is a connection that it belongs to. */
  readonly #restored = new Map<string, Kept>();

  constructor(options: OAuthBrokerOptions) {
    this.#options = options;
  }

  /** The connection's tokens, from now on under these settings. */
  of(settings: OAuthSettings): OAuthConnection {
    this.#connections.get(settings.name)?.stop();
    const connection = new OAuthConnection(settings, this.#options);
    this.#connections.set(settings.name, connection);
    const kept = this.#restored.get(settings.name);
    if (kept) connection.restore(kept);
    return connection;
  }

  get(name: string): OAuthConnection | undefined {
    return this.#connections.get(name);
  }

  /** Whether a secret of the editor's is one of ours; takes it in if so. */
  restore(name: string, value: string | null): boolean {
    if (!name.startsWith(KEPT_PREFIX)) return false;
    const connection = name.slice(KEPT_PREFIX.length);
    const kept = value === null ? undefined : keptFrom(value);
    if (!kept) {
      this.#restored.delete(connection);
      return true;
    }
    this.#restored.set(connection, kept);
    const newer = this.#connections.get(connection)?.restore(kept);
    // The editor has an older one than we do: it was renewed while no window was there.
    if (newer) this.#options.keep(name, JSON.stringify(newer));
    return true;
  }

  stop(): void {
    for (const connection of this.#connections.values()) connection.stop();
  }
}

export class OAuthConnection {
  readonly #settings: OAuthSettings;
  readonly #options: OAuthBrokerOptions;
  #kept: Kept | undefined;
  #challenge: Challenge = {};
  #needed = false;
  #problem: string | undefined;
  #renewing: Promise<boolean> | undefined;
  #signIn: SignIn | undefined;

  constructor(settings: OAuthSettings, options: OAuthBrokerOptions) {
    this.#settings = settings;
    this.#options = options;
  }

  get state(): SignInState {
    if (this.#needed) return 'needed';
    return this.#kept ? 'signed-in' : 'unknown';
  }

  /** A sentence, for `needed`. */
  get problem(): string {
    const { name, url } = this.#settings;
    return this.#problem ?? `${name} wants a sign-in at ${url.host}. Sign in from the Connections view.`;
  }

  /** The header for a request to this address; none where the token is not for it. */
  async headers(url: URL): Promise<Readonly<Record<string, string>>> {
    const kept = this.#kept;
    if (!kept || !isWithin(url, new URL(kept.resource))) return {};
    if (kept.expiresAt !== undefined && kept.expiresAt - EARLY_MS <= this.#options.now() && kept.refresh !== undefined) await this.#renew(kept);
    return this.#kept ? { Authorization: `Bearer ${this.#kept.access}` } : {};
  }

  /**
   * The server has refused us. Resolves to whether there is a better token now.
   * @throws Problem `needs-sign-in`, with the sentence for the agent, where only a person can get one
   */
  async refused(url: URL, status: number, header: string | undefined, used: string | undefined): Promise<boolean> {
    const kept = this.#kept;
    const challenge = challengeOf(header);
    if (status === 403 && challenge.error !== 'insufficient_scope') return false;
    if (status === 401 && kept) {
      // Another request has renewed it meanwhile.
      if (used !== undefined && used !== `Bearer ${kept.access}`) return true;
      if (kept.refresh !== undefined && isWithin(url, new URL(kept.resource)) && (await this.#renew(kept))) return true;
    }
    const { name } = this.#settings;
    const asked = scopesOf(challenge.scope);
    this.#challenge = challenge.scope === undefined ? challenge : { ...challenge, scope: [...new Set([...(this.#kept?.scopes ?? []), ...asked])].join(' ') };
    this.#needed = true;
    this.#problem =
      status === 403
        ? `${name} wants more than was agreed to (${asked.join(', ') || 'it does not say what'}). Sign in again from the Connections view.`
        : undefined;
    this.#options.changed();
    throw new Problem('needs-sign-in', this.problem);
  }

  /** Begins a sign-in in the place of one that is under way. @returns the address the browser comes back to */
  async begin(): Promise<string> {
    this.#signIn?.cancel();
    const { name, url, client, scopes } = this.#settings;
    const signIn = new SignIn({
      connection: name,
      endpoint: url,
      challenge: this.#challenge,
      client: client(),
      scopes,
      now: this.#options.now,
      done: (result) => {
        if (this.#signIn === signIn) this.#signIn = undefined;
        if ('kept' in result) this.#take(result.kept);
        else {
          this.#problem = result.problem;
          this.#needed = true;
          this.#options.changed();
        }
      },
    });
    this.#signIn = signIn;
    return await signIn.listen();
  }

  /** @returns the page for the person's browser */
  async address(redirect: string): Promise<string> {
    if (!this.#signIn) throw new Problem('oauth-order', `No sign-in to ${this.#settings.name} is under way. Begin again.`);
    return await this.#signIn.address(redirect);
  }

  /** Gives the tokens back and forgets them. */
  async signOut(): Promise<void> {
    this.#signIn?.cancel();
    this.#signIn = undefined;
    const kept = this.#kept;
    this.#kept = undefined;
    this.#needed = true;
    this.#problem = undefined;
    this.#options.keep(KEPT_PREFIX + this.#settings.name, null);
    this.#options.changed();
    if (kept?.server.revocation_endpoint === undefined) return;
    const fetch = new SafeFetch(this.#settings.url);
    try {
      const token = kept.refresh ?? kept.access;
      await oauth.revocationRequest(
        kept.server as oauth.AuthorizationServer,
        { client_id: kept.client.id },
        authentication(clientOf(kept)),
        token,
        this.#requestOptions(fetch),
      );
    } catch {
      // It expires by itself; here it is forgotten.
      this.#options.log.info('oauth.not-revoked', { connection: this.#settings.name });
    } finally {
      fetch.close();
    }
  }

  /** Takes what an editor kept, if it is for this address and newer than what is here. @returns ours, where that is newer */
  restore(kept: Kept): Kept | undefined {
    if (kept.endpoint !== this.#settings.url.href) return undefined;
    if (this.#kept && this.#kept.savedAt >= kept.savedAt) return this.#kept.savedAt > kept.savedAt ? this.#kept : undefined;
    this.#kept = kept;
    this.#needed = false;
    this.#options.changed();
    return undefined;
  }

  stop(): void {
    this.#signIn?.cancel();
    this.#signIn = undefined;
  }

  #take(kept: Kept): void {
    this.#kept = kept;
    this.#needed = false;
    this.#problem = undefined;
    this.#challenge = {};
    this.#options.keep(KEPT_PREFIX + this.#settings.name, JSON.stringify(kept));
    this.#options.log.info('oauth.signed-in', { connection: this.#settings.name });
    this.#options.changed();
  }

  /** Once for all who need it: a server that rotates refresh tokens takes the second use of one for theft. */
  #renew(kept: Kept): Promise<boolean> {
    this.#renewing ??= this.#renewOnce(kept).finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renewOnce(kept: Kept): Promise<boolean> {
    const { refresh } = kept;
    if (refresh === undefined || this.#kept !== kept) return this.#kept !== undefined && this.#kept !== kept;
    const { url, name } = this.#settings;
    const fetch = new SafeFetch(url);
    const server = kept.server as oauth.AuthorizationServer;
    const client: oauth.Client = { client_id: kept.client.id };
    try {
      const response = await oauth.refreshTokenGrantRequest(server, client, authentication(clientOf(kept)), refresh, {
        ...this.#requestOptions(fetch),
        additionalParameters: { resource: kept.resource },
      });
      const token = await oauth.processRefreshTokenResponse(server, client, response);
      if (this.#kept !== kept) return false;
      this.#take(keptOf(token, { endpoint: url, resource: kept.resource, server, client: clientOf(kept), scopes: kept.scopes, refresh }, this.#options.now()));
      return true;
    } catch (cause) {
      this.#options.log.warn('oauth.not-renewed', { connection: name, code: codeOf(cause) || 'unreachable' });
      // Refused for good: nothing is kept that no longer opens anything. Out of reach: it may do later.
      if (cause instanceof oauth.ResponseBodyError && this.#kept === kept) {
        this.#kept = undefined;
        this.#needed = true;
        this.#problem = `The sign-in to ${name} has ended. Sign in again from the Connections view.`;
        this.#options.keep(KEPT_PREFIX + name, null);
        this.#options.changed();
      }
      return false;
    } finally {
      fetch.close();
    }
  }

  #requestOptions(fetch: SafeFetch): SafeFetch['options'] & { [oauth.allowInsecureRequests]: boolean } {
    return { ...fetch.options, [oauth.allowInsecureRequests]: isLoopback(this.#settings.url) };
  }
}

function clientOf({ client: { id, method, secret } }: Kept): KnownClient {
  return { id, ...(secret !== undefined && { secret }), ...(method !== undefined && { method }) };
}
