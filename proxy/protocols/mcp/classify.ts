/** What an MCP request does, as far as it can be told from outside. */
import { type Effect, type Facts, type McpFacts, mergeFacts } from '../../../contract/facts.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import type { McpConnection } from '../../policy/policy.ts';
import type { MaskedJson } from './maskJson.ts';
import { isObject, type Json, type JsonObject } from './message.ts';
import { otherForms } from './uriForms.ts';

/** Largest arguments that policy may look into, in characters of JSON; of larger ones the effect is not known. */
const MAX_ARGS_CHARS = 65_536;

/** Longest names that policy is shown whole, in characters. */
const MAX_TOOL_CHARS = 200;
const MAX_TARGET_CHARS = 512;
/** Longest address whose other spellings are looked for, in characters; no longer one is sent. */
export const MAX_URI_CHARS = 8_192;

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

/** Requests about a call that was decided already. */
const FOLLOW_UPS: ReadonlySet<string> = new Set(['tasks/get', 'tasks/result', 'tasks/list', 'tasks/cancel', 'tasks/update']);

/** What a client tells of itself and of what it was asked; anything else that it tells is an operation. */
const TOLD: ReadonlySet<string> = new Set([
  'notifications/initialized',
  'notifications/progress',
  'notifications/roots/list_changed',
  'notifications/tasks/status',
]);

export function isTold(notification: string): boolean {
  return TOLD.has(notification);
}

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

/** What is known of a request besides its bytes. */
export interface Ground {
  readonly connection: McpConnection;
  /** What the server says of the tool; undefined where it lists none of that name. */
  readonly hints: Hints | undefined;
  readonly masking: SessionMasking;
  /** The server itself has named the resource, so that its address carries nothing. */
  readonly listed?: boolean;
  /** The server asks it of the client. */
  readonly ofClient?: boolean;
}

export interface Classified {
  /** As policy sees it: with what is in it. */
  readonly parts: readonly [Facts, ...Facts[]];
  /** The same as one, masked: what is recorded. */
  readonly recorded: Facts;
}

/** What a request does. A call that hands on the name of another tool is a call of that one as well. */
export function classify(method: string, params: JsonObject | undefined, masked: MaskedJson<JsonObject>, ground: Ground): Classified {
  const name = nameOf(method, params);
  const args = argumentsOf(method, params);
  const fits = JSON.stringify(args).length <= MAX_ARGS_CHARS;
  const named = name.length <= (method === 'tools/call' ? MAX_TOOL_CHARS : MAX_TARGET_CHARS);
  const first = factsOf(method, name, fits ? args : {}, [...new Set(masked.places.map(({ by }) => by))].sort(), ground);
  const parts: [Facts, ...Facts[]] = [first];
  // What is too large to look into could hold anything that a rule speaks of; the rest of what is known still counts.
  if (!fits) parts.push({ ...first, effect: 'unknown', notes: ['arguments too large to look into', ...first.notes] });
  if (!named) parts.push({ ...first, effect: 'unknown', notes: ['a name too long to look into', ...first.notes] });
  if (method === 'tools/call')
    for (const inner of toolsNamedIn(args, name)) parts.push(factsOf(method, inner.name, inner.args, [], { ...ground, hints: {} }, name));
  const merged = mergeFacts(parts);
  const scrub = (text: string, most: number): string => ground.masking.scrub(text).text.slice(0, most);
  // Half a secret looks like none: what would be cut is masked before it is.
  const cut = name.length > MAX_TOOL_CHARS ? factsOf(method, scrub(name, MAX_URI_CHARS), {}, [], ground) : merged;
  const recorded: Facts = {
    ...merged,
    verb: scrub(method, 60),
    targets: cut.targets.map((target) => ({ ...target, name: scrub(target.name, MAX_TARGET_CHARS) })),
    headline: scrub(cut.headline, 300),
    ...(merged.mcp && {
      mcp: {
        ...merged.mcp,
        method: scrub(method, 200),
        tool: scrub(cut.mcp?.tool ?? '', MAX_TOOL_CHARS),
        args: fits ? (argumentsOf(method, masked.value) as Record<string, unknown>) : {},
      },
    }),
  };
  return { parts, recorded };
}

