/**
 * The gateway as the authorization server of its own clients (editor, terminal, agents' runs, service accounts). People are
 * signed in by their provider (browserLogin.ts); what clients get are this gateway's own short-lived tokens.
 */
import { createHash, randomInt } from 'node:crypto';
import { type Request, type Response, Router } from 'express';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { z } from 'zod';
import { Agent } from '../../contract/actor.ts';
import { CLI_CLIENT, EDITOR_CLIENT } from '../../contract/gateway/api.ts';
import { Problem } from '../../contract/problem.ts';
import { HttpServer } from '../api/httpServer.ts';
import type { GatewayConfig } from '../config/load.ts';
import { hashOf, newSecret } from '../sealed.ts';
import { type Database, one } from '../store/database.ts';
import { type AuthenticateParts, byToken } from './authenticate.ts';
import { type BrowserLogin, type Provider, page } from './browserLogin.ts';
import { discover } from './discover.ts';
import { sendPage } from './pages.ts';
import { addressOf, type RateLimits } from './rateLimit.ts';
import { allowedRedirect } from './redirects.ts';
import { type Account, useOnce } from './serviceAccounts.ts';

const DEVICE_MS = 10 * 60_000;
/** How often a terminal may ask whether it has been let in, in seconds. */
const DEVICE_INTERVAL_S = 3;
/** No vowels and nothing that reads like something else: what a person types in spells no word. */
const USER_CODE_LETTERS = 'BCDFGHJKLMNPQRSTVWXZ';
const LOGOUT_EVENT = 'http://schemas.openid.net/event/backchannel-logout';
const GRANTS = {
  code: 'authorization_code',
  refresh: 'refresh_token',
  device: 'urn:ietf:params:oauth:grant-type:device_code',
  client: 'client_credentials',
  exchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
} as const;
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';

export interface OAuthParts extends AuthenticateParts {
  readonly config: GatewayConfig;
  readonly db: Database;
  readonly login: BrowserLogin;
  readonly limits: RateLimits;
  readonly providers: ReadonlyMap<string, Provider>;
}

/** Errors as RFC 6749 words them; the description is ours, for a person. */
class OAuthError extends Error {
  readonly code: string;
  readonly status: number;

  constructor(code: string, sentence: string, status = 400) {
    super(sentence);
    this.code = code;
    this.status = status;
  }
}

const word = z.string().min(1).max(2000);
const TokenRequest = z.discriminatedUnion('grant_type', [
  z.object({ grant_type: z.literal(GRANTS.code), client_id: word, code: word, redirect_uri: word, code_verifier: z.string().min(43).max(128) }),
  z.object({ grant_type: z.literal(GRANTS.refresh), client_id: word, refresh_token: word }),
  z.object({ grant_type: z.literal(GRANTS.device), client_id: word, device_code: word }),
  z.object({ grant_type: z.literal(GRANTS.client), client_id: word.optional(), client_secret: word.optional() }),
  z.object({
    grant_type: z.literal(GRANTS.exchange),
    subject_token: z.string().min(1).max(8_192),
    subject_token_type: z.enum([ACCESS_TOKEN, JWT]),
    /** JSON: the agent that acts, and the run's name. Asked for: a run's token. */
    actor: z.string().max(2_000).optional(),
    /** Space-separated connections; left out: all that the subject may use. */
    scope: z.string().max(4_000).optional(),
    requested_seconds: z.coerce.number().int().min(30).max(3_600).optional(),
  }),
]);
const RunActor = z.object({ agent: Agent, run: z.string().regex(/^[A-Za-z0-9_-]{1,100}$/) });

interface TokenAnswer {
  readonly access_token: string;
  readonly token_type: 'Bearer';
  readonly expires_in: number;
  readonly refresh_token?: string;
  readonly issued_token_type?: string;
}

export class OAuth {
  readonly #parts: OAuthParts;

  constructor(parts: OAuthParts) {
    this.#parts = parts;
  }

