/** Signing in to the team's gateway: authorization code with PKCE, refresh, revocation. No editor in here, so that it is tested against a real one. */
import * as oauth from 'openid-client';
import { EDITOR_CLIENT } from '../../contract/gateway/api.ts';
import { Problem } from '../../contract/problem.ts';
import { type Fetch, trusting } from './trust.ts';

const LOOPBACK = new Set(['localhost', '127.0.0.1', '[::1]']);
/** How long the gateway may take for one answer, in seconds. */
const TIMEOUT_S = 15;

export interface Tokens {
  readonly access: string;
  readonly refresh: string;
  /** Epoch milliseconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** One sign-in that has begun: nothing but the answer that belongs to it is taken, and that once. */
export interface Attempt {
  /** The page for the person's browser. */
  readonly page: string;
  readonly state: string;
  /** @throws Problem where the answer is not the one to this attempt, or the gateway does not take it */
  finish(answer: URL): Promise<Tokens>;
}

/** The gateway's address as it was set, or undefined where it is none that tokens may be sent to. */
export function gatewayAddress(text: string): URL | undefined {
  const url = URL.canParse(text.trim()) ? new URL(text.trim()) : undefined;
  if (!url || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return undefined;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.has(url.hostname)) ? url : undefined;
}

/** @throws Problem `gateway-unreachable`, `not-a-gateway` */
export async function begin(gateway: URL, redirect: string, via?: Fetch): Promise<Attempt> {
  const config = await discover(gateway, via);
  const verifier = oauth.randomPKCECodeVerifier();
  const state = oauth.randomState();
  const page = oauth.buildAuthorizationUrl(config, {
    redirect_uri: redirect,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  // A page elsewhere would get to see who signs in, and could send them on to anywhere.
  if (page.origin !== gateway.origin) throw new Problem('not-a-gateway', `${gateway.host} sends people to another site to sign in, so this was stopped.`);
  return {
    page: page.href,
    state,
    finish: async (answer) => {
      try {
        // The address as it was asked for, with what came back: an editor's forwarded address may look different here.
        const back = new URL(redirect);
        for (const name of ['code', 'state', 'iss', 'error', 'error_description']) {
          const value = answer.searchParams.get(name);
          if (value !== null) back.searchParams.set(name, value);
        }
        return tokensOf(await oauth.authorizationCodeGrant(config, back, { pkceCodeVerifier: verifier, expectedState: state }, undefined, undefined));
      } catch (cause) {
        throw problemOf(cause, gateway);
      }
    },
  };
}

/** @throws Problem `sign-in-ended` where it is over for good, `gateway-unreachable` where it may be tried again */
export async function renew(gateway: URL, refresh: string, via?: Fetch): Promise<Tokens> {
  const config = await discover(gateway, via);
  try {
    return tokensOf(await oauth.refreshTokenGrant(config, refresh));
  } catch (cause) {
    throw problemOf(cause, gateway);
  }
}

/** Ends the login at the gateway: what lives on it is cut there. @throws Problem `gateway-unreachable` */
export async function revoke(gateway: URL, refresh: string, via?: Fetch): Promise<void> {
  const config = await discover(gateway, via);
  try {
    await oauth.tokenRevocation(config, refresh);
  } catch (cause) {
    throw problemOf(cause, gateway);
  }
}

async function discover(gateway: URL, via = trusting(undefined)): Promise<oauth.Configuration> {
  const loopback = gateway.protocol === 'http:' && LOOPBACK.has(gateway.hostname);
  try {
    return await oauth.discovery(gateway, EDITOR_CLIENT, undefined, oauth.None(), {
      algorithm: 'oauth2',
      timeout: TIMEOUT_S,
      [oauth.customFetch]: (url, options) => via(url, options as RequestInit),
      ...(loopback && { execute: [oauth.allowInsecureRequests] }),
    });
  } catch (cause) {
    throw problemOf(cause, gateway);
  }
}

function tokensOf(answer: oauth.TokenEndpointResponse & oauth.TokenEndpointResponseHelpers): Tokens {
  const seconds = answer.expiresIn();
  if (seconds === undefined || answer.refresh_token === undefined)
    throw new Problem('not-a-gateway', 'What answered the sign-in is not a Countersign gateway.');
  const issuedAt = Date.now();
  return { access: answer.access_token, refresh: answer.refresh_token, issuedAt, expiresAt: issuedAt + seconds * 1000 };
}

/** What went wrong, for a person; what the other side wrote is shown only where the gateway's own words are meant for people. */
export function problemOf(cause: unknown, gateway: URL): Problem {
  if (cause instanceof Problem) return cause;
  const { host } = gateway;
  if (cause instanceof oauth.AuthorizationResponseError) {
    return new Problem('sign-in-refused', `The sign-in was refused in the browser${said(cause.error_description)}.`, { cause });
  }
  if (cause instanceof oauth.ResponseBodyError) {
    if (cause.error === 'invalid_grant') return new Problem('sign-in-ended', `Your sign-in to ${host} has ended. Sign in again.`, { cause });
    if (cause.status < 500) return new Problem('sign-in-refused', `The gateway at ${host} refused the sign-in${said(cause.error_description)}.`, { cause });
  }
  const code = codeOf(cause);
  const response = cause instanceof Error && cause.cause instanceof Response ? cause.cause : undefined;
  // It answered, and not as what this sign-in was begun with does: another state, another issuer, another site.
  if (code !== undefined && /^OAUTH_(?!TIMEOUT|ABORT)/.test(code) && (response === undefined || response.status < 500)) {
    return new Problem(
      'not-a-gateway',
      `What answers at ${host} is not the gateway that this sign-in was begun with, so it was stopped. Check \`countersign.gateway.url\`.`,
      { cause },
    );
  }
  if (code !== undefined && /CERT|SELF_SIGNED|UNABLE_TO/.test(code)) {
    return new Problem(
      'gateway-certificate',
      `The certificate of the gateway at ${host} is not one that this machine trusts (${code}). Name its authority’s file in \`countersign.gateway.ca\`, or have it renewed.`,
      {
        cause,
      },
    );
  }
  return new Problem('gateway-unreachable', `The gateway at ${host} cannot be reached (${code ?? 'no answer'}). It is tried again by itself.`, { cause });
}

function said(words: string | undefined): string {
  return words === undefined || words === ''
    ? ''
    : `: ${words
        .replaceAll(/[\p{Cc}\p{Cf}]+/gu, ' ')
        .slice(0, 300)
        .replace(/\.$/, '')}`;
}

/** The innermost code: `fetch` wraps what the network said. */
function codeOf(cause: unknown): string | undefined {
  let code: string | undefined;
  for (let at = cause, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    const own = (at as { code?: unknown }).code;
    if (typeof own === 'string') code = own;
  }
  return code;
}
