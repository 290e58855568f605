/**
 * What the server says, on its way to the client: framed, matched with what it answers, masked. Reads headers inside the
 * chunks and passes ranges on as they came; only what must be rewritten is held until it is whole.
 *
 * Longer than a file should be: one state machine over one buffer, whose hot path would pay for every border in it.
 */
import type { SessionMasking } from '../../masking/masking.ts';
import { type Action, actionsOf } from './columnMask.ts';
import { copyOutOf } from './copyOut.ts';
import { HIDDEN, maskDiagnostic, type Reach } from './diagnostics.ts';
import type { Expected, Portal } from './expected.ts';
import type { Flight, Reading } from './flight.ts';
import { BACK, FieldReader, FrameWriter, IDLE, MAX_FRAME_BYTES, violation } from './frames.ts';
import { type Column, diagnostic, formatOf, notificationResponse, parameterStatus, readDiagnostic, readRowDescription, rowsOfTag } from './messages.ts';
import { Outbox } from './outbox.ts';
import { readRow } from './ownQueries.ts';
import { Rows } from './rows.ts';
import type { Catalog } from './sql/catalog.ts';
import type { StatementInfo } from './sql/classifier.ts';

/** What the session does when the server says something that concerns more than the client. */
export interface AnswersHost {
  /** Something was answered: what waited for it may go on. */
  progress(): void;
  /** Messages up to the next Sync are skipped by the server. */
  segmentFailed(): void;
  /** A statement was carried out. */
  completed(flight: Flight, statement: StatementInfo | undefined): void;
  ready(status: number): void;
  parameter(name: string, value: string): void;
  /** A result names a table that the catalog snapshot does not know: a newer one. */
  newerCatalog(): Promise<Catalog>;
  /** The answer cannot be read on. */
  failed(cause: unknown): void;
  /** The reading in force, for results that no flight of its own belongs to. */
  reach(): Reach;
}

const NOTHING_KNOWN = { own: (): string => '', isRelation: (): boolean => false };

export class Answers {
  readonly #host: AnswersHost;
  readonly #masking: SessionMasking;
  readonly #out: Outbox;
  #queue: Expected[] = [];
  #head = 0;
  /** Bytes of a frame that is cut by a chunk's end, and how many it takes. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  #needed = 0;
  /** Bytes left of a frame that goes on in parts. */
  #skip = 0;
  /** Set while a newer catalog is awaited: nothing is read meanwhile. */
  #waiting = false;
  /** The session is over. */
  #abandoned = false;
  /** Flights that are complete but for the Sync that commits them. */
  #finishing: Flight[] = [];
  /** For a reading that turned out too old for a result: the catalog that was read then. */
  readonly #newer = new WeakMap<Reading, Catalog>();
  /** Transaction status as the last ReadyForQuery told it. */
  status = IDLE;
  /** The server takes CopyData now. */
  copyIn = false;
  /** The server ended the session with a FATAL error of its own, which the client has got. */
  fatal = false;
  readonly #lastPlan = new WeakMap<
    StatementInfo,
    { readonly reading: Reading; readonly bytes: Buffer; readonly columns: readonly Column[]; readonly actions: readonly (Action | undefined)[] }
  >();

  constructor(host: AnswersHost, masking: SessionMasking, out: Outbox) {
    this.#host = host;
    this.#masking = masking;
    this.#out = out;
  }

  /** Nothing is waited for. */
  get idle(): boolean {
    return this.#head === this.#queue.length;
  }

  get outstanding(): number {
    return this.#queue.length - this.#head;
  }

  /** The client is in the middle of a frame: nothing of ours may be put in between. */
  get midFrame(): boolean {
    return this.#skip > 0;
  }

  /** While true, the server's socket must not be read. */
  get waiting(): boolean {
    return this.#waiting;
  }

  expect(expected: Expected): void {
    if (this.#abandoned) {
      this.#dropped(expected, 'cancelled', '08006', 'the session is over');
      return;
    }
    this.#queue.push(expected);
    if (expected.kind === 'local') this.#local();
  }

