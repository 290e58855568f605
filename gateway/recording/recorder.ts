/**
 * The gateway's recorder: the entries of a session in the store, in the format of the proxy's files, and an audit chain for
 * each person. What is acknowledged is committed. A session belongs to the replica that opened it; when that one dies,
 * another closes it as `lost` (recovery.ts), and the dead one can add nothing if it comes back.
 */
import { Problem } from '../../contract/problem.ts';
import type { EntryBody } from '../../contract/recording.ts';
import type { Answer } from '../../contract/response.ts';
import type { Clock, Log } from '../../proxy/pipeline/engine.ts';
import { canonical } from '../../proxy/recording/canonical.ts';
import { type ChainHead, GENESIS } from '../../proxy/recording/chainFile.ts';
import { RawAnswers } from '../../proxy/recording/rawAnswers.ts';
import type { Recorder, SessionHeader, SessionRecording } from '../../proxy/recording/recorder.ts';
import { rfc3339 } from '../../proxy/recording/rfc3339.ts';
import { LocalSession, type SessionChain } from '../../proxy/recording/sessionRecording.ts';
import { type Text, textOf } from '../../proxy/recording/utf8.ts';
import { tell } from '../store/bus.ts';
import { type Database, json, type Queryable, retried } from '../store/database.ts';
import { storeProblem } from '../store/postgres.ts';
import { appendAudit } from './auditStore.ts';
import { chainLine } from './chainLine.ts';
import { Acts } from './chains.ts';
import type { RecordKey } from './recordKey.ts';
import { StoreWriter } from './storeWriter.ts';

/** How long a closing session waits for operations that are still out, in milliseconds. */
const CLOSE_GRACE_MS = 2_000;
/** How long a checkpoint waits for more sessions of the person to close, in milliseconds. */
const CHECKPOINT_MS = 500;
const CLOSE_RETRY_MS = 500;

/** Whose session it is, in the store's words. */
export interface SessionOwner {
  /** Id in the table of people or of service accounts. */
  readonly person: string;
  /** The login or account that it stands on: ended, the session is cut. */
  readonly basis: string;
}

export interface StoreRecorderOptions {
  readonly db: Database;
  readonly key: RecordKey;
  readonly clock: Clock;
  readonly log: Log;
  /** This process among the replicas. */
  readonly replica: { readonly id: string; readonly alive: boolean };
  readonly ownerOf: (header: SessionHeader) => SessionOwner;
  /** Nothing can be recorded: every session must be cut. Undefined: it can again. */
  readonly onHalt: (sentence: string | undefined) => void;
  /** This session must be cut: it is not this process's any more. */
  readonly onFenced: (session: string) => void;
  readonly patienceMs?: number;
  readonly closeGraceMs?: number;
}

export class StoreRecorder implements Recorder {
  readonly #options: StoreRecorderOptions;
  readonly #writer: StoreWriter;
  readonly #raw: RawAnswers;
  readonly #acts: Acts;
  readonly #open = new Map<string, LocalSession>();
  /** Chains that know this process's key. */
  readonly #announced = new Set<string>();
  readonly #checkpoints = new Map<string, NodeJS.Timeout>();
  readonly #closing = new Set<Promise<void>>();
  #stopped = false;

  constructor(options: StoreRecorderOptions) {
    const { clock, db, log, onFenced, onHalt, patienceMs, replica } = options;
    this.#options = options;
    this.#acts = new Acts(options.key);
    this.#raw = new RawAnswers(clock);
    this.#writer = new StoreWriter({ db, clock, log, owner: () => replica.id, onFenced, onHalt, ...(patienceMs !== undefined && { patienceMs }) });
  }

