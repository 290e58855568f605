/**
 * Signing in with a browser: at whichever provider, for whichever of our purposes. An attempt lives in the store, sealed, until
 * the provider answers, and is bound to the browser by a cookie, so that nobody can be signed in with someone else's login.
 */
import { randomBytes } from 'node:crypto';
import express, { type Request, type Response, Router } from 'express';
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import type { GatewayConfig } from '../config/load.ts';
import { hashOf, newSecret, type Sealer } from '../sealed.ts';
import { type Database, one, type Queryable } from '../store/database.ts';
import type { OidcAttempt, OidcLogin, SignedIn } from './oidc.ts';
import { sendPage } from './pages.ts';
import type { People } from './people.ts';
import { addressOf, type RateLimits } from './rateLimit.ts';
import { localPath, sourceOf } from './redirects.ts';
import type { SamlLogin } from './saml.ts';
import { useOnce } from './serviceAccounts.ts';

/** How long someone may take to sign in, in milliseconds. */
const ATTEMPT_MS = 10 * 60_000;
const MAX_BODY_BYTES = 262_144;
/** The client of logins that were made for a terminal by its code. */
export const DEVICE_CLIENT = 'device';
/** Where a person says that a client may have the login that they have just made for it. */
const CONFIRM_PATH = '/login-confirm';

/** Our own OAuth clients. */
const ClientPurpose = z.object({ kind: z.literal('client'), client: z.string(), redirectUri: z.string(), state: z.string(), challenge: z.string() });
/** What a login is for. */
const Purpose = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('browser'), path: z.string() }),
  ClientPurpose,
  /** `code`: what the terminal shows; absent where a gateway of before began it. */
  z.object({ kind: z.literal('device'), device: z.string(), code: z.string().optional() }),
  /** A fresh login for one approval, by one person. */
  z.object({ kind: z.literal('fresh'), approval: z.string(), person: z.string() }),
]);
export type Purpose = z.infer<typeof Purpose>;

const Attempt = z.object({
  purpose: Purpose,
  fresh: z.boolean(),
  startedAt: z.number(),
  oidc: z.custom<OidcAttempt>((value) => typeof value === 'object' && value !== null).optional(),
});
type Attempt = z.infer<typeof Attempt>;

const Finished = z.object({ attempt: Attempt, signedIn: z.custom<SignedIn>((value) => typeof value === 'object' && value !== null) });

export type Provider = OidcLogin | SamlLogin;

export interface BrowserLoginParts {
  readonly config: GatewayConfig;
  readonly db: Database;
  readonly sealer: Sealer;
  readonly people: People;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly limits: RateLimits;
  readonly log: Log;
  /** Writes down a fresh login for an approval. */
  readonly fresh: (tx: Queryable, approval: string, person: string, authTime: number) => Promise<void>;
  /** Someone has signed in, or has not: for the audit. */
  readonly noted: (tx: Queryable, event: 'signed-in' | 'fresh-login', person: { issuer: string; subject: string }, provider: string) => Promise<void>;
}

export class BrowserLogin {
  readonly #parts: BrowserLoginParts;
  readonly #secure: boolean;

  constructor(parts: BrowserLoginParts) {
    this.#parts = parts;
    this.#secure = parts.config.publicUrl.startsWith('https:');
  }

  /** `__Host-`: set by this host alone, over TLS alone, for every path. */
  get cookieName(): string {
    return this.#secure ? '__Host-countersign' : 'countersign';
  }

