/** Open sessions of clients of the older era, by their ids: at most so many, and none that nothing was sent on for long. */
import type { Log } from '../../pipeline/engine.ts';
import type { ClientIdentity } from '../protocol.ts';
import { givesWay } from './givesWay.ts';
import { ownerOf } from './taskBook.ts';

/** A session that nothing was sent on for so long ends, in milliseconds. */
const IDLE_MS = 12 * 60 * 60 * 1000;
/** How exact that is, in milliseconds: it need not be put off with every message. */
const TOUCH_MS = 60_000;

export interface ClientSession {
  readonly identity: ClientIdentity;
  close(): Promise<void>;
}

interface Open<Session> {
  readonly session: Session;
  readonly idle: NodeJS.Timeout;
  /** When its end was put off last, epoch milliseconds. */
  touched: number;
}

export class ClientSessions<Session extends ClientSession> {
  readonly #max: number;
  readonly #log: Log;
  readonly #open = new Map<string, Open<Session>>();

  /** @param max beyond it one of whoever has most ends */
  constructor(max: number, log: Log) {
    this.#max = max;
    this.#log = log;
  }

  /** The session that a request names, and of which it is a sign of life; another window's does not exist for this one. */
  of(id: string, identity: ClientIdentity): Session | undefined {
    const found = this.#open.get(id);
    if (found?.session.identity.conversation !== identity.conversation) return undefined;
    this.touch(id);
    return found.session;
  }

  add(id: string, session: Session): void {
    const idle = setTimeout(() => void this.end(id), IDLE_MS);
    idle.unref();
    this.#open.set(id, { session, idle, touched: Date.now() });
    while (this.#open.size > this.#max) {
      const gives = givesWay(Array.from(this.#open, ([key, open]) => [key, ownerOf(open.session.identity.actor.person)] as const));
      if (gives === undefined) break;
      void this.end(gives);
    }
  }

  touch(id: string): void {
    const found = this.#open.get(id);
    if (!found) return;
    const now = Date.now();
    if (now - found.touched > TOUCH_MS) {
      found.idle.refresh();
      found.touched = now;
    }
    this.#open.delete(id);
    this.#open.set(id, found);
  }

  async end(id: string): Promise<void> {
    const found = this.#open.get(id);
    if (!found) return;
    this.#open.delete(id);
    clearTimeout(found.idle);
    await found.session.close().catch((cause: unknown) => this.#log.warn('mcp.session-not-closed', { cause }));
  }

  async endAll(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((id) => this.end(id)));
  }
}