  get halted(): string | undefined {
    if (this.#writer.halted !== undefined) return this.#writer.halted;
    return this.#options.replica.alive ? undefined : 'This gateway has lost its place among the others, and takes it again by itself. Try again in a moment.';
  }

  /** Sessions that are being recorded. */
  get size(): number {
    return this.#open.size;
  }

  async open(header: SessionHeader): Promise<SessionRecording> {
    const { db, clock, key, log, ownerOf, replica } = this.#options;
    if (this.#stopped) throw new Problem('session-closed', 'The gateway is shutting down. Connect again.');
    const halted = this.halted;
    if (halted !== undefined) throw new Problem('recorder-halted', halted);
    const { session, conversation, actor, connection, protocol, surface } = header;
    const { basis, person } = ownerOf(header);
    const record = recordOf(person);
    const now = clock.now();
    const at = rfc3339(now);
    const body: EntryBody = { type: 'session.open', conversation, actor, connection, protocol, surface };
    const first = chainLine(at, canonical(body), GENESIS, 0, session);
    const opened = { type: 'session.opened', session, file: fileOf(session, now) } as const;
    const announce = this.#announced.has(record) ? [] : [{ type: 'recorder.started', key: key.fingerprint } as const];
    try {
      await retried(db, async (tx) => {
        // Before the chain's row, in the order that all take them.
        const place = await appendAudit(tx, key, record, now, [...announce, opened]);
        // From its beginning, so that a chain without a checkpoint is never innocent.
        if (announce.length > 0) await this.#checkpoint(tx, record, place);
        if (place.entries === announce.length + 1) await this.#acts.began(tx, record);
        await tx.query(
          `WITH owner AS (SELECT id FROM replicas WHERE id = $9 AND ended_at IS NULL FOR SHARE)
           INSERT INTO sessions (id, conversation, chain, person, actor, connection, protocol, surface, owner, login, opened_at)
           VALUES ($1, $2, $11, $3, $4::jsonb, $5, $6, $7, (SELECT id FROM owner), $8, $10::bigint)`,
          [session, conversation, person, json(actor), connection, protocol, surface, basis, replica.id, now, record],
        );
        await tx.query('INSERT INTO entries (session, seq, hash, line) VALUES ($1, 0, $2, $3)', [session, first.hash, first.line]);
        await tell(tx, 'session', session);
      });
    } catch (cause) {
      if (cause instanceof Problem) throw cause;
      log.warn('recorder.not-opened', { session, cause });
      throw storeProblem(cause);
    }
    this.#announced.add(record);
    const chain = new StoreChain(session, this.#writer, first.hash);
    const recording = new LocalSession({
      id: session,
      chain,
      host: this.#writer,
      log,
      clock,
      closeGraceMs: this.#options.closeGraceMs ?? CLOSE_GRACE_MS,
      sealed: async () => {
        const sealing = this.#seal(session, record, now, chain).finally(() => this.#closing.delete(sealing));
        this.#closing.add(sealing);
        // Whoever closes waits while the store is there; where it is away, closing goes on by itself.
        if (this.#writer.halted === undefined) await sealing;
      },
    });
    this.#open.set(session, recording);
    return recording;
  }

  keepRaw(operation: string, raw: Answer): void {
    this.#raw.keep(operation, raw);
  }

  raw(operation: string): Answer | undefined {
    return this.#raw.get(operation);
  }

  /** All that was appended is in the store. */
  async flush(): Promise<void> {
    await this.#writer.sync();
  }

  /** Closes what is open and waits a while for the store to take it; what it does not take, another replica closes. */
  async stop(reason: string, graceMs: number): Promise<void> {
    this.#stopped = true;
    await Promise.all([...this.#open.values()].map((session) => session.close(reason)));
    await Promise.race([Promise.all(this.#closing), new Promise((resolve) => setTimeout(resolve, graceMs).unref())]);
    for (const [person, timer] of this.#checkpoints) {
      clearTimeout(timer);
      await this.#sign(person);
    }
    this.#checkpoints.clear();
    this.#writer.stop();
    this.#raw.clear();
  }

  /** The session's last line is in the store: writes its end into the audit. Tried again until it is in, or not ours any more. */
  async #seal(session: string, record: string, openedAt: number, chain: StoreChain): Promise<void> {
    const { clock, db, log, replica } = this.#options;
    this.#open.delete(session);
    for (;;) {
      await this.#writer.settled();
      try {
        await retried(db, async (tx) => {
          const now = clock.now();
          const [mine] = await tx.query('SELECT 1 FROM sessions WHERE id = $1 AND owner = $2 AND closed_at IS NULL FOR UPDATE', [session, replica.id]);
          if (!mine) return;
          await appendAudit(tx, this.#options.key, record, now, [
            { type: 'session.closed', session, file: fileOf(session, openedAt), ...chain.at, recovered: false },
          ]);
          await tx.query('UPDATE sessions SET closed_at = $2::bigint, close_reason = $3, entries = $4, head = $5 WHERE id = $1', [
            session,
            now,
            chain.closeReason,
            chain.at.entries,
            chain.at.head,
          ]);
          await tell(tx, 'session', session);
        });
        this.signSoon(record);
        return;
      } catch (cause) {
        log.warn('recorder.not-sealed', { session, cause });
        if (this.#stopped) return;
        await new Promise((resolve) => setTimeout(resolve, CLOSE_RETRY_MS).unref());
      }
    }
  }

  /** Signs how far someone's chain has come, once what else closes now has been added. */
  signSoon(person: string): void {
    if (this.#checkpoints.has(person)) return;
    const timer = setTimeout(() => {
      this.#checkpoints.delete(person);
      void this.#sign(person);
    }, CHECKPOINT_MS);
    this.#checkpoints.set(person, timer.unref());
  }

  async #sign(person: string): Promise<void> {
    const { db, log } = this.#options;
    try {
      const [place] = await db.query<ChainHead & { signed: string | null }>('SELECT entries, head, signed FROM chains WHERE chain = $1', [person]);
      // Signed as it grew: what is there now is not vouched for without a look at what was.
      if (!place || place.signed !== null) return;
      await this.#checkpoint(db, person, place);
    } catch (cause) {
      log.warn('recorder.not-signed', { cause });
    }
  }

  async #checkpoint(on: Queryable, chain: string, place: ChainHead): Promise<void> {
    const { clock, key } = this.#options;
    await on.query('INSERT INTO checkpoints (kid, statement, signature) VALUES ($1, $2, $3)', [
      key.fingerprint,
      json({ chain, entries: place.entries, head: place.head }),
      key.checkpoint(rfc3339(clock.now()), place),
    ]);
  }
}

/** The lines of one session on their way to the store. */
class StoreChain implements SessionChain {
  readonly #session: string;
  readonly #writer: StoreWriter;
  #entries = 1;
  #head: string;
  closeReason = '';

  constructor(session: string, writer: StoreWriter, head: string) {
    this.#session = session;
    this.#writer = writer;
    this.#head = head;
  }

  get at(): ChainHead {
    return { entries: this.#entries, head: this.#head };
  }

  append(at: string, written: Text): void {
    const body = textOf(written);
    const line = chainLine(at, body, this.#head, this.#entries, this.#session);
    this.#entries++;
    this.#head = line.hash;
    if (body.includes('"session.close"')) this.closeReason = reasonOf(body);
    this.#writer.append(this.#session, line);
  }

  sync(): Promise<void> {
    return this.#writer.sync();
  }

  async close(): Promise<void> {}
}

function reasonOf(body: string): string {
  const { type, reason } = JSON.parse(body) as { type?: string; reason?: string };
  return type === 'session.close' ? (reason ?? '') : '';
}

/** The chain of someone's sessions; what else is noted of them has one of its own. */
export function recordOf(person: string): string {
  return `record:${person}`;
}

/** Where the session's file lies in an export, and what the audit calls it. */
export function fileOf(session: string, openedAt: number): string {
  return `${rfc3339(openedAt).slice(0, 10)}/${session}.jsonl`;
}
