/**
 * One client's session: reads what the client says in order, has each operation decided, and sends on what a permit allows.
 * Operations are admitted strictly one after the other; an answer is not waited for before the next is admitted. What
 * carries no operation (Sync, Flush, Describe, Close, Terminate) goes under the permit of the session's CONNECT.
 */
import { randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Problem } from '../../../contract/problem.ts';
import type { Session } from '../../pipeline/session.ts';
import type { ClientIdentity } from '../protocol.ts';
import { Admission } from './admission.ts';
import { Answers } from './answers.ts';
import { type Backend, cancelBackend, closeBackend } from './backend.ts';
import type { DryRunSession } from './dryRun.ts';
import { cannot } from './dryRunText.ts';
import type { Flight } from './flight.ts';
import { FAILED_TRANSACTION, FrameReader, IDLE, IN_TRANSACTION, passesUnsettled } from './frames.ts';
import { Frontend, type Wait } from './frontend.ts';
import type { Ground } from './ground.ts';
import { type Ask, look } from './look.ts';
import { errorResponse, noticeResponse, type OwnError, queryMessage, SQLSTATE, TERMINATE } from './messages.ts';
import { Outbox } from './outbox.ts';
import { readInPlace } from './readInPlace.ts';
import { NamesInSession, READ_ALL, READ_PATH } from './sessionNames.ts';
import { isOn, isUtf8 } from './settings.ts';
import type { Catalog, Inside } from './sql/catalog.ts';
import type { StatementInfo } from './sql/classifier.ts';

/** Bytes that a client may send ahead while an ask holds it, before its socket is no longer read. */
const MAX_AHEAD_BYTES = 16 * 1024 * 1024;
/** Answers that may be outstanding before the client is no longer read. */
const MAX_OUTSTANDING = 10_000;
/** A statement that is held longer than this says so in a notice, in milliseconds. */
const HELD_NOTICE_MS = 400;
/** How often what was changed is read again before the session is given up. */
const SETTLE_TRIES = 3;
/** How long a dry run waits for the answers to what came before it, in milliseconds. */
const ANSWERED_MS = 1000;
/** How long either side may take to let go after a goodbye, in milliseconds. */
const GOODBYE_MS = 10_000;

export interface SessionParts {
  readonly ground: Ground;
  readonly identity: ClientIdentity;
  readonly record: Session;
  readonly client: Duplex;
  readonly backend: Backend;
  readonly searchPath: readonly string[];
  /** Undefined where the login may connect once only. */
  readonly dryRunLogin: DryRunSession['login'];
  readonly onClosed: () => void;
}

/** How a session came to its end. */
interface Ending {
  readonly reason: string;
  /** What the client is told, where there is one. */
  readonly error?: OwnError;
  /** The client has gone: what the server is doing for it is cancelled. */
  readonly clientGone?: boolean;
}

export class ClientSession {
  readonly #parts: SessionParts;
  readonly #answers: Answers;
  readonly #names: NamesInSession;
  readonly #admission: Admission;
  readonly #frontend: Frontend;
  readonly #reader = new FrameReader();
  #client: Duplex;
  #server: Duplex;
  readonly #toClient = new Outbox();
  readonly #toServer = new Outbox();
  #inbox: Buffer[] = [];
  #inboxBytes = 0;
  /** A message waits for something; those behind it wait for it. */
  #busy = false;
  #pumping = false;
  /** A chunk from the server is being read, and something in it let what waits go on. */
  #receiving = false;
  #progressed = false;
  /** What an answer leaves to do: its outcome is recorded when it has gone to the client. */
  #afterwards: (() => void)[] = [];
  /** Names and settings are read again: it waits for the answers that are out, then for its own. */
  #settling: 'no' | 'waiting' | 'reading' = 'no';
  /** The catalog is read in the client's transaction. */
  #looking = false;
  /** Cancels that the server is being told of: each would hit a query of ours as well. */
  #cancelling = 0;
  #waiters: (() => void)[] = [];
  #goodbye = false;
  #ended: Promise<void> | undefined;
  #notice: NodeJS.Timeout | undefined;