/** About a call that was decided: fetching what it has come to, ending it, telling its server what it wanted to know. */
export function taskFacts(method: string, call: string, secrets: readonly string[] = []): Classified {
  const doing = ABOUT_TASKS[method] ?? 'Fetch what came of';
  const facts: Facts = {
    effect: 'read',
    verb: method.slice(0, 60),
    targets: [],
    bulk: false,
    sensitive: [],
    headline: `${doing}: ${call}`.slice(0, 300),
    notes: [],
    // An answer goes to the server, whatever was read since it was asked for.
    mcp: { method, tool: '', args: {}, hints: {}, outward: method === 'tasks/update', secrets: secrets.slice(0, 50) },
  };
  return { parts: [facts], recorded: facts };
}

const ABOUT_TASKS: Readonly<Record<string, string>> = { 'tasks/cancel': 'Cancel', 'tasks/update': 'Answer what the server asks for' };

/** An item of a list as the facts of using it would be, whatever its arguments: what policy denies of this is not shown. */
export function listingFacts(method: string, item: JsonObject, connection: McpConnection, masking: SessionMasking): Facts {
  const text = (value: Json | undefined): string => (typeof value === 'string' ? value.slice(0, 512) : '');
  switch (method) {
    case 'tools/list':
      return factsOf('tools/call', text(item.name), {}, [], { connection, hints: hintsOf(item), masking });
    case 'prompts/list':
      return factsOf('prompts/get', text(item.name), {}, [], { connection, hints: undefined, masking });
    default:
      return factsOf('resources/read', text(item.uri ?? item.uriTemplate), {}, [], { connection, hints: undefined, masking, listed: true });
  }
}

function factsOf(method: string, name: string, args: JsonObject, secrets: readonly string[], ground: Ground, through?: string): Facts {
  const { effect, kind, headline, outward } = meaning(method, name.slice(0, MAX_TOOL_CHARS), args, ground);
  return {
    effect,
    verb: method.slice(0, 60),
    targets: name === '' ? [] : [name, ...(kind === 'resource' ? otherForms(name) : [])].map((one) => ({ kind, name: one.slice(0, MAX_TARGET_CHARS) })),
    bulk: false,
    sensitive: [],
    headline: (through === undefined ? headline : `${headline} through ${through}`).slice(0, 300),
    notes: notesOf(method, ground, secrets),
    mcp: {
      method: method.slice(0, 200),
      tool: method === 'tools/call' ? name.slice(0, MAX_TOOL_CHARS) : '',
      args: args as Record<string, unknown>,
      hints: ground.hints ?? {},
      outward,
      secrets: secrets.slice(0, 50),
    },
  };
}

interface Meaning {
  readonly effect: Effect;
  readonly kind: string;
  readonly headline: string;
  readonly outward: boolean;
}

function meaning(method: string, name: string, args: JsonObject, ground: Ground): Meaning {
  const carries = Object.keys(args).length > 0;
  // Each side has requests that the other is never asked: there they are like any that nobody knows.
  switch (ASKED_OF_CLIENTS.has(method) === (ground.ofClient === true) ? method : '') {
    case 'tools/call':
      return { ...callMeaning(ground), kind: 'tool', headline: `Call ${name}` };
    case 'resources/read':
    case 'resources/subscribe':
      return {
        effect: 'read',
        kind: 'resource',
        headline: `${method === 'resources/read' ? 'Read' : 'Watch'} ${name}`,
        outward: ground.listed !== true || REMOTE.test(name),
      };
    case 'prompts/get':
      return { effect: 'read', kind: 'prompt', headline: `Get prompt ${name}`, outward: carries };
    case 'completion/complete':
      return { effect: 'read', kind: 'prompt', headline: `Complete ${name}`, outward: carries };
    // In the other direction: what the server asks of the client goes to the server.
    case 'sampling/createMessage':
      return { effect: 'send', kind: 'method', headline: 'Ask the client’s model, for the server', outward: true };
    case 'elicitation/create':
      return { effect: 'read', kind: 'method', headline: 'Ask the person something, for the server', outward: true };
    case 'roots/list':
      return { effect: 'read', kind: 'method', headline: 'Tell the server the workspace’s folders', outward: false };
    default:
      return { effect: 'unknown', kind: 'method', headline: `${method} ${name}`.trim(), outward: true };
  }
}

