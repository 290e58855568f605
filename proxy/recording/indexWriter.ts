/** Reads what sessions' files have gained and puts it into the index, in one transaction a slice. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Entry, EntryBody } from '../../contract/recording.ts';
import { MAX_LINE_BYTES } from './chainReader.ts';

/** Bumped when the tables change: another version is thrown away and built again. */
const SCHEMA_VERSION = 2;
const SCHEMA = `
  CREATE TABLE sessions (
    session TEXT PRIMARY KEY, file TEXT NOT NULL, bytes INTEGER NOT NULL, conversation TEXT NOT NULL, actor TEXT NOT NULL,
    connection TEXT NOT NULL, protocol TEXT NOT NULL
  ) WITHOUT ROWID;
  CREATE TABLE operations (
    id INTEGER PRIMARY KEY, operation TEXT NOT NULL UNIQUE, session TEXT NOT NULL, conversation TEXT NOT NULL, at INTEGER NOT NULL,
    actor TEXT NOT NULL, person TEXT NOT NULL, agent TEXT NOT NULL, connection TEXT NOT NULL, protocol TEXT NOT NULL,
    headline TEXT NOT NULL, effect TEXT NOT NULL, decision TEXT NOT NULL, rule TEXT NOT NULL,
    answer TEXT, approved_by TEXT, waited_ms REAL, outcome TEXT, rows INTEGER, masked INTEGER NOT NULL DEFAULT 0, took_ms REAL,
    intent_at INTEGER NOT NULL, approval_at INTEGER, outcome_at INTEGER
  );
  CREATE INDEX operations_at ON operations (at DESC, id DESC);
  CREATE INDEX operations_session ON operations (session);
  CREATE VIRTUAL TABLE search USING fts5 (text, content='', contentless_delete=1);
`;
/** How much is read of a file at a time, in bytes. */
const CHUNK_BYTES = 256 * 1024;
/** How much of a statement can be searched, in characters. */
const MAX_SEARCHED_CHARS = 8192;
/** How many lines go by between looks at the clock. */
const LINES_A_LOOK = 64;

type Opened = Extract<EntryBody, { type: 'session.open' }>;

interface Place {
  bytes: number;
  header: Pick<Opened, 'conversation' | 'actor' | 'connection' | 'protocol'> | undefined;
}

export class IndexWriter {
  readonly #database: DatabaseSync;
  readonly #folder: string;
  readonly #place: StatementSync;
  readonly #savePlace: StatementSync;
  readonly #intent: StatementSync;
  readonly #search: StatementSync;
  readonly #approval: StatementSync;
  readonly #outcome: StatementSync;

