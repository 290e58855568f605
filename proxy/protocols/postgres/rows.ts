/** The DataRows of one result: passed on as they are where nothing in them may need a mask, rewritten where it does. */
import type { Finding } from '../../../contract/response.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import { RowsCollector } from './collect.ts';
import { hidesNothing, replace } from './columnMask.ts';
import { FrameWriter, violation } from './frames.ts';
import type { Outbox } from './outbox.ts';
import type { ResultPlan } from './resultPlans.ts';
import { RowWriter } from './rowWriter.ts';
import { readable } from './types.ts';

/** Largest row whose values are kept for a person, in bytes. */
const MAX_COLLECTED_ROW = 65_536;
/** Up to so many rows that come together, and from so many bytes on, what a person is shown is made on their way. */
const FEW_ROWS = 4;
const MANY_BYTES = 262_144;

export class Rows {
  readonly #plan: ResultPlan;
  readonly #masking: SessionMasking;
  readonly #collector: RowsCollector;
  /** For what no person is shown. */
  #writer: RowWriter | undefined;
  /** Values replaced. */
  masked = 0;

  constructor(plan: ResultPlan, masking: SessionMasking) {
    this.#plan = plan;
    this.#masking = masking;
    this.#collector = new RowsCollector(plan.names);
  }

  /** Whether a row of `size` bytes may go on before it has come in whole. */
  passes(size: number): boolean {
    return this.#plan.last === 0 && (this.#collector.wants === 0 || size > MAX_COLLECTED_ROW);
  }

  /** A row went on in parts, unseen. */
  passed(): void {
    this.#collector.truncate();
  }

  get answer(): RowsCollector {
    return this.#collector;
  }

  /** Sends the whole DataRow frames that lie in `start…end` on. */
  send(buffer: Buffer, start: number, end: number, out: Outbox): void {
    let at = start;
    if (this.#collector.wants > 0) {
      let rows = 0;
      for (; at < end && rows < this.#collector.wants; rows++) at += 1 + buffer.readInt32BE(at + 1);
      if (at < end) this.#collector.truncate();
      if (rows > FEW_ROWS && at - start <= MANY_BYTES) {
        this.#collectLater(Buffer.from(buffer.subarray(start, at)), rows);
        at = start;
      } else at = this.#collectNow(buffer, start, at, out);
    } else this.#collector.truncate();
    if (at >= end) return;
    if (this.#plan.last === 0) out.range(buffer, at, end);
    else if (!this.#plan.masks && !this.#masking.suspicious(buffer.subarray(at, end))) out.range(buffer, at, end);
    else this.#rewrite(buffer, at, end, out);
  }

  /** Rows with something to replace are written anew; what lies between them goes on as it came. */
  #rewrite(buffer: Buffer, start: number, end: number, out: Outbox): void {
    this.#writer ??= new RowWriter(this.#plan.actions, this.#masking);
    const writer = this.#writer;
    const before = writer.masked;
    if (writer.rewrite(buffer, start, end, out.free)) out.range(writer.target, writer.from, writer.to);
    else out.range(buffer, start, end);
    this.masked += writer.masked - before;
  }

  /** @returns where those end that were sent: one may be so long that no further is kept */
  #collectNow(buffer: Buffer, start: number, end: number, out: Outbox): number {
    // Those before them come first.
    this.#collector.settle();
    let at = start;
    while (at < end && this.#collector.wants > 0) {
      const next = at + 1 + buffer.readInt32BE(at + 1);
      this.#collect(buffer, at, next, out);
      at = next;
    }
    if (at < end) this.#collector.truncate();
    return at;
  }

  /** The rows go on as all others do; a person is shown the same once the client has them. */
  #collectLater(rows: Buffer, count: number): void {
    this.#collector.later(count, () => {
      const { masked } = this;
      try {
        for (let at = 0; at < rows.length && this.#collector.hasRoom; ) {
          const next = at + 1 + rows.readInt32BE(at + 1);
          this.#collect(rows, at, next, undefined);
          at = next;
        }
      } catch {
        // Behind the last column that is masked, a row may be anything, and has gone on as it was: it cannot be shown.
        this.#collector.truncate();
      }
      // They were counted when they were sent.
      this.masked = masked;
    });
  }

  /** One row, kept for a person. @param out where it goes; undefined: it has gone */
  #collect(buffer: Buffer, start: number, end: number, out: Outbox | undefined): void {
    const row = this.#collector.next;
    const large = end - start > MAX_COLLECTED_ROW;
    const shown: (string | null)[] = [];
    const raw: (string | null)[] = [];
    const findings: Finding[] = [];
    let writer: FrameWriter | undefined;
    let kept = start;
    let field = start + 7;
    const count = buffer.readUInt16BE(start + 5);
    for (let i = 0; i < count; i++) {
      const length = fieldLength(buffer, field, end);
      const from = field + 4;
      const to = from + Math.max(length, 0);
      const action = this.#plan.actions[i];
      const column = this.#plan.columns[i];
      const text = length < 0 ? null : large ? '…' : readable(buffer, from, to, column?.format ?? 0, column?.typeOid ?? 25);
      raw.push(text);
      const replaced = action && (length > 0 || hidesNothing(action)) ? replace(action, buffer, from, to, this.#masking, true) : undefined;
      if (replaced) {
        if (out) {
          writer ??= new FrameWriter(end - start + 256);
          writer.copy(buffer, kept, field);
          writeField(writer, replaced.value, replaced.prefix);
          kept = to;
        }
        this.masked += replaced.findings.length;
        for (const finding of replaced.findings) findings.push({ ...finding, at: [row, i] });
        shown.push(large ? '…' : replaced.value);
      } else shown.push(text);
      field = to;
    }
    if (large) this.#collector.truncate();
    this.#collector.add(shown, raw, findings);
    if (!out) return;
    if (!writer) return out.range(buffer, start, end);
    writer.copy(buffer, kept, end);
    writer.patch(1, writer.length - 1);
    out.bytes(writer.take());
  }
}

function fieldLength(buffer: Buffer, at: number, end: number): number {
  if (at + 4 > end) throw violation('a row shorter than its columns');
  const length = buffer.readInt32BE(at);
  if (length < -1 || at + 4 + length > end) throw violation('a column longer than its row');
  return length;
}

function writeField(writer: FrameWriter, value: string | null, prefix: number | undefined): void {
  if (value === null || prefix === undefined) {
    writer.field(value);
    return;
  }
  const at = writer.length;
  writer.int32(0).byte(prefix).utf8(value);
  writer.patch(at, writer.length - at - 4);
}
