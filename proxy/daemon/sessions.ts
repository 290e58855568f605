/** The sessions that are open now, so that one can be ended from here. */
import type { Engine, Log } from '../pipeline/engine.ts';
import type { Session } from '../pipeline/session.ts';

export class LiveSessions implements NonNullable<Engine['sessions']> {
  readonly #open = new Map<string, Session>();
  readonly #log: Log;
  readonly #changed: () => void;

  readonly #ended: (session: string) => void;

  /** @param ended called with the id of each session that has ended. */
  constructor(log: Log, changed: () => void, ended: (session: string) => void) {
    this.#log = log;
    this.#changed = changed;
    this.#ended = ended;
  }

  get size(): number {
    return this.#open.size;
  }

  opened(session: Session): void {
    this.#open.set(session.id, session);
    this.#changed();
  }

  closed(session: Session): void {
    this.#open.delete(session.id);
    this.#ended(session.id);
    this.#changed();
  }

  /** The sessions on one connection. */
  on(connection: string): readonly string[] {
    return [...this.#open.values()].filter((session) => session.request.connection === connection).map((session) => session.id);
  }

  /** Ends the named sessions, or all of them, with a sentence. Resolves when their records are closed, or cannot be. */
  async end(reason: string, ids: Iterable<string> = [...this.#open.keys()]): Promise<void> {
    const sessions = [...ids].flatMap((id) => this.#open.get(id) ?? []);
    await Promise.all(
      sessions.map((session) => session.close(reason).catch((cause: unknown) => this.#log.warn('session.not-closed', { session: session.id, cause }))),
    );
  }
}