  /** Makes the tables where they are missing. @throws errors of SQLite, for a file that is none or is broken. */
  constructor(database: DatabaseSync, folder: string) {
    this.#database = database;
    this.#folder = folder;
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 2000');
    const version = database.prepare('PRAGMA user_version').get()?.user_version;
    if (version === 0) database.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
    else if (version !== SCHEMA_VERSION) throw new Error(`the index has version ${String(version)}`);
    this.#place = database.prepare('SELECT bytes, conversation, actor, connection, protocol FROM sessions WHERE session = ?');
    this.#savePlace = database.prepare(
      `INSERT INTO sessions (session, file, bytes, conversation, actor, connection, protocol) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT (session) DO UPDATE SET file = excluded.file, bytes = excluded.bytes`,
    );
    this.#intent = database.prepare(
      `INSERT INTO operations (operation, session, conversation, at, actor, person, agent, connection, protocol, headline, effect, decision, rule, intent_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (operation) DO NOTHING`,
    );
    this.#search = database.prepare('INSERT INTO search (rowid, text) VALUES (?, ?)');
    this.#approval = database.prepare('UPDATE operations SET answer = ?, approved_by = ?, waited_ms = ?, approval_at = ? WHERE operation = ? AND session = ?');
    this.#outcome = database.prepare(
      'UPDATE operations SET outcome = ?, rows = ?, masked = ?, took_ms = ?, outcome_at = coalesce(outcome_at, ?) WHERE operation = ? AND session = ?',
    );
  }

  /** How many bytes of each session's file are indexed. */
  known(): Map<string, number> {
    const rows = this.#database.prepare('SELECT session, bytes FROM sessions').all();
    return new Map(rows.map((row) => [String(row.session), Number(row.bytes)]));
  }

  forget(session: string): void {
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      this.#forget(session);
      this.#database.exec('COMMIT');
    } catch (cause) {
      this.#rollback();
      throw cause;
    }
  }

  /** @param until a `performance.now()`. @returns the sessions that have nothing left to read. */
  catchUp(behind: ReadonlyMap<string, string>, until: number): { readonly done: string[]; readonly changed: boolean } {
    const done: string[] = [];
    let changed = false;
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const [session, file] of behind) {
        const reading = this.#readSession(session, file, until);
        changed ||= reading.changed;
        if (reading.done) done.push(session);
        if (performance.now() >= until) break;
      }
      this.#database.exec('COMMIT');
    } catch (cause) {
      this.#rollback();
      throw cause;
    }
    return { done, changed };
  }

  #rollback(): void {
    if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
  }

  #forget(session: string): void {
    this.#database.prepare('DELETE FROM search WHERE rowid IN (SELECT id FROM operations WHERE session = ?)').run(session);
    this.#database.prepare('DELETE FROM operations WHERE session = ?').run(session);
    this.#database.prepare('DELETE FROM sessions WHERE session = ?').run(session);
  }

  #readSession(session: string, file: string, until: number): { readonly done: boolean; readonly changed: boolean } {
    let descriptor: number;
    try {
      descriptor = openSync(join(this.#folder, file), 'r');
    } catch {
      // Gone: the verification says so; there is nothing to index.
      this.#forget(session);
      return { done: true, changed: true };
    }
    try {
      const { size } = fstatSync(descriptor);
      let place = this.#placeOf(session);
      if (place.bytes > size) {
        this.#forget(session);
        place = { bytes: 0, header: undefined };
      }
      const before = place.bytes;
      const done = this.#readLines(descriptor, session, place, size, until);
      if (place.bytes > before && place.header) {
        const { conversation, actor, connection, protocol } = place.header;
        this.#savePlace.run(session, file, place.bytes, conversation, JSON.stringify(actor), connection, protocol);
      }
      return { done, changed: place.bytes > before };
    } finally {
      closeSync(descriptor);
    }
  }

  /** @returns whether all whole lines were read. */
  #readLines(descriptor: number, session: string, place: Place, size: number, until: number): boolean {
    let length = CHUNK_BYTES;
    let lines = 0;
    while (place.bytes < size) {
      const chunk = Buffer.allocUnsafe(Math.min(length, size - place.bytes));
      const read = readSync(descriptor, chunk, 0, chunk.length, place.bytes);
      let from = 0;
      for (let end = chunk.subarray(0, read).indexOf(10); end !== -1; end = chunk.subarray(0, read).indexOf(10, from)) {
        this.#take(session, place, chunk.toString('utf8', from, end));
        place.bytes += end + 1 - from;
        from = end + 1;
        if (++lines % LINES_A_LOOK === 0 && performance.now() >= until) return false;
      }
      if (from > 0) length = CHUNK_BYTES;
      else if (read < length || length >= MAX_LINE_BYTES) return true;
      else length *= 4;
    }
    return true;
  }

  #placeOf(session: string): Place {
    const row = this.#place.get(session);
    if (!row) return { bytes: 0, header: undefined };
    const { bytes, conversation, actor, connection, protocol } = row;
    return {
      bytes: Number(bytes),
      header: {
        conversation: String(conversation),
        actor: JSON.parse(String(actor)) as Opened['actor'],
        connection: String(connection),
        protocol: String(protocol),
      },
    };
  }

  /** A line that is no entry is passed over: the verification speaks of it. */
  #take(session: string, place: Place, line: string): void {
    const entry = decode(line);
    if (!entry || entry.session !== session) return;
    try {
      this.#takeBody(session, place, entry);
    } catch (cause) {
      // SQLite's own errors are the index's; anything else comes of a line that is not what the recorder writes.
      if ((cause as { errcode?: number }).errcode !== undefined) throw cause;
    }
  }

  #takeBody(session: string, place: Place, { at, body }: Entry): void {
    switch (body.type) {
      case 'session.open':
        place.header ??= body;
        return;
      case 'operation.intent':
        if (place.header) this.#takeIntent(session, place.header, Date.parse(at), body, place.bytes);
        return;
      case 'operation.approval':
        this.#approval.run(
          `${body.answer} ${body.why}`,
          body.by ? (body.by.name ?? body.by.subject) : null,
          body.waitedMs,
          place.bytes,
          body.operation,
          session,
        );
        return;
      case 'operation.outcome':
        this.#outcome.run(body.outcome, body.rows ?? null, body.masked, body.tookMs, place.bytes, body.operation, session);
        return;
      case 'operation.dry-run':
      case 'session.close':
    }
  }

  #takeIntent(session: string, header: NonNullable<Place['header']>, at: number, body: Extract<EntryBody, { type: 'operation.intent' }>, offset: number): void {
    const { conversation, actor, connection, protocol } = header;
    const { facts, verdict } = body;
    const person = actor.person.name ?? actor.person.subject;
    const agent = `${actor.agent.kind} ${actor.agent.name}`;
    const values = [
      [body.operation, session, conversation, at, JSON.stringify(actor), `${person} ${actor.person.subject}`, agent, connection, protocol],
      [facts.headline, facts.effect, verdict.decision, verdict.rule.id, offset],
    ];
    const { changes, lastInsertRowid } = this.#intent.run(...values.flat());
    if (changes === 0) return;
    this.#search.run(lastInsertRowid, [body.payload.slice(0, MAX_SEARCHED_CHARS), facts.headline, connection, agent, verdict.rule.id, person].join('\n'));
  }
}

/**
 * Not held to the contract's caps, unlike everything else that is read: what somebody made too long for them must not
 * vanish from the history for it. The recorder wrote the line; a line that was made up fails the verification.
 */
function decode(line: string): Entry | undefined {
  try {
    const entry = JSON.parse(line) as Entry;
    const { body } = entry;
    const sound = body.type === 'operation.intent' ? typeof body.facts.headline === 'string' && typeof body.verdict.rule.id === 'string' : true;
    return sound && !Number.isNaN(Date.parse(entry.at)) ? entry : undefined;
  } catch {
    return undefined;
  }
}
