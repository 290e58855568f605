/**
 * The demo's identity provider: a real OpenID Connect one, with two people and their groups. Its page asks who sits there and
 * for no password; and it asks each time, because in a demo both people share one browser.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import { interactionPolicy, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { IdentityStore } from './identityStore.ts';

interface DemoPerson {
  readonly name: string;
  readonly title: string;
  readonly groups: readonly string[];
}

const PEOPLE = {
  dana: { name: 'Dana', title: 'Developer', groups: ['developers'] },
  sam: { name: 'Sam', title: 'Database administrator', groups: ['dba', 'auditors'] },
} as const satisfies Record<string, DemoPerson>;
type PersonId = keyof typeof PEOPLE;

const CLIENT_ID = 'countersign-gateway';
const SCOPES = 'openid profile groups';
/** How long one may take on the page, and how long what it issues lasts, in seconds. */
const INTERACTION_S = 600;
const TOKEN_S = 600;
/** Longest form that is read, in bytes. */
const MAX_FORM_BYTES = 1000;

export interface IdentityProviderOptions {
  readonly port: number;
  /** The one client: the gateway. */
  readonly secret: string;
  readonly redirect: string;
}

export class IdentityProvider {
  readonly options: IdentityProviderOptions;
  readonly issuer: string;
  readonly clientId = CLIENT_ID;
  /** How often somebody said who they are: that a fresh login was one. */
  logins = 0;
  #server: Server | undefined;

  constructor(options: IdentityProviderOptions) {
    this.options = options;
    this.issuer = `http://127.0.0.1:${options.port}`;
  }

  async start(): Promise<void> {
    const provider = await this.#provider();
    const callback = provider.callback();
    const server = createServer((request, response) => {
      const serve = request.url?.startsWith('/who/') === true ? this.#page(provider, request, response) : callback(request, response);
      // An interaction that is over, or that another browser began: the page cannot go on.
      serve.catch(() => sendPage(response, 400, '<h1>This page is out of date</h1><p>Go back to the editor and sign in again.</p>'));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.options.port, '127.0.0.1', resolve);
    });
    this.#server = server;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  async #provider(): Promise<Provider> {
    const { privateKey } = await generateKeyPair('ES256', { extractable: true });
    const key = { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: randomUUID() };
    const policy = interactionPolicy.base();
    const { Check } = interactionPolicy;
    const judge = (ctx: KoaContextWithOIDC): boolean => (ctx.oidc.result?.login ? Check.NO_NEED_TO_PROMPT : Check.REQUEST_PROMPT);
    policy.get('login')?.checks.add(new Check('asked-each-time', 'whoever sits there is asked', 'login_required', judge));
    const provider = new Provider(this.issuer, {
      adapter: IdentityStore,
      clients: [
        {
          client_id: CLIENT_ID,
          client_secret: this.options.secret,
          redirect_uris: [this.options.redirect],
          response_types: ['code'],
          grant_types: ['authorization_code'],
          id_token_signed_response_alg: 'ES256',
        },
      ],
      jwks: { keys: [key] },
      cookies: { keys: [randomUUID()], names: { session: 'demo-idp', interaction: 'demo-idp-page', resume: 'demo-idp-resume' } },
      claims: { openid: ['sub'], profile: ['name'], groups: ['groups'] },
      conformIdTokenClaims: true,
      features: { devInteractions: { enabled: false } },
      ttl: { Interaction: INTERACTION_S, Session: INTERACTION_S, Grant: TOKEN_S, AccessToken: TOKEN_S, IdToken: TOKEN_S, AuthorizationCode: 60 },
      findAccount: (_ctx, id) => {
        const person = personOf(id);
        return person && { accountId: id, claims: () => ({ sub: id, name: person.name, groups: [...person.groups] }) };
      },
      // The organisation's own gateway: nobody is asked whether it may know their name.
      loadExistingGrant: async (ctx) => {
        const { session, client } = ctx.oidc;
        const grant = new provider.Grant({ accountId: session?.accountId ?? '', clientId: client?.clientId ?? '' });
        grant.addOIDCScope(SCOPES);
        await grant.save();
        return grant;
      },
      interactions: { policy, url: (_ctx, { uid }) => `/who/${uid}` },
    });
    return provider;
  }

  async #page(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { params, uid } = await provider.interactionDetails(request, response);
    if (request.method !== 'POST') {
      const again = params.max_age !== undefined || params.prompt === 'login';
      return sendPage(response, 200, whoPage(uid, again));
    }
    const account = new URLSearchParams(await formOf(request)).get('account') ?? '';
    if (!personOf(account)) {
      return await provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'Nobody signed in.' });
    }
    this.logins++;
    await provider.interactionFinished(request, response, { login: { accountId: account, remember: false } });
  }
}

function personOf(id: string): DemoPerson | undefined {
  return Object.hasOwn(PEOPLE, id) ? PEOPLE[id as PersonId] : undefined;
}

async function formOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) {
    text += String(chunk);
    if (text.length > MAX_FORM_BYTES) throw new Error('too long');
  }
  return text;
}

function whoPage(uid: string, again: boolean): string {
  const people = Object.entries(PEOPLE).map(
    ([id, { name, title }]) => `<button name="account" value="${id}"><strong>${name}</strong><span>${title}</span></button>`,
  );
  const why = again ? 'Countersign wants to know again that it is you, for this one request.' : 'Countersign wants to know who you are.';
  return `<h1>${again ? 'Sign in again' : 'Who are you?'}</h1><p>${why}</p>
<form method="post" action="/who/${uid}">${people.join('')}<button class="quiet" name="account" value="">Nobody: cancel</button></form>
<p class="small">This is the demo’s own identity provider. It speaks OpenID Connect like any other, but believes you without a password.</p>`;
}

const STYLE = `:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:12vh auto;padding:0 1rem}h1{font-size:1.4rem;margin:0}
button{display:flex;justify-content:space-between;gap:1rem;width:100%;box-sizing:border-box;margin:.6rem 0;padding:.8rem 1rem;font:inherit;text-align:start;border:1px solid;border-radius:6px;background:transparent;color:inherit;cursor:pointer}
button span{opacity:.75}button.quiet{justify-content:center;border-color:transparent;text-decoration:underline}button:hover{background:color-mix(in srgb,currentcolor 8%,transparent)}
button:focus-visible{outline:3px solid #2a9d8f;outline-offset:2px}.small{font-size:.85rem;opacity:.75}`;

function sendPage(response: ServerResponse, status: number, body: string): void {
  if (response.headersSent) return void response.destroy();
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    // No `form-action`: the form's answer is a redirect to the gateway, and on to the editor.
    'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
  });
  response.end(
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sign in · the demo’s identity provider</title><style>${STYLE}</style></head><body><main>${body}</main></body></html>`,
  );
}
