import type { Actor } from '../../contract/actor.ts';
import type { ConversationId, SessionId } from '../../contract/ids.ts';
import { type HandedSecrets, knowing } from '../masking/handedSecrets.ts';
import type { SessionMasking } from '../masking/masking.ts';
import type { SessionRecording } from '../recording/recorder.ts';
import { Conversation } from './conversation.ts';
import type { Engine } from './engine.ts';

export interface SessionRequest {
  /** Already authenticated by the surface it came in by. */
  readonly actor: Actor;
  readonly connection: string;
  readonly protocol: string;
  /** `terminal`, `mcp`, … */
  readonly surface: string;
  readonly conversation: Conversation;
  /** What we hand to the other side ourselves, and an agent must not get back from there. */
  readonly secrets?: HandedSecrets;
}

/** One client's connection to one connection: who, where to, and the record being written. */
export class Session {
  readonly id: SessionId;
  readonly request: SessionRequest;
  readonly recording: SessionRecording;
  readonly masking: SessionMasking;
  readonly #abort = new AbortController();
  #closed: Promise<void> | undefined;
  readonly #engine: Engine;

  private constructor(engine: Engine, id: SessionId, request: SessionRequest, recording: SessionRecording, masking: SessionMasking) {
    this.#engine = engine;
    this.id = id;
    this.request = request;
    this.recording = recording;
    this.masking = masking;
  }

  /** Resolves once the opening is on disk: a session without a record does not exist. */
  static async open(engine: Engine, request: SessionRequest): Promise<Session> {
    const id = engine.newId('ses') as SessionId;
    const { actor, connection, protocol, surface, conversation } = request;
    const recording = await engine.recorder.open({ session: id, conversation: conversation.id as ConversationId, actor, connection, protocol, surface });
    const masking = engine.masking(connection, conversation.vault);
    const session = new Session(engine, id, request, recording, request.secrets ? knowing(masking, request.secrets) : masking);
    engine.sessions?.opened(session);
    return session;
  }

  /** Aborted when the session ends, for whatever reason: what waits must let go. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Ends the session; the second call waits for the first. */
  close(reason: string): Promise<void> {
    this.#abort.abort(reason);
    this.#closed ??= this.recording.close(reason).finally(() => this.#engine.sessions?.closed(this));
    return this.#closed;
  }
}
