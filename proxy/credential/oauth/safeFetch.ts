/**
 * Fetches what somebody else's metadata names. A server that we are to sign in to chooses these addresses, so they get the
 * least trust of all: https only, nothing inside this machine or its link, small answers, soon.
 */
import { isIP } from 'node:net';
import { customFetch } from 'oauth4webapi';
import { Problem } from '../../../contract/problem.ts';
import { isForbidden } from '../../protocols/mcp/upstream/addresses.ts';
import { HttpClient, readText } from '../../protocols/mcp/upstream/httpExchange.ts';

/** Largest metadata document or token answer, in bytes, and the longest wait for one, in milliseconds. */
const MAX_ANSWER_BYTES = 256 * 1024;
const TIMEOUT_MS = 20_000;
const MAX_ADDRESS_CHARS = 2_000;
/** Never needed in an address, and means something to a shell or a log. */
// oxlint-disable-next-line no-control-regex -- exactly these are odd
const ODD = /[\s"'`$;|<>\\(){}^\u0000-\u001f\u007f-\uffff]/;

/** Whether the server itself is on this machine: then its authorization server may be, too. */
export function isLoopback(url: URL): boolean {
  return ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
}

/** @param near the server that named the address. @throws Problem `oauth-address` */
export function checkedAddress(text: unknown, near: URL, what: string): URL {
  const refuse = (why: string): Problem => new Problem('oauth-address', `${near.host} names an address for ${what} that Countersign does not use: ${why}.`);
  if (typeof text !== 'string' || text.length > MAX_ADDRESS_CHARS || ODD.test(text)) throw refuse('it is not a plain address');
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw refuse('it cannot be read');
  }
  const local = isLoopback(url) && isLoopback(near);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && local)) throw refuse('it is not https');
  if (url.username !== '' || url.password !== '' || url.hash !== '') throw refuse('it holds more than an address');
  const literal = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (!local && (isLoopback(url) || (isIP(literal) !== 0 && isForbidden(literal)))) throw refuse('it leads into this machine or its network link');
  return url;
}

export class SafeFetch {
  readonly #http = new HttpClient();
  readonly #near: URL;

  constructor(near: URL) {
    this.#near = near;
  }

  /** For `oauth4webapi`: `{ [customFetch]: … }`. */
  get options(): { [customFetch]: (url: string, options: { method?: string; headers?: Record<string, string>; body?: unknown }) => Promise<Response> } {
    return { [customFetch]: (url, { method = 'GET', headers = {}, body }) => this.#fetch(url, method, headers, body) };
  }

  /** A JSON document; undefined where there is none. */
  async json(url: URL): Promise<Record<string, unknown> | undefined> {
    const answer = await this.#fetch(url.href, 'GET', { accept: 'application/json' }, undefined);
    if (!answer.ok) return undefined;
    try {
      const value: unknown = await answer.json();
      return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
    } catch {
      return undefined;
    }
  }

  close(): void {
    this.#http.close();
  }

  async #fetch(address: string, method: string, headers: Readonly<Record<string, string>>, body: unknown): Promise<Response> {
    const url = checkedAddress(address, this.#near, 'signing in');
    if (method !== 'GET' && method !== 'POST') throw new Problem('oauth-address', 'Only GET and POST are sent to an authorization server.');
    const answer = await this.#http.send({
      method,
      url,
      headers,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      ...(body !== undefined && body !== null && { body: body instanceof URLSearchParams ? body.toString() : textOf(body) }),
    });
    const text = await readText(answer, MAX_ANSWER_BYTES);
    const type = answer.headers['content-type'];
    const bodiless = answer.status === 204 || answer.status === 304;
    return new Response(bodiless ? null : text, {
      status: answer.status,
      headers: {
        ...(type !== undefined && { 'content-type': type }),
        ...(answer.headers['www-authenticate'] !== undefined && { 'www-authenticate': answer.headers['www-authenticate'] }),
      },
    });
  }
}

function textOf(body: unknown): string {
  if (typeof body !== 'string') throw new Problem('oauth-address', 'Only forms and JSON are sent to an authorization server.');
  return body;
}
