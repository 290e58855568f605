/** What an MCP request does, as far as it can be told from outside. */
import type { Effect, Facts, McpFacts } from '../../../contract/facts.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import { maskJson } from './maskJson.ts';
import { isObject, type Json, type JsonObject } from './message.ts';

/** Largest arguments that policy may look into, in characters of JSON; larger ones make the effect unknown. */
const MAX_ARGS_CHARS = 65_536;

/** Requests that carry no content of their own either way: they pass without a decision, their answers as they are. */
const HOUSEKEEPING: ReadonlySet<string> = new Set([
  'initialize',
  'server/discover',
  'ping',
  'logging/setLevel',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/unsubscribe',
]);

/** Requests about a call that was decided already: they pass, their answers masked. */
const FOLLOW_UPS: ReadonlySet<string> = new Set(['tasks/get', 'tasks/result', 'tasks/list', 'tasks/cancel', 'tasks/update']);

export type Treatment = 'housekeeping' | 'follow-up' | 'operation';

/** Anything that is not known is an operation. */
export function treatmentOf(method: string): Treatment {
  if (HOUSEKEEPING.has(method)) return 'housekeeping';
  return FOLLOW_UPS.has(method) ? 'follow-up' : 'operation';
}

export type Hints = McpFacts['hints'];

/** A tool's hints as its server gives them. Nobody has checked them. */
export function hintsOf(tool: JsonObject): Hints {
  const annotations = isObject(tool.annotations) ? tool.annotations : {};
  const flag = (value: Json | undefined): boolean | undefined => (typeof value === 'boolean' ? value : undefined);
  const readOnly = flag(annotations.readOnlyHint);
  const destructive = flag(annotations.destructiveHint);
  const idempotent = flag(annotations.idempotentHint);
  const openWorld = flag(annotations.openWorldHint);
  return {
    ...(readOnly !== undefined && { readOnly }),
    ...(destructive !== undefined && { destructive }),
    ...(idempotent !== undefined && { idempotent }),
    ...(openWorld !== undefined && { openWorld }),
  };
}

/** Starting the server of a connection: the policy that names it has said that it may run, and a rule can still forbid it. */
export function connectFacts(connection: string): Facts {
  return {
    effect: 'read',
    verb: 'CONNECT',
    targets: [{ kind: 'server', name: connection }],
    bulk: false,
    sensitive: [],
    headline: `Start the MCP server ${connection}`.slice(0, 300),
    notes: ['as countersign.yaml says'],
    mcp: { method: 'initialize', tool: '', args: {}, hints: {} },
  };
}

/**
 * A tool runs code of the server's: `execute`, whatever its hints say, since the server wrote them; policy sees the hints
 * and may believe them (`when: mcp.hints.readOnly`). Facts are recorded, so all in them is masked.
 */
export function classify(method: string, params: JsonObject | undefined, hints: Hints, masking: SessionMasking): Facts {
  const name = nameOf(method, params);
  const shown = masking.scrub(name).text.slice(0, 200);
  const given = argumentsOf(method, params);
  const fits = JSON.stringify(given).length <= MAX_ARGS_CHARS;
  const args = fits ? maskJson(given, masking).value : {};
  const { effect, kind, headline } = meaning(method, shown);
  return {
    effect: fits ? effect : 'unknown',
    verb: method.slice(0, 60),
    targets: name === '' ? [] : [{ kind, name: shown }],
    bulk: false,
    sensitive: [],
    headline: headline.slice(0, 300),
    notes: notesOf(method, hints, fits),
    mcp: { method: method.slice(0, 200), tool: method === 'tools/call' ? shown : '', args: args as Record<string, unknown>, hints },
  };
}

function meaning(method: string, name: string): { readonly effect: Effect; readonly kind: string; readonly headline: string } {
  switch (method) {
    case 'tools/call':
      return { effect: 'execute', kind: 'tool', headline: `Call ${name}` };
    case 'resources/read':
      return { effect: 'read', kind: 'resource', headline: `Read ${name}` };
    case 'resources/subscribe':
      return { effect: 'read', kind: 'resource', headline: `Watch ${name}` };
    case 'prompts/get':
      return { effect: 'read', kind: 'prompt', headline: `Get prompt ${name}` };
    case 'completion/complete':
      return { effect: 'read', kind: 'prompt', headline: `Complete ${name}` };
    default:
      return { effect: 'unknown', kind: 'method', headline: `${method} ${name}`.trim() };
  }
}

function nameOf(method: string, params: JsonObject | undefined): string {
  const ref = isObject(params?.ref) ? params.ref : params;
  const value = method.startsWith('resources/') ? params?.uri : (ref?.name ?? ref?.uri);
  return typeof value === 'string' ? value.slice(0, 512) : '';
}

function argumentsOf(method: string, params: JsonObject | undefined): JsonObject {
  if (method === 'completion/complete') return isObject(params?.argument) ? params.argument : {};
  return isObject(params?.arguments) ? params.arguments : {};
}

function notesOf(method: string, hints: Hints, fits: boolean): string[] {
  if (method !== 'tools/call') return fits ? [] : ['arguments too large to look into'];
  return [
    ...(fits ? [] : ['arguments too large to look into']),
    ...(hints.readOnly ? ['its server says it only reads'] : []),
    ...(hints.destructive ? ['its server says it can destroy'] : []),
    ...(hints.openWorld ? ['its server says it reaches outside'] : []),
  ];
}

/** Equal for calls that differ in the values of their arguments only. */
export function shapeOfCall(method: string, params: JsonObject | undefined): string {
  return JSON.stringify([method, nameOf(method, params), Object.keys(argumentsOf(method, params)).sort()]);
}
