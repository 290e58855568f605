/** The recorder of the proxy: a chained file a session, and the audit over all of them. */
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { Problem } from '../../contract/problem.ts';
import type { Answer } from '../../contract/response.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import type { AuditBody } from './audit.ts';
import { checkpointProblems, readAudit } from './auditReader.ts';
import { canonical } from './canonical.ts';
import { ChainFile, FOLDER_MODE, GENESIS } from './chainFile.ts';
import { loadSigningKey, placeOf, readCheckpoint, type SigningKey, writeCheckpoint } from './checkpoint.ts';
import { Halting } from './halting.ts';
import { AUDIT_FILE, LOCK_FILE, makeFolder, SESSIONS_FOLDER, syncFolder } from './layout.ts';
import { takeOwnership } from './ownership.ts';
import { RawAnswers } from './rawAnswers.ts';
import type { Recorder, SessionHeader, SessionRecording } from './recorder.ts';
import { cutTorn, recoverSession, sessionFiles, unsealed } from './recovery.ts';
import { rfc3339 } from './rfc3339.ts';
import { LocalSession } from './sessionRecording.ts';
import { SharedRun } from './sharedRun.ts';

/** How long a closing session waits for operations that are still out, in milliseconds. */
const CLOSE_GRACE_MS = 2_000;
/** How often open sessions are marked in the audit and a checkpoint is signed, in milliseconds. */
const MARK_MS = 30_000;
/** How long a checkpoint waits for more sessions to close, in milliseconds. */
const CHECKPOINT_MS = 500;

export interface RecorderOptions {
  /** Absolute; made where it is missing. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a closing session waits for operations that are still out, in milliseconds. */
  readonly closeGraceMs?: number;
  /** How often open sessions are marked in the audit and a checkpoint is signed, in milliseconds. */
  readonly markMs?: number;
  /** Called once, with a sentence for a person: every session must be cut. */
  readonly onHalt?: (sentence: string) => void;
  /** Called when entries of a session have reached its file (relative to the folder of sessions): cheap work only. */
  readonly onWritten?: (session: string, file: string) => void;
}

export interface LocalRecorder extends Recorder {
  readonly directory: string;
  /** SHA-256 (hex) of the public key that signs checkpoints; empty where the recorder never came up. */
  readonly fingerprint: string;
  /** An answer before masking, while it is in memory. */
  raw(operation: string): Answer | undefined;
  /** Puts on disk all that open sessions have appended. */
  flush(): Promise<void>;
  /** Closes what is open, signs a last checkpoint, lets the folder go. Never rejects. */
  stop(reason: string): Promise<void>;
}

/** Never rejects: where the folder cannot be used, the recorder comes up halted and says why. */
export async function createRecorder(options: RecorderOptions): Promise<LocalRecorder> {
  const recorder = new FileRecorder(options);
  await recorder.start();
  return recorder;
}

class FileRecorder implements LocalRecorder {
  readonly directory: string;
  readonly #options: RecorderOptions;
  readonly #halting: Halting;
  readonly #raw: RawAnswers;
  readonly #open = new Map<string, LocalSession>();
  readonly #folders = new Map<string, Promise<SharedRun>>();
  #lock: { release(): void } | undefined;
  #key: SigningKey | undefined;
  #audit: ChainFile | undefined;
  #marker: NodeJS.Timeout | undefined;
  #checkpointTimer: NodeJS.Timeout | undefined;
  #checkpointed = -1;
  readonly #checkpoint = new SharedRun(() => this.#signCheckpoint());
  #stopped: Promise<void> | undefined;

  constructor(options: RecorderOptions) {
    this.directory = options.directory;
    this.#options = options;
    this.#halting = new Halting(options.directory, options.log, (sentence) => options.onHalt?.(sentence));
    this.#raw = new RawAnswers(options.clock);
  }

  get halted(): string | undefined {
    return this.#halting.halted;
  }

  get fingerprint(): string {
    return this.#key?.fingerprint ?? '';
  }

