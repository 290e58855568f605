/** What the server asks of the client (sampling, elicitation, roots), passed on masked and answered under the server's own id. */
import { type Caller, MAX_PENDING, type MaskSaid } from './exchanges.ts';
import type { Id, JsonObject, Reply } from './message.ts';
import type { Upstream } from './upstream/upstream.ts';

/** Passes a request of the server's on to the client. @param caller the client's request that it is about, where there is one */
export type AskClient = (method: string, params: JsonObject | undefined, signal: AbortSignal, caller: Caller | undefined) => Promise<Reply>;

export class ClientAsks {
  readonly #waiting = new Map<Id, AbortController>();
  readonly #mask: MaskSaid;
  readonly #server: () => Upstream | undefined;
  readonly #ask: AskClient;

  constructor(mask: MaskSaid, server: () => Upstream | undefined, ask: AskClient) {
    this.#mask = mask;
    this.#server = server;
    this.#ask = ask;
  }

  get size(): number {
    return this.#waiting.size;
  }

  async received(id: Id, method: string, params: JsonObject | undefined, caller: Caller | undefined): Promise<void> {
    if (method === 'ping') return this.#server()?.send({ id, result: {} });
    if (this.#waiting.size >= MAX_PENDING || this.#waiting.has(id)) {
      return this.#server()?.send({ id, error: { code: -32_000, message: 'Too many requests wait for the client.' } });
    }
    const controller = new AbortController();
    this.#waiting.set(id, controller);
    const masked = params && this.#mask(method, params);
    const reply = await this.#ask(method, masked, controller.signal, caller).catch(
      (): Reply => ({ error: { code: -32_603, message: 'The client did not answer.' } }),
    );
    this.#waiting.delete(id);
    if (!controller.signal.aborted) this.#server()?.send({ id, ...reply });
    return undefined;
  }

  cancelled(id: unknown): void {
    if (typeof id === 'string' || typeof id === 'number') this.#waiting.get(id)?.abort();
  }

  abortAll(): void {
    for (const controller of this.#waiting.values()) controller.abort();
  }
}
