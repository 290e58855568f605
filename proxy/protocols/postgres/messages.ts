/** Messages that the proxy itself says or must understand: whole, small, never on the hot path. */
import { BACK, FieldReader, FRONT, FrameWriter, violation } from './frames.ts';

/** The fields of an ErrorResponse or NoticeResponse by their letter: `S` severity, `C` SQLSTATE, `M` message, … */
export type Diagnostic = ReadonlyMap<string, string>;

/** SQLSTATEs that the proxy uses (manual, appendix "PostgreSQL Error Codes"). */
export const SQLSTATE = {
  adminShutdown: '57P01',
  cannotConnectNow: '57P03',
  connectionFailure: '08006',
  featureNotSupported: '0A000',
  insufficientPrivilege: '42501',
  ioError: '58030',
  invalidAuthorization: '28000',
  invalidCatalogName: '3D000',
  invalidCursorName: '34000',
  invalidParameter: '22023',
  invalidPassword: '28P01',
  internal: 'XX000',
  lockNotAvailable: '55P03',
  programLimit: '54000',
  protocolViolation: '08P01',
  queryCanceled: '57014',
} as const;

export interface OwnError {
  readonly severity?: 'ERROR' | 'FATAL';
  readonly code: string;
  readonly message: string;
  readonly detail?: string;
  readonly hint?: string;
}

export function diagnostic(type: number, fields: Iterable<readonly [string, string]>): Buffer {
  const writer = new FrameWriter().begin(type);
  for (const [letter, text] of fields) writer.byte(letter.charCodeAt(0)).text(text);
  return writer.byte(0).end().take();
}

export function errorResponse(error: OwnError): Buffer {
  const severity = error.severity ?? 'ERROR';
  const fields: [string, string][] = [
    ['S', severity],
    ['V', severity],
    ['C', error.code],
    ['M', error.message],
  ];
  if (error.detail !== undefined) fields.push(['D', error.detail]);
  if (error.hint !== undefined) fields.push(['H', error.hint]);
  return diagnostic(BACK.error, fields);
}

export function noticeResponse(message: string): Buffer {
  return diagnostic(BACK.notice, [
    ['S', 'NOTICE'],
    ['V', 'NOTICE'],
    ['C', '00000'],
    ['M', message],
  ]);
}

export function readDiagnostic(buffer: Buffer, start: number, end: number): Diagnostic {
  const reader = FieldReader.body(buffer, start, end);
  const fields = new Map<string, string>();
  for (;;) {
    const letter = reader.byte();
    if (letter === 0) return fields;
    fields.set(String.fromCharCode(letter), reader.text());
  }
}

export function readyForQuery(status: number): Buffer {
  return new FrameWriter(6).begin(BACK.ready).byte(status).end().take();
}

export function parameterStatus(name: string, value: string): Buffer {
  return new FrameWriter().begin(BACK.parameterStatus).text(name).text(value).end().take();
}

export function notificationResponse(pid: number, channel: string, payload: string): Buffer {
  return new FrameWriter().begin(BACK.notification).int32(pid).text(channel).text(payload).end().take();
}

export const SYNC = new FrameWriter(5).begin(FRONT.sync).end().take();
export const TERMINATE = new FrameWriter(5).begin(FRONT.terminate).end().take();

export function queryMessage(sql: string): Buffer {
  return new FrameWriter().begin(FRONT.query).text(sql).end().take();
}

export function executeMessage(portal: string): Buffer {
  return new FrameWriter().begin(FRONT.execute).text(portal).int32(0).end().take();
}

export function describePortal(portal: string): Buffer {
  return new FrameWriter().begin(FRONT.describe).byte(0x50).text(portal).end().take();
}

/** One column of a RowDescription. */
export interface Column {
  readonly name: string;
  readonly tableOid: number;
  /** Position in the table, 1-based; 0 where the column is no plain column of a table; negative for system columns. */
  readonly attnum: number;
  readonly typeOid: number;
  /** 0 text, 1 binary. */
  readonly format: number;
}

export function readRowDescription(buffer: Buffer, start: number, end: number): readonly Column[] {
  const reader = FieldReader.body(buffer, start, end);
  const count = reader.uint16();
  const columns: Column[] = [];
  for (let i = 0; i < count; i++) {
    const name = reader.text();
    const tableOid = reader.uint32();
    const attnum = reader.int16();
    const typeOid = reader.uint32();
    reader.int16();
    reader.int32();
    columns.push({ name, tableOid, attnum, typeOid, format: reader.int16() });
  }
  return columns;
}

export function parseMessage(name: string, sql: string, paramTypes: readonly number[]): Buffer {
  const writer = new FrameWriter().begin(FRONT.parse).text(name).text(sql).int16(paramTypes.length);
  for (const type of paramTypes) writer.uint32(type);
  return writer.end().take();
}

