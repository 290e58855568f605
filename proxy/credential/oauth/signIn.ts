/** One sign-in: a listener on loopback, a person's browser, a code, and tokens for it. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as oauth from 'oauth4webapi';
import { Problem } from '../../../contract/problem.ts';
import { type Challenge, discover, scopesOf } from './discovery.ts';
import type { Kept } from './kept.ts';
import { authentication, type ClientOptions, clientFor, type KnownClient } from './registration.ts';
import { checkedAddress, isLoopback, SafeFetch } from './safeFetch.ts';

/** How long a person may take in the browser, in milliseconds. */
const PATIENCE_MS = 10 * 60_000;
const CALLBACK = '/callback';

export interface SignInOptions {
  readonly connection: string;
  readonly endpoint: URL;
  readonly challenge: Challenge;
  readonly client: ClientOptions;
  /** Scopes to ask for besides those that the server names. */
  readonly scopes: readonly string[];
  readonly now: () => number;
  /** Called once: with what was got, or a sentence. */
  readonly done: (result: { readonly kept: Kept } | { readonly problem: string }) => void;
}

export class SignIn {
  readonly #options: SignInOptions;
  readonly #fetch: SafeFetch;
  readonly #state = oauth.generateRandomState();
  readonly #verifier = oauth.generateRandomCodeVerifier();
  #server: Server | undefined;
  #timer: NodeJS.Timeout | undefined;
  #over = false;
  #going:
    | { readonly server: oauth.AuthorizationServer; readonly client: KnownClient; readonly redirect: URL; readonly resource: string; readonly scopes: string[] }
    | undefined;

  constructor(options: SignInOptions) {
    this.#options = options;
    this.#fetch = new SafeFetch(options.endpoint);
  }

