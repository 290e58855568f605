/** Signing in at an OpenID Connect provider: authorization code with PKCE and a nonce, every claim checked, keys renewed by themselves. */
import { decodeProtectedHeader } from 'jose';
import * as oidc from 'openid-client';
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { type Env, readSecret } from '../config/load.ts';
import type { OidcProvider as Settings } from '../config/schema.ts';
import type { Claimed } from './people.ts';

/** How long a provider may take to answer, in seconds. */
const TIMEOUT_S = 10;
/** A provider's own description is read again after this, in milliseconds. */
const DISCOVERY_MS = 60 * 60_000;
const MAX_GROUPS = 200;

/** What must be remembered until the provider sends the person back. */
export interface OidcAttempt {
  readonly state: string;
  readonly nonce: string;
  readonly verifier: string;
  /** Epoch milliseconds. */
  readonly startedAt: number;
  readonly fresh: boolean;
}

export interface SignedIn {
  readonly claimed: Claimed;
  /** Epoch milliseconds. */
  readonly authTime: number;
  readonly acr?: string;
  /** The provider's session, for logging out from there. */
  readonly providerSession?: string;
  /** A proof that counts once, and until when (epoch milliseconds). */
  readonly proof: { readonly id: string; readonly expiresAt: number };
}

export interface OidcOptions {
  readonly settings: Settings;
  readonly redirectUri: string;
  readonly clockSkew: number;
  readonly env: Env;
  readonly log: Log;
}

export class OidcLogin {
  readonly id: string;
  readonly title: string;
  readonly kind = 'oidc';
  readonly settings: Settings;
  readonly #options: OidcOptions;
  #configuration: { readonly at: number; readonly value: Promise<oidc.Configuration> } | undefined;

  constructor(options: OidcOptions) {
    this.#options = options;
    this.settings = options.settings;
    this.id = options.settings.id;
    this.title = options.settings.title ?? options.settings.id;
  }

  /** @returns where to send the browser, and what to remember */
  async begin(fresh: boolean): Promise<{ readonly url: string; readonly attempt: OidcAttempt }> {
    const { settings, redirectUri } = this.#options;
    const config = await this.#ready();
    const attempt = { state: oidc.randomState(), nonce: oidc.randomNonce(), verifier: oidc.randomPKCECodeVerifier(), startedAt: Date.now(), fresh };
    const url = oidc.buildAuthorizationUrl(config, {
      redirect_uri: redirectUri,
      scope: settings.scopes.join(' '),
      response_type: 'code',
      state: attempt.state,
      nonce: attempt.nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(attempt.verifier),
      code_challenge_method: 'S256',
      ...(fresh && { max_age: '0', prompt: 'login', ...(settings.freshAcr !== undefined && { acr_values: settings.freshAcr }) }),
    });
    return { url: url.href, attempt };
  }

