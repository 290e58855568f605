/** Tasks that a client of 2025-11-25 keeps for its server: of what the server was allowed to ask of it, and no other. */
import { isObject, type JsonObject, type Reply } from './message.ts';
import { taskIdIn } from './taskShapes.ts';

/** Tasks of one client that are remembered. */
const MAX_TASKS = 1_000;

export class ClientTasks {
  /** By the client's id: what was asked of it. */
  readonly #begun = new Map<string, string>();

  /** Remembers the task of a client's answer, where it began one. */
  begun(reply: Reply, headline: string): void {
    const id = 'result' in reply && isObject(reply.result.task) ? taskIdIn(reply.result.task) : undefined;
    if (id === undefined) return;
    this.#begun.set(id, headline);
    for (const oldest of this.#begun.keys()) {
      if (this.#begun.size <= MAX_TASKS) break;
      this.#begun.delete(oldest);
    }
  }

  /** What a request of the server's is about, where it is about a task that the client keeps for it. */
  about(method: string, params: JsonObject | undefined): string | undefined {
    const id = method.startsWith('tasks/') ? taskIdIn(params) : undefined;
    return id === undefined ? undefined : this.#begun.get(id);
  }
}
