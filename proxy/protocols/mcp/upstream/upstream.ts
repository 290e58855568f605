/** What a relay session needs of a server, however it is reached. */
import type { Id, JsonObject, Message, Reply } from '../message.ts';

/**
 * `sessions`: up to 2025-11-25, opened by `initialize`, requests both ways. `stateless`: from 2026-07-28, each request on its
 * own, what the server wants of the client in an `input_required` result. */
export type Era = 'sessions' | 'stateless';

export type Outgoing =
  | { readonly id: Id; readonly method: string; readonly params?: JsonObject }
  | { readonly method: string; readonly params?: JsonObject }
  | ({ readonly id: Id } & Reply);

export interface ChannelEvents {
  /** @param about the id of our request whose stream it came on, where the transport tells */
  readonly onMessage: (message: Message, about?: Id) => void;
  /** The server answers our request `about` with a stream of events. */
  readonly onStream?: (about: Id) => void;
  /** The server has broken off the stream of our request `about`; it will be taken up again. */
  readonly onBreak?: (about: Id) => void;
  /** It takes more again, having been sent more than it took. */
  readonly onDrain?: () => void;
  /** Called once, with a sentence, when the server has gone, could not be started or not be reached. */
  readonly onExit: (why: string) => void;
}

export interface UpstreamEvents extends ChannelEvents {
  /**
   * The server needs the client's answers before it goes on with our request `about` (`input_required`).
   * Resolves to the answers under the same names. Rejects where the client could not be asked.
   */
  readonly onInput: (requests: JsonObject, about: Id, signal: AbortSignal) => Promise<JsonObject>;
}

/** A way to one server, that knows nothing of what is said on it. */
export interface Channel {
  readonly running: boolean;
  /** What it was sent and has not read, in bytes; absent where that is not known. */
  readonly unread?: number;
  /** Never throws: a request that cannot be sent is answered with an error. */
  send(message: Outgoing): void;
  /** Takes no further messages until `resume`: whoever gets them has too many. */
  pause(): void;
  resume(): void;
  stop(): Promise<void>;
}

export interface Upstream extends Channel {
  /** Undefined until the server has shown it. */
  readonly era: Era | undefined;
}
