/** Requests on their way to a server: each under an id and a progress token of our own, so that none can reach another's answer. */
import { type Id, isObject, type JsonObject, type Reply } from './message.ts';
import type { Upstream } from './upstream/upstream.ts';

/** Requests of one client that wait for an answer at once. */
export const MAX_PENDING = 1_000;

export const CANCELLED: Reply = { error: { code: -32_000, message: 'Cancelled.' } };

/** Calls that became tasks and whose progress is still told. */
const MAX_LASTING = 1_000;

/** The client's end of one request. */
export interface Caller {
  /** Aborted when the client has cancelled or gone. */
  readonly signal: AbortSignal;
  /** Sends a notification that belongs to the request. */
  readonly notify: (method: string, params: JsonObject) => void;
  /** The server answers with a stream: so should the client be. */
  readonly stream?: () => void;
  /** Of a call that outlives a try of its client's: the try that waits for it now. */
  readonly now?: () => Caller | undefined;
}

interface Pending {
  readonly caller: Caller;
  readonly token: Id | undefined;
  /** The last progress that the client was told. */
  progress: number;
  readonly resolve: (reply: Reply) => void;
}

/** Masks what a server says besides its answers; what was in it counts as read. */
export type MaskSaid = (method: string, params: JsonObject) => JsonObject;

export class Exchanges {
  readonly #pending = new Map<number, Pending>();
  /** Answered by a task (2025-11-25): their tokens hold until it is over. */
  readonly #lasting = new Map<number, Pending & { readonly task: string }>();
  readonly #mask: MaskSaid;
  readonly #server: () => Upstream | undefined;
  #ids = 0;

  constructor(mask: MaskSaid, server: () => Upstream | undefined) {
    this.#mask = mask;
    this.#server = server;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Sends a request and waits for its answer, which is raw. @param progress the last that the client was told already */
  forward(method: string, params: JsonObject | undefined, caller: Caller, progress = Number.NEGATIVE_INFINITY): Promise<Reply> {
    const id = ++this.#ids;
    const token = tokenOf(params);
    return new Promise<Reply>((resolve) => {
      const abort = (): void => {
        this.#server()?.send({ method: 'notifications/cancelled', params: { requestId: id, reason: 'cancelled by the client' } });
        this.answered(id, CANCELLED);
      };
      const done = (reply: Reply): void => {
        caller.signal.removeEventListener('abort', abort);
        resolve(reply);
      };
      this.#pending.set(id, { caller, token, progress, resolve: done });
      if (caller.signal.aborted) return this.answered(id, CANCELLED);
      // The specification forbids cancelling `initialize`.
      if (method !== 'initialize') caller.signal.addEventListener('abort', abort, { once: true });
      const sent = token === undefined ? params : withToken(params ?? {}, id);
      this.#server()?.send({ id, method, ...(sent && { params: sent }) });
      return undefined;
    });
  }

  answered(id: Id, reply: Reply): void {
    if (typeof id !== 'number') return;
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    const task = 'result' in reply && isObject(reply.result.task) ? reply.result.task.taskId : undefined;
    if (pending?.token !== undefined && typeof task === 'string') {
      this.#lasting.set(id, { ...pending, task });
      for (const oldest of this.#lasting.keys()) {
        if (this.#lasting.size <= MAX_LASTING) break;
        this.#lasting.delete(oldest);
      }
    }
    pending?.resolve(reply);
  }

  /** A task has come to its end: nothing more is told of its progress. */
  taskOver(task: string): void {
    for (const [id, lasting] of this.#lasting) if (lasting.task === task) this.#lasting.delete(id);
  }

  /** Only for tokens that the client gave out, growing, and never after the answer. */
  progressed(params: JsonObject | undefined): void {
    const token = typeof params?.progressToken === 'number' ? params.progressToken : -1;
    const pending = this.#pending.get(token) ?? this.#lasting.get(token);
    if (!params || !pending || pending.token === undefined || typeof params.progress !== 'number' || params.progress <= pending.progress) return;
    pending.progress = params.progress;
    pending.caller.notify('notifications/progress', { ...this.#mask('notifications/progress', params), progressToken: pending.token });
  }

  /** Who asked what a message of the server's is about: as its transport tells, else whoever asked last. */
  callerOf(about: Id | undefined): Caller | undefined {
    const pending = typeof about === 'number' ? this.#pending.get(about) : undefined;
    const caller = (pending ?? [...this.#pending.values()].at(-1))?.caller;
    return caller?.now?.() ?? caller;
  }

  /** Who asked exactly what a message of the server's is about. */
  waitingFor(about: Id | undefined): Caller | undefined {
    return typeof about === 'number' ? this.#pending.get(about)?.caller : undefined;
  }

  settleAll(sentence: string): void {
    for (const id of this.#pending.keys()) this.answered(id, { error: { code: -32_000, message: sentence } });
  }
}

export function tokenOf(params: JsonObject | undefined): Id | undefined {
  const token = isObject(params?._meta) ? params._meta.progressToken : undefined;
  return typeof token === 'string' || typeof token === 'number' ? token : undefined;
}

export function withToken(params: JsonObject, token: Id): JsonObject {
  return { ...params, _meta: { ...(isObject(params._meta) && params._meta), progressToken: token } };
}
