/** Gateways over one store with a real identity provider, and the people of a team. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import * as oauth from 'openid-client';
import { EDITOR_CLIENT } from '../../contract/gateway/api.ts';
import { freePort } from '../../demo/freePort.ts';
import { loadConfig } from '../../gateway/config/load.ts';
import { Gateway } from '../../gateway/gateway.ts';
import type { Log } from '../../proxy/pipeline/engine.ts';
import { Browser } from './browser.ts';
import { type Idp, startIdp } from './idp.ts';
import { layEmbedded, postgresUrl, quiet, temporaryFolder } from './stores.ts';

export interface StageOptions {
  readonly store?: 'postgres' | 'embedded';
  readonly replicas?: number;
  /** A port that all of them are reached by, where something stands in front. */
  readonly publicPort?: number;
  /** Merged into `identity` and the top level of the configuration. */
  readonly identity?: Record<string, unknown>;
  readonly config?: Record<string, unknown>;
  readonly leaseMs?: number;
  readonly resumeMs?: number;
  readonly log?: Log;
  readonly env?: Record<string, string>;
}

/** A signed-in client: calls the API as one person. */
export interface Client {
  readonly token: string;
  readonly refresh: string;
  call(method: string, path: string, body?: unknown, replica?: number): Promise<{ status: number; body: Record<string, unknown> }>;
}

export interface Stage {
  readonly gateways: readonly Gateway[];
  readonly idp: Idp;
  /** The first gateway's public address; with several, the others answer under it as well. */
  readonly url: string;
  readonly addresses: readonly string[];
  readonly storeUrl: string | undefined;
  readonly folder: string;
  /** What the gateways were started with. */
  readonly env: Readonly<Record<string, string>>;
  /** Signs in as an editor does, through the provider. */
  signIn(user: string): Promise<Client>;
  /** The same in a browser. @returns it, with the gateway's cookie */
  browser(user: string): Promise<Browser>;
  client(token: string, refresh?: string): Client;
  stop(): Promise<void>;
}

const TEAM = {
  ada: { name: 'Ada', email: 'ada@example.test', groups: ['dev'] },
  bob: { name: 'Bob', groups: ['dev'] },
  dana: { name: 'Dana', groups: ['dba'] },
  drew: { name: 'Drew', groups: ['dba', 'dev'] },
  olga: { name: 'Olga', groups: ['audit'] },
  root: { name: 'Root', groups: ['platform'] },
} as const;

export async function stage(options: StageOptions = {}): Promise<Stage> {
  const replicas = options.replicas ?? 1;
  const folder = temporaryFolder();
  const ports = await Promise.all(Array.from({ length: replicas }, () => freePort()));
  const url = `http://127.0.0.1:${options.publicPort ?? ports[0]}`;
  const addresses = ports.map((port) => `http://127.0.0.1:${port}`);
  const idp = await startIdp({ redirectUris: [`${url}/login/corp/callback`], backchannelLogoutUri: `${url}/login/corp/backchannel-logout` });
  for (const [user, account] of Object.entries(TEAM)) idp.accounts.set(user, account);
  const storeUrl = (options.store ?? 'postgres') === 'postgres' ? await postgresUrl() : undefined;
  if (storeUrl === undefined) await layEmbedded(join(folder, 'data'));
  const env = { IDP_SECRET: idp.clientSecret, KEY: randomBytes(32).toString('hex'), ...(storeUrl !== undefined && { DATABASE_URL: storeUrl }), ...options.env };
  const gateways: Gateway[] = [];
  for (const port of ports) {
    const file = join(folder, `gateway-${port}.yaml`);
    const config = {
      version: 1,
      publicUrl: url,
      listen: `127.0.0.1:${port}`,
      data: join(folder, 'data'),
      key: 'env:KEY',
      drainSeconds: 1,
      ...options.config,
      identity: {
        providers: [
          {
            id: 'corp',
            kind: 'oidc',
            issuer: idp.issuer,
            clientId: idp.clientId,
            clientSecret: 'env:IDP_SECRET',
            scopes: ['openid', 'profile', 'email', 'groups'],
          },
        ],
        roles: { developer: ['group:dev'], approver: ['group:dba'], auditor: ['group:audit'], admin: ['group:platform'] },
        ...options.identity,
      },
    };
    writeFileSync(file, JSON.stringify(config));
    const loaded = loadConfig(file, env);
    if (!loaded.ok) throw new Error(loaded.problems.map(({ message }) => message).join('; '));
    gateways.push(
      await Gateway.start({
        config: loaded.config,
        env,
        version: '0.0.0-test',
        log: options.log ?? quiet,
        ...(options.leaseMs !== undefined && { leaseMs: options.leaseMs }),
        ...(options.resumeMs !== undefined && { resumeMs: options.resumeMs }),
      }),
    );
  }
  const client = (token: string, refresh = ''): Client => ({
    token,
    refresh,
    call: (method, path, body, replica = 0) => call(`${addresses[replica]}${path}`, new URL(url).host, method, token, body),
  });
  return {
    gateways,
    idp,
    url,
    addresses,
    storeUrl,
    folder,
    env,
    client,
    signIn: async (user) => {
      const tokens = await editorSignIn(url, idp, user);
      return client(tokens.access_token, tokens.refresh_token);
    },
    browser: async (user) => {
      idp.user = user;
      const browser = new Browser();
      await browser.open(`${url}/login?return=/v1/me`);
      return browser;
    },
    stop: async () => {
      await Promise.all(gateways.map((gateway) => gateway.stop('the test is over').catch(() => undefined)));
      await idp.stop();
    },
  };
}

/** One request; to any replica, under the name that all of them have. */
function call(to: string, host: string, method: string, token: string, body: unknown): Promise<{ status: number; body: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers = {
      host,
      authorization: `Bearer ${token}`,
      ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
    };
    const sent = request(to, { method, headers, timeout: 60_000 }, (response) => {
      let answer = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (answer += chunk));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: parse(answer) }));
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer')));
    sent.on('error', reject);
    sent.end(text);
  });
}

function parse(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

export async function discover(url: string, client: string = EDITOR_CLIENT): Promise<oauth.Configuration> {
  return await oauth.discovery(new URL(url), client, undefined, oauth.None(), { algorithm: 'oauth2', execute: [oauth.allowInsecureRequests] });
}

/** Signs in as the editor does: OAuth with PKCE against the gateway, a person at the provider, back to a loopback address. */
export async function editorSignIn(url: string, idp: Idp, user: string | undefined): Promise<oauth.TokenEndpointResponse> {
  idp.user = user;
  const config = await discover(url);
  const verifier = oauth.randomPKCECodeVerifier();
  const state = oauth.randomState();
  const redirectUri = 'http://127.0.0.1:1/callback';
  const authorize = oauth.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  const browser = new Browser();
  const page = await browser.allow(authorize.href, (at) => at.href.startsWith(redirectUri));
  if (browser.stopped === undefined)
    throw new Error(
      `not sent back: ${page.status} ${page.url} ${page.text
        .replace(/<style[^]*<.style>/, '')
        .replaceAll(/<[^>]+>/g, ' ')
        .slice(0, 400)}`,
    );
  return await oauth.authorizationCodeGrant(config, new URL(browser.stopped), { pkceCodeVerifier: verifier, expectedState: state });
}
