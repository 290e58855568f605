/**
 * What one server offers, as this session may see it: read whole and held to its pins before anything of it is used, read again
 * when the server says that it has changed, and shown to the client without what is quarantined or denied for good.
 */
import type { PinKind } from '../../../contract/pins.ts';
import { type Definition, definitionOf, keyOf } from '../../pinning/definition.ts';
import { MAX_OFFERED } from '../../pinning/pins.ts';
import type { Session } from '../../pipeline/session.ts';
import type { McpConnection } from '../../policy/policy.ts';
import type { ProtocolHost } from '../protocol.ts';
import { type Hints, hintsOf, listingFacts, MAX_URI_CHARS } from './classify.ts';
import type { Exchanges } from './exchanges.ts';
import { maskListed } from './maskListed.ts';
import { isObject, type Json, type JsonObject } from './message.ts';
import { withoutOrdersIn, withoutOrdersInMeta } from './orders.ts';
import { paramsWithoutSecrets } from './request.ts';

/** Pages of one list that are read; a server that goes on is flooding. */
const MAX_PAGES = 200;
/** How long a server may take to list what it has, in milliseconds; what it has not listed by then is not known. */
const READ_MS = 30_000;

/** Cursors that are remembered. */
const MAX_CURSORS = 1_000;
/** Addresses of resources that are remembered. */
const MAX_RESOURCES = 10_000;

interface List {
  readonly kind: PinKind;
  /** The key of the result that holds the items. */
  readonly key: string;
  readonly changed: string;
}

const LISTS: ReadonlyMap<string, List> = new Map([
  ['tools/list', { kind: 'tool', key: 'tools', changed: 'notifications/tools/list_changed' }],
  ['prompts/list', { kind: 'prompt', key: 'prompts', changed: 'notifications/prompts/list_changed' }],
  ['resources/templates/list', { kind: 'template', key: 'resourceTemplates', changed: 'notifications/resources/list_changed' }],
]);

/** One tool as its server describes it and as it was admitted. */
export interface KnownTool {
  readonly hints: Hints;
  readonly outputSchema: JsonObject | undefined;
  readonly hash: string;
}

export interface OfferOptions {
  readonly host: ProtocolHost;
  readonly connection: McpConnection;
  readonly session: Session;
  readonly exchanges: Exchanges;
}

export class Offer {
  readonly #options: OfferOptions;
  readonly #tools = new Map<string, KnownTool>();
  /** By kind and name, as the server described them when its list was last read; the last where it has two of a name. */
  readonly #definitions = new Map<string, Definition>();
  /** Method → the reading of that list; absent: to be read (again). */
  readonly #read = new Map<string, Promise<void>>();
  /** Where the server's lists go on. */
  readonly #cursors = new Set<string>();
  /** Addresses that the server has listed. */
  readonly #resources = new Set<string>();
  /** What the client was shown of a list, so that a change of policy that changes it can be told. */
  readonly #shown = new Map<string, string>();

  constructor(options: OfferOptions) {
    this.#options = options;
  }

  /** The server said that a list has changed: nothing of it is used until it was read again. */
  stale(notification: string): void {
    for (const [method, { changed }] of LISTS) if (changed === notification) this.#read.delete(method);
  }

  /** Undefined where the server does not list it. */
  async tool(name: string): Promise<KnownTool | undefined> {
    await this.#ready('tools/list');
    const definition = this.#definitions.get(keyOf({ kind: 'tool', name }));
    return definition && this.#admits(definition) ? this.#tools.get(name) : undefined;
  }

