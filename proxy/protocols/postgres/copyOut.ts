/**
 * COPY … TO STDOUT on its way out. The server sends one row a CopyData message; a message whose fields do not match the
 * columns that the statement names is redacted whole.
 */
import type { Finding } from '../../../contract/response.ts';
import type { SessionMasking } from '../../masking/masking.ts';
import { RowsCollector, shownColumns } from './collect.ts';
import { type Action, hidesNothing, replace } from './columnMask.ts';
import type { Reading } from './flight.ts';
import { BACK, FrameWriter } from './frames.ts';
import type { Outbox } from './outbox.ts';
import type { CopyInfo, StatementInfo } from './sql/classifier.ts';

type CopyShape = Pick<CopyInfo, 'format' | 'delimiter' | 'quote' | 'escape' | 'nullText' | 'header'>;

interface Field {
  readonly start: number;
  readonly end: number;
  /** The value without quotes and escapes; null for NULL. */
  readonly value: string | null;
}

const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
const REDACTED = '‹redacted›';

export class CopyOut {
  readonly #shape: CopyShape;
  readonly #actions: readonly (Action | undefined)[] | 'opaque';
  readonly #masking: SessionMasking;
  readonly #collector: RowsCollector;
  readonly #masks: boolean;
  #first = true;
  masked = 0;

  /** @param actions one a column; `opaque` where the columns are not known: every row is redacted */
  constructor(shape: CopyShape, names: readonly string[], actions: readonly (Action | undefined)[] | 'opaque', masking: SessionMasking) {
    this.#shape = shape;
    this.#actions = actions;
    this.#masking = masking;
    this.#collector = new RowsCollector(shownColumns(names.map((name) => masking.scrub(name).text)));
    this.#masks = actions === 'opaque' || actions.some((action) => action?.kind === 'mask');
  }

  get answer(): RowsCollector {
    return this.#collector;
  }