  routes(): Router {
    const router = Router();
    const metadata = this.#metadata();
    router.get(['/.well-known/oauth-authorization-server', '/.well-known/openid-configuration'], (_request, response) => void response.json(metadata));
    router.get('/oauth/jwks', (_request, response) => void response.json(this.#parts.tokens.jwks));
    router.get(
      '/oauth/authorize',
      page((request, response) => this.#authorize(request, response)),
    );
    router.post('/oauth/token', HttpServer.form(), async (request, response) => {
      await this.#answer(request, response, async () => await this.#token(request));
    });
    router.post('/oauth/revoke', HttpServer.form(), async (request, response) => {
      await this.#answer(request, response, async () => await this.#revoke(request));
    });
    router.post('/oauth/device_authorization', HttpServer.form(), async (request, response) => {
      await this.#answer(request, response, async () => await this.#deviceAuthorization(request));
    });
    router.get(
      '/device',
      page((request, response) => this.#devicePage(request, response)),
    );
    router.post(
      '/device',
      HttpServer.form(),
      page((request, response) => this.#deviceCode(request, response)),
    );
    router.post(
      '/device/confirm',
      HttpServer.form(),
      page((request, response) => this.#deviceConfirm(request, response)),
    );
    router.post('/login/:provider/backchannel-logout', HttpServer.form(), async (request, response) => {
      await this.#answer(request, response, async () => await this.#backchannelLogout(request));
    });
    return router;
  }

  #metadata(): object {
    const { publicUrl } = this.#parts.config;
    return {
      issuer: publicUrl,
      authorization_endpoint: `${publicUrl}/oauth/authorize`,
      token_endpoint: `${publicUrl}/oauth/token`,
      revocation_endpoint: `${publicUrl}/oauth/revoke`,
      device_authorization_endpoint: `${publicUrl}/oauth/device_authorization`,
      jwks_uri: `${publicUrl}/oauth/jwks`,
      response_types_supported: ['code'],
      grant_types_supported: Object.values(GRANTS),
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: ['none', 'client_secret_basic', 'client_secret_post'],
      revocation_endpoint_auth_methods_supported: ['none'],
      authorization_response_iss_parameter_supported: true,
    };
  }

  async #authorize(request: Request, response: Response): Promise<void> {
    const { identity } = this.#parts.config;
    const asked = z
      .object({
        client_id: z.enum([EDITOR_CLIENT, CLI_CLIENT]),
        redirect_uri: z.string().max(2000),
        response_type: z.literal('code'),
        state: z.string().min(8).max(500),
        code_challenge: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
        code_challenge_method: z.literal('S256'),
        provider: z.string().max(40).optional(),
      })
      .parse(request.query);
    const redirectUri = allowedRedirect(asked.client_id, asked.redirect_uri, { schemes: identity.editorSchemes, origins: identity.editorOrigins });
    // Not sent back to: whoever made this address up would get the answer.
    if (redirectUri === undefined) throw new Problem('bad-request', 'This sign-in would send you to a place that this gateway does not know. It was stopped.');
    await this.#parts.login.start(
      request,
      response,
      { kind: 'client', client: asked.client_id, redirectUri, state: asked.state, challenge: asked.code_challenge },
      { provider: asked.provider },
    );
  }

  async #token(request: Request): Promise<TokenAnswer> {
    const asked = TokenRequest.parse(request.body);
    switch (asked.grant_type) {
      case GRANTS.code:
        return await this.#byCode(asked);
      case GRANTS.refresh:
        return await this.#byRefresh(asked.refresh_token);
      case GRANTS.device:
        return await this.#byDevice(asked);
      case GRANTS.client:
        return await this.#byClientSecret(request, asked);
      case GRANTS.exchange:
        return await this.#exchange(asked);
    }
  }

  async #byCode({
    client_id,
    code,
    redirect_uri,
    code_verifier,
  }: {
    client_id: string;
    code: string;
    redirect_uri: string;
    code_verifier: string;
  }): Promise<TokenAnswer> {
    const { db, people } = this.#parts;
    return await db
      .transaction(async (tx) => {
        const row = await one<{
          login: string;
          client: string;
          redirect_uri: string;
          challenge: string;
          expires_at: number;
          used_at: number | null;
          now: number;
        }>(tx, 'SELECT login, client, redirect_uri, challenge, expires_at, used_at, ms() AS now FROM codes WHERE code_hash = $1 FOR UPDATE', [hashOf(code)]);
        const challenge = createHash('sha256').update(code_verifier).digest('base64url');
        if (row && row.used_at !== null) {
          // In two hands: what the first got is taken back.
          await people.end(tx, row.login, 'a code was used twice');
          return new OAuthError('invalid_grant', 'This code was used before. Sign in again.');
        }
        if (!row || row.expires_at <= row.now || row.client !== client_id || row.redirect_uri !== redirect_uri || row.challenge !== challenge) {
          return new OAuthError('invalid_grant', 'This code does not hold. Sign in again.');
        }
        await tx.query('UPDATE codes SET used_at = ms() WHERE code_hash = $1', [hashOf(code)]);
        return { login: row.login, refresh: await people.refreshToken(tx, row.login) };
      })
      .then((result) => this.#personAnswer(result));
  }

  async #byRefresh(token: string): Promise<TokenAnswer> {
    const { db, people } = this.#parts;
    const result = await db.transaction(async (tx) => {
      const found = await people.byRefreshToken(tx, token);
      if (found === undefined || found === 'reused') return new OAuthError('invalid_grant', 'Your sign-in has ended. Sign in again.');
      return { login: found.login, refresh: await people.refreshToken(tx, found.login) };
    });
    return await this.#personAnswer(result);
  }

