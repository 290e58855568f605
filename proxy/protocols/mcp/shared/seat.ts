/** One session's place at a process that several share: a channel like any other, whose end ends the session's part alone. */
import { Problem } from '../../../../contract/problem.ts';
import type { Id, Message } from '../message.ts';
import type { Channel, ChannelEvents, Outgoing } from '../upstream/upstream.ts';
import { type Opening, openingOf } from './opening.ts';
import type { SharedProcess } from './process.ts';

/** Messages that wait for a session that has too many; beyond it, notifications are dropped and everybody else is served. */
const MAX_HELD = 5_000;

export interface SeatOptions extends ChannelEvents {
  /** Finds or starts the process that a client which opens like this may sit at. @throws a `Problem` with a sentence for it */
  readonly join: (seat: Seat, opening: Opening) => SharedProcess;
  /** Called once, where messages of the server's were dropped. */
  readonly onDropped: () => void;
}

export class Seat implements Channel {
  readonly #options: SeatOptions;
  #process: SharedProcess | undefined;
  #gone = false;
  #paused = false;
  #held: Message[] = [];
  #dropped = false;

  constructor(options: SeatOptions) {
    this.#options = options;
  }

  get running(): boolean {
    return !this.#gone;
  }

  /** Where it sits. */
  get process(): SharedProcess | undefined {
    return this.#process;
  }

  sit(process: SharedProcess): void {
    this.#process?.leave(this);
    this.#process = process;
    process.join(this);
  }

  send(message: Outgoing): void {
    if (this.#gone) return;
    const opening = this.#process?.opened === true ? undefined : openingOf(message);
    if (opening) {
      try {
        this.#options.join(this, opening);
      } catch (cause) {
        this.end(cause instanceof Problem ? cause.message : 'The server could not be started.');
        return;
      }
    }
    if (this.#process) this.#process.send(this, message);
    else if ('method' in message && 'id' in message) this.answer(message.id, { error: { code: -32_600, message: 'Initialize first.' } });
  }

  answer(id: Id, reply: Extract<Message, { kind: 'response' }>['reply']): void {
    this.deliver({ kind: 'response', id, reply });
  }

  /** A message of the server's that is this session's. */
  deliver(message: Message): void {
    if (this.#gone) return;
    if (!this.#paused && this.#held.length === 0) return this.#options.onMessage(message);
    if (message.kind !== 'notification' || this.#held.length < MAX_HELD) {
      this.#held.push(message);
      return;
    }
    if (!this.#dropped) this.#options.onDropped();
    this.#dropped = true;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    let taken = 0;
    for (const message of this.#held) {
      if (this.#paused || this.#gone) break;
      taken++;
      this.#options.onMessage(message);
    }
    this.#held = this.#held.slice(taken);
  }

  /** The process has gone, or there is none to be had. */
  end(why: string): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#process = undefined;
    this.#held = [];
    this.#options.onExit(why);
  }

  /** The session has ended. The process goes on for the others. */
  async stop(): Promise<void> {
    if (this.#gone) return;
    this.#gone = true;
    this.#held = [];
    this.#process?.leave(this);
    this.#process = undefined;
  }
}
