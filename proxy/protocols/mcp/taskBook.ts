/**
 * Tasks that calls on one connection began, by whom. An id is no proof of anything: whoever knows another person's gets nothing of
 * it. What is known of a task outlives the session that began it, because its client may come back for it in another.
 */
import { randomUUID } from 'node:crypto';
import type { Person } from '../../../contract/actor.ts';
import type { Facts } from '../../../contract/facts.ts';
import type { Caller } from './exchanges.ts';
import type { Json, JsonObject, Reply } from './message.ts';

/** Tasks of one person, and people, that are remembered; of a task that is not, nothing is known. */
const MAX_TASKS = 1_000;
const MAX_PEOPLE = 1_000;

/** One thing that the server wants to know for a task. */
export interface TaskInput {
  /** Its name for the client: another where the server's looks like a secret. */
  readonly told: string;
  /** Of what it asks: the same name for something else is another question. */
  readonly digest: string;
  readonly shown: Json;
  state: 'deciding' | 'allowed' | 'refused';
  /** Why it was refused. */
  sentence: string;
}

export interface Task {
  /** The server's id, and the one that its client knows: another where the server's looks like a secret. */
  readonly id: string;
  readonly shown: string;
  readonly owner: string;
  readonly tool: string;
  readonly headline: string;
  readonly parts: readonly Facts[];
  readonly outputSchema: JsonObject | undefined;
  readonly inputs: Map<string, TaskInput>;
  /** Ends the questions that wait for a person on its account. */
  asks: AbortController;
  /** Who hears of it: called when something has been decided about it. */
  readonly watchers: Set<() => void>;
  /** Asks the server through the session that began it: another process of the same server knows nothing of it. Undefined: it has ended. */
  readonly home: () => ((method: string, params: JsonObject | undefined, caller: Caller) => Promise<Reply>) | undefined;
}

/** What is kept of a task for other replicas of a gateway: nothing that policy alone may see. */
export interface KeptTask {
  readonly owner: string;
  readonly tool: string;
  readonly headline: string;
  /** As it is recorded. */
  readonly facts: Facts;
  readonly outputSchema: JsonObject | undefined;
}

/** Where several processes know each other's tasks. */
export interface SharedTasks {
  /** Whoever began a task of that id first keeps it. */
  keep(connection: string, id: string, task: KeptTask): Promise<void>;
  find(connection: string, id: string): Promise<KeptTask | undefined>;
}

export type NewTask = Pick<Task, 'id' | 'owner' | 'tool' | 'headline' | 'parts' | 'outputSchema' | 'home'> & { readonly secret: boolean };

export class TaskBook {
  readonly #connection: string;
  readonly #shared: SharedTasks | undefined;
  readonly #people = new Map<string, Map<string, Task>>();
  readonly #byShown = new Map<string, Task>();
  readonly #byId = new Map<string, Task>();

  constructor(connection: string, shared?: SharedTasks) {
    this.#connection = connection;
    this.#shared = shared;
  }

  /** Lets other replicas know of a task. What looks like a secret is not written down: of such a task they know nothing. */
  async keep({ headline, id, outputSchema, owner, shown, tool }: Task, facts: Facts): Promise<void> {
    if (shown === id) await this.#shared?.keep(this.#connection, id, { owner, tool, headline, facts, outputSchema });
  }

  /** By the id that a client knows, also where the call went through another replica. */
  async find(id: string): Promise<Task | undefined> {
    const known = this.#byShown.get(id);
    if (known || !this.#shared) return known;
    const kept = await this.#shared.find(this.#connection, id);
    if (!kept) return undefined;
    const { facts, ...task } = kept;
    return this.begun({ ...task, id, parts: [facts], secret: false, home: () => undefined });
  }

  /** An id that is somebody else's already stays theirs for everyone else: processes of one server may count alike. */
  begun({ secret, ...task }: NewTask): Task {
    const made: Task = { ...task, shown: secret ? `task-${randomUUID()}` : task.id, inputs: new Map(), asks: new AbortController(), watchers: new Set() };
    const known = this.#byId.get(task.id);
    if (known && known.owner !== task.owner) return made;
    if (known) this.#forget(known);
    const theirs = this.#people.get(task.owner) ?? new Map<string, Task>();
    this.#people.delete(task.owner);
    this.#people.set(task.owner, theirs.set(made.shown, made));
    this.#byShown.set(made.shown, made);
    this.#byId.set(made.id, made);
    for (const oldest of theirs.values()) {
      if (theirs.size <= MAX_TASKS) break;
      this.#forget(oldest);
    }
    for (const [person, tasks] of this.#people) {
      if (this.#people.size <= MAX_PEOPLE) break;
      for (const one of tasks.values()) this.#forget(one);
      this.#people.delete(person);
    }
    return made;
  }

  /** By the id that the server gave it. */
  of(id: string): Task | undefined {
    return this.#byId.get(id);
  }

  #forget(task: Task): void {
    task.asks.abort();
    this.#people.get(task.owner)?.delete(task.shown);
    this.#byShown.delete(task.shown);
    this.#byId.delete(task.id);
  }
}

/** Whose a task is: a person's, whichever window, login or agent of theirs began it. */
export function ownerOf({ issuer, subject }: Person): string {
  return JSON.stringify([issuer, subject]);
}