export function bindMessage(bind: BindMessage): Buffer {
  const { paramFormats, params, portal, resultFormats, statement } = bind;
  const writer = new FrameWriter().begin(FRONT.bind).text(portal).text(statement).int16(paramFormats.length);
  for (const format of paramFormats) writer.int16(format);
  writer.int16(params.length);
  for (const param of params) {
    if (param === null) writer.int32(-1);
    else writer.int32(param.length).bytes(param);
  }
  writer.int16(resultFormats.length);
  for (const format of resultFormats) writer.int16(format);
  return writer.end().take();
}

export interface ParseMessage {
  readonly name: string;
  readonly sql: Buffer;
  readonly paramTypes: readonly number[];
}

export function readParse(buffer: Buffer, start: number, end: number): ParseMessage {
  const reader = FieldReader.body(buffer, start, end);
  const name = reader.text();
  const sql = reader.rawText();
  const count = reader.uint16();
  const paramTypes: number[] = [];
  for (let i = 0; i < count; i++) paramTypes.push(reader.uint32());
  if (reader.left !== 0) throw violation('a Parse message with more than its fields');
  return { name, sql, paramTypes };
}

export interface BindMessage {
  readonly portal: string;
  readonly statement: string;
  readonly paramFormats: readonly number[];
  readonly params: readonly (Buffer | null)[];
  readonly resultFormats: readonly number[];
}

/** A Bind in bytes of its own, which stay when those that came in are read over. */
export class Bind implements BindMessage {
  readonly portal: string;
  readonly statement: string;
  readonly paramFormats: readonly number[];
  readonly resultFormats: readonly number[];
  /** The whole frame. */
  readonly bytes: Buffer;
  readonly #count: number;
  /** Where the parameters begin. */
  readonly #at: number;
  #params: readonly (Buffer | null)[] | undefined;

  constructor(buffer: Buffer, start: number, end: number) {
    const bytes = Buffer.allocUnsafe(end - start);
    buffer.copy(bytes, 0, start, end);
    this.bytes = bytes;
    const reader = FieldReader.body(bytes, 0, bytes.length);
    this.portal = reader.text();
    this.statement = reader.text();
    this.paramFormats = readFormats(reader);
    this.#count = reader.uint16();
    this.#at = reader.at;
    for (let i = 0; i < this.#count; i++) {
      const length = reader.int32();
      if (length !== -1) reader.skip(length);
    }
    this.resultFormats = readFormats(reader);
    if (reader.left !== 0) throw violation('a Bind message with more than its fields');
  }

  get params(): readonly (Buffer | null)[] {
    this.#params ??= this.#readParams();
    return this.#params;
  }

  /** The same with other values. */
  with(params: readonly (Buffer | null)[]): BindMessage {
    const { paramFormats, portal, resultFormats, statement } = this;
    return { portal, statement, paramFormats, params, resultFormats };
  }

  #readParams(): readonly (Buffer | null)[] {
    if (this.#count === 0) return NO_PARAMS;
    const reader = new FieldReader(this.bytes, this.#at, this.bytes.length);
    const params: (Buffer | null)[] = [];
    for (let i = 0; i < this.#count; i++) {
      const length = reader.int32();
      params.push(length === -1 ? null : reader.bytes(length));
    }
    return params;
  }
}

export function readBind(buffer: Buffer, start: number, end: number): Bind {
  return new Bind(buffer, start, end);
}

const NO_PARAMS: readonly (Buffer | null)[] = [];

function readFormats(reader: FieldReader): readonly number[] {
  const count = reader.uint16();
  if (count === 0) return NO_FORMATS;
  const formats: number[] = [];
  for (let i = 0; i < count; i++) {
    const format = reader.int16();
    if (format !== 0 && format !== 1) throw violation(`format code ${format}`);
    formats.push(format);
  }
  return formats;
}

const NO_FORMATS: readonly number[] = [];

/** The format of field `i` under a list of format codes: none means text, one stands for all. */
export function formatOf(formats: readonly number[], i: number): number {
  return formats.length === 0 ? 0 : formats.length === 1 ? (formats[0] ?? 0) : (formats[i] ?? 0);
}

/** The number of rows that a CommandComplete's tag tells: `INSERT 0 5`, `SELECT 12`, `COPY 3`; undefined where it tells none. */
export function rowsOfTag(tag: string): number | undefined {
  const match = /^(?:INSERT \d+|SELECT|UPDATE|DELETE|MERGE|FETCH|MOVE|COPY) (\d+)$/.exec(tag);
  return match ? Number(match[1]) : undefined;
}
