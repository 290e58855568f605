/**
 * Upstream tokens by OAuth token exchange (RFC 8693). The gateway vouches for who is signed in with a token that it signs for
 * the authorization server alone, good for a minute, and gets theirs for the server behind it. One is kept for each person and
 * agent, as long as sessions use it, and given back after the last.
 */
import { randomBytes } from 'node:crypto';
import { SignJWT } from 'jose';
import * as oauth from 'oauth4webapi';
import type { Actor } from '../../contract/actor.ts';
import { Problem } from '../../contract/problem.ts';
import { Secret } from '../../contract/secret.ts';
import { isWithin } from '../../proxy/credential/oauth/discovery.ts';
import type { Clock, Log } from '../../proxy/pipeline/engine.ts';
import type { SecretRef, TokenExchange } from '../../proxy/policy/policy.ts';
import type { UpstreamCredentials } from '../../proxy/protocols/mcp/upstream/credentials.ts';
import type { ExchangeFor } from '../../proxy/protocols/protocol.ts';
import type { KeyRing } from '../identity/keys.ts';

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';
const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const TIMEOUT_MS = 10_000;
/** How long what the gateway says of a person counts, in seconds: once, and now. */
const VOUCH_SECONDS = 60;
/** A token is exchanged anew this long before it ends, in milliseconds. */
const EARLY_MS = 30_000;
/** Of a token whose end the server does not tell, in seconds. */
const UNTOLD_SECONDS = 300;
/** How long a server's description of itself is believed, in milliseconds. */
const METADATA_MS = 3_600_000;

export interface TokenExchangesOptions {
  /** As the authorization server knows the gateway: its keys are at `ISSUER/oauth/jwks`. */
  readonly issuer: string;
  readonly keys: Pick<KeyRing, 'signing'>;
  readonly secret: (ref: SecretRef) => Secret | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

interface Held {
  readonly settings: TokenExchange;
  readonly actor: Actor;
  readonly sessions: Set<AbortSignal>;
  token: { readonly access: Secret; readonly expiresAt: number } | undefined;
  asking: Promise<Secret> | undefined;
}

export class TokenExchanges {
  readonly #options: TokenExchangesOptions;
  readonly #held = new Map<string, Held>();
  readonly #servers = new Map<string, { readonly at: number; readonly server: Promise<oauth.AuthorizationServer> }>();

  constructor(options: TokenExchangesOptions) {
    this.#options = options;
  }

  /** Tokens that are kept for somebody. */
  get size(): number {
    return this.#held.size;
  }

