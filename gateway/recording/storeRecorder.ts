/** The recorder of the gateway: the same sessions and entries as on a laptop, in the store, owned by the replica that writes them. */
import { Problem } from '../../contract/problem.ts';
import type { EntryBody } from '../../contract/recording.ts';
import type { Answer } from '../../contract/response.ts';
import type { Clock, Log } from '../../proxy/pipeline/engine.ts';
import { canonical } from '../../proxy/recording/canonical.ts';
import type { ChainHost } from '../../proxy/recording/chainFile.ts';
import { RawAnswers } from '../../proxy/recording/rawAnswers.ts';
import type { Recorder, SessionHeader, SessionRecording } from '../../proxy/recording/recorder.ts';
import { LocalSession } from '../../proxy/recording/sessionRecording.ts';
import { tell } from '../store/bus.ts';
import { type Database, json, one, type Queryable, retried } from '../store/database.ts';
import { storeProblem } from '../store/postgres.ts';
import type { Replica } from '../store/replica.ts';
import { appendAudit, lineHash } from './chains.ts';
import { EntryWriter } from './entryWriter.ts';
import { entryLine, StoreChain } from './storeChain.ts';

/** How long a closing session waits for operations that are still out, in milliseconds. */
const CLOSE_GRACE_MS = 2_000;
/** Entries that have waited this long mean that the store is away: nothing new begins, in milliseconds. */
const BEHIND_MS = 3_000;

/** Who a session belongs to, beyond what its header says. */
export interface SessionOwner {
  /** Id in the table of people or of service accounts: whose chain it is in. */
  readonly person: string;
  /** What it stands on: ended, the session is cut. */
  readonly basis: string;
}

export interface StoreRecorderOptions {
  readonly db: Database;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly log: Log;
  readonly ownerOf: (header: SessionHeader) => SessionOwner;
  /** A session is not this process's any more: it must be cut without another word. */
  readonly onLost: (session: string) => void;
}

export class StoreRecorder implements Recorder {
  readonly #options: StoreRecorderOptions;
  readonly #writer: EntryWriter;
  readonly #raw: RawAnswers;
  readonly #host: ChainHost;

  constructor(options: StoreRecorderOptions) {
    this.#options = options;
    this.#writer = new EntryWriter(options.db, options.replica, options.log);
    this.#raw = new RawAnswers(options.clock);
    const replica = options.replica;
    this.#host = {
      get halted() {
        return replica.alive ? undefined : FENCED;
      },
      queued: 0,
      halt: (doing, cause) => options.log.error('recording.halted', { doing, cause }),
      haltedProblem: () => new Problem('recorder-halted', FENCED),
    };
  }

  get halted(): string | undefined {
    if (this.#host.halted !== undefined) return this.#host.halted;
    return this.#writer.behindMs > BEHIND_MS ? BEHIND : undefined;
  }

  async open(header: SessionHeader): Promise<SessionRecording> {
    const { db, replica, log, clock, ownerOf, onLost } = this.#options;
    const { session: id, conversation, actor, connection, protocol, surface } = header;
    const { person, basis } = ownerOf(header);
    const chain = new StoreChain(id, this.#writer, this.#host, undefined, () => onLost(id));
    const session = new LocalSession({
      id,
      chain,
      host: this.#host,
      log,
      now: () => new Date(clock.now()).toISOString(),
      closeGraceMs: CLOSE_GRACE_MS,
      sealed: () => this.#seal(id, person, chain),
    });
    if (this.halted !== undefined) throw new Problem('recorder-halted', this.halted);
    try {
      await retried(db, async (tx) => {
        const row = await one(
          tx,
          `INSERT INTO sessions (id, conversation, chain, person, actor, connection, protocol, surface, login, owner)
           SELECT $1, $2, $3, $3, $4::jsonb, $5, $6, $7, $8, id FROM replicas WHERE id = $9 AND ended_at IS NULL AND lease_until > ms() FOR SHARE RETURNING id`,
          [id, conversation, person, json(actor), connection, protocol, surface, basis, replica.id],
        );
        if (!row) throw new Problem('recorder-halted', FENCED);
        await appendAudit(tx, person, { type: 'session.opened', session: id });
        await tell(tx, 'session', id);
      });
    } catch (cause) {
      throw cause instanceof Problem ? cause : new Problem('recorder-halted', storeProblem(cause).message, { cause });
    }
    session.append({ type: 'session.open', conversation, actor, connection, protocol, surface });
    await session.sync();
    return {
      append: (body) => {
        if (body.type === 'operation.intent' && this.halted !== undefined) throw new Problem('recorder-behind', this.halted);
        session.append(body);
      },
      sync: () => session.sync(),
      close: (reason) => session.close(reason),
    };
  }

  keepRaw(operation: string, raw: Answer): void {
    this.#raw.keep(operation, raw);
  }

  async #seal(id: string, person: string, chain: StoreChain): Promise<void> {
    const { db, replica } = this.#options;
    const { entries, head } = chain.at;
    await retried(db, async (tx) => {
      const row = await one(
        tx,
        `UPDATE sessions SET closed_at = ms(), entries = $2, head = $3, close_reason = left((SELECT line::jsonb #>> '{body,reason}' FROM entries WHERE session = $1 AND seq = $2 - 1), 400)
         WHERE id = $1 AND owner = $4 AND closed_at IS NULL AND EXISTS (SELECT 1 FROM entries WHERE session = $1 AND seq = $2 - 1 AND hash = $3) RETURNING id`,
        [id, entries, head, replica.id],
      );
      // Sealed by another already, or not whole in the store: then recovery has the last word.
      if (!row) return;
      await appendAudit(tx, person, { type: 'session.closed', session: id, entries, head, recovered: false });
      await tell(tx, 'session', id);
    });
  }
}