  get #sessions(): string {
    return join(this.directory, SESSIONS_FOLDER);
  }

  async start(): Promise<void> {
    try {
      await makeFolder(this.#sessions);
      if (process.platform !== 'win32') await chmod(this.directory, FOLDER_MODE);
      this.#lock = takeOwnership(join(this.directory, LOCK_FILE));
      this.#key = await loadSigningKey(this.directory);
      await this.#openAudit(this.#key);
      this.#marker = setInterval(() => void this.#mark(), this.#options.markMs ?? MARK_MS).unref();
    } catch (cause) {
      this.#halting.halt('starting', cause);
      this.#lock?.release();
      this.#lock = undefined;
    }
  }

  async open(header: SessionHeader): Promise<SessionRecording> {
    const audit = this.#audit;
    if (this.#halting.halted !== undefined || !audit) throw this.#halting.haltedProblem();
    if (this.#stopped) throw new Problem('session-closed', 'Countersign is shutting down. Connect again.');
    if (!/^[A-Za-z0-9_-]{1,128}$/.test(header.session)) throw new Problem('bad-session-id', 'A session’s id may hold letters, digits, _ and - only.');
    try {
      const day = this.#now().slice(0, 10);
      const folder = await this.#folder(day);
      const file = `${day}/${header.session}.jsonl`;
      const chain = await ChainFile.create(join(this.#sessions, file), this.#halting, header.session, () => this.#options.onWritten?.(header.session, file));
      this.#halting.watch(chain);
      const session = new LocalSession({
        id: header.session,
        chain,
        host: this.#halting,
        log: this.#options.log,
        clock: this.#options.clock,
        closeGraceMs: this.#options.closeGraceMs ?? CLOSE_GRACE_MS,
        sealed: () => this.#seal(header.session, file, chain),
      });
      const { conversation, actor, connection, protocol, surface } = header;
      session.append({ type: 'session.open', conversation, actor, connection, protocol, surface });
      this.#appendAudit(audit, { type: 'session.opened', session: header.session, file });
      this.#open.set(header.session, session);
      await Promise.all([session.sync(), folder.run(), audit.sync()]);
      return session;
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code;
      // These pass by themselves or concern this session alone; everything else means that the record cannot be kept.
      if (code === 'EMFILE' || code === 'ENFILE')
        throw new Problem('too-many-sessions', 'Too many sessions are open. Close some and connect again.', { cause });
      if (code === 'EEXIST') throw new Problem('session-exists', 'A session with this id is recorded already. Connect again.', { cause });
      if (!(cause instanceof Problem)) this.#halting.halt('opening a session', cause);
      throw this.#halting.halted === undefined ? cause : this.#halting.haltedProblem();
    }
  }

  keepRaw(operation: string, raw: Answer): void {
    this.#raw.keep(operation, raw);
  }

  raw(operation: string): Answer | undefined {
    return this.#raw.get(operation);
  }

  async flush(): Promise<void> {
    await Promise.all([...this.#open.values()].map((session) => session.sync()));
  }

  stop(reason: string): Promise<void> {
    this.#stopped ??= this.#stop(reason);
    return this.#stopped;
  }

  async #stop(reason: string): Promise<void> {
    clearInterval(this.#marker);
    await Promise.all([...this.#open.values()].map((session) => session.close(reason)));
    clearTimeout(this.#checkpointTimer);
    await this.#checkpoint.run().catch(() => undefined);
    await this.#audit?.close();
    this.#raw.clear();
    this.#lock?.release();
    this.#lock = undefined;
  }

  #now(): string {
    return rfc3339(this.#options.clock.now());
  }

  #appendAudit(audit: ChainFile, body: AuditBody): void {
    audit.append(this.#now(), canonical(body));
  }

  /** Recovers what an earlier recorder left, then goes on with its chain. */
  async #openAudit(key: SigningKey): Promise<void> {
    const path = join(this.directory, AUDIT_FILE);
    const checkpoint = await readCheckpoint(this.directory);
    const found = await readAudit(this.directory, placeOf(checkpoint));
    const { view, reading } = found;
    const files = await sessionFiles(this.#sessions);
    const problems = checkpointProblems(checkpoint, found);
    if (!reading && files.size > 0) problems.push(`The audit was missing, and there were ${files.size} sessions.`);
    // Signed before the first line, so that an audit without a checkpoint is never innocent.
    if (!reading && checkpoint.state === 'none') await writeCheckpoint(this.directory, key, this.#now(), { entries: 0, head: GENESIS });
    if (reading && reading.torn > 0) await cutTorn(path, reading);
    const audit = await ChainFile.resume(path, this.#halting, undefined, reading ?? { entries: 0, head: GENESIS, bytes: 0 });
    this.#halting.watch(audit);
    this.#audit = audit;
    const problem = problems.join(' ').slice(0, 1000);
    if (problem !== '') this.#options.log.error('recording.problem', { problem });
    this.#appendAudit(audit, { type: 'recorder.started', key: key.fingerprint, ...(problem !== '' && { problem }) });
    for (const [session, file] of unsealed(view, files)) {
      const found = await recoverSession(this.#halting, this.#sessions, session, file, view, this.#now());
      if (!view.sessions.has(session)) this.#appendAudit(audit, { type: 'session.opened', session, file });
      const { head, entries, problem } = found;
      this.#appendAudit(audit, { type: 'session.closed', session, file, head, entries, recovered: true, ...(problem !== undefined && { problem }) });
      this.#options.log.warn('recording.recovered', { session, lost: found.lost, tornBytes: found.tornBytes, problem });
    }
    await this.#signCheckpoint();
  }

  /** The day's folder, made once; its run puts new names in it on disk, shared by all who wait. */
  #folder(day: string): Promise<SharedRun> {
    let folder = this.#folders.get(day);
    if (!folder) {
      folder = this.#makeFolder(join(this.#sessions, day));
      this.#folders.clear();
      this.#folders.set(day, folder);
    }
    return folder;
  }

  async #makeFolder(path: string): Promise<SharedRun> {
    await makeFolder(path);
    await syncFolder(this.#sessions);
    return new SharedRun(() => syncFolder(path));
  }

  async #seal(id: string, file: string, chain: ChainFile): Promise<void> {
    const audit = this.#audit;
    try {
      if (!audit || this.#halting.halted !== undefined) return;
      this.#appendAudit(audit, { type: 'session.closed', session: id, file, ...chain.at, recovered: false });
      await audit.sync();
      this.#checkpointTimer ??= setTimeout(() => {
        this.#checkpointTimer = undefined;
        this.#checkpoint.run().catch(() => undefined);
      }, CHECKPOINT_MS).unref();
    } finally {
      this.#open.delete(id);
      this.#halting.unwatch(chain);
    }
  }

  /** Writes down where open sessions stand, so that a cut-off end is seen even before they close. */
  async #mark(): Promise<void> {
    const audit = this.#audit;
    if (!audit || this.#halting.halted !== undefined) return;
    try {
      for (const [id, session] of this.#open) {
        const moved = await session.mark();
        if (moved && this.#open.has(id)) this.#appendAudit(audit, { type: 'session.mark', session: id, ...moved });
      }
      await this.#checkpoint.run();
    } catch (cause) {
      this.#halting.halt('marking open sessions', cause);
    }
  }

  async #signCheckpoint(): Promise<void> {
    const audit = this.#audit;
    if (!audit || !this.#key || this.#halting.halted !== undefined) return;
    const at = audit.at;
    if (at.entries === this.#checkpointed) return;
    await audit.sync();
    try {
      await writeCheckpoint(this.directory, this.#key, this.#now(), at);
      this.#checkpointed = at.entries;
    } catch (cause) {
      this.#halting.halt('signing a checkpoint', cause);
    }
  }
}
