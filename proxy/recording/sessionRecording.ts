/** One session's record while it is being written. */
import { Problem } from '../../contract/problem.ts';
import type { EntryBody } from '../../contract/recording.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import { canonical } from './canonical.ts';
import type { ChainHead, ChainHost, LineToCome } from './chainFile.ts';
import { entryText } from './entryText.ts';
import type { OperationEntry, SessionRecording } from './recorder.ts';
import { rfc3339 } from './rfc3339.ts';
import { lengthOf, type Text } from './utf8.ts';

/** What may wait in memory over all sessions before new operations are refused, in characters. */
const MAX_QUEUED_INTENTS = 32 * 1024 * 1024;
/** The same for everything else: beyond it the disk does not keep up, and the recorder halts. */
const MAX_QUEUED = 2 * MAX_QUEUED_INTENTS;
/** Largest entry, in characters of canonical JSON. */
const MAX_ENTRY_CHARS = 16 * 1024 * 1024;

/** Where a session's lines go: a file, or the gateway's store. */
export interface SessionChain {
  readonly at: ChainHead;
  /** @param at RFC 3339. @param body canonical JSON. */
  append(at: string, body: Text): unknown;
  /** The same for a short line that is asked for its text later. */
  appendLater?(line: LineToCome): void;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface SessionParts {
  readonly id: string;
  readonly chain: SessionChain;
  readonly host: ChainHost;
  readonly log: Log;
  readonly clock: Clock;
  /** How long closing waits for operations that are still out, in milliseconds. */
  readonly closeGraceMs: number;
  /** The file is whole and on disk: puts it into the audit. */
  readonly sealed: () => Promise<void>;
}

export class LocalSession implements SessionRecording {
  readonly #parts: SessionParts;
  /** Operations with an intent and no outcome yet. */
  readonly #out = new Set<OperationEntry['operation'] | string>();
  #state: 'open' | 'closing' | 'closed' = 'open';
  #allIn: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  #marked = 0;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  append(body: EntryBody): void {
    if (!this.#takes(body.type)) return;
    this.#write(body);
    if (body.type === 'operation.intent') this.#out.add(body.operation);
    else if (body.type === 'operation.outcome') this.#came(body.operation);
  }

  appendOperation(entry: OperationEntry): void {
    if (!this.#takes(entry.type)) return;
    const { chain, clock, host } = this.#parts;
    if (chain.appendLater && entry.short && host.queued <= MAX_QUEUED) chain.appendLater(new Line(clock.now(), entry));
    else this.#write(entry.body());
    if (entry.type === 'operation.intent') this.#out.add(entry.operation);
    else this.#came(entry.operation);
  }

  /** Whether an entry is written; throws where what it speaks of must not be done. */
  #takes(type: EntryBody['type']): boolean {
    const { host, log, id } = this.#parts;
    if (host.halted !== undefined) throw host.haltedProblem();
    if (type === 'operation.intent') {
      if (this.#state !== 'open') throw new Problem('session-closed', 'This session has ended. Connect again.');
      if (host.queued > MAX_QUEUED_INTENTS) throw new Problem('recorder-behind', 'The disk does not keep up with recording. Wait a moment and try again.');
    } else if (this.#state === 'closed') {
      // The record already says `lost`; a late outcome changes nothing, and must not break who brings it.
      log.warn('recording.late', { session: id, type });
      return false;
    }
    return true;
  }

  #came(operation: OperationEntry['operation'] | string): void {
    this.#out.delete(operation);
    if (this.#out.size === 0) this.#allIn?.();
  }

  sync(): Promise<void> {
    return this.#parts.chain.sync();
  }

  /** Waits a little for the outcomes of what is still out, then closes. Never rejects: a halted recorder has said so. */
  close(reason: string): Promise<void> {
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  /** Where the file stands on disk, if it has grown since the last mark. */
  async mark(): Promise<ChainHead | undefined> {
    const at = this.#parts.chain.at;
    if (this.#state === 'closed' || at.entries === this.#marked) return undefined;
    await this.#parts.chain.sync();
    this.#marked = at.entries;
    return at;
  }

  async #close(reason: string): Promise<void> {
    const { chain, host, log, id, sealed } = this.#parts;
    this.#state = 'closing';
    try {
      if (this.#out.size > 0 && host.halted === undefined) await this.#outcomes();
      for (const out of this.#out) {
        const operation = typeof out === 'string' ? out : out.id;
        this.#write({ type: 'operation.outcome', operation, outcome: 'lost', masked: 0, tookMs: 0 });
      }
      this.#out.clear();
      this.#write({ type: 'session.close', reason: reason.slice(0, 400) });
      this.#state = 'closed';
      await chain.sync();
    } catch (cause) {
      this.#state = 'closed';
      log.error('recording.unsealed', { session: id, cause });
    }
    await sealed().catch((cause: unknown) => log.error('recording.unsealed', { session: id, cause }));
    await chain.close();
  }

  #outcomes(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#parts.closeGraceMs);
      this.#allIn = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #write(body: EntryBody): void {
    const { chain, clock, host } = this.#parts;
    let text = canonicalOrMended(body);
    // What was done is done: its outcome is recorded even where its answer is too large to keep.
    if (lengthOf(text) > MAX_ENTRY_CHARS && body.type === 'operation.outcome') text = canonicalOrMended({ ...body, answer: undefined });
    const length = lengthOf(text);
    if (length > MAX_ENTRY_CHARS) throw new Problem('entry-too-large', `The request or its answer is too large to record (${length} characters).`);
    if (host.queued + length > MAX_QUEUED) {
      host.halt('queueing an entry', new Problem('recorder-behind', 'The disk does not keep up with recording. Check the disk, then restart Countersign.'));
      throw host.haltedProblem();
    }
    chain.append(rfc3339(clock.now()), text);
  }
}

/** A line of which the text is made when it is written. */
class Line implements LineToCome {
  readonly #at: number;
  readonly #entry: OperationEntry;

  /** @param at epoch milliseconds */
  constructor(at: number, entry: OperationEntry) {
    this.#at = at;
    this.#entry = entry;
  }

  get at(): string {
    return rfc3339(this.#at);
  }

  text(): Text {
    return canonicalOrMended(this.#entry.body());
  }
}

/** An agent may send a lone surrogate (`"\ud800"`), which has no UTF-8: the record holds U+FFFD, as it does for bad bytes. */
function canonicalOrMended(body: EntryBody): Text {
  try {
    return entryText(body);
  } catch (cause) {
    try {
      return canonical(JSON.parse(JSON.stringify(body), (_, value: unknown) => wellFormed(value)));
    } catch {
      throw cause;
    }
  }
}

function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed();
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key.toWellFormed(), member]));
}
