/** JSON-RPC messages as they cross the edge: parsed once, strictly, and written again from what was parsed. */
import { Problem } from '../../../contract/problem.ts';

/** Longest message from a server, in characters. */
export const MAX_MESSAGE_CHARS = 64 * 1024 * 1024;
/** Deepest nesting of a message. */
export const MAX_DEPTH = 100;
/** Longest method name, in characters. */
const MAX_METHOD = 200;

export type Id = string | number;
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
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

/**
 * JSON with one meaning only: no key twice, no `__proto__`, bounded depth. Numbers that a double cannot hold are kept as
 * they were written.
 * @throws a `Problem`
 */
export function parseStrict(text: string): Json {
  let checked: unknown;
  try {
    checked = JSON.parse(text);
  } catch (cause) {
    throw new Problem('malformed-json', 'A message was refused: it is not JSON.', { cause });
  }
  const exact = scan(text);
  return (exact ? parseExact(text) : checked) as Json;
}

const refuse = (what: string): Problem => new Problem('ambiguous-json', `A message was refused: ${what}.`);

/** Walks text that is known to be JSON. Returns whether it has a number that must be kept as written. */
function scan(text: string): boolean {
  const keys: (Set<string> | undefined)[] = [];
  let exact = false;
  let expectKey = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 34) {
      const start = i;
      for (i++; text.charCodeAt(i) !== 34; i++) if (text.charCodeAt(i) === 92) i++;
      if (!expectKey) continue;
      expectKey = false;
      const raw = text.slice(start + 1, i);
      const key = raw.includes('\\') ? (JSON.parse(text.slice(start, i + 1)) as string) : raw;
      if (key === '__proto__') throw refuse('it holds a key "__proto__"');
      const own = keys.at(-1);
      if (own?.has(key)) throw refuse('it holds a key twice');
      own?.add(key);
    } else if (code === 123 || code === 91) {
      keys.push(code === 123 ? new Set() : undefined);
      if (keys.length > MAX_DEPTH) throw refuse(`it is nested deeper than ${MAX_DEPTH}`);
      expectKey = code === 123;
    } else if (code === 125 || code === 93) {
      keys.pop();
      expectKey = false;
    } else if (code === 44) expectKey = keys.at(-1) !== undefined;
    else if (code === 45 || (code >= 48 && code <= 57)) {
      const start = i;
      while (/[-+.0-9eE]/.test(text.charAt(i + 1))) i++;
      if (i - start >= 15 || /[eE]/.test(text.slice(start, i))) exact ||= isInexact(text.slice(start, i + 1));
    }
  }
  return exact;
}

function isInexact(literal: string): boolean {
  const value = Number(literal);
  return /^-?\d+$/.test(literal) ? !Number.isSafeInteger(value) : !Number.isFinite(value);
}

/** Keeps integers beyond 2^53 as raw JSON (ECMAScript's JSON.parse source text access; in every Node that runs this). */
function parseExact(text: string): unknown {
  const rawJson = (JSON as unknown as { rawJSON?: (text: string) => unknown }).rawJSON;
  if (!rawJson) return JSON.parse(text);
  const reviver = (_key: string, value: unknown, context?: { source?: string }): unknown =>
    typeof value === 'number' && context?.source !== undefined && isInexact(context.source) ? rawJson(context.source) : value;
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}

/** Depth and keys of JSON that something else has parsed. @throws a `Problem` */
export function checkParsed(value: unknown): void {
  const stack: { readonly value: unknown; readonly depth: number }[] = [{ value, depth: 0 }];
  for (let next = stack.pop(); next; next = stack.pop()) {
    if (typeof next.value !== 'object' || next.value === null) continue;
    if (next.depth >= MAX_DEPTH) throw refuse(`it is nested deeper than ${MAX_DEPTH}`);
    if (Object.hasOwn(next.value, '__proto__')) throw refuse('it holds a key "__proto__"');
    for (const inner of Object.values(next.value)) stack.push({ value: inner, depth: next.depth + 1 });
  }
}