  /** Some COPY FROM STDIN has been sent and the server has not said yet whether it takes the data. */
  get copyInExpected(): boolean {
    for (let i = this.#head; i < this.#queue.length; i++) {
      const expected = this.#queue[i];
      const statements = expected?.kind === 'query' ? expected.flight.statements : expected?.kind === 'execute' ? [expected.portal.info] : undefined;
      if (statements?.some((statement) => statement.copy?.direction === 'in')) return true;
    }
    return false;
  }

  /** Ends every flight that is still out: the session is over. */
  abandon(outcome: 'failed' | 'cancelled' | 'lost', code: string, message: string): void {
    this.#abandoned = true;
    for (const expected of this.#queue.splice(this.#head)) this.#dropped(expected, outcome, code, message);
    this.#head = this.#queue.length;
    for (const flight of this.#finishing.splice(0)) flight.end('done');
  }

  /**
   * Takes a chunk from the server; what must be kept of it is copied. Throws a `protocol-violation` when the server does
   * not keep to the protocol.
   */
  push(chunk: Buffer): void {
    let from = 0;
    // The frame that was cut is put together by itself, so that the rest of the chunk is read where it lies.
    while (this.#heldBytes > 0) {
      const missing = this.#waiting ? Number.POSITIVE_INFINITY : this.#needed - this.#heldBytes;
      const to = Math.min(chunk.length, from + missing);
      if (to > from) this.#held.push(Buffer.from(chunk.subarray(from, to)));
      this.#heldBytes += to - from;
      if (to - from < missing) return;
      from = to;
      const joined = Buffer.concat(this.#held, this.#heldBytes);
      this.#held = [];
      this.#heldBytes = 0;
      this.#scan(joined, 0);
    }
    if (from < chunk.length) this.#scan(chunk, from);
  }

  #hold(buffer: Buffer, at: number, needed: number): void {
    this.#held = [Buffer.from(buffer.subarray(at))];
    this.#heldBytes = buffer.length - at;
    this.#needed = needed;
  }

  #scan(buffer: Buffer, start: number): void {
    const length = buffer.length;
    let at = start;
    if (this.#skip > 0) {
      at = Math.min(start + this.#skip, length);
      this.#out.range(buffer, start, at);
      this.#skip -= at - start;
    }
    let run = -1;
    while (at < length) {
      if (length - at < 5) {
        if (run >= 0) this.#rows(buffer, run, at);
        return this.#hold(buffer, at, 5);
      }
      const type = buffer[at] ?? 0;
      const size = buffer.readInt32BE(at + 1);
      if (size < 4) throw violation(`a message of ${size} bytes`);
      const end = at + 1 + size;
      if (type === BACK.dataRow && end <= length) {
        if (size < 6) throw violation('a row without columns');
        if (run < 0) run = at;
        at = end;
        continue;
      }
      if (run >= 0) {
        this.#rows(buffer, run, at);
        run = -1;
      }
      if (end > length) {
        if (type === BACK.dataRow && this.#current()?.passes(size)) {
          this.#current()?.passed();
          this.#out.range(buffer, at, length);
          this.#skip = end - length;
          return;
        }
        if (size > MAX_FRAME_BYTES) throw violation(`a message of ${size} bytes, which is more than can be checked`);
        return this.#hold(buffer, at, size + 1);
      }
      if (this.#message(type, buffer, at, end) === 'again') {
        this.#waiting = true;
        return this.#hold(buffer, at, 0);
      }
      at = end;
    }
    if (run >= 0) this.#rows(buffer, run, length);
  }

  /** After a wait for the catalog: reads what was held. */
  #resume(): void {
    this.#waiting = false;
    const buffer = Buffer.concat(this.#held, this.#heldBytes);
    this.#held = [];
    this.#heldBytes = 0;
    this.#scan(buffer, 0);
    this.#host.progress();
  }

  /** Where the DataRows that come now belong. */
  #current(): Rows | undefined {
    const expected = this.#queue[this.#head];
    if (expected?.kind === 'query') return expected.rows;
    if (expected?.kind !== 'execute') return undefined;
    const { flight, portal } = expected;
    if (!portal.rows) {
      if (!portal.columns) throw violation('rows of a statement that nobody described');
      portal.rows = this.#open(portal.columns, portal.info, flight);
    }
    return portal.rows;
  }

  #rows(buffer: Buffer, start: number, end: number): void {
    const expected = this.#queue[this.#head];
    if (expected?.kind === 'ours') {
      for (let at = start; at < end; at += 1 + buffer.readInt32BE(at + 1))
        expected.rows.push(readRow(FieldReader.body(buffer, at, at + 1 + buffer.readInt32BE(at + 1))));
      return;
    }
    const rows = this.#current();
    if (!rows) throw violation('rows that nobody asked for');
    rows.send(buffer, start, end, this.#out);
  }

  #open(columns: readonly Column[], info: StatementInfo | undefined, flight: Flight, actions?: readonly (Action | undefined)[]): Rows {
    const rows = new Rows(columns, actions ?? this.#actions(columns, info, flight.reading), this.#masking);
    flight.shows(rows.answer);
    return rows;
  }

  /** One whole frame that is not a DataRow. `again`: it must be read once more after a wait. */
  #message(type: number, buffer: Buffer, start: number, end: number): 'again' | undefined {
    switch (type) {
      case BACK.error:
        this.#error(buffer, start, end);
        return undefined;
      case BACK.notice:
        this.#notice(buffer, start, end);
        return undefined;
      case BACK.parameterStatus:
        this.#parameter(buffer, start, end);
        return undefined;
      case BACK.notification:
        this.#notification(buffer, start, end);
        return undefined;
      default:
    }
    const expected = this.#queue[this.#head];
    if (!expected) throw violation(`message ${String.fromCharCode(type)} that answers nothing`);
    if (expected.kind === 'ours') {
      this.#ours(expected, type);
      return undefined;
    }
    switch (type) {
      case BACK.parseComplete:
        if (expected.kind !== 'parse') break;
        expected.proposal.confirm();
        return this.#pass(buffer, start, end);
      case BACK.bindComplete:
        if (expected.kind !== 'bind') break;
        expected.proposal.confirm();
        return this.#pass(buffer, start, end);
      case BACK.closeComplete:
        if (expected.kind !== 'close') break;
        expected.proposal.confirm();
        this.#closed(expected.portal);
        return this.#pass(buffer, start, end);
      case BACK.parameterDescription:
        if (expected.kind !== 'describe') break;
        if (expected.prepared) expected.prepared.paramTypes = readTypes(buffer, start, end);
        this.#out.range(buffer, start, end);
        return undefined;
      case BACK.noData:
        if (expected.kind !== 'describe') break;
        this.#described(expected, []);
        if (expected.ours) return this.#done();
        return this.#pass(buffer, start, end);
      case BACK.rowDescription:
        return this.#rowDescription(expected, buffer, start, end);
      case BACK.commandComplete:
      case BACK.emptyQuery:
        return this.#complete(expected, type, buffer, start, end);
      case BACK.functionResult:
        if (expected.kind !== 'query' || !expected.call) break;
        this.#functionResult(expected.call, expected.flight, buffer, start, end);
        return undefined;
      case BACK.portalSuspended:
        if (expected.kind !== 'execute') break;
        this.#count(expected.portal.rows, expected.flight);
        return this.#pass(buffer, start, end);
      case BACK.copyIn:
        this.#startCopyIn(expected);
        this.#out.range(buffer, start, end);
        this.#host.progress();
        return undefined;
      case BACK.copyOut:
        this.#startCopyOut(expected);
        this.#out.range(buffer, start, end);
        return undefined;
      case BACK.copyData: {
        const copy = expected.kind === 'query' || expected.kind === 'execute' ? expected.copy : undefined;
        if (!copy) break;
        copy.send(buffer, start, end, this.#out);
        return undefined;
      }
      case BACK.copyDone:
        this.#out.range(buffer, start, end);
        return undefined;
      case BACK.ready:
        this.#ready(expected, buffer, start, end);
        return undefined;
      default:
    }
    throw violation(`message ${String.fromCharCode(type)} in answer to ${expected.kind}`);
  }

  #pass(buffer: Buffer, start: number, end: number): undefined {
    this.#out.range(buffer, start, end);
    return this.#done();
  }