  get #attemptCookie(): string {
    return this.#secure ? '__Host-countersign-attempt' : 'countersign-attempt';
  }

  routes(): Router {
    const router = Router();
    router.get(
      '/login',
      page(async (request, response) => this.#choose(request, response, { kind: 'browser', path: localPath(request.query.return) })),
    );
    router.post(
      CONFIRM_PATH,
      express.urlencoded({ limit: MAX_BODY_BYTES, extended: false, parameterLimit: 5 }),
      page((request, response) => this.#confirm(request, response)),
    );
    router.get(
      '/login/:provider',
      page(async (request, response) =>
        this.#begin(response, this.#provider(request.params.provider), { kind: 'browser', path: localPath(request.query.return) }, false, addressOf(request)),
      ),
    );
    router.get(
      '/login/:provider/callback',
      page((request, response) => this.#callback(request, response)),
    );
    router.get(
      '/login/:provider/continue',
      page((request, response) => this.#continue(request, response)),
    );
    router.get(
      '/login/:provider/finish',
      page((request, response) => this.#samlFinish(request, response)),
    );
    router.get(
      '/login/:provider/metadata',
      page((request, response) => {
        const provider = this.#provider(request.params.provider);
        if (provider.kind !== 'saml') throw new Problem('not-found', 'This provider has no such description.');
        response.type('application/samlmetadata+xml').send(provider.metadata());
        return Promise.resolve();
      }),
    );
    router.post(
      '/login/:provider/acs',
      express.urlencoded({ limit: MAX_BODY_BYTES, extended: false, parameterLimit: 5 }),
      page((request, response) => this.#acs(request, response)),
    );
    return router;
  }

  /** Shows the providers, or goes to the only one. */
  async #choose(request: Request, response: Response, purpose: Purpose, fresh = false): Promise<void> {
    const providers = [...this.#parts.providers.values()];
    const [only] = providers;
    if (!only)
      return sendPage(response, 503, { title: 'Nobody can sign in yet', text: ['No identity provider is configured. Ask whoever runs this gateway.'] });
    if (providers.length === 1) return await this.#begin(response, only, purpose, fresh, addressOf(request));
    // Each choice that is offered is kept in the store for a while, and nobody has shown anything yet.
    await this.#parts.limits.count('login', addressOf(request));
    const ticket = await this.#keep('choice', { purpose, fresh, startedAt: Date.now() });
    sendPage(response, 200, {
      title: 'Sign in',
      text: ['Choose where you have your account.'],
      links: providers.map(({ id, title }) => ({ href: `/login/${id}/continue?ticket=${ticket}`, label: title })),
    });
  }

  /** Begins a login for one of our other purposes. */
  async start(
    request: Request,
    response: Response,
    purpose: Purpose,
    options: { readonly fresh?: boolean; readonly provider?: string | undefined } = {},
  ): Promise<void> {
    const chosen = options.provider === undefined ? undefined : this.#parts.providers.get(options.provider);
    if (chosen) await this.#begin(response, chosen, purpose, options.fresh ?? false, addressOf(request));
    else await this.#choose(request, response, purpose, options.fresh ?? false);
  }

  async #continue(request: Request, response: Response): Promise<void> {
    const provider = this.#provider(request.params.provider);
    const kept = await this.#take('choice', request.query.ticket);
    const { purpose, fresh } = Attempt.parse(kept);
    await this.#begin(response, provider, purpose, fresh, addressOf(request));
  }

  async #begin(response: Response, provider: Provider, purpose: Purpose, fresh: boolean, address: string): Promise<void> {
    await this.#parts.limits.count('login', address);
    const attempt: Attempt = { purpose, fresh, startedAt: Date.now() };
    let url: string;
    if (provider.kind === 'oidc') {
      const begun = await provider.begin(fresh);
      await this.#keep(provider.id, { ...attempt, oidc: begun.attempt }, begun.attempt.state);
      this.#bind(response, begun.attempt.state);
      ({ url } = begun);
    } else {
      const state = randomBytes(24).toString('base64url');
      await this.#keep(provider.id, attempt, state);
      this.#bind(response, state);
      url = await provider.begin(fresh, state);
    }
    response.redirect(303, url);
  }

  async #callback(request: Request, response: Response): Promise<void> {
    const provider = this.#provider(request.params.provider);
    if (provider.kind !== 'oidc') throw new Problem('not-found', 'This provider answers elsewhere.');
    const { state } = request.query;
    this.#bound(request, state);
    const attempt = Attempt.parse(await this.#take(provider.id, state));
    if (!attempt.oidc) throw badAttempt();
    const callback = new URL(request.originalUrl, this.#parts.config.publicUrl);
    const signedIn = await provider.finish(callback, attempt.oidc);
    await this.#finish(response, provider, attempt, signedIn);
  }

  /**
   * A provider's page posts here from another site, so that the browser leaves our cookie out: what was proved is kept for a
   * moment, and used by the browser that began, when it comes back with its cookie.
   */
  async #acs(request: Request, response: Response): Promise<void> {
    const provider = this.#provider(request.params.provider);
    if (provider.kind !== 'saml') throw new Problem('not-found', 'This provider answers elsewhere.');
    const body = z.object({ SAMLResponse: z.string().max(MAX_BODY_BYTES), RelayState: z.string().max(200) }).parse(request.body);
    await this.#parts.limits.look('badProof', addressOf(request));
    const attempt = Attempt.parse(await this.#take(provider.id, body.RelayState));
    try {
      const signedIn = await provider.finish(body.SAMLResponse, attempt.fresh, attempt.startedAt);
      await useOnce(this.#parts.db, signedIn.proof.id, signedIn.proof.expiresAt);
      await this.#keep(`${provider.id} finished`, { attempt, signedIn }, body.RelayState);
    } catch (cause) {
      await this.#parts.limits.failed('badProof', addressOf(request));
      throw cause;
    }
    response.redirect(303, `/login/${provider.id}/finish?state=${encodeURIComponent(body.RelayState)}`);
  }

  async #samlFinish(request: Request, response: Response): Promise<void> {
    const provider = this.#provider(request.params.provider);
    this.#bound(request, request.query.state);
    const { attempt, signedIn } = Finished.parse(await this.#take(`${provider.id} finished`, request.query.state));
    await this.#finish(response, provider, attempt, signedIn);
  }

  async #finish(response: Response, provider: Provider, { purpose, startedAt, fresh }: Attempt, signedIn: SignedIn): Promise<void> {
    const { db, people, config } = this.#parts;
    const { claimed, authTime, acr, providerSession, proof } = signedIn;
    this.#unbind(response);
    const facts = (client: string): Parameters<People['begin']>[2] => ({
      client,
      provider: provider.id,
      authTime,
      ...(acr !== undefined && { acr }),
      ...(providerSession !== undefined && { providerSession }),
    });
    switch (purpose.kind) {
      case 'browser': {
        const cookie = await db.transaction(async (tx) => {
          if (provider.kind === 'oidc') await useOnce(tx, proof.id, proof.expiresAt);
          const { id, person } = await people.signedIn(tx, claimed);
          const login = await people.begin(tx, id, facts('browser'));
          await this.#parts.noted(tx, 'signed-in', person, provider.id);
          return await people.cookie(tx, login);
        });
        response.cookie(this.cookieName, cookie, {
          httpOnly: true,
          secure: this.#secure,
          sameSite: 'lax',
          path: '/',
          maxAge: config.identity.sessionLifetime * 1000,
        });
        return response.redirect(303, purpose.path);
      }
      case 'client': {
        const ticket = await db.transaction(async (tx) => {
          if (provider.kind === 'oidc') await useOnce(tx, proof.id, proof.expiresAt);
          const { id, person } = await people.signedIn(tx, claimed);
          const login = await people.begin(tx, id, facts(purpose.client));
          await this.#parts.noted(tx, 'signed-in', person, provider.id);
          return await this.#keep('client confirmation', { purpose, fresh, startedAt, login }, undefined, tx);
        });
        // Whatever runs on a person's machine can open this page in their browser, where they are signed in already, and listen
        // for what comes back: nothing does without their click (RFC 8252 8.6).
        return sendPage(response, 200, {
          title: 'Sign the editor in?',
          text: [
            `You are ${claimed.name ?? claimed.subject}. ${whoAsks(purpose.redirectUri)} asks to act as you, which includes answering requests for approval.`,
            'Allow it only if you have just begun to sign in there yourself.',
          ],
          form: {
            action: CONFIRM_PATH,
            leadsTo: sourceOf(purpose.redirectUri),
            fields: { ticket },
            buttons: [
              { name: 'answer', value: 'allow', label: 'Allow', main: true },
              { name: 'answer', value: 'deny', label: 'Deny' },
            ],
          },
        });
      }
      case 'device': {
        const ticket = await db.transaction(async (tx) => {
          if (provider.kind === 'oidc') await useOnce(tx, proof.id, proof.expiresAt);
          const { id, person } = await people.signedIn(tx, claimed);
          const login = await people.begin(tx, id, facts(DEVICE_CLIENT));
          await this.#parts.noted(tx, 'signed-in', person, provider.id);
          return await this.#keep('device confirmation', { purpose, fresh, startedAt, login }, undefined, tx);
        });
        return sendPage(response, 200, {
          title: 'Sign the terminal in?',
          text: [
            `You are ${claimed.name ?? claimed.subject}. A terminal asks to act as you.`,
            `Allow it only if you have just started it yourself and it shows the code ${purpose.code ?? 'that you typed'}.`,
          ],
          form: {
            action: '/device/confirm',
            fields: { ticket },
            buttons: [
              { name: 'answer', value: 'allow', label: 'Allow', main: true },
              { name: 'answer', value: 'deny', label: 'Deny' },
            ],
          },
        });
      }
      case 'fresh': {
        await db.transaction(async (tx) => {
          if (provider.kind === 'oidc') await useOnce(tx, proof.id, proof.expiresAt);
          const { id, person } = await people.signedIn(tx, claimed);
          if (id !== purpose.person) throw new Problem('forbidden', 'You signed in as someone else than the person who answers. Sign in as the same person.');
          await this.#parts.fresh(tx, purpose.approval, id, authTime);
          await this.#parts.noted(tx, 'fresh-login', person, provider.id);
        });
        return sendPage(response, 200, {
          title: 'You have signed in again',
          text: ['Go back to the request and answer it now. This login counts for that request alone, and for a short time.'],
        });
      }
    }
  }

  /** Lets the client that asked have its code, or tells it no. */
  async #confirm(request: Request, response: Response): Promise<void> {
    const { ticket, answer } = z.object({ ticket: z.string().max(200), answer: z.enum(['allow', 'deny']) }).parse(request.body);
    const { purpose, login } = z.object({ purpose: ClientPurpose, login: z.string() }).parse(await this.#take('client confirmation', ticket));
    const { config, db, people } = this.#parts;
    const back = new URL(purpose.redirectUri);
    back.searchParams.set('state', purpose.state);
    back.searchParams.set('iss', config.publicUrl);
    if (answer === 'deny') {
      await db.transaction(async (tx) => await people.end(tx, login, 'denied'));
      back.searchParams.set('error', 'access_denied');
      return response.redirect(303, back.href);
    }
    const code = newSecret();
    await db.query('INSERT INTO codes (code_hash, login, client, redirect_uri, challenge, expires_at) VALUES ($1, $2, $3, $4, $5, ms() + 60000)', [
      hashOf(code),
      login,
      purpose.client,
      purpose.redirectUri,
      purpose.challenge,
    ]);
    back.searchParams.set('code', code);
    return response.redirect(303, back.href);
  }

  /** Takes what a device confirmation was kept for. */
  async takeDevice(ticket: unknown): Promise<{ readonly device: string; readonly login: string }> {
    const kept = z
      .object({ purpose: z.object({ kind: z.literal('device'), device: z.string() }), login: z.string() })
      .parse(await this.#take('device confirmation', ticket));
    return { device: kept.purpose.device, login: kept.login };
  }

  #provider(id: unknown): Provider {
    const provider = typeof id === 'string' ? this.#parts.providers.get(id) : undefined;
    if (!provider) throw new Problem('not-found', 'There is no such identity provider here.');
    return provider;
  }

  async #keep(what: string, value: unknown, state = newSecret(), on: Queryable = this.#parts.db): Promise<string> {
    const sealed = this.#parts.sealer.seal(`login ${what}`, JSON.stringify(value));
    await on.query('INSERT INTO login_attempts (state_hash, provider, sealed, expires_at) VALUES ($1, $2, $3, ms() + $4::bigint)', [
      hashOf(state),
      what,
      sealed,
      ATTEMPT_MS,
    ]);
    return state;
  }

  /** What was kept, once. */
  async #take(what: string, state: unknown): Promise<unknown> {
    if (typeof state !== 'string' || state.length > 200) throw badAttempt();
    const row = await one<{ sealed: string }>(
      this.#parts.db,
      'DELETE FROM login_attempts WHERE state_hash = $1 AND provider = $2 AND expires_at > ms() RETURNING sealed',
      [hashOf(state), what],
    );
    if (!row) throw badAttempt();
    return JSON.parse(this.#parts.sealer.open(`login ${what}`, row.sealed).reveal());
  }

  #bind(response: Response, state: string): void {
    response.cookie(this.#attemptCookie, hashOf(`attempt ${state}`), { httpOnly: true, secure: this.#secure, sameSite: 'lax', path: '/', maxAge: ATTEMPT_MS });
  }

  #unbind(response: Response): void {
    response.clearCookie(this.#attemptCookie, { httpOnly: true, secure: this.#secure, sameSite: 'lax', path: '/' });
  }

  #bound(request: Request, state: unknown): void {
    if (typeof state !== 'string' || cookieOf(request, this.#attemptCookie) !== hashOf(`attempt ${state}`)) throw badAttempt();
  }
}

function whoAsks(redirectUri: string): string {
  const { host, protocol } = new URL(redirectUri);
  if (protocol === 'http:') return `A program on this computer (at ${host})`;
  return protocol === 'https:' ? `The editor at ${host}` : `The editor that opens ${protocol.slice(0, -1)} addresses`;
}

function badAttempt(): Problem {
  return new Problem('bad-request', 'This sign-in was not begun in this browser, was used already, or took too long. Begin again.');
}

/** Pages are for people: what goes wrong is a page with a sentence, not JSON. */
export function page(run: (request: Request, response: Response) => Promise<void> | void): express.RequestHandler {
  return async (request, response, next) => {
    try {
      await run(request, response);
    } catch (cause) {
      if (!(cause instanceof Problem) && !(cause instanceof z.ZodError)) return next(cause);
      const status = cause instanceof Problem ? ({ forbidden: 403, 'too-many': 429, 'provider-down': 502, 'not-found': 404 }[cause.code] ?? 400) : 400;
      sendPage(response, status, {
        title: 'That did not work',
        text: [cause instanceof Problem ? cause.message : 'The request is not what this page takes. Begin again.'],
      });
    }
  };
}

export function cookieOf(request: Request, name: string): string | undefined {
  const found = (request.headers.cookie ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${name}=`));
  // Two of one name would leave it to chance which counts.
  if (found.length !== 1) return undefined;
  try {
    return decodeURIComponent(found[0]?.slice(name.length + 1) ?? '');
  } catch {
    return undefined;
  }
}
