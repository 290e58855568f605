/** JSON-RPC messages as they cross the edge: parsed once, strictly, and written again from what was parsed. */
import { Problem } from '../../../contract/problem.ts';
import { type Json, parseStrict } from '../../http/strictJson.ts';

/** Longest message from a server, in characters. */
export const MAX_MESSAGE_CHARS = 64 * 1024 * 1024;
/** Longest method name, in characters. */
const MAX_METHOD = 200;

export type Id = string | number;
export type { Json };
export type JsonObject = { readonly [key: string]: Json };

export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: Json;
}
export type Reply = { readonly result: JsonObject } | { readonly error: RpcError };

export type Message =
  | { readonly kind: 'request'; readonly id: Id; readonly method: string; readonly params: JsonObject | undefined }
  | { readonly kind: 'notification'; readonly method: string; readonly params: JsonObject | undefined }
  | { readonly kind: 'response'; readonly id: Id; readonly reply: Reply };

/** @throws a `Problem` that says what is wrong with it, and quotes nothing */
export function parseMessage(text: string): Message {
  if (text.length > MAX_MESSAGE_CHARS) throw new Problem('message-too-long', `A message of more than ${MAX_MESSAGE_CHARS} characters was refused.`);
  return readMessage(parseStrict(text));
}

/** The same for JSON that has been parsed already. */
export function readMessage(value: unknown): Message {
  if (!isObject(value) || value.jsonrpc !== '2.0') throw malformed();
  const { id, method, params, result, error } = value;
  if (method !== undefined) {
    if (typeof method !== 'string' || method.length > MAX_METHOD || (params !== undefined && !isObject(params))) throw malformed();
    if (id === undefined) return { kind: 'notification', method, params };
    if (!isId(id)) throw malformed();
    return { kind: 'request', id, method, params };
  }
  if (!isId(id)) throw malformed();
  if (isObject(result)) return { kind: 'response', id, reply: { result } };
  if (isObject(error) && typeof error.code === 'number' && typeof error.message === 'string') {
    return { kind: 'response', id, reply: { error: { code: error.code, message: error.message, ...(error.data !== undefined && { data: error.data }) } } };
  }
  throw malformed();
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is Id {
  return (typeof value === 'string' && value.length <= 256) || (typeof value === 'number' && Number.isFinite(value));
}

function malformed(): Problem {
  return new Problem('malformed-message', 'A message was refused: it is not JSON-RPC 2.0 as MCP uses it.');
}