  /** `ProtocolHost.exchange` */
  readonly credentials = ({ actor, connection, settings, signal, url }: ExchangeFor): UpstreamCredentials => {
    const key = JSON.stringify([
      connection,
      settings,
      settings.as === 'gateway' ? '' : [actor.person.issuer, actor.person.subject, actor.agent.kind, actor.agent.name],
    ]);
    const held: Held = this.#held.get(key) ?? { settings, actor, sessions: new Set(), token: undefined, asking: undefined };
    this.#held.set(key, held);
    held.sessions.add(signal);
    const over = (): void => {
      held.sessions.delete(signal);
      if (held.sessions.size > 0 || this.#held.get(key) !== held) return;
      this.#held.delete(key);
      void this.#giveBack(held);
    };
    if (signal.aborted) over();
    else signal.addEventListener('abort', over, { once: true });
    let used: Secret | undefined;
    return {
      headers: async (to) => {
        // Not to where the server sends us on to.
        if (!isWithin(to, url)) return {};
        signal.throwIfAborted();
        used = await this.#token(held);
        return { Authorization: `Bearer ${used.reveal()}` };
      },
      refused: async (_to, status) => {
        if (status !== 401 || used === undefined) return false;
        // Ended by its server before its time: another one may do. One that was refused fresh will not get better.
        if (held.token?.access === used) held.token = undefined;
        const before = used;
        used = undefined;
        return before !== (await this.#token(held));
      },
    };
  };

  /** Gives back what is kept. Never rejects. */
  async stop(): Promise<void> {
    const all = [...this.#held.values()];
    this.#held.clear();
    await Promise.all(all.map((held) => this.#giveBack(held)));
  }

  async #token(held: Held): Promise<Secret> {
    const { clock } = this.#options;
    if (held.token && held.token.expiresAt - EARLY_MS > clock.now()) return held.token.access;
    held.asking ??= this.#exchange(held).finally(() => (held.asking = undefined));
    return await held.asking;
  }

  async #exchange(held: Held): Promise<Secret> {
    const { settings } = held;
    const { host } = new URL(settings.issuer);
    const server = await this.#server(settings);
    const parameters = new URLSearchParams({ subject_token: await this.#vouch(held), subject_token_type: JWT, requested_token_type: ACCESS_TOKEN });
    for (const [name, value] of [
      ['audience', settings.audience],
      ['resource', settings.resource],
      ['scope', settings.scopes.length === 0 ? undefined : settings.scopes.join(' ')],
    ] as const)
      if (value !== undefined) parameters.set(name, value);
    try {
      const client = { client_id: settings.client.id };
      const response = await oauth.genericTokenEndpointRequest(server, client, this.#authentication(settings), GRANT, parameters, this.#http(settings));
      const answer = await oauth.processGenericTokenEndpointResponse(server, client, response);
      const access = new Secret(answer.access_token);
      held.token = { access, expiresAt: this.#options.clock.now() + (answer.expires_in ?? UNTOLD_SECONDS) * 1000 };
      // The last session ended while it was asked for.
      if (held.sessions.size === 0) void this.#giveBack(held);
      return access;
    } catch (cause) {
      if (cause instanceof Problem) throw cause;
      // The cause is not passed on: it holds the answer.
      const error =
        cause instanceof oauth.ResponseBodyError ? cause.error : cause instanceof oauth.WWWAuthenticateChallengeError ? 'invalid_client' : undefined;
      this.#options.log.warn('exchange.failed', { issuer: settings.issuer, error: error ?? 'unreachable' });
      if (error !== undefined)
        throw new Problem(
          'exchange-refused',
          `The authorization server at ${host} gives no token for this (${error.slice(0, 60)}). ${WHAT_TO_DO[error] ?? 'Ask whoever looks after it.'}`,
        );
      if (cause instanceof oauth.OperationProcessingError)
        throw new Problem('exchange-refused', `The authorization server at ${host} answered what is no token.`);
      throw new Problem('exchange-away', `The authorization server at ${host} does not answer. Try again when it does.`);
    }
  }

  /** Who it is for, in a token for the authorization server alone: of another type, and for another audience, than what opens this gateway. */
  async #vouch({ actor, settings }: Held): Promise<string> {
    const { issuer, keys } = this.#options;
    const { key, kid } = keys.signing('token');
    const { agent, person } = actor;
    const who = settings.as === 'gateway' ? { sub: issuer } : { sub: person.subject, sub_iss: person.issuer, act: { sub: agent.name, kind: agent.kind } };
    return await new SignJWT(who)
      .setProtectedHeader({ alg: 'EdDSA', kid, typ: 'JWT' })
      .setIssuer(issuer)
      .setAudience(settings.issuer)
      .setIssuedAt()
      .setExpirationTime(`${VOUCH_SECONDS}s`)
      .setJti(randomBytes(16).toString('base64url'))
      .sign(key);
  }

  async #giveBack(held: Held): Promise<void> {
    const { settings, token } = held;
    held.token = undefined;
    if (!token) return;
    try {
      const server = await this.#server(settings);
      if (server.revocation_endpoint === undefined) return;
      const response = await oauth.revocationRequest(
        server,
        { client_id: settings.client.id },
        this.#authentication(settings),
        token.access.reveal(),
        this.#http(settings),
      );
      await oauth.processRevocationResponse(response);
    } catch (cause) {
      // It ends by itself; here it is forgotten.
      this.#options.log.info('exchange.not-revoked', {
        issuer: settings.issuer,
        error: cause instanceof oauth.ResponseBodyError ? cause.error : 'unreachable',
      });
    }
  }

  async #server(settings: TokenExchange): Promise<oauth.AuthorizationServer> {
    const { clock, log } = this.#options;
    const known = this.#servers.get(settings.issuer);
    if (known && known.at + METADATA_MS > clock.now()) return await known.server;
    const server = describe(new URL(settings.issuer), this.#http(settings));
    this.#servers.set(settings.issuer, { at: clock.now(), server });
    try {
      return await server;
    } catch (cause) {
      this.#servers.delete(settings.issuer);
      log.warn('exchange.no-description', { issuer: settings.issuer, error: cause instanceof Error ? cause.name : 'unknown' });
      throw new Problem(
        'exchange-away',
        `The authorization server at ${new URL(settings.issuer).host} does not say where its token endpoint is. Check \`issuer\`, or try again later.`,
      );
    }
  }

  #authentication({ client }: TokenExchange): oauth.ClientAuth {
    if (!client.secret) return oauth.None();
    const secret = this.#options.secret(client.secret);
    if (!secret)
      throw new Problem(
        'needs-secret',
        `The secret "${client.secret.name}" is not in the gateway’s store. Put it there: \`countersign gateway secret set ${client.secret.name}\`.`,
      );
    return oauth.ClientSecretBasic(secret.reveal());
  }

  #http({ issuer }: TokenExchange): { signal: () => AbortSignal; [oauth.allowInsecureRequests]: boolean } {
    return { signal: () => AbortSignal.timeout(TIMEOUT_MS), [oauth.allowInsecureRequests]: issuer.startsWith('http:') };
  }
}

/** By RFC 8414, else by OpenID Connect. */
async function describe(issuer: URL, http: { signal: () => AbortSignal; [oauth.allowInsecureRequests]: boolean }): Promise<oauth.AuthorizationServer> {
  const first = await oauth.discoveryRequest(issuer, { ...http, algorithm: 'oauth2' });
  const response = first.ok ? first : await oauth.discoveryRequest(issuer, { ...http, algorithm: 'oidc' });
  const server = await oauth.processDiscoveryResponse(issuer, response);
  if (server.token_endpoint === undefined) throw new Error('no token endpoint');
  return server;
}

const WHAT_TO_DO: Readonly<Record<string, string>> = {
  invalid_client: 'It does not know the gateway, or its secret is wrong.',
  invalid_grant: 'It does not believe who the gateway says you are: it must trust the gateway as an issuer, and know you.',
  invalid_request: 'It does not take what the gateway asks: check `audience`, `resource` and `scopes`.',
  invalid_scope: 'It does not give these `scopes`.',
  invalid_target: 'It does not know this `audience` or `resource`.',
  unauthorized_client: 'The gateway may not exchange tokens there.',
  unsupported_grant_type: 'It does not exchange tokens.',
};