  /** Listens for the browser to come back. @returns the address it comes back to, as this machine sees it */
  async listen(): Promise<string> {
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://127.0.0.1');
      // Behind an editor's forwarding the path may be longer than ours.
      if (request.method !== 'GET' || !url.pathname.endsWith(CALLBACK) || this.#going === undefined) return void response.writeHead(404).end();
      if (this.#over || url.searchParams.get('state') !== this.#state) return page(response, 400, 'This is not the sign-in that Countersign waits for.');
      this.#over = true;
      return void this.#finish(url.searchParams).then(
        (kept) => {
          page(response, 200, `Signed in to ${this.#options.connection}. You can close this page.`);
          this.#end({ kept });
        },
        (cause: unknown) => {
          const problem = cause instanceof Problem ? cause.message : `Signing in to ${this.#options.connection} failed. Try again.`;
          page(response, 400, problem);
          this.#end({ problem });
        },
      );
    });
    server.maxConnections = 16;
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    this.#timer = setTimeout(() => this.#end({ problem: `Nobody signed in to ${this.#options.connection} in time. Try again.` }), PATIENCE_MS);
    this.#timer.unref();
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}${CALLBACK}`;
  }

  /** @param redirect where the browser comes back to, as the person's browser sees it. @returns the page to open there */
  async address(redirect: string): Promise<string> {
    const { challenge, client: known, endpoint, scopes: more } = this.#options;
    const back = redirectOf(redirect);
    const { resource, server, scopes: offered } = await discover(endpoint, challenge, this.#fetch);
    const wanted = challenge.scope === undefined ? offered : scopesOf(challenge.scope);
    const scopes = [...new Set([...more, ...wanted])];
    // Without it an OpenID provider gives nothing to renew a token with.
    const offline = scopesOf(server.scopes_supported).includes('offline_access') && !scopes.includes('offline_access');
    if (offline) scopes.push('offline_access');
    const client = await clientFor(server, back, known, this.#fetch);
    this.#going = { server, client, redirect: back, resource, scopes };
    const url = checkedAddress(server.authorization_endpoint, endpoint, 'signing in');
    const parameters = {
      response_type: 'code',
      client_id: client.id,
      redirect_uri: back.href,
      code_challenge: await oauth.calculatePKCECodeChallenge(this.#verifier),
      code_challenge_method: 'S256',
      state: this.#state,
      resource,
      ...(scopes.length > 0 && { scope: scopes.join(' ') }),
      ...(scopes.includes('offline_access') && { prompt: 'consent' }),
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    return url.href;
  }

  cancel(): void {
    this.#end(undefined);
  }

  async #finish(answer: URLSearchParams): Promise<Kept> {
    const { connection, endpoint, now } = this.#options;
    const going = this.#going;
    if (!going) throw new Problem('oauth-order', 'The sign-in was not begun.');
    const { server, resource, redirect } = going;
    const client: oauth.Client = { client_id: going.client.id };
    const insecure = { ...this.#fetch.options, [oauth.allowInsecureRequests]: isLoopback(endpoint) };
    let parameters: URLSearchParams;
    try {
      parameters = oauth.validateAuthResponse(server, client, answer, this.#state);
    } catch (cause) {
      const denied = cause instanceof oauth.AuthorizationResponseError && cause.error === 'access_denied';
      throw new Problem(
        'oauth-refused',
        denied
          ? `The sign-in to ${connection} was refused.`
          : `What came back from the sign-in to ${connection} is not from ${new URL(server.issuer).host}, or was refused there.`,
      );
    }
    try {
      const response = await oauth.authorizationCodeGrantRequest(server, client, authentication(going.client), parameters, redirect.href, this.#verifier, {
        ...insecure,
        additionalParameters: { resource },
      });
      // A provider may send an identity as well; who signed in there is not our business, and nothing is taken from it.
      const token = await oauth.processAuthorizationCodeResponse(server, client, response);
      return keptOf(token, { endpoint, resource, server, client: going.client, scopes: going.scopes, refresh: undefined }, now());
    } catch (cause) {
      throw cause instanceof Problem ? cause : new Problem('oauth-token', `${new URL(server.issuer).host} gave no token for ${connection}${codeOf(cause)}.`);
    }
  }

  #end(result: Parameters<SignInOptions['done']>[0] | undefined): void {
    clearTimeout(this.#timer);
    this.#over = true;
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.close();
    setTimeout(() => server.closeAllConnections(), 1_000).unref();
    this.#fetch.close();
    if (result) this.#options.done(result);
  }
}

export function keptOf(
  token: oauth.TokenEndpointResponse,
  base: {
    readonly endpoint: URL;
    readonly resource: string;
    readonly server: oauth.AuthorizationServer;
    readonly client: KnownClient;
    readonly scopes: readonly string[];
    readonly refresh: string | undefined;
  },
  now: number,
): Kept {
  if (token.token_type !== 'bearer') throw new Problem('oauth-token', 'The authorization server gave a kind of token that Countersign cannot use.');
  const refresh = token.refresh_token ?? base.refresh;
  const { issuer, token_endpoint, revocation_endpoint } = base.server;
  return {
    version: 1,
    savedAt: now,
    endpoint: base.endpoint.href,
    resource: base.resource,
    server: { issuer, token_endpoint: String(token_endpoint), ...(revocation_endpoint !== undefined && { revocation_endpoint }) },
    client: {
      id: base.client.id,
      ...(base.client.secret !== undefined && { secret: base.client.secret }),
      ...(base.client.method !== undefined && { method: base.client.method }),
    },
    access: token.access_token,
    ...(token.expires_in !== undefined && { expiresAt: now + token.expires_in * 1000 }),
    ...(refresh !== undefined && { refresh }),
    scopes: token.scope === undefined ? [...base.scopes] : scopesOf(token.scope),
  };
}

/** The code of an OAuth error, never its text: a server can put anything there. */
export function codeOf(cause: unknown): string {
  return cause instanceof oauth.ResponseBodyError && /^[a-z_]{1,60}$/.test(cause.error) ? ` (${cause.error})` : '';
}

function redirectOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const fits =
    url !== undefined &&
    (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url))) &&
    url.hash === '' &&
    url.username === '' &&
    url.pathname.endsWith(CALLBACK);
  if (!fits) throw new Problem('oauth-redirect', 'The editor named an address for the browser to come back to that cannot be used.');
  return url;
}

function page(response: import('node:http').ServerResponse, status: number, text: string): void {
  const body = `<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>Countersign</title><p>${text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)}</p>`;
  response.writeHead(status, {
    'Content-Type': 'text/html; charset=utf-8',
    'Cache-Control': 'no-store',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    'Referrer-Policy': 'no-referrer',
    Connection: 'close',
  });
  response.end(body);
}