  constructor(parts: SessionParts) {
    this.#parts = parts;
    const { ground, identity, record } = parts;
    this.#client = parts.client;
    this.#server = parts.backend.socket;
    this.#names = new NamesInSession(parts.searchPath);
    this.#answers = new Answers(
      {
        progress: () => this.#progress(),
        segmentFailed: () => {
          this.#frontend.segmentFailed();
          this.#admission.withdraw('a statement before it failed');
        },
        completed: (_flight: Flight, statement: StatementInfo | undefined) => {
          if (statement) this.#names.completed(statement);
        },
        ready: (status) => this.#ready(status),
        parameter: (name, value) => this.#parameter(name, value),
        newerCatalog: () => ground.catalogs.newer(),
        failed: (cause) => this.#fail(cause),
        reach: () => (ground.reading(this.#names.searchPath)?.plan.columns.size === 0 ? 'none' : 'possible'),
      },
      record.masking,
      this.#toClient,
    );
    this.#admission = new Admission({
      ground,
      identity,
      record,
      names: this.#names,
      failed: (cause) => this.#fail(cause),
      afterwards: (work) => {
        if (this.#receiving) this.#afterwards.push(work);
        else work();
      },
      waiting: () => this.#held(),
      look: (inside) => this.#look(inside),
      dryRuns: { login: parts.dryRunLogin, settled: (signal) => this.#alone(signal) },
    });
    this.#frontend = new Frontend({
      ground,
      record,
      names: this.#names,
      answers: this.#answers,
      admission: this.#admission,
      toServer: this.#toServer,
      readOnly: identity.readOnly ?? false,
      abortPortal: `countersign ${randomBytes(12).toString('hex')}`,
      idle: () => this.#until(() => this.#answers.idle),
      copyAnswered: () => this.#until(() => this.#answers.copyIn || !this.#answers.copyInExpected),
      settle: () => {
        this.#settling = 'waiting';
      },
      goodbye: () => this.#sayGoodbye(),
    });
  }

  /** @param ahead bytes that came with the login and were not read yet */
  start(ahead: Buffer): void {
    const { record } = this.#parts;
    const reading = readInPlace(this.#client, (chunk) => this.#fromClient(chunk));
    const client = reading.stream;
    this.#client = client;
    client.on('drain', () => this.#flow());
    for (const event of ['end', 'close', 'error']) client.on(event, () => this.#clientGone());
    const answering = readInPlace(this.#server, (chunk) => this.#fromServer(chunk));
    const server = answering.stream;
    this.#server = server;
    server.on('drain', () => this.#pump());
    for (const event of ['end', 'close', 'error']) server.on(event, () => this.#serverGone());
    const ended = (): void => {
      void this.end({
        reason: `ended: ${String(record.signal.reason)}`,
        error: { code: SQLSTATE.adminShutdown, message: `Countersign ended this session: ${String(record.signal.reason)}. Connect again.` },
      });
    };
    record.signal.addEventListener('abort', ended);
    if (record.signal.aborted) return ended();
    if (client.destroyed || client.readableEnded) return this.#clientGone();
    if (server.destroyed) return this.#serverGone();
    for (const chunk of answering.ahead) this.#fromServer(chunk);
    server.resume();
    for (const chunk of [ahead, ...reading.ahead]) if (chunk.length > 0) this.#fromClient(chunk);
    client.resume();
  }

  /** A CancelRequest with this session's key: withdraws what is asked, or cancels what runs. */
  cancel(): Promise<void> | undefined {
    if (this.#admission.withdraw('cancelled by the client')) return undefined;
    if (this.#answers.idle || this.#settling === 'reading' || this.#looking) {
      // What the server does now is for us. A statement that has come and was not sent yet is not sent any more.
      this.#admission.cancelled = this.#busy || this.#inbox.length > 0 || this.#reader.pending > 0;
      return undefined;
    }
    const told = this.#cancelUpstream().finally(() => {
      if (--this.#cancelling === 0 && !this.#ended) this.#progress();
    });
    this.#cancelling++;
    return told;
  }

  /** Ends the session; the first call counts. Resolves when it is recorded and both sides are let go. */
  end(ending: Ending): Promise<void> {
    this.#ended ??= this.#end(ending);
    return this.#ended;
  }

  async #end({ clientGone, error, reason }: Ending): Promise<void> {
    const { ground, onClosed, record } = this.#parts;
    const client = this.#client;
    // Its callers go on with what they were doing: `#ended` must be set first.
    await Promise.resolve();
    clearTimeout(this.#notice);
    this.#admission.withdraw(reason);
    const running = !this.#answers.idle;
    if (error && !this.#answers.midFrame && !this.#answers.fatal && !client.destroyed) this.#toClient.bytes(errorResponse({ severity: 'FATAL', ...error }));
    this.#answers.abandon(clientGone ? 'cancelled' : 'failed', error?.code ?? SQLSTATE.connectionFailure, error?.message ?? reason);
    // What was bound and not executed to its end is waited for by nobody else.
    this.#closePortals();
    this.#toClient.flush(client);
    client.end();
    client.resume();
    setTimeout(() => client.destroy(), GOODBYE_MS).unref();
    if (running && clientGone && !this.#goodbye && !this.#server.destroyed) void this.#cancelUpstream();
    closeBackend({ socket: this.#server });
    for (const wake of this.#waiters.splice(0)) wake();
    try {
      await this.#admission.settled();
      await record.close(reason);
    } catch (cause) {
      ground.engine.log.error('postgres.session-not-closed', { connection: ground.connection.name, cause });
    }
    if (clientGone) client.destroy();
    onClosed();
  }

  /** Never rejects. */
  #cancelUpstream(): Promise<void> {
    const { backend, ground } = this.#parts;
    return cancelBackend(ground.connection, backend, new AbortController().signal).catch((cause: unknown) => {
      ground.engine.log.warn('postgres.cancel-failed', { connection: ground.connection.name, cause });
    });
  }

  #fail(cause: unknown): void {
    const { ground } = this.#parts;
    const ours = cause instanceof Problem;
    ground.engine.log[ours ? 'warn' : 'error']('postgres.session-failed', { connection: ground.connection.name, cause });
    void this.end({
      reason: ours ? cause.message : 'a fault in Countersign',
      error: ours
        ? { code: cause.code === 'protocol-violation' ? SQLSTATE.protocolViolation : SQLSTATE.cannotConnectNow, message: cause.message }
        : { code: SQLSTATE.internal, message: 'Countersign failed while it handled this statement, and ended the session. Its log says more. Connect again.' },
    });
  }

  #sayGoodbye(): void {
    this.#goodbye = true;
    if (this.#answers.idle) return void this.end({ reason: 'the client said goodbye' });
    // The server closes when it has done what was sent before.
    this.#toServer.bytes(TERMINATE);
    setTimeout(() => void this.end({ reason: 'the client said goodbye' }), GOODBYE_MS).unref();
  }

  #clientGone(): void {
    if (this.#goodbye) return;
    void this.end({ reason: 'the client closed the connection', clientGone: true });
  }

  #serverGone(): void {
    if (this.#goodbye) return void this.end({ reason: 'the client said goodbye' });
    const lost = this.#parts.backend.lost?.();
    // The server did not hang up, and may not know yet: what it is still doing is cancelled on another way, if there is one soon.
    if (lost !== undefined && !this.#answers.idle) void this.#cancelUpstream();
    const message = lost ?? 'The database closed the connection. Connect again.';
    void this.end({ reason: lost?.slice(0, 400) ?? 'the database closed the connection', error: { code: SQLSTATE.connectionFailure, message } });
  }

  /** @returns whether nothing refers to the chunk any more. */
  #fromClient(chunk: Buffer): boolean {
    if (this.#ended || this.#goodbye) return true;
    this.#inbox.push(chunk);
    this.#inboxBytes += chunk.length;
    this.#pump();
    // What is sent ahead of an ask is kept, not left in the socket: a client that goes must be noticed.
    if (this.#inboxBytes > (this.#busy ? MAX_AHEAD_BYTES : 0)) this.#client.pause();
    return !this.#busy && this.#inbox.length === 0 && this.#reader.pending === 0 && !this.#frontend.holds && this.#toServer.letGo(this.#server);
  }

  /** @returns whether nothing refers to the chunk any more. */
  #fromServer(chunk: Buffer): boolean {
    if (this.#ended) return true;
    this.#receiving = true;
    try {
      this.#answers.push(chunk);
    } catch (cause) {
      this.#received();
      this.#fail(cause);
      return false;
    }
    this.#flow();
    this.#received();
    if (this.#progressed) {
      this.#progressed = false;
      this.#pump();
    }
    return this.#toClient.letGo(this.#client);
  }

  #received(): void {
    this.#receiving = false;
    if (this.#afterwards.length > 0) for (const work of this.#afterwards.splice(0)) work();
  }

  /** Writes what is ready for the client; reads the server only as fast as the client takes it. */
  #flow(): void {
    if (this.#ended) return;
    const more = this.#toClient.flush(this.#client);
    if (!more || this.#answers.waiting) this.#server.pause();
    else if (this.#server.isPaused()) this.#server.resume();
  }

  /** Takes messages as long as nothing holds them. */
  #pump(): void {
    if (this.#pumping || this.#busy || this.#ended) return;
    this.#pumping = true;
    try {
      while (!this.#busy && !this.#ended && !this.#goodbye && !this.#stalled() && this.#next()) {
        const { buffer, end, start, type } = this.#reader;
        const go = (): Wait => this.#frontend.message(type, buffer, start, end);
        const wait = this.#settling === 'no' || passesUnsettled(type) ? go() : this.#until(() => this.#settling === 'no')?.then(go);
        if (wait) this.#wait(wait);
      }
    } catch (cause) {
      this.#pumping = false;
      this.#fail(cause);
      return;
    }
    this.#pumping = false;
    if (this.#ended) return;
    this.#toServer.flush(this.#server);
    this.#flow();
    if (this.#inboxBytes === 0 && this.#client.isPaused()) this.#client.resume();
  }

  #stalled(): boolean {
    return (this.#settling !== 'no' && !this.#unsettledGoesOn) || this.#server.writableNeedDrain || this.#answers.outstanding > MAX_OUTSTANDING;
  }

  /** What was changed cannot be read again before the server has the client's COPY data, or its Sync after an error. */
  get #unsettledGoesOn(): boolean {
    return this.#settling === 'waiting' && (this.#answers.copyInExpected || this.#frontend.awaitsSync);
  }

  #next(): boolean {
    for (;;) {
      if (this.#reader.next()) return true;
      const chunk = this.#inbox.shift();
      if (!chunk) return false;
      this.#inboxBytes -= chunk.length;
      this.#reader.push(chunk);
    }
  }

  #wait(wait: Promise<void>): void {
    this.#busy = true;
    const release = (): void => {
      clearTimeout(this.#notice);
      this.#busy = false;
      this.#admission.cancelled = false;
    };
    wait.then(
      () => {
        release();
        this.#pump();
      },
      (cause: unknown) => {
        release();
        this.#fail(cause);
      },
    );
  }

  /** Resolves when it is true, or the session is over. What is ready is sent first: it may be what is waited for. */
  #until(condition: () => boolean): Wait {
    if (condition()) return undefined;
    this.#toServer.flush(this.#server);
    return new Promise((resolve) => {
      const wake = (): void => {
        if (this.#ended || condition()) resolve();
        else this.#waiters.push(wake);
      };
      this.#waiters.push(wake);
    });
  }

  /** For a dry run: another connection must see what this one would. @throws Problem `no-dry-run` where it would not */
  async #alone(signal: AbortSignal): Promise<void> {
    const answered = this.#until(() => this.#answers.idle);
    if (answered) await Promise.race([answered, sleep(ANSWERED_MS, undefined, { signal, ref: false }).catch(() => {})]);
    if (!this.#answers.idle) throw cannot('statements before it are still running');
    if (this.#frontend.executing || this.#answers.status !== IDLE)
      throw cannot('the session is in a transaction, and another connection does not see what it has changed');
    if (this.#names.hasTemporary) throw cannot('the session has temporary tables, which another connection does not see');
    if (this.#names.ownSettings) throw cannot('the session has changed settings, or run code that may have, and another connection would not have them');
  }

  /** What the open transaction alone sees; undefined where it cannot be read now. */
  async #look(inside: Inside): Promise<Catalog | undefined> {
    if (this.#frontend.midSegment) return undefined;
    await this.#until(() => this.#answers.idle && this.#cancelling === 0);
    if (this.#ended || this.#answers.status !== IN_TRANSACTION) return undefined;
    this.#looking = true;
    try {
      return await look((sql) => this.#ours(sql), inside);
    } finally {
      this.#looking = false;
    }
  }

  #ours(sql: string): ReturnType<Ask> {
    return new Promise((done) => {
      this.#toServer.bytes(queryMessage(sql));
      this.#answers.expect({ kind: 'ours', rows: [], done });
      this.#toServer.flush(this.#server);
    });
  }

  #progress(): void {
    if (this.#settling === 'waiting' && this.#answers.idle && this.#cancelling === 0 && !this.#frontend.awaitsSync) this.#settle(SETTLE_TRIES);
    if (this.#waiters.length > 0) for (const wake of this.#waiters.splice(0)) wake();
    // Once for all the answers in a chunk: each would be a write of its own to the client.
    if (this.#receiving) this.#progressed = true;
    else this.#pump();
  }

  /** An operation waits for a person, or for the disk: what is before it must not wait with it. */
  #held(): void {
    this.#toServer.flush(this.#server);
    clearTimeout(this.#notice);
    this.#notice = setTimeout(() => {
      if (this.#ended || !this.#busy || this.#answers.midFrame) return;
      this.#toClient.bytes(noticeResponse('Countersign holds this statement until a person has answered.'));
      this.#flow();
    }, HELD_NOTICE_MS);
    this.#notice.unref();
  }

  #ready(status: number): void {
    if (!this.#busy && this.#inbox.length === 0) this.#admission.cancelled = false;
    if (status !== IDLE) return;
    // Portals end with their transaction.
    this.#closePortals();
    if (this.#admission.takeCatalogTouched(this.#answers.outstanding <= 1)) this.#parts.ground.catalogs.stale();
  }

  #closePortals(): void {
    for (const portal of this.#names.portals.confirmed.values()) this.#answers.closePortal(portal);
    this.#names.portals.clear();
  }

  /** Reads again what a statement may have changed. In a failed transaction nothing can be read; it waits for the next. */
  #settle(tries: number): void {
    const what = this.#admission.unsettled;
    if (what === 'nothing' || this.#answers.status === FAILED_TRANSACTION) {
      this.#settling = 'no';
      return;
    }
    this.#settling = 'reading';
    this.#toServer.bytes(queryMessage(what === 'path' ? READ_PATH : READ_ALL));
    this.#answers.expect({
      kind: 'ours',
      rows: [],
      done: (rows) => {
        if (this.#ended) return;
        // A cancel for what ended meanwhile may have come late.
        if (!rows && tries > 1 && this.#answers.status === IDLE) return this.#settle(tries - 1);
        if (!rows)
          return this.#fail(
            new Problem('unsettled', 'Countersign could not read the session’s settings again, so it cannot tell what statements mean. Connect again.'),
          );
        if (what === 'path') this.#names.readPath(rows);
        else this.#names.readAll(rows);
        this.#admission.settledNow(this.#answers.status !== IDLE);
        this.#settling = 'no';
      },
    });
    this.#toServer.flush(this.#server);
  }

  /** Whatever way they were changed: without these the proxy and the server would read different statements. */
  #parameter(name: string, value: string): void {
    if (name === 'client_encoding' ? isUtf8(value) : name !== 'standard_conforming_strings' || isOn(value)) return;
    this.#fail(
      new Problem(
        'reading',
        `${name} was changed to ${value.slice(0, 40)}, under which Countersign cannot read statements as the server does; the session is over.`,
      ),
    );
  }
}
