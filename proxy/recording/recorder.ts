/** Recording as the pipeline uses it. */
import type { Actor } from '../../contract/actor.ts';
import type { ConversationId, SessionId } from '../../contract/ids.ts';
import type { EntryBody } from '../../contract/recording.ts';
import type { Answer } from '../../contract/response.ts';

export interface SessionHeader {
  readonly session: SessionId;
  readonly conversation: ConversationId;
  readonly actor: Actor;
  readonly connection: string;
  readonly protocol: string;
  readonly surface: string;
}

/** One session's append-only file. Appends keep their order; a failed write halts the recorder for good (fail closed). */
export interface SessionRecording {
  /** Queues an entry; cheap, does no I/O. Throws `recorder-halted` when nothing can be recorded any more. */
  append(body: EntryBody): void;
  /** Resolves when all that was appended is on disk (fdatasync); rejects with `recorder-halted`. */
  sync(): Promise<void>;
  /** Appends `session.close`, syncs, seals the file into the audit chain. */
  close(reason: string): Promise<void>;
}

export interface Recorder {
  /** The open entry is on disk when this resolves. */
  open(header: SessionHeader): Promise<SessionRecording>;
  /** Why nothing can be recorded, in a sentence for a person; undefined while all is well. */
  readonly halted: string | undefined;
  /** Keeps an answer before masking in memory for a while, for the one person who may see it. Never written. */
  keepRaw(operation: string, raw: Answer): void;
}
