/** Everything about who people are, put together. */
import { type Request, type Response, Router } from 'express';
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { Env, GatewayConfig } from '../config/load.ts';
import type { Acts } from '../recording/chains.ts';
import { hashOf, type Sealer } from '../sealed.ts';
import type { Bus } from '../store/bus.ts';
import { type Database, one, type Queryable } from '../store/database.ts';
import { type AuthenticateParts, byToken } from './authenticate.ts';
import { BrowserLogin, type Provider, page } from './browserLogin.ts';
import { KeyRing } from './keys.ts';
import { OAuth } from './oauth.ts';
import { OidcLogin } from './oidc.ts';
import { People } from './people.ts';
import type { Principal } from './principal.ts';
import { RateLimits } from './rateLimit.ts';
import { SamlLogin } from './saml.ts';
import { ServiceAccounts } from './serviceAccounts.ts';
import { Tokens } from './tokens.ts';

/** How often what has run out is cleared away, in milliseconds. */
const CLEAN_MS = 60_000;
const FreshLink = z.object({ approval: z.string(), person: z.string() });

export interface IdentityOptions {
  readonly config: GatewayConfig;
  readonly env: Env;
  readonly db: Database;
  readonly acts: Acts;
  readonly bus: Bus;
  readonly sealer: Sealer;
  readonly log: Log;
  readonly fresh: (tx: Queryable, approval: string, person: string, authTime: number) => Promise<void>;
}

export class Identity implements AuthenticateParts {
  readonly publicUrl: string;
  readonly keys: KeyRing;
  readonly people: People;
  readonly accounts: ServiceAccounts;
  readonly tokens: Tokens;
  readonly limits: RateLimits;
  readonly login: BrowserLogin;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly #options: IdentityOptions;
  readonly #oauth: OAuth;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: IdentityOptions) {
    const { config, env, db, bus, sealer, log } = options;
    this.#options = options;
    this.publicUrl = config.publicUrl;
    this.keys = new KeyRing(db, sealer, bus, log);
    this.people = new People(db, config, bus);
    this.accounts = new ServiceAccounts(db, config, bus, log);
    this.tokens = new Tokens(config, this.keys);
    this.limits = new RateLimits(db);
    this.providers = new Map(
      config.identity.providers.map((settings): [string, Provider] => {
        const base = `${config.publicUrl}/login/${settings.id}`;
        const { clockSkew } = config.identity;
        return [
          settings.id,
          settings.kind === 'oidc'
            ? new OidcLogin({ settings, redirectUri: `${base}/callback`, clockSkew, env, log })
            : new SamlLogin({ settings, base, entityId: `${base}/metadata`, clockSkew, db, log }),
        ];
      }),
    );
    this.login = new BrowserLogin({
      config,
      db,
      sealer,
      people: this.people,
      providers: this.providers,
      limits: this.limits,
      log,
      fresh: options.fresh,
      noted: async (tx, event, person, provider) => {
        const row = await one<{ id: string }>(tx, 'SELECT id FROM people WHERE issuer = $1 AND subject = $2', [person.issuer, person.subject]);
        if (row) await options.acts.append(tx, row.id, { type: event, provider });
      },
    });
    this.#oauth = new OAuth({ ...this.#parts, config, db, login: this.login, limits: this.limits, providers: this.providers });
  }

  get #parts(): AuthenticateParts {
    const { people, accounts, tokens, publicUrl } = this;
    return { people, accounts, tokens, publicUrl };
  }

  async start(): Promise<void> {
    await this.keys.start();
    this.#timer = setInterval(() => void this.#clean().catch((cause: unknown) => this.#options.log.warn('identity.not-cleaned', { cause })), CLEAN_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  routes(): Router {
    const router = Router();
    router.use(this.login.routes());
    router.use(this.#oauth.routes());
    router.get(
      '/fresh-login',
      page(async (request, response) => this.#freshLogin(request, response)),
    );
    return router;
  }

  /** Who a bearer token is of. @throws `Problem` `bad-token` */
  async authenticate(token: string): Promise<Principal> {
    return await byToken(this.#parts, token);
  }

  /** Whether a login or a service account stands. */
  async stands(basis: string): Promise<boolean> {
    return (basis.startsWith('svc_') ? await this.accounts.live(basis) : await this.people.live(basis)) !== undefined;
  }

  async #freshLogin(request: Request, response: Response): Promise<void> {
    const { db, sealer } = this.#options;
    const { ticket } = request.query;
    if (typeof ticket !== 'string') throw new Problem('bad-request', 'This link is not whole. Begin again from the request.');
    const row = await one<{ sealed: string }>(
      db,
      "DELETE FROM login_attempts WHERE state_hash = $1 AND provider = 'fresh link' AND expires_at > ms() RETURNING sealed",
      [hashOf(ticket)],
    );
    if (!row) throw new Problem('bad-request', 'This link was used already, or took too long. Begin again from the request.');
    const { approval, person } = FreshLink.parse(JSON.parse(sealer.open('fresh link', row.sealed).reveal()));
    // At the provider that they are known by: another one would make somebody else of them.
    const known = await one<{ issuer: string }>(db, 'SELECT issuer FROM people WHERE id = $1', [person]);
    const provider = [...this.providers.values()].find(({ settings }) => settings.issuer === known?.issuer);
    await this.login.start(request, response, { kind: 'fresh', approval, person }, { fresh: true, provider: provider?.id });
  }

  async #clean(): Promise<void> {
    const { db } = this.#options;
    for (const table of ['login_attempts', 'codes', 'device_codes', 'used_proofs']) await db.query(`DELETE FROM ${table} WHERE expires_at < ms() - 3600000`);
    await db.query('DELETE FROM rate_limits WHERE at < ms() - 3600000');
  }
}
