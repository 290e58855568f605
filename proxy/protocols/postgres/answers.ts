/**
 * What the server says, on its way to the client: framed, matched with what it answers, masked. Reads headers inside the
 * chunks and passes ranges on as they came; only what must be rewritten is held until it is whole.
 *
 * Longer than most files: cutting chunks into messages and matching messages with what they answer move the same few fields
 * (what is held, what is skipped, what is waited for) on the way of every row, and would be one object more on it if apart.
 * What does not is apart: what is expected, columns' masks, rows, COPY, and what is said aside.
 */
import type { SessionMasking } from '../../masking/masking.ts';
import { Asides } from './asides.ts';
import { copyOutOf } from './copyOut.ts';
import type { Reach } from './diagnostics.ts';
import { Expectations } from './expectations.ts';
import type { Expected, Portal } from './expected.ts';
import type { Flight, Reading } from './flight.ts';
import { BACK, FieldReader, FrameWriter, IDLE, MAX_FRAME_BYTES, violation } from './frames.ts';
import { type Column, type Diagnostic, readDiagnostic, rowsOfTag } from './messages.ts';
import { Outbox } from './outbox.ts';
import { readRow } from './ownQueries.ts';
import { ResultPlans } from './resultPlans.ts';
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

export class Answers {
  readonly #host: AnswersHost;
  readonly #masking: SessionMasking;
  readonly #out: Outbox;
  readonly #asides: Asides;
  readonly #expected = new Expectations();
  readonly plans: ResultPlans;
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
  /** Transaction status as the last ReadyForQuery told it. */
  status = IDLE;
  /** The server takes CopyData now. */
  copyIn = false;
  /** The server ended the session with a FATAL error of its own, which the client has got. */
  fatal = false;
  constructor(host: AnswersHost, masking: SessionMasking, out: Outbox) {
    this.#host = host;
    this.#masking = masking;
    this.#out = out;
    this.#asides = new Asides(masking, out, () => host.reach());
    this.plans = new ResultPlans(masking);
  }

  /** Nothing is waited for. */
  get idle(): boolean {
    return this.#expected.count === 0;
  }

  get outstanding(): number {
    return this.#expected.count;
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
    this.#expected.add(expected);
    if (expected.kind === 'local') this.#local();
  }

  /** Some COPY FROM STDIN has been sent and the server has not said yet whether it takes the data. */
  get copyInExpected(): boolean {
    return this.#expected.copiesIn;
  }

  /** Ends every flight that is still out: the session is over. */
  abandon(outcome: 'failed' | 'cancelled' | 'lost', code: string, message: string): void {
    this.#abandoned = true;
    for (const expected of this.#expected.takeAll()) this.#dropped(expected, outcome, code, message);
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
    const expected = this.#expected.first;
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
    const expected = this.#expected.first;
    if (expected?.kind === 'ours') {
      for (let at = start; at < end; at += 1 + buffer.readInt32BE(at + 1))
        expected.rows.push(readRow(FieldReader.body(buffer, at, at + 1 + buffer.readInt32BE(at + 1))));
      return;
    }
    const rows = this.#current();
    if (!rows) throw violation('rows that nobody asked for');
    rows.send(buffer, start, end, this.#out);
  }

  #open(columns: readonly Column[], info: StatementInfo | undefined, flight: Flight): Rows {
    const rows = new Rows(this.plans.planOf(columns, info, flight.reading), this.#masking);
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
        this.#asides.notification(buffer, start, end);
        return undefined;
      default:
    }
    const expected = this.#expected.first;
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
    this.#expected.shift();
    this.#local();
    this.#host.progress();
  }

  #local(): void {
    for (let expected = this.#expected.first; expected?.kind === 'local'; expected = this.#expected.first) {
      this.#out.bytes(expected.bytes);
      this.#expected.shift();
    }
  }

