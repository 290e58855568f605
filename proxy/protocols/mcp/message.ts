/** JSON-RPC messages as they cross the edge: parsed once, strictly, and written again from what was parsed. */
import { Problem } from '../../../contract/problem.ts';
import { type Json, parseStrict } from '../../http/strictJson.ts';
import { isLong, quotedBytes } from '../../recording/quoted.ts';
import { type Text, TextWriter } from '../../recording/utf8.ts';

/** Longest message from a server, in characters. */
export const MAX_MESSAGE_CHARS = 64 * 1024 * 1024;
/** Blocks of an answer's content that are written one by one. */
const MAX_BLOCKS = 16;
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

/** Long texts of an answer stand so deep in it: in the message, its result, its content, a block. */
const LONG_TEXTS_AT = 4;

/** A message as JSON, as `JSON.stringify` writes it; a long text of its content is quoted once for it and for its record. */
export function messageText(message: object): Text {
  const writer = new TextWriter();
  write(message, 0, writer);
  return writer.text;
}

function write(value: object, depth: number, writer: TextWriter): void {
  const list = Array.isArray(value);
  writer.add(list ? '[' : '{');
  let first = true;
  for (const [key, member] of Object.entries(value) as [string, Json | undefined][]) {
    if (member === undefined) continue;
    if (!first) writer.add(',');
    first = false;
    if (!list) writer.add(`${JSON.stringify(key)}:`);
    if (typeof member === 'string' && isLong(member)) writer.bytes(quotedBytes(member).bytes);
    else if (leadsToText(key, member, depth + 1)) write(member, depth + 1, writer);
    else writer.add(JSON.stringify(member));
  }
  writer.add(list ? ']' : '}');
}

/** Only what stands where an answer has its texts is gone into: the platform writes everything else faster. */
function leadsToText(key: string, member: Json, depth: number): member is JsonObject | readonly Json[] {
  if (depth === 1) return key === 'result' && isObject(member) && Array.isArray(member.content);
  if (depth === 2) return key === 'content' && Array.isArray(member) && member.length <= MAX_BLOCKS;
  return depth < LONG_TEXTS_AT && isObject(member) && typeof member.text === 'string';
}

function isId(value: unknown): value is Id {
  return (typeof value === 'string' && value.length <= 256) || (typeof value === 'number' && Number.isFinite(value));
}

function malformed(): Problem {
  return new Problem('malformed-message', 'A message was refused: it is not JSON-RPC 2.0 as MCP uses it.');
}