const ASKED_OF_CLIENTS: ReadonlySet<string> = new Set(['sampling/createMessage', 'elicitation/create', 'roots/list']);

const REMOTE = /^(?:https?|wss?|ftps?|mailto|sftp|ssh|git):/i;

/**
 * A tool runs code of the server's: `execute`, whatever its hints say, since the server wrote them. Where policy believes them
 * they say what it does, by the specification's own defaults (a tool that is not said to be otherwise may destroy, and reaches
 * outside). A tool that its server does not list could be anything.
 */
function callMeaning({ connection, hints }: Ground): { readonly effect: Effect; readonly outward: boolean } {
  if (hints === undefined) return { effect: 'unknown', outward: true };
  if (connection.hints !== 'believe') return { effect: 'execute', outward: true };
  const outward = hints.openWorld !== false;
  if (hints.readOnly === true) return { effect: hints.destructive === true ? 'execute' : 'read', outward };
  if (hints.destructive === false) return { effect: hints.openWorld === true ? 'send' : 'write', outward };
  return { effect: hints.destructive === true ? 'delete' : 'execute', outward };
}

/** Keys under which one tool is told the name of another. */
const NAMING = /^(?:name|tool|tool_?name|function|function_?name|action|method|operation|command|target_?tool)$/i;
const HANDED_ON = ['arguments', 'args', 'params', 'parameters', 'input', 'tool_input', 'toolInput', 'payload'] as const;
const MAX_NAMED_TOOLS = 20;

/** Calls inside a call: an argument that names a tool, beside an object that could be its arguments. */
function toolsNamedIn(args: JsonObject, own: string): { readonly name: string; readonly args: JsonObject }[] {
  const found: { name: string; args: JsonObject }[] = [];
  const look = (value: Json, depth: number): void => {
    if (depth > 8 || found.length >= MAX_NAMED_TOOLS || typeof value !== 'object' || value === null) return;
    if (Array.isArray(value)) {
      for (const item of value as readonly Json[]) look(item, depth + 1);
      return;
    }
    const object = value as JsonObject;
    const inner = HANDED_ON.map((key) => object[key]).find((one) => isObject(one) || typeof one === 'string');
    for (const [key, one] of Object.entries(object)) {
      if (typeof one === 'string' && inner !== undefined && NAMING.test(key) && one !== own && /^[\w./:-]{1,128}$/.test(one)) {
        found.push({ name: one, args: isObject(inner) ? inner : parsed(inner) });
      }
      look(one, depth + 1);
    }
  };
  look(args, 0);
  return found.slice(0, MAX_NAMED_TOOLS);
}

function parsed(text: Json): JsonObject {
  try {
    const value: unknown = typeof text === 'string' ? JSON.parse(text) : undefined;
    return isObject(value) ? value : {};
  } catch {
    return {};
  }
}

function nameOf(method: string, params: JsonObject | undefined): string {
  const ref = isObject(params?.ref) ? params.ref : params;
  const value = method.startsWith('resources/') ? params?.uri : (ref?.name ?? ref?.uri);
  return typeof value === 'string' ? value.slice(0, MAX_URI_CHARS) : '';
}

function argumentsOf(method: string, params: JsonObject | undefined): JsonObject {
  if (method === 'completion/complete') return isObject(params?.argument) ? params.argument : {};
  return isObject(params?.arguments) ? params.arguments : {};
}

function notesOf(method: string, { hints }: Ground, secrets: readonly string[]): string[] {
  const found = secrets.length > 0 ? [`its arguments hold: ${secrets.join(', ')}`.slice(0, 300)] : [];
  if (method !== 'tools/call') return found;
  if (hints === undefined) return [...found, 'its server does not list this tool'];
  return [
    ...found,
    ...(hints.destructive ? ['its server says it can destroy'] : []),
    ...(hints.openWorld ? ['its server says it reaches outside'] : []),
    ...(hints.readOnly ? ['its server says it only reads'] : []),
  ];
}

/** Equal for calls that differ in the values of their arguments only. */
export function shapeOfCall(method: string, params: JsonObject | undefined): string {
  return JSON.stringify([method, nameOf(method, params), Object.keys(argumentsOf(method, params)).sort()]);
}