  #rowDescription(expected: Expected, buffer: Buffer, start: number, end: number): 'again' | undefined {
    if (expected.kind === 'query') {
      const { flight } = expected;
      const columns = this.plans.read(flight.statement, buffer, start, end);
      if (this.#mustWait(columns, flight.reading)) return 'again';
      expected.rows = this.#open(columns, flight.statement, flight);
      this.#out.range(buffer, start, end);
      return undefined;
    }
    if (expected.kind !== 'describe') throw violation(`a row description in answer to ${expected.kind}`);
    const columns = this.plans.read(expected.portal?.prepared ?? expected.prepared, buffer, start, end);
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

  #mustWait(columns: readonly Column[], reading: Reading): boolean {
    if (!this.plans.needsNewer(columns, reading)) return false;
    this.plans.newer(reading, reading.catalog);
    this.#host
      .newerCatalog()
      .then((catalog) => {
        this.plans.newer(reading, catalog);
        this.#resume();
      })
      .catch((cause: unknown) => this.#host.failed(cause));
    return true;
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
    if (expected.kind === 'execute') while (this.#expected.second?.kind === 'sync') this.#expected.dropSecond();
  }

  #startCopyOut(expected: Expected): void {
    if (expected.kind !== 'query' && expected.kind !== 'execute') throw violation(`COPY in answer to ${expected.kind}`);
    const { flight } = expected;
    const info = expected.kind === 'query' ? flight.statement : expected.portal.info;
    expected.copy = copyOutOf(info, flight.reading, this.#masking);
    flight.shows(expected.copy.answer);
  }

  #error(buffer: Buffer, start: number, end: number): void {
    const expected = this.#expected.first;
    const fields = readDiagnostic(buffer, start, end);
    const severity = fields.get('V') ?? fields.get('S');
    if (severity === 'FATAL' || severity === 'PANIC') this.fatal = true;
    if (expected?.kind === 'ours') {
      expected.failed = true;
      return;
    }
    const flight = expected && 'flight' in expected ? expected.flight : this.#finishing.at(-1);
    if (expected?.kind === 'abort' && !this.fatal) this.#out.bytes(expected.error);
    else this.#say(BACK.error, fields, buffer, start, end, flight);
    this.copyIn = false;
    if (!expected || this.fatal) return;
    if (expected.kind === 'query') {
      this.#count(expected.rows, flight ?? expected.flight);
      expected.rows = undefined;
      expected.copy = undefined;
      return;
    }
    if (expected.kind === 'sync') return;
    for (let next = this.#expected.first; next && next.kind !== 'sync'; next = this.#expected.first) {
      this.#expected.shift();
      if (next !== expected) this.#dropped(next, 'cancelled', '25P02', 'skipped: a statement before it in the same pipeline failed');
      else this.#dropped(next, 'failed', '', '');
    }
    // Without a Sync behind it, it is the segment that the client is still sending.
    if (this.#expected.count === 0) this.#host.segmentFailed();
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
    const expected = this.#expected.first;
    if (expected?.kind === 'ours') return;
    this.#say(BACK.notice, readDiagnostic(buffer, start, end), buffer, start, end, expected && 'flight' in expected ? expected.flight : undefined);
  }

  #say(type: number, said: Diagnostic, buffer: Buffer, start: number, end: number, flight: Flight | undefined): void {
    const expected = this.#expected.first;
    this.#asides.diagnostic(type, said, buffer, start, end, flight, expected?.kind === 'parse' ? expected.rewrite : flight?.rewrite);
  }

  #parameter(buffer: Buffer, start: number, end: number): void {
    const expected = this.#expected.first;
    const flight = expected && 'flight' in expected ? expected.flight : this.#finishing.at(-1);
    const { name, value } = this.#asides.parameter(buffer, start, end, flight?.reach);
    this.#host.parameter(name, value);
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

function readTypes(buffer: Buffer, start: number, end: number): readonly number[] {
  const reader = FieldReader.body(buffer, start, end);
  const count = reader.uint16();
  const types: number[] = [];
  for (let i = 0; i < count; i++) types.push(reader.uint32());
  return types;
}