  /** The head of the queue is answered. */
  #done(): undefined {
    this.#queue[this.#head++] = SYNC_DONE;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    } else if (this.#head > 256) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
    this.#local();
    this.#host.progress();
  }

  #local(): void {
    for (;;) {
      const expected = this.#queue[this.#head];
      if (expected?.kind !== 'local') return;
      this.#out.bytes(expected.bytes);
      this.#head++;
      if (this.#head === this.#queue.length) {
        this.#queue = [];
        this.#head = 0;
      }
    }
  }

  #rowDescription(expected: Expected, buffer: Buffer, start: number, end: number): 'again' | undefined {
    if (expected.kind === 'query') {
      const { flight } = expected;
      const info = flight.statement;
      const known = info && this.#lastPlan.get(info);
      if (known && known.reading === flight.reading && known.bytes.compare(buffer, start, end) === 0) {
        expected.rows = this.#open(known.columns, info, flight, known.actions);
      } else {
        const columns = readRowDescription(buffer, start, end);
        if (this.#mustWait(columns, flight.reading)) return 'again';
        const actions = this.#actions(columns, info, flight.reading);
        if (info) this.#lastPlan.set(info, { reading: flight.reading, bytes: Buffer.from(buffer.subarray(start, end)), columns, actions });
        expected.rows = this.#open(columns, info, flight, actions);
      }
      this.#out.range(buffer, start, end);
      return undefined;
    }
    if (expected.kind !== 'describe') throw violation(`a row description in answer to ${expected.kind}`);
    const columns = readRowDescription(buffer, start, end);
    if (this.#mustWait(columns, expected.reading)) return 'again';
    this.#described(expected, columns);
    if (expected.ours) return this.#done();
    return this.#pass(buffer, start, end);
  }

  #described({ portal, prepared, reading }: Extract<Expected, { kind: 'describe' }>, columns: readonly Column[]): void {
    if (prepared) prepared.description = { columns, reading };
    if (!portal) return;
    portal.columns = columns;
    portal.prepared.description = { columns, reading };
  }

  /** A table that was made after the snapshot (by another session, in another window) may hold what a mask should follow. */
  #mustWait(columns: readonly Column[], reading: Reading): boolean {
    // Once for a reading: what is still unknown then was made in a transaction that is open, and is masked whole.
    if (reading.plan.columns.size === 0 || this.#newer.has(reading)) return false;
    if (!columns.some(({ tableOid }) => tableOid !== 0 && !reading.catalog.relation(tableOid))) return false;
    this.#newer.set(reading, reading.catalog);
    this.#host
      .newerCatalog()
      .then((catalog) => {
        this.#newer.set(reading, catalog);
        this.#resume();
      })
      .catch((cause: unknown) => this.#host.failed(cause));
    return true;
  }

  #actions(columns: readonly Column[], info: StatementInfo | undefined, reading: Reading): readonly (Action | undefined)[] {
    return actionsOf(columns, info ?? UNKNOWN, this.#newer.get(reading) ?? reading.catalog, reading.plan);
  }

  #complete(expected: Expected, type: number, buffer: Buffer, start: number, end: number): undefined {
    if (expected.kind !== 'query' && expected.kind !== 'execute') throw violation(`a completion in answer to ${expected.kind}`);
    const { flight } = expected;
    const statement = expected.kind === 'query' ? flight.statement : expected.portal.info;
    if (expected.kind === 'query') {
      this.#count(expected.rows, flight);
      expected.rows = undefined;
    } else this.#count(expected.portal.rows, flight);
    if (expected.copy) {
      flight.masked += expected.copy.masked;
      delete expected.copy;
    }
    this.copyIn = false;
    flight.completed(type === BACK.commandComplete ? rowsOfTag(FieldReader.body(buffer, start, end).text()) : undefined);
    this.#host.completed(flight, statement);
    this.#out.range(buffer, start, end);
    if (expected.kind === 'query') return undefined;
    if (!flight.over) this.#finishing.push(flight);
    return this.#done();
  }

  /** Passes the same masks as the one row of the SELECT that it stands for. */
  #functionResult(column: Column, flight: Flight, buffer: Buffer, start: number, end: number): void {
    const statement = flight.statement;
    const row = new FrameWriter(end - start + 2)
      .begin(BACK.dataRow)
      .int16(1)
      .copy(buffer, start + 5, end)
      .end()
      .take();
    const masked = new Outbox();
    const rows = this.#open([column], statement, flight);
    rows.send(row, 0, row.length, masked);
    const sent = masked.take();
    if (sent.equals(row)) this.#out.range(buffer, start, end);
    else this.#out.bytes(new FrameWriter(sent.length).begin(BACK.functionResult).copy(sent, 7, sent.length).end().take());
    this.#count(rows, flight);
    flight.completed(1);
    this.#host.completed(flight, statement);
  }

  #count(rows: Rows | undefined, flight: Flight): void {
    if (!rows) return;
    flight.masked += rows.masked;
    rows.masked = 0;
  }

  /** A portal was closed by the client, or went with its transaction: its operation is over. */
  #closed(portal: Portal | undefined): void {
    if (!portal) return;
    this.#count(portal.rows, portal.flight);
    portal.flight.end(portal.rows || portal.flight.index > 0 ? 'done' : 'cancelled');
  }

  closePortal(portal: Portal): void {
    this.#closed(portal);
  }

  #startCopyIn(expected: Expected): void {
    if (expected.kind !== 'query' && expected.kind !== 'execute') throw violation(`COPY in answer to ${expected.kind}`);
    this.copyIn = true;
    // While it reads the data, the server ignores a Sync that was sent before.
    if (expected.kind === 'execute') while (this.#queue[this.#head + 1]?.kind === 'sync') this.#queue.splice(this.#head + 1, 1);
  }

  #startCopyOut(expected: Expected): void {
    if (expected.kind !== 'query' && expected.kind !== 'execute') throw violation(`COPY in answer to ${expected.kind}`);
    const { flight } = expected;
    const info = expected.kind === 'query' ? flight.statement : expected.portal.info;
    expected.copy = copyOutOf(info, flight.reading, this.#masking);
    flight.shows(expected.copy.answer);
  }

  #error(buffer: Buffer, start: number, end: number): void {
    const expected = this.#queue[this.#head];
    const fields = readDiagnostic(buffer, start, end);
    const severity = fields.get('V') ?? fields.get('S');
    if (severity === 'FATAL' || severity === 'PANIC') this.fatal = true;
    if (expected?.kind === 'ours') {
      expected.failed = true;
      return;
    }
    const flight = expected && 'flight' in expected ? expected.flight : this.#finishing.at(-1);
    if (expected?.kind === 'abort' && !this.fatal) this.#out.bytes(expected.error);
    else this.#say(BACK.error, buffer, start, end, flight);
    this.copyIn = false;
    if (!expected || this.fatal) return;
    if (expected.kind === 'query') {
      this.#count(expected.rows, flight ?? expected.flight);
      expected.rows = undefined;
      expected.copy = undefined;
      return;
    }
    if (expected.kind === 'sync') return;
    while (this.#head < this.#queue.length) {
      const next = this.#queue[this.#head];
      if (!next || next.kind === 'sync') break;
      this.#head++;
      if (next !== expected) this.#dropped(next, 'cancelled', '25P02', 'skipped: a statement before it in the same pipeline failed');
      else this.#dropped(next, 'failed', '', '');
    }
    // Without a Sync behind it, it is the segment that the client is still sending.
    if (this.#head === this.#queue.length) this.#host.segmentFailed();
    this.#host.progress();
  }

  /** The server will not answer it. */
  #dropped(expected: Expected, outcome: 'failed' | 'cancelled' | 'lost', code: string, message: string): void {
    if ('proposal' in expected) expected.proposal.drop();
    if (expected.kind === 'ours') expected.done(undefined);
    if (!('flight' in expected)) return;
    if (code !== '') expected.flight.failed(code, message);
    expected.flight.end(outcome);
  }

  #notice(buffer: Buffer, start: number, end: number): void {
    const expected = this.#queue[this.#head];
    if (expected?.kind === 'ours') return;
    this.#say(BACK.notice, buffer, start, end, expected && 'flight' in expected ? expected.flight : undefined);
  }

  #say(type: number, buffer: Buffer, start: number, end: number, flight: Flight | undefined): void {
    const said = readDiagnostic(buffer, start, end);
    const expected = this.#queue[this.#head];
    const rewrite = expected?.kind === 'parse' ? expected.rewrite : flight?.rewrite;
    const before = rewrite?.clientSide(said) ?? said;
    const { fields, masked } = maskDiagnostic(before, flight?.reach ?? this.#host.reach(), flight ?? NOTHING_KNOWN, this.#masking);
    if (flight) {
      flight.masked += masked;
      if (type === BACK.error) flight.failed(fields.get('C') ?? 'XX000', fields.get('M') ?? '');
    }
    const same = masked === 0 && before === said && fields.size === before.size;
    if (same) this.#out.range(buffer, start, end);
    else this.#out.bytes(diagnostic(type, fields));
  }

  #parameter(buffer: Buffer, start: number, end: number): void {
    const reader = FieldReader.body(buffer, start, end);
    const name = reader.text();
    const value = reader.text();
    this.#host.parameter(name, value);
    const expected = this.#queue[this.#head];
    const reach = expected && 'flight' in expected ? expected.flight.reach : this.#finishing.at(-1)?.reach;
    // A value can be smuggled out through a setting that the server reports.
    if ((reach === 'sensitive' || reach === 'code') && (name === 'application_name' || name === 'search_path')) return;
    const { text, findings } = this.#masking.scrub(value);
    if (findings.length === 0) this.#out.range(buffer, start, end);
    else this.#out.bytes(parameterStatus(name, text));
  }

  #notification(buffer: Buffer, start: number, end: number): void {
    const reader = FieldReader.body(buffer, start, end);
    const pid = reader.int32();
    const channel = reader.text();
    const payload = reader.text();
    // Another session's statement made it, out of whatever that one could read.
    const text = payload !== '' && this.#host.reach() !== 'none' ? HIDDEN : this.#masking.scrub(payload).text;
    if (text === payload) this.#out.range(buffer, start, end);
    else this.#out.bytes(notificationResponse(pid, channel, text));
  }

  #ready(expected: Expected, buffer: Buffer, start: number, end: number): void {
    if (expected.kind !== 'query' && expected.kind !== 'sync') throw violation(`ready in answer to ${expected.kind}`);
    this.status = buffer[start + 5] ?? IDLE;
    this.copyIn = false;
    if (expected.kind === 'query') expected.flight.end('done');
    for (const flight of this.#finishing.splice(0)) flight.end('done');
    this.#out.range(buffer, start, end);
    this.#host.ready(this.status);
    this.#done();
  }

  #ours(expected: Extract<Expected, { kind: 'ours' }>, type: number): void {
    if (type !== BACK.ready) return;
    this.#done();
    expected.done(expected.failed ? undefined : expected.rows);
    this.#host.progress();
  }
}

/** Fills a slot of the queue that has been answered, so that nothing keeps its flight alive. */
const SYNC_DONE: Expected = { kind: 'sync' };
/** Nothing is known of a statement whose answer came. */
const UNKNOWN = { outputs: 'opaque', touchesSensitive: true } as const;

function readTypes(buffer: Buffer, start: number, end: number): readonly number[] {
  const reader = FieldReader.body(buffer, start, end);
  const count = reader.uint16();
  const types: number[] = [];
  for (let i = 0; i < count; i++) types.push(reader.uint32());
  return types;
}

/** A statement's description under the formats that a Bind asked for. */
export function withFormats(columns: readonly Column[], formats: readonly number[]): readonly Column[] {
  return columns.map((column, i) => ({ ...column, format: formatOf(formats, i) }));
}
