/** The headers of a request of the stateless era, held against its body: what they say must be the same (-32020). */
import { classifyInboundRequest } from '@modelcontextprotocol/server';
import type { Asked } from '../../../http/answering.ts';
import { isObject, type Json, type JsonObject } from '../message.ts';
import { type Declaration, NAMED, textOf, valueAt } from '../upstream/paramHeaders.ts';

const HEADER_MISMATCH = -32_020;
const UNSUPPORTED_VERSION = -32_022;
export const STATELESS_VERSION = '2026-07-28';
const VERSION_META = 'io.modelcontextprotocol/protocolVersion';

export type ExchangeHeaders = ReadonlyMap<string, string>;

export type Read =
  | { readonly kind: 'sessions' }
  | { readonly kind: 'stateless'; readonly headers: ExchangeHeaders }
  | { readonly kind: 'refused'; readonly status: number; readonly body: JsonObject };

/** Which era a request is of, and whether its headers say the same as its body. */
export function readExchange(request: Asked, body: unknown): Read {
  const header = (name: string): string | undefined => {
    const value = request.headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  const version = header('mcp-protocol-version');
  const method = header('mcp-method');
  const name = header('mcp-name');
  const route = classifyInboundRequest({
    httpMethod: 'POST',
    body,
    ...(version !== undefined && { protocolVersionHeader: version }),
    ...(method !== undefined && { mcpMethodHeader: method }),
    ...(name !== undefined && { mcpNameHeader: name }),
  });
  if (route.kind === 'legacy') return { kind: 'sessions' };
  if (route.kind === 'reject') return refused(body, route.httpStatus, route.code, route.message, route.data as Json | undefined);
  const { params } = route.message as { readonly params?: JsonObject };
  const claimed = isObject(params?._meta) ? params._meta[VERSION_META] : undefined;
  if (route.messageKind === 'request' && claimed !== STATELESS_VERSION) {
    const requested = typeof claimed === 'string' ? claimed : 'unknown';
    return refused(body, 400, UNSUPPORTED_VERSION, 'This version of the protocol is not spoken here.', { supported: [STATELESS_VERSION], requested });
  }
  if (method !== route.message.method) return mismatch(body, 'Mcp-Method is not the method of the message.');
  const field = NAMED[route.message.method];
  const value = field === undefined ? undefined : params?.[field];
  if (field !== undefined && typeof value === 'string' && (name === undefined || decode(name) !== value)) {
    return mismatch(body, `Mcp-Name is not the ${field} of the message.`);
  }
  const headers = Object.entries(request.headers).flatMap(([key, held]) =>
    key.startsWith('mcp-param-') && typeof held === 'string' ? [[key, held] as const] : [],
  );
  return { kind: 'stateless', headers: new Map(headers) };
}

/** Holds a call's `Mcp-Param-*` headers against its arguments. Returns what is wrong, in a sentence. */
export function paramMismatch(declared: readonly Declaration[], args: Json | undefined, headers: ExchangeHeaders): string | undefined {
  for (const { header, path } of declared) {
    const given = headers.get(`mcp-param-${header.toLowerCase()}`);
    const text = textOf(valueAt(args, path));
    if (given === undefined ? text !== undefined : decode(given) !== text) return `Mcp-Param-${header} is not what the arguments say.`;
  }
  return undefined;
}

function mismatch(body: unknown, message: string): Extract<Read, { kind: 'refused' }> {
  return refused(body, 400, HEADER_MISMATCH, message);
}

function refused(body: unknown, status: number, code: number, message: string, data?: Json): Extract<Read, { kind: 'refused' }> {
  const id = isObject(body) && (typeof body.id === 'string' || typeof body.id === 'number') ? body.id : null;
  return { kind: 'refused', status, body: { jsonrpc: '2.0', id, error: { code, message, ...(data !== undefined && { data }) } } };
}

/** A header's value as text; undefined where it is marked as Base64 and is none. */
function decode(value: string): string | undefined {
  const inner = /^=\?base64\?(.*)\?=$/.exec(value)?.[1];
  if (inner === undefined) return value;
  const bytes = Buffer.from(inner, 'base64');
  return bytes.toString('base64') === inner ? bytes.toString() : undefined;
}
