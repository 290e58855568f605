/** Where a login may send someone: our own clients and our own pages, never an address that somebody else brought along. */
import { CLI_CLIENT, EDITOR_CLIENT } from '../../contract/gateway/api.ts';

/** Of the extension, as the editor's URI handlers know it. */
const EXTENSION_HOST = 'countersign.countersign';
const CALLBACK_PATHS = new Set(['/auth', '/callback', '/']);

export interface RedirectRules {
  readonly schemes: readonly string[];
  /** Origins of editors in the browser, whose pages receive their callbacks. */
  readonly origins: readonly string[];
}

/** @returns the address as it must be used, or undefined where the client may not be sent there */
export function allowedRedirect(client: string, uri: string, rules: RedirectRules): string | undefined {
  if (client !== EDITOR_CLIENT && client !== CLI_CLIENT) return undefined;
  if (uri.length > 2000 || !URL.canParse(uri)) return undefined;
  const url = new URL(uri);
  if (url.username !== '' || url.password !== '' || url.hash !== '') return undefined;
  // RFC 8252: loopback by its address, any port.
  if (url.protocol === 'http:' && (url.hostname === '127.0.0.1' || url.hostname === '[::1]') && url.port !== '' && CALLBACK_PATHS.has(url.pathname))
    return url.href;
  if (client !== EDITOR_CLIENT) return undefined;
  if (rules.schemes.includes(url.protocol.slice(0, -1)) && url.host === EXTENSION_HOST && CALLBACK_PATHS.has(url.pathname)) return uri;
  if (url.protocol === 'https:' && rules.origins.includes(url.origin)) return url.href;
  return undefined;
}

/** What an address that may be used is to a content security policy. */
export function sourceOf(redirect: string): string {
  const { hostname, origin, protocol } = new URL(redirect);
  // A policy has no word for an address of IPv6, and an editor's own scheme has no origin.
  return hostname.startsWith('[') || origin === 'null' ? protocol : origin;
}

/** A page of ours: a path, and nothing that a browser could read as another host. */
export function localPath(path: unknown): string {
  if (typeof path !== 'string' || path.length > 1000 || !/^\/(?![/\\])[\w\-./?=&%~:]*$/.test(path)) return '/';
  const url = new URL(path, 'http://here.invalid');
  return url.host === 'here.invalid' ? `${url.pathname}${url.search}` : '/';
}
