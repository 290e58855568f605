/** From a server that refused us to where a person can sign in: RFC 9728, then RFC 8414 or OpenID Connect discovery. */
import type { AuthorizationServer } from 'oauth4webapi';
import { Problem } from '../../../contract/problem.ts';
import { checkedAddress, type SafeFetch } from './safeFetch.ts';

export interface Discovered {
  /** What tokens are asked for, and nothing else gets them (RFC 8707). */
  /** As its server publishes it: a URL without a path that is written anew would gain a slash. */
  readonly resource: string;
  readonly server: AuthorizationServer;
  /** Scopes that the resource says exist. */
  readonly scopes: readonly string[];
}

/** What a `WWW-Authenticate: Bearer` header says that matters here. */
export interface Challenge {
  readonly metadata?: string;
  readonly scope?: string;
  readonly error?: string;
}

/** Scopes and their text, as RFC 6749 allows them. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,200}$/;
const MAX_SCOPES = 100;

export function challengeOf(header: string | undefined): Challenge {
  if (header === undefined || header.length > 8_192 || !/(^|,\s*)Bearer(\s|$)/i.test(header)) return {};
  const parameter = (name: string): string | undefined => {
    const [, quoted, bare] = new RegExp(`(?:^|[\\s,])${name}\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,"]+))`, 'i').exec(header) ?? [];
    return quoted?.replaceAll(/\\(.)/g, '$1') ?? bare;
  };
  const [metadata, scope, error] = [parameter('resource_metadata'), parameter('scope'), parameter('error')];
  return { ...(metadata !== undefined && { metadata }), ...(scope !== undefined && { scope }), ...(error !== undefined && { error }) };
}

/** The scopes of a list or a text, those that are well-formed. */
export function scopesOf(value: unknown): string[] {
  const list = typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? (value as unknown[]) : [];
  return [...new Set(list.filter((scope): scope is string => typeof scope === 'string' && SCOPE.test(scope)))].slice(0, MAX_SCOPES);
}

/** @throws Problem, with a sentence that says what the server lacks */
export async function discover(endpoint: URL, challenge: Challenge, fetch: SafeFetch): Promise<Discovered> {
  const described = await resourceMetadata(endpoint, challenge, fetch);
  const resource = described === undefined ? withoutFragment(endpoint).href : resourceOf(described.resource, endpoint);
  const [issuer] = Array.isArray(described?.authorization_servers) ? (described.authorization_servers as unknown[]) : [];
  // Servers from before RFC 9728 are their own authorization server, at their origin.
  const server = await serverMetadata(issuer === undefined ? new URL(endpoint.origin) : checkedAddress(issuer, endpoint, 'signing in'), endpoint, fetch);
  return { resource, server, scopes: scopesOf(described?.scopes_supported) };
}

/** Whether a token for `resource` may go to an address: same origin, and not beside its path. */
export function isWithin(url: URL, resource: URL): boolean {
  const path = resource.pathname.replace(/\/$/, '');
  return url.origin === resource.origin && (url.pathname === path || url.pathname === resource.pathname || url.pathname.startsWith(`${path}/`));
}

async function resourceMetadata(endpoint: URL, { metadata }: Challenge, fetch: SafeFetch): Promise<Record<string, unknown> | undefined> {
  if (metadata !== undefined) {
    const url = checkedAddress(metadata, endpoint, 'its own description');
    const found = await fetch.json(url);
    if (!found) throw new Problem('oauth-metadata', `${endpoint.host} says that ${url.host} describes how to sign in, and nothing is there.`);
    return found;
  }
  const path = endpoint.pathname.replace(/\/$/, '');
  for (const at of new Set([`/.well-known/oauth-protected-resource${path}`, '/.well-known/oauth-protected-resource'])) {
    const found = await fetch.json(new URL(at, endpoint.origin));
    if (found) return found;
  }
  return undefined;
}

function resourceOf(named: unknown, endpoint: URL): string {
  const resource = checkedAddress(named, endpoint, 'what tokens are for');
  // A description that speaks of another server would have us fetch tokens for that one and hand them over here.
  if (!isWithin(endpoint, resource))
    throw new Problem('oauth-resource', `${endpoint.host} describes itself as ${resource.href}, which it is not. Countersign asks for no token there.`);
  // But for that slash, whoever reads it must read what was checked.
  return named === resource.origin ? named : resource.href;
}

async function serverMetadata(issuer: URL, near: URL, fetch: SafeFetch): Promise<AuthorizationServer> {
  const path = issuer.pathname.replace(/\/$/, '');
  const places = new Set([
    `/.well-known/oauth-authorization-server${path}`,
    `/.well-known/openid-configuration${path}`,
    `${path}/.well-known/openid-configuration`,
  ]);
  for (const place of places) {
    const found = await fetch.json(new URL(place, issuer.origin));
    if (found) return checkedServer(found, issuer, near);
  }
  throw new Problem(
    'oauth-metadata',
    `${near.host} wants a sign-in and does not say where: ${issuer.host} has no authorization server's metadata. It needs a token as a header instead.`,
  );
}

function checkedServer(found: Record<string, unknown>, issuer: URL, near: URL): AuthorizationServer {
  const named = checkedAddress(found.issuer, near, 'signing in');
  if (named.href !== issuer.href)
    throw new Problem('oauth-issuer', `${issuer.host} says that it is ${named.href}. Countersign does not sign in where names do not agree.`);
  for (const key of ['authorization_endpoint', 'token_endpoint'] as const) checkedAddress(found[key], near, 'signing in');
  for (const key of ['registration_endpoint', 'revocation_endpoint'] as const) if (found[key] !== undefined) checkedAddress(found[key], near, 'signing in');
  if (!Array.isArray(found.code_challenge_methods_supported) || !found.code_challenge_methods_supported.includes('S256')) {
    throw new Problem(
      'oauth-pkce',
      `${issuer.host} does not protect a sign-in with PKCE (S256), so a code could be stolen on its way. Countersign does not sign in there.`,
    );
  }
  return { ...found, issuer: String(found.issuer) } as AuthorizationServer;
}

function withoutFragment(url: URL): URL {
  const plain = new URL(url);
  plain.hash = '';
  return plain;
}
