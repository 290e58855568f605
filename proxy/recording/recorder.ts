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

/** The entry that begins or ends an operation. Its body is asked for when its turn to be written comes. */
export interface OperationEntry {
  readonly type: 'operation.intent' | 'operation.outcome';
  /** Whose it is: the same object in both entries. */
  readonly operation: { readonly id: string };
  /** Its text is certainly far below every cap, and stays what it is: nobody need wait for it. */
  readonly short: boolean;
  body(): EntryBody;
}

/** One session's append-only file. Appends keep their order; a failed write halts the recorder for good (fail closed). */
export interface SessionRecording {
  /** Queues an entry; cheap, does no I/O. Throws `recorder-halted` when nothing can be recorded any more. */
  append(body: EntryBody): void;
  /** The same for what every operation brings; where it is short, its text is made when its batch is written. */
  appendOperation(entry: OperationEntry): void;
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