const FENCED =
  'This gateway has lost touch with its store, so nothing can be recorded and nothing is forwarded. It recovers by itself; connect again in a moment.';
const BEHIND =
  'The gateway’s store does not answer, so nothing new can be recorded and nothing new is forwarded. It recovers by itself; try again in a moment.';

/** Seals what a dead replica had open: operations without an outcome are `lost`, the chain ends, the audit says so. */
export async function sealSessionsOf(tx: Queryable, replica: string): Promise<void> {
  const open = await tx.query<{ id: string; chain: string; now: string }>(
    `SELECT id, chain, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS now FROM sessions WHERE owner = $1 AND closed_at IS NULL ORDER BY chain, id FOR UPDATE`,
    [replica],
  );
  for (const { id, chain, now } of open) {
    const lines = await tx.query<{ seq: number; hash: string; type: string; operation: string | null }>(
      `SELECT seq, hash, line::jsonb #>> '{body,type}' AS type, line::jsonb #>> '{body,operation}' AS operation FROM entries WHERE session = $1 ORDER BY seq`,
      [id],
    );
    const out = new Set<string>();
    for (const { type, operation } of lines) {
      if (type === 'operation.intent' && operation !== null) out.add(operation);
      if (type === 'operation.outcome' && operation !== null) out.delete(operation);
    }
    const last = lines.at(-1);
    const closed = last?.type === 'session.close';
    let seq = (last?.seq ?? -1) + 1;
    let head = last?.hash ?? '0'.repeat(64);
    const bodies: EntryBody[] = closed
      ? []
      : [
          ...[...out].map((operation): EntryBody => ({ type: 'operation.outcome', operation, outcome: 'lost', masked: 0, tookMs: 0 })),
          { type: 'session.close', reason: 'recovered: the gateway that served it went away before this session ended' },
        ];
    for (const body of bodies) {
      const line = entryLine(id, seq, now, head, canonical(body));
      head = lineHash(line);
      await tx.query('INSERT INTO entries (session, seq, hash, line) VALUES ($1, $2, $3, $4)', [id, seq, head, line]);
      seq++;
    }
    await tx.query("UPDATE sessions SET closed_at = ms(), close_reason = 'recovered', entries = $2, head = $3, recovered = true WHERE id = $1", [
      id,
      seq,
      head,
    ]);
    await appendAudit(tx, chain, { type: 'session.closed', session: id, entries: seq, head, recovered: true });
    await tell(tx, 'session', id);
  }
}