  /** An error that was returned, not thrown, so that what its transaction wrote stays. */
  async #personAnswer(result: OAuthError | { readonly login: string; readonly refresh: string }): Promise<TokenAnswer> {
    if (result instanceof OAuthError) throw result;
    const { people, tokens, config } = this.#parts;
    const live = await people.live(result.login);
    if (!live) throw new OAuthError('invalid_grant', 'Your sign-in has ended. Sign in again.');
    const seconds = Math.min(config.identity.tokenLifetime, (live.expiresAt - Date.now()) / 1000);
    const { token, expiresIn } = await tokens.issue({ sub: live.personId, kind: 'person', basis: live.login }, seconds);
    return { access_token: token, token_type: 'Bearer', expires_in: expiresIn, refresh_token: result.refresh };
  }

  async #byDevice({ client_id, device_code }: { client_id: string; device_code: string }): Promise<TokenAnswer> {
    const { db, people } = this.#parts;
    const result = await db.transaction(async (tx) => {
      const row = await one<{
        login: string | null;
        client: string;
        denied: boolean;
        polled_at: number | null;
        expires_at: number;
        used_at: number | null;
        now: number;
      }>(tx, 'SELECT login, client, denied, polled_at, expires_at, used_at, ms() AS now FROM device_codes WHERE device_hash = $1 FOR UPDATE', [
        hashOf(device_code),
      ]);
      if (!row || row.client !== client_id || row.used_at !== null) return new OAuthError('invalid_grant', 'This code does not hold. Begin again.');
      if (row.expires_at <= row.now) return new OAuthError('expired_token', 'Nobody signed in within the time. Begin again.');
      if (row.denied) return new OAuthError('access_denied', 'The sign-in was denied in the browser.');
      if (row.login === null) {
        const soon = row.polled_at !== null && row.now - row.polled_at < (DEVICE_INTERVAL_S - 1) * 1000;
        await tx.query('UPDATE device_codes SET polled_at = ms() WHERE device_hash = $1', [hashOf(device_code)]);
        return new OAuthError(soon ? 'slow_down' : 'authorization_pending', 'Nobody has signed in yet.');
      }
      await tx.query('UPDATE device_codes SET used_at = ms() WHERE device_hash = $1', [hashOf(device_code)]);
      return { login: row.login, refresh: await people.refreshToken(tx, row.login) };
    });
    return await this.#personAnswer(result);
  }

  async #byClientSecret(request: Request, body: { client_id?: string | undefined; client_secret?: string | undefined }): Promise<TokenAnswer> {
    const basic = /^Basic ([A-Za-z0-9+/=]{4,2000})$/i.exec(request.headers.authorization ?? '')?.[1];
    const [id, secret] =
      basic === undefined ? [body.client_id, body.client_secret] : Buffer.from(basic, 'base64').toString('utf8').split(/:(.*)/s).map(formDecoded);
    const account = id === undefined || secret === undefined ? undefined : await this.#parts.accounts.bySecret(id, secret);
    if (!account) throw new OAuthError('invalid_client', 'There is no such service account, or its secret is another.', 401);
    return await this.#accountAnswer(account);
  }

  async #accountAnswer(account: Account): Promise<TokenAnswer> {
    const seconds = Math.min(account.maxSeconds, this.#parts.config.identity.tokenLifetime);
    const { token, expiresIn } = await this.#parts.tokens.issue(
      { sub: account.id, kind: 'service', basis: account.id, generation: account.generation, connections: [...account.connections] },
      seconds,
    );
    return { access_token: token, token_type: 'Bearer', expires_in: expiresIn, issued_token_type: ACCESS_TOKEN };
  }

  async #exchange(asked: Extract<z.infer<typeof TokenRequest>, { grant_type: typeof GRANTS.exchange }>): Promise<TokenAnswer> {
    if (asked.subject_token_type === JWT) {
      if (asked.actor !== undefined) throw new OAuthError('invalid_request', 'A workload first gets its account’s token, and exchanges that for a run’s.');
      return await this.#accountAnswer(await this.#parts.accounts.byWorkload(asked.subject_token));
    }
    if (asked.actor === undefined) throw new OAuthError('invalid_request', 'Say which agent acts (`actor`).');
    const subject = await byToken(this.#parts, asked.subject_token);
    // A run cannot make another: who acts for whom stays two steps long.
    if (subject.kind === 'run') throw new OAuthError('invalid_request', 'A run’s token cannot be exchanged again.');
    if (subject.kind === 'service' && subject.publisher) throw new OAuthError('invalid_request', 'This account puts policy, and no agent acts for it.');
    const actor = RunActor.parse(parseJson(asked.actor));
    const own = subject.kind === 'service' ? subject.connections : undefined;
    const wanted = asked.scope?.split(' ').filter((name) => name !== '');
    if (wanted && own && wanted.some((name) => !own.includes(name))) throw new OAuthError('invalid_scope', 'The account may not use one of these connections.');
    const connections = wanted ?? own;
    const left = (subject.expiresAt - Date.now()) / 1000;
    const seconds = Math.min(asked.requested_seconds ?? this.#parts.config.identity.tokenLifetime, this.#parts.config.identity.tokenLifetime, left);
    if (seconds <= 0) throw new OAuthError('invalid_grant', 'The token that this stands on has run out.');
    const { token, expiresIn } = await this.#parts.tokens.issue(
      {
        sub: subject.id,
        kind: 'run',
        for: subject.kind,
        basis: subject.basis,
        ...(subject.kind === 'service' && { generation: subject.generation }),
        act: { sub: actor.run, agent: actor.agent },
        ...(connections && { connections: [...connections] }),
      },
      seconds,
    );
    return { access_token: token, token_type: 'Bearer', expires_in: expiresIn, issued_token_type: ACCESS_TOKEN };
  }

  async #revoke(request: Request): Promise<object> {
    const { token } = z.object({ token: z.string().min(1).max(8_192) }).parse(request.body);
    const { db, people } = this.#parts;
    await db.transaction(async (tx) => {
      const found = await people.byRefreshToken(tx, token);
      if (found !== undefined && found !== 'reused') await people.end(tx, found.login, 'signed out');
    });
    // RFC 7009: a token that is none is no error.
    return {};
  }

  async #deviceAuthorization(request: Request): Promise<object> {
    const { client_id } = z.object({ client_id: z.literal(CLI_CLIENT) }).parse(request.body);
    await this.#parts.limits.count('login', addressOf(request));
    const device = newSecret();
    const letters = Array.from({ length: 8 }, () => USER_CODE_LETTERS[randomInt(USER_CODE_LETTERS.length)]).join('');
    const userCode = `${letters.slice(0, 4)}-${letters.slice(4)}`;
    await this.#parts.db.query('INSERT INTO device_codes (device_hash, user_code, client, expires_at) VALUES ($1, $2, $3, ms() + $4::bigint)', [
      hashOf(device),
      userCode,
      client_id,
      DEVICE_MS,
    ]);
    const uri = `${this.#parts.config.publicUrl}/device`;
    return {
      device_code: device,
      user_code: userCode,
      verification_uri: uri,
      verification_uri_complete: `${uri}?code=${userCode}`,
      expires_in: DEVICE_MS / 1000,
      interval: DEVICE_INTERVAL_S,
    };
  }

  #devicePage(request: Request, response: Response): void {
    const code = typeof request.query.code === 'string' && /^[A-Z]{4}-[A-Z]{4}$/.test(request.query.code) ? request.query.code : undefined;
    sendPage(response, 200, {
      title: 'Sign a terminal in',
      text:
        code === undefined
          ? ['Type the code that the terminal shows.']
          : [`The terminal must show the code ${code}. If it shows another, or you started none, close this page.`],
      form: {
        action: '/device',
        fields: code === undefined ? {} : { code },
        buttons: [{ name: 'go', value: '1', label: 'Continue', main: true }],
        ...(code === undefined && { input: { name: 'code', label: 'Code' } }),
      },
    });
  }

  async #deviceCode(request: Request, response: Response): Promise<void> {
    const { code } = z.object({ code: z.string().max(20) }).parse(request.body);
    await this.#parts.limits.count('userCode', addressOf(request));
    const typed = code.toUpperCase().replaceAll(/[^A-Z]/g, '');
    const row = await one<{ device_hash: string; user_code: string }>(
      this.#parts.db,
      'SELECT device_hash, user_code FROM device_codes WHERE user_code = $1 AND login IS NULL AND NOT denied AND expires_at > ms()',
      [`${typed.slice(0, 4)}-${typed.slice(4)}`],
    );
    if (!row) throw new Problem('bad-request', 'No terminal waits with this code. Look at it again, or begin again there.');
    await this.#parts.login.start(request, response, { kind: 'device', device: row.device_hash, code: row.user_code });
  }

  async #deviceConfirm(request: Request, response: Response): Promise<void> {
    const { ticket, answer } = z.object({ ticket: z.string().max(200), answer: z.enum(['allow', 'deny']) }).parse(request.body);
    const { device, login } = await this.#parts.login.takeDevice(ticket);
    const allowed = answer === 'allow';
    const { db, people } = this.#parts;
    const done = await db.transaction(async (tx) => {
      if (!allowed) await people.end(tx, login, 'denied');
      return await one(
        tx,
        'UPDATE device_codes SET login = $2, denied = $3 WHERE device_hash = $1 AND login IS NULL AND NOT denied AND expires_at > ms() RETURNING 1 AS done',
        [device, allowed ? login : null, !allowed],
      );
    });
    if (!done) throw new Problem('bad-request', 'The terminal does not wait any more. Begin again there.');
    sendPage(response, 200, { title: allowed ? 'The terminal is signed in' : 'The terminal was not let in', text: ['You can close this page.'] });
  }

  /** OpenID Connect Back-Channel Logout 1.0: the provider says that someone has signed out, or is gone. */
  async #backchannelLogout(request: Request): Promise<object> {
    const provider = this.#parts.providers.get(String(request.params.provider));
    const { logout_token } = z.object({ logout_token: z.string().min(1).max(8_192) }).parse(request.body);
    if (provider?.kind !== 'oidc') throw new OAuthError('invalid_request', 'There is no such provider.');
    const { settings } = provider;
    const { jwks_uri } = await discover(settings.issuer);
    const { payload } = await jwtVerify(logout_token, createRemoteJWKSet(new URL(jwks_uri), { timeoutDuration: 5_000 }), {
      issuer: settings.issuer,
      audience: settings.clientId,
      algorithms: [...settings.algorithms],
      requiredClaims: ['iat', 'jti', 'events'],
      maxTokenAge: 300,
      clockTolerance: this.#parts.config.identity.clockSkew,
    });
    const events = payload.events as Record<string, unknown> | undefined;
    if (typeof events !== 'object' || !(LOGOUT_EVENT in events) || payload.nonce !== undefined)
      throw new OAuthError('invalid_request', 'This is no log-out message.');
    const { db, people } = this.#parts;
    const session = typeof payload.sid === 'string' ? payload.sid : undefined;
    await db.transaction(async (tx) => {
      await useOnce(tx, `logout ${settings.id} ${payload.jti}`, Date.now() + 600_000);
      if (session !== undefined) await people.endAll(tx, { provider: settings.id, session }, 'signed out at the provider');
      const person = await one<{ id: string }>(tx, 'SELECT id FROM people WHERE issuer = $1 AND subject = $2', [settings.issuer, payload.sub ?? '']);
      // A login whose session the provider did not tell at the time could be of any: it ends with each that it names.
      if (person) await people.endAll(tx, { person: person.id, ...(session !== undefined && { untold: true }) }, 'signed out at the provider');
    });
    return {};
  }

  async #answer(request: Request, response: Response, run: () => Promise<object>): Promise<void> {
    const address = addressOf(request);
    response.setHeader('Pragma', 'no-cache');
    try {
      await this.#parts.limits.look('badProof', address);
      response.json(await run());
    } catch (cause) {
      const error = oauthError(cause);
      if (!error) throw cause;
      if (!['authorization_pending', 'slow_down'].includes(error.code)) await this.#parts.limits.failed('badProof', address);
      response.status(error.status).json({ error: error.code, error_description: error.message });
    }
  }
}

function oauthError(cause: unknown): OAuthError | undefined {
  if (cause instanceof OAuthError) return cause;
  if (cause instanceof z.ZodError) return new OAuthError('invalid_request', 'The request is not what this endpoint takes.');
  if (cause instanceof Problem && cause.code === 'bad-token') return new OAuthError('invalid_grant', cause.message);
  if (cause instanceof Problem && cause.code === 'too-many') return new OAuthError('slow_down', cause.message, 429);
  const code = (cause as { code?: unknown }).code;
  if (typeof code === 'string' && /^ERR_(JW[TSK]|JOSE)/.test(code)) return new OAuthError('invalid_request', 'This token does not hold.');
  return undefined;
}

/** @throws OAuthError, so that what cannot be read is counted as any other bad proof is */
function formDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new OAuthError('invalid_client', 'There is no such service account, or its secret is another.', 401);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