  /** One whole CopyData frame. */
  send(buffer: Buffer, start: number, end: number, out: Outbox): void {
    const first = this.#first;
    this.#first = false;
    if (this.#shape.format === 'binary') return this.#binary(buffer, start, end, first, out);
    const header = first && this.#shape.header;
    if (!this.#masks && this.#collector.wants === 0 && !this.#masking.suspicious(buffer.subarray(start + 5, end))) {
      this.#collector.truncate();
      return out.range(buffer, start, end);
    }
    const line = buffer.toString('utf8', start + 5, end);
    const text = header ? this.#masking.scrub(line).text : this.#line(line);
    if (text === line) return out.range(buffer, start, end);
    const writer = new FrameWriter(end - start + 64).begin(BACK.copyData);
    writer.utf8(text);
    out.bytes(writer.end().take());
  }

  #line(line: string): string {
    const ending = /\r?\n$|\r$/.exec(line)?.[0] ?? '';
    const body = line.slice(0, line.length - ending.length);
    const fields = this.#shape.format === 'csv' ? csvFields(body, this.#shape) : textFields(body, this.#shape);
    const actions = this.#actions;
    if (!fields || actions === 'opaque' || fields.length !== actions.length) {
      if (!this.#masks) return this.#masking.scrub(line).text;
      this.masked++;
      this.#keep([REDACTED], [body], [{ label: 'not understood', by: 'opaque', mask: 'redact', at: [this.#collector.next, 0], shape: '' }]);
      return `${REDACTED}${ending}`;
    }
    let text = '';
    let kept = 0;
    const row = this.#collector.next;
    const shown: (string | null)[] = [];
    const raw: (string | null)[] = [];
    const findings: Finding[] = [];
    for (const [i, field] of fields.entries()) {
      const action = actions[i];
      raw.push(field.value);
      if (!action || (!field.value && !hidesNothing(action))) {
        shown.push(field.value);
        continue;
      }
      const bytes = Buffer.from(field.value ?? '');
      const replaced = replace(action, bytes, 0, bytes.length, this.#masking, this.#collector.wants > 0);
      if (!replaced) {
        shown.push(field.value);
        continue;
      }
      text += body.slice(kept, field.start) + (replaced.value === null ? this.#shape.nullText : this.#written(replaced.value));
      kept = field.end;
      shown.push(replaced.value);
      this.masked += replaced.findings.length;
      for (const finding of replaced.findings) findings.push({ ...finding, at: [row, i] });
    }
    this.#keep(shown, raw, findings);
    return text + body.slice(kept) + ending;
  }

  #keep(shown: readonly (string | null)[], raw: readonly (string | null)[], findings: readonly Finding[]): void {
    if (this.#collector.wants > 0) this.#collector.add(shown, raw, findings);
    else this.#collector.truncate();
  }

  #written(value: string): string {
    const { delimiter, escape, format, quote } = this.#shape;
    if (format === 'csv') return quote + value.replaceAll(escape, escape + escape).replaceAll(quote, escape + quote) + quote;
    return value.replace(/[\\\n\r\t]/g, (c) => (c === '\n' ? '\\n' : c === '\r' ? '\\r' : c === '\t' ? '\\t' : '\\\\')).replaceAll(delimiter, `\\${delimiter}`);
  }

  /** Only reached where no column is masked: a field in which a detector finds something becomes NULL. */
  #binary(buffer: Buffer, start: number, end: number, first: boolean, out: Outbox): void {
    if (!this.#masking.suspicious(buffer.subarray(start + 5, end))) return out.range(buffer, start, end);
    const writer = new FrameWriter(end - start).begin(BACK.copyData);
    let at = start + 5;
    if (first && buffer.subarray(at, at + SIGNATURE.length).equals(SIGNATURE)) {
      const head = at + SIGNATURE.length + 8 + buffer.readInt32BE(at + SIGNATURE.length + 4);
      writer.copy(buffer, at, Math.min(head, end));
      at = head;
    }
    let changed = false;
    while (at + 2 <= end) {
      const count = buffer.readInt16BE(at);
      writer.int16(count);
      at += 2;
      if (count < 0) break;
      for (let i = 0; i < count && at + 4 <= end; i++) {
        const length = buffer.readInt32BE(at);
        const stop = at + 4 + Math.max(length, 0);
        const found = length > 0 ? this.#masking.scrub(buffer.toString('utf8', at + 4, Math.min(stop, end))).findings.length : 0;
        if (found > 0) {
          writer.int32(-1);
          this.masked += found;
          changed = true;
        } else writer.copy(buffer, at, Math.min(stop, end));
        at = stop;
      }
    }
    if (changed) out.bytes(writer.end().take());
    else out.range(buffer, start, end);
  }
}

const TEXT_OID = 25;

/** @param info undefined, or without a COPY, where the statement was not understood: every row is redacted */
export function copyOutOf(info: StatementInfo | undefined, reading: Reading, masking: SessionMasking): CopyOut {
  const copy = info?.copy;
  const sensitive = reading.plan.columns.size > 0;
  if (!copy || copy.columns === 'opaque') {
    return new CopyOut(copy ?? PLAIN, ['line'], sensitive ? 'opaque' : [SCAN], masking);
  }
  const names = copy.columns.map((column, i) => (column.kind === 'origin' ? column.column.slice(column.column.lastIndexOf('.') + 1) : `column ${i + 1}`));
  const actions = copy.columns.map((column): Action => {
    if (column.kind === 'clean') return SCAN;
    const mask = column.mask ?? (column.kind === 'origin' ? reading.plan.columns.get(column.column) : undefined);
    if (!mask) return SCAN;
    return {
      kind: 'mask',
      mask,
      label: column.label ?? (column.kind === 'origin' ? column.column : ''),
      by: column.kind === 'origin' ? 'column' : 'opaque',
      ...(column.kind === 'mask' && column.computed && { computed: true as const }),
      format: 0,
      form: 'text',
      typeOid: TEXT_OID,
    };
  });
  return new CopyOut(copy, names, actions, masking);
}

const SCAN: Action = { kind: 'scan', format: 0, form: 'text' };
const PLAIN: CopyShape = { format: 'text', delimiter: '\t', quote: '"', escape: '"', nullText: '\\N', header: false };

const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

/** One line of COPY's text format (manual, COPY, "Text Format"). */
export function textFields(line: string, shape: CopyShape): readonly Field[] | undefined {
  const fields: Field[] = [];
  let start = 0;
  let value = '';
  for (let i = 0; i <= line.length; i++) {
    const char = line.charAt(i);
    if (i === line.length || char === shape.delimiter) {
      const source = line.slice(start, i);
      fields.push({ start, end: i, value: source === shape.nullText ? null : value });
      start = i + 1;
      value = '';
    } else if (char === '\\') {
      i++;
      const next = line.charAt(i);
      const octal = /^[0-7]{1,3}/.exec(line.slice(i, i + 3))?.[0];
      const hex = next === 'x' ? /^[0-9A-Fa-f]{1,2}/.exec(line.slice(i + 1, i + 3))?.[0] : undefined;
      if (octal !== undefined) {
        value += String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
        i += octal.length - 1;
      } else if (hex !== undefined) {
        value += String.fromCharCode(Number.parseInt(hex, 16));
        i += hex.length;
      } else value += ESCAPES[next] ?? next;
    } else value += char;
  }
  return fields;
}

/** One row of COPY's CSV format, which may hold line ends in quotes; undefined where a quote is not closed. */
export function csvFields(line: string, shape: CopyShape): readonly Field[] | undefined {
  const { delimiter, escape, nullText, quote } = shape;
  const fields: Field[] = [];
  let start = 0;
  let value = '';
  let quoted = false;
  let inside = false;
  for (let i = 0; i <= line.length; i++) {
    const char = line.charAt(i);
    if (inside) {
      if (i === line.length) return undefined;
      if (char === escape && (line.charAt(i + 1) === quote || line.charAt(i + 1) === escape) && i + 1 < line.length) {
        value += line.charAt(++i);
      } else if (char === quote) inside = false;
      else value += char;
    } else if (i === line.length || char === delimiter) {
      fields.push({ start, end: i, value: !quoted && value === nullText ? null : value });
      start = i + 1;
      value = '';
      quoted = false;
    } else if (char === quote) {
      inside = true;
      quoted = true;
    } else value += char;
  }
  return fields;
}
