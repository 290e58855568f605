/** `subscriptions/listen` of the stateless era: streams on which a client hears of the changes that it asked for. */
import type { EventReply } from './http/eventReply.ts';
import { type Id, isObject, type Json, type JsonObject } from './message.ts';

/** Streams of one client. */
const MAX_LISTENERS = 100;
const SUBSCRIPTION = 'io.modelcontextprotocol/subscriptionId';
const CHANGES: Readonly<Record<string, string>> = {
  'notifications/tools/list_changed': 'toolsListChanged',
  'notifications/prompts/list_changed': 'promptsListChanged',
  'notifications/resources/list_changed': 'resourcesListChanged',
};

interface Listener {
  readonly id: Id;
  readonly reply: EventReply;
  readonly changes: ReadonlySet<string>;
  readonly uris: ReadonlySet<string>;
}

export class Listeners {
  readonly #listeners = new Set<Listener>();

  /** Takes what a client wants to hear, as far as the server can tell it, of `tasks` as well. Returns the resources to watch. */
  add(id: Id, params: JsonObject | undefined, capabilities: JsonObject, reply: EventReply, tasks: readonly string[]): readonly string[] {
    if (this.#listeners.size >= MAX_LISTENERS) {
      reply.end({ jsonrpc: '2.0', id, error: { code: -32_603, message: 'Subscription limit reached' } });
      return [];
    }
    const wanted = isObject(params?.notifications) ? params.notifications : {};
    const tells = (name: string, what: string): boolean => isObject(capabilities[name]) && capabilities[name][what] === true;
    const changes = new Set(
      ['tools', 'prompts', 'resources']
        .map((name) => `${name}ListChanged`)
        .filter((name) => wanted[name] === true && tells(name.replace('ListChanged', ''), 'listChanged')),
    );
    const asked = Array.isArray(wanted.resourceSubscriptions) ? (wanted.resourceSubscriptions as readonly Json[]) : [];
    const uris = tells('resources', 'subscribe') ? asked.filter((uri) => typeof uri === 'string') : [];
    const listener: Listener = { id, reply, changes, uris: new Set(uris) };
    this.#listeners.add(listener);
    const honoured = {
      ...Object.fromEntries([...changes].map((name) => [name, true])),
      ...(uris.length > 0 && { resourceSubscriptions: uris }),
      ...(tasks.length > 0 && { taskIds: tasks }),
    };
    this.#tell(listener, 'notifications/subscriptions/acknowledged', { notifications: honoured });
    return uris;
  }

  remove(reply: EventReply): void {
    for (const listener of this.#listeners) if (listener.reply === reply) this.#listeners.delete(listener);
  }

  /** Passes on a change. Returns whether it was one. */
  changed(method: string, params: JsonObject | undefined): boolean {
    const change = CHANGES[method];
    if (change === undefined && method !== 'notifications/resources/updated') return false;
    for (const listener of this.#listeners) {
      const wants = change === undefined ? typeof params?.uri === 'string' && listener.uris.has(params.uri) : listener.changes.has(change);
      if (wants) this.#tell(listener, method, params);
    }
    return true;
  }

  /** How a task is, to the listener that asked for it. */
  task(reply: EventReply, task: JsonObject): void {
    for (const listener of this.#listeners) if (listener.reply === reply) this.#tell(listener, 'notifications/tasks', task);
  }

  /** One stream ends: its client listens again for what it still wants to hear. */
  end(reply: EventReply): void {
    for (const listener of this.#listeners) if (listener.reply === reply) this.#finish(listener);
    this.remove(reply);
  }

  /** The server has gone: the streams end as the protocol says, with an answer. */
  close(): void {
    for (const listener of this.#listeners) this.#finish(listener);
    this.#listeners.clear();
  }

  #finish({ id, reply }: Listener): void {
    reply.end({ jsonrpc: '2.0', id, result: { resultType: 'complete', _meta: { [SUBSCRIPTION]: id } } });
  }

  #tell({ id, reply }: Listener, method: string, params: JsonObject | undefined): void {
    const meta = isObject(params?._meta) ? params._meta : {};
    reply.event(JSON.stringify({ jsonrpc: '2.0', method, params: { ...params, _meta: { ...meta, [SUBSCRIPTION]: id } } }));
  }
}