  /** @param callback the whole address that the provider sent the person to. @throws `Problem` `bad-token` or `provider-down` */
  async finish(callback: URL, attempt: OidcAttempt): Promise<SignedIn> {
    const { settings, clockSkew, log } = this.#options;
    const config = await this.#ready();
    let tokens: Awaited<ReturnType<typeof oidc.authorizationCodeGrant>>;
    try {
      tokens = await oidc.authorizationCodeGrant(config, callback, {
        pkceCodeVerifier: attempt.verifier,
        expectedState: attempt.state,
        expectedNonce: attempt.nonce,
        idTokenExpected: true,
        ...(attempt.fresh && { maxAge: 0 }),
      });
    } catch (cause) {
      // The provider may have other keys than a moment ago: whoever tries again gets them.
      this.#configuration = undefined;
      throw this.#problem(cause);
    }
    const claims = tokens.claims();
    const token = tokens.id_token;
    if (!claims || token === undefined) throw refused('no ID token');
    const { alg } = decodeProtectedHeader(token);
    if (!(settings.algorithms as readonly string[]).includes(alg ?? '')) throw refused(`algorithm ${alg}`);
    const authTime = (claims.auth_time ?? (attempt.fresh ? 0 : claims.iat)) * 1000;
    if (attempt.fresh && authTime < attempt.startedAt - clockSkew * 1000) throw refused('the login is older than it must be');
    const acr = typeof claims.acr === 'string' ? claims.acr : undefined;
    if (attempt.fresh && settings.freshAcr !== undefined && acr !== settings.freshAcr) throw refused(`acr ${acr}`);
    const all = { ...(await this.#userInfo(config, tokens, claims, log)), ...claims } as Record<string, unknown>;
    const name = textOf(all[settings.claims.name]);
    const email = textOf(all[settings.claims.email]);
    return {
      claimed: {
        issuer: settings.issuer,
        subject: claims.sub,
        ...(name !== undefined && { name }),
        ...(email !== undefined && { email }),
        groups: groupsOf(all[settings.claims.groups]),
      },
      authTime,
      ...(acr !== undefined && { acr }),
      ...(typeof claims.sid === 'string' && { providerSession: claims.sid }),
      proof: { id: `${settings.id} ${attempt.nonce}`, expiresAt: (claims.exp + clockSkew) * 1000 },
    };
  }

  /** The keys that this provider signs with, for its log-out messages. */
  async metadata(): Promise<oidc.ServerMetadata> {
    return (await this.#ready()).serverMetadata();
  }

  /** Groups often stand at the userinfo endpoint only. */
  async #userInfo(config: oidc.Configuration, tokens: { access_token?: string }, claims: { sub: string } & Record<string, unknown>, log: Log): Promise<object> {
    const { claims: names } = this.#options.settings;
    const whole = [names.name, names.email, names.groups].every((name) => claims[name] !== undefined);
    if (whole || tokens.access_token === undefined || config.serverMetadata().userinfo_endpoint === undefined) return {};
    try {
      return await oidc.fetchUserInfo(config, tokens.access_token, claims.sub);
    } catch (cause) {
      log.warn('identity.no-userinfo', { provider: this.id, cause });
      throw this.#problem(cause);
    }
  }

  /** Reads the provider's description when it is needed, so that a provider which is down keeps nothing else from starting. */
  async #ready(): Promise<oidc.Configuration> {
    const now = Date.now();
    if (this.#configuration && now - this.#configuration.at < DISCOVERY_MS) return await this.#configuration.value;
    const { settings, clockSkew, env } = this.#options;
    const insecure = settings.issuer.startsWith('http:');
    const secret = settings.clientSecret === undefined ? undefined : readSecret(settings.clientSecret, env).reveal();
    const value = oidc.discovery(
      new URL(settings.issuer),
      settings.clientId,
      { [oidc.clockTolerance]: clockSkew, ...(secret !== undefined && { client_secret: secret }) },
      secret === undefined ? oidc.None() : oidc.ClientSecretBasic(secret),
      { timeout: TIMEOUT_S, execute: [oidc.enableNonRepudiationChecks, ...(insecure ? [oidc.allowInsecureRequests] : [])] },
    );
    const entry = { at: now, value };
    this.#configuration = entry;
    try {
      return await value;
    } catch (cause) {
      if (this.#configuration === entry) this.#configuration = undefined;
      throw this.#problem(cause);
    }
  }

  #problem(cause: unknown): Problem {
    this.#options.log.warn('identity.refused', { provider: this.id, cause, why: (cause as { code?: unknown }).code });
    if (cause instanceof oidc.AuthorizationResponseError) {
      return new Problem('bad-token', `${this.title} did not sign you in (${cause.error.slice(0, 60)}). Try again.`, { cause });
    }
    if (isUnreachable(cause))
      return new Problem('provider-down', `${this.title} cannot be reached right now, so nobody can sign in with it. Try again in a while.`, { cause });
    return refused('its answer does not hold', cause);
  }
}

function refused(_why: string, cause?: unknown): Problem {
  return new Problem(
    'bad-token',
    'What the identity provider answered could not be accepted. Sign in again; if it happens again, ask whoever runs this gateway.',
    { cause },
  );
}

function isUnreachable(cause: unknown): boolean {
  for (let error = cause; error instanceof Error; error = error.cause) {
    const { code, name } = error as { code?: unknown; name: string };
    if (name === 'TimeoutError' || (error instanceof TypeError && /fetch failed/.test(error.message)) || code === 'OAUTH_TIMEOUT') return true;
    if (typeof code === 'string' && /^(ECONN|ENOTFOUND|EAI_|UND_ERR)/.test(code)) return true;
    if (code === 'OAUTH_RESPONSE_IS_NOT_CONFORM' && ((error as { cause?: { status?: number } }).cause?.status ?? 0) >= 500) return true;
  }
  return false;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, 256) : undefined;
}

/** A list, or one word; anything else is no group. */
function groupsOf(value: unknown): string[] {
  const list = Array.isArray(value) ? value : [value];
  return list.filter((group): group is string => typeof group === 'string' && group !== '' && group.length <= 256).slice(0, MAX_GROUPS);
}