  /** Why a tool or prompt cannot be used until a person has looked at it; undefined where it can, or is not listed at all. */
  async quarantined(method: string, params: JsonObject | undefined): Promise<string | undefined> {
    const name = typeof params?.name === 'string' ? params.name : '';
    const kind: PinKind | undefined = method === 'tools/call' ? 'tool' : method === 'prompts/get' ? 'prompt' : undefined;
    if (kind === undefined) return undefined;
    await this.#ready(kind === 'tool' ? 'tools/list' : 'prompts/list');
    const definition = this.#definitions.get(keyOf({ kind, name }));
    if (!definition || this.#admits(definition)) return undefined;
    const { name: connection } = this.#options.connection;
    const why = this.#options.host.pins.view(connection).quarantined.find((one) => one.kind === kind && one.name === name)?.reasons[0];
    return `Refused: the ${kind} "${name.slice(0, 100)}" of ${connection} is in quarantine${why === undefined ? '' : ` because ${why}`}. A person has to look at it in the Connections view and accept it. Do without it until then.`;
  }

  /** What a client is shown of one page of a list. Nothing is added and no cursor changed. */
  async page(method: string, result: JsonObject): Promise<JsonObject> {
    const list = LISTS.get(method);
    const { session } = this.#options;
    const key = list?.key ?? (method === 'resources/list' ? 'resources' : undefined);
    if (key === undefined) return maskListed(result, session.masking);
    const { [key]: listed, ...rest } = result;
    this.#gave(rest.nextCursor);
    // What is no list cannot be held to what was accepted.
    if (!Array.isArray(listed)) return maskListed(rest, session.masking);
    if (list) await this.#ready(method);
    const items = (listed as readonly Json[]).filter((item) => this.#shows(method, list, item)).map(withoutOrdersInMeta);
    if (method === 'resources/list') for (const item of items) this.#note(item);
    // What is left depends on who asks: nobody else may be served it from a cache.
    return { ...maskListed({ ...rest, [key]: items }, session.masking), ...('cacheScope' in result && { cacheScope: 'private' }) };
  }

  /** What is sent for a list and the like: a cursor that the server gave out, and nothing else that looks like a secret. */
  asked(params: JsonObject | undefined): JsonObject | undefined {
    const { connection, session } = this.#options;
    const clean = paramsWithoutSecrets(params, connection, session.masking);
    const cursor = params?.cursor;
    return clean === params || typeof cursor !== 'string' || !this.#cursors.has(cursor) ? clean : { ...clean, cursor };
  }

  #gave(cursor: Json | undefined): void {
    if (typeof cursor !== 'string' || cursor.length > MAX_URI_CHARS) return;
    this.#cursors.add(cursor);
    for (const oldest of this.#cursors) {
      if (this.#cursors.size <= MAX_CURSORS) break;
      this.#cursors.delete(oldest);
    }
  }

  /** Whether the server has listed a resource of exactly this address. */
  lists(uri: unknown): boolean {
    return typeof uri === 'string' && this.#resources.has(uri);
  }

  /** Resources that an answer links to: its server has named them as well. What was masked on the way is no address of its, and the agent has not seen it. */
  linked(raw: JsonObject, shown: JsonObject): void {
    const seen = new Set(linksIn(shown).map(({ uri }) => uri));
    for (const link of linksIn(raw)) if (seen.has(link.uri)) this.#note(link);
  }

  #note(item: Json): void {
    if (!isObject(item) || typeof item.uri !== 'string' || item.uri.length > MAX_URI_CHARS) return;
    this.#resources.add(item.uri);
    for (const oldest of this.#resources) {
      if (this.#resources.size <= MAX_RESOURCES) break;
      this.#resources.delete(oldest);
    }
  }

  /** A server's answer to `initialize` or `server/discover`, without instructions that nobody has accepted. */
  async introduction(result: JsonObject): Promise<JsonObject> {
    const { host, connection, session } = this.#options;
    const { instructions, ...rest } = withoutOrdersIn(result);
    const listening = maskListed(promiseChanges(rest), session.masking);
    if (typeof instructions !== 'string') return listening;
    const definition = definitionOf('instructions', instructions);
    if (!definition) return listening;
    await host.pins.meet(connection.name, 'instructions', [definition], connection.pin ?? 'first-use');
    if (!host.pins.admits(connection.name, definition)) return listening;
    return { ...listening, instructions: session.masking.scrub(instructions).text };
  }

  /** The lists that the policy now in force would show otherwise than they were shown. */
  async changedByPolicy(): Promise<readonly string[]> {
    const changed: string[] = [];
    for (const [method, before] of this.#shown) {
      this.#read.delete(method);
      await this.#ready(method);
      if (this.#shown.get(method) !== before) changed.push(LISTS.get(method)?.changed ?? '');
    }
    return changed;
  }

  #shows(method: string, list: List | undefined, item: Json): boolean {
    if (!isObject(item) || this.#deniedForGood(method, item)) return false;
    if (!list) return true;
    const definition = definitionOf(list.kind, item);
    // What the server says now counts, not what it said when its whole list was read.
    if (definition === undefined) return false;
    if (this.#admits(definition)) return true;
    this.#definitions.set(keyOf(definition), definition);
    return false;
  }

  #admits(definition: Definition): boolean {
    const { host, connection } = this.#options;
    return host.pins.admits(connection.name, definition);
  }

  #deniedForGood(method: string, item: JsonObject): boolean {
    const { host, connection, session } = this.#options;
    const { actor, surface } = session.request;
    const facts = listingFacts(method, item, connection, session.masking);
    return host.engine.policy().deniedForGood(facts, { actor, connection: connection.name, protocol: 'mcp', surface, conversationRead: [] });
  }

  #ready(method: string): Promise<void> {
    let reading = this.#read.get(method);
    if (!reading) {
      const begun = this.#readAll(method);
      reading = begun;
      this.#read.set(method, begun);
      // What could not be compared with what was accepted is read again by whoever needs it next.
      begun.catch(() => this.#read.get(method) === begun && this.#read.delete(method));
    }
    return reading;
  }

  async #readAll(method: string): Promise<void> {
    const list = LISTS.get(method);
    if (!list) return;
    const { host, connection } = this.#options;
    const items = await this.#everyPage(method, list.key);
    const definitions = items.flatMap((item) => definitionOf(list.kind, item) ?? []);
    await host.pins.meet(connection.name, list.kind, definitions, connection.pin ?? 'first-use');
    const shown: string[] = [];
    if (list.kind === 'tool') this.#tools.clear();
    for (const [key, { kind }] of this.#definitions) if (kind === list.kind) this.#definitions.delete(key);
    for (const item of items) {
      const definition = definitionOf(list.kind, item);
      if (!isObject(item) || !definition) continue;
      const key = keyOf(definition);
      const twin = this.#definitions.get(key);
      // Two of one name: whichever is not accepted stands for both.
      if (!twin || this.#admits(twin)) this.#definitions.set(key, definition);
      if (list.kind === 'tool') {
        this.#tools.set(definition.name, {
          hints: hintsOf(item),
          hash: definition.hash,
          outputSchema: isObject(item.outputSchema) ? item.outputSchema : undefined,
        });
      }
      if (this.#admits(definition) && !this.#deniedForGood(method, item)) shown.push(definition.name);
    }
    this.#shown.set(method, shown.join('\0'));
  }

  /** Of a server that does not have the list, nothing. */
  async #everyPage(method: string, key: string): Promise<readonly Json[]> {
    const { exchanges, session } = this.#options;
    const signal = AbortSignal.any([session.signal, AbortSignal.timeout(READ_MS)]);
    const items: Json[] = [];
    let cursor: Json | undefined;
    for (let page = 0; page < MAX_PAGES && items.length < MAX_OFFERED; page++) {
      const reply = await exchanges.forward(method, cursor === undefined ? {} : { cursor }, { signal, notify: () => {} });
      if ('error' in reply || !Array.isArray(reply.result[key])) break;
      items.push(...(reply.result[key] as readonly Json[]));
      cursor = reply.result.nextCursor;
      if (typeof cursor !== 'string') break;
    }
    return items.slice(0, MAX_OFFERED);
  }
}

/** The links among the blocks of a call's answer, and of a prompt's messages. */
function linksIn({ content, messages }: JsonObject): readonly JsonObject[] {
  const said = Array.isArray(messages) ? (messages as readonly Json[]).flatMap((message) => (isObject(message) && message.content) || []) : [];
  return [...(Array.isArray(content) ? (content as readonly Json[]) : []), ...said].filter(isObject).filter(({ type }) => type === 'resource_link');
}

/** We tell a client when policy or a quarantine changes a list, whether or not its server ever would. */
function promiseChanges(result: JsonObject): JsonObject {
  if (!isObject(result.capabilities)) return result;
  const capabilities: Record<string, Json> = { ...result.capabilities };
  for (const name of ['tools', 'prompts']) {
    const said = capabilities[name];
    if (isObject(said)) capabilities[name] = { ...said, listChanged: true };
  }
  return { ...result, capabilities };
}
