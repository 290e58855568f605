/** Headers of the stateless era that repeat a message's body (`Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`), always made from it. */
import { isObject, type Json, type JsonObject } from '../message.ts';

/** Tools whose declarations are remembered. */
const MAX_TOOLS = 5_000;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}$/;

export interface Declaration {
  readonly path: readonly string[];
  readonly header: string;
}

/** Which of a method's parameters `Mcp-Name` repeats. */
export const NAMED: Readonly<Record<string, string>> = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
};

export class ParamHeaders {
  readonly #tools = new Map<string, readonly Declaration[]>();

  /** Takes what a `tools/list` answer declares. */
  learn(result: JsonObject): void {
    for (const tool of Array.isArray(result.tools) ? (result.tools as readonly Json[]) : []) {
      if (!isObject(tool) || typeof tool.name !== 'string' || (this.#tools.size >= MAX_TOOLS && !this.#tools.has(tool.name))) continue;
      const found: Declaration[] = [];
      findDeclared(tool.inputSchema, [], found);
      this.#tools.set(tool.name, found);
    }
  }

  /** What a tool's call repeats in headers, as far as its server has said. */
  declared(tool: string): readonly Declaration[] {
    return this.#tools.get(tool) ?? [];
  }

  of(method: string, params: JsonObject | undefined): Record<string, string> {
    const out: Record<string, string> = { 'Mcp-Method': method };
    const field = NAMED[method];
    const name = field === undefined ? undefined : params?.[field];
    if (typeof name === 'string') out['Mcp-Name'] = encodeHeaderValue(name);
    if (method !== 'tools/call' || typeof name !== 'string') return out;
    for (const { path, header } of this.declared(name)) {
      const value = valueAt(params?.arguments, path);
      const text = textOf(value);
      if (text !== undefined) out[`Mcp-Param-${header}`] = encodeHeaderValue(text);
    }
    return out;
  }
}

function findDeclared(schema: Json | undefined, path: readonly string[], found: Declaration[]): void {
  if (!isObject(schema) || path.length > 20) return;
  const header = schema['x-mcp-header'];
  if (typeof header === 'string' && TOKEN.test(header) && path.length > 0) found.push({ path, header });
  if (!isObject(schema.properties)) return;
  for (const [key, inner] of Object.entries(schema.properties)) findDeclared(inner, [...path, key], found);
}

export function valueAt(value: Json | undefined, path: readonly string[]): Json | undefined {
  let at = value;
  for (const key of path) {
    if (!isObject(at) || !Object.hasOwn(at, key)) return undefined;
    at = at[key];
  }
  return at;
}

export function textOf(value: Json | undefined): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'boolean' || (typeof value === 'number' && Number.isSafeInteger(value)) ? String(value) : undefined;
}

const ENCODED = /^=\?base64\?.*\?=$/;

/** A value that a header cannot hold as it is goes in Base64, marked (2026-07-28, Streamable HTTP, "Value Encoding"). */
export function encodeHeaderValue(text: string): string {
  if (text !== '' && text === text.trim() && /^[\t\x20-\x7e]*$/.test(text) && !ENCODED.test(text)) return text;
  return `=?base64?${Buffer.from(text).toString('base64')}?=`;
}
