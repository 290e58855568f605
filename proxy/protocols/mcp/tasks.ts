/**
 * Tasks that calls of this session began. What comes of one is the call's: what policy denies of the tool now is not handed out
 * because it was begun before.
 */
import type { Facts } from '../../../contract/facts.ts';
import type { Engine } from '../../pipeline/engine.ts';
import { refusalOf } from '../../pipeline/refusal.ts';
import type { Session } from '../../pipeline/session.ts';
import { isObject, type JsonObject, type Reply } from './message.ts';

/** Tasks of one session that are remembered; of an older one nothing is known. */
const MAX_TASKS = 1_000;

export interface Task {
  readonly headline: string;
  readonly parts: readonly Facts[];
}

export class Tasks {
  readonly #engine: Engine;
  readonly #session: Session;
  readonly #begun = new Map<string, Task>();

  constructor(engine: Engine, session: Session) {
    this.#engine = engine;
    this.#session = session;
  }

  /** Remembers the task of a call's answer, where it began one. */
  begun(reply: Reply, parts: readonly Facts[]): void {
    const id = 'result' in reply ? idIn(isObject(reply.result.task) ? reply.result.task : reply.result) : undefined;
    if (id === undefined) return;
    this.#begun.set(id, { headline: parts[0]?.headline ?? '', parts });
    for (const oldest of this.#begun.keys()) {
      if (this.#begun.size <= MAX_TASKS) break;
      this.#begun.delete(oldest);
    }
  }

  of(params: JsonObject | undefined): Task | undefined {
    const id = params && idIn(params);
    return id === undefined ? undefined : this.#begun.get(id);
  }

  /** Why nothing more is handed out of it; undefined where the policy in force does not deny the call. */
  denied(task: Task): string | undefined {
    const { actor, connection, protocol, surface, conversation } = this.#session.request;
    const context = { actor, connection, protocol, surface, conversationRead: conversation.read };
    for (const part of task.parts) {
      const verdict = this.#engine.policy().decide(part, context);
      if (verdict.decision === 'deny') return refusalOf.rule(verdict).sentence;
    }
    return undefined;
  }
}

function idIn(value: JsonObject): string | undefined {
  return typeof value.taskId === 'string' && value.taskId.length <= 512 ? value.taskId : undefined;
}
