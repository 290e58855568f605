/**
 * PostgreSQL's frontend/backend protocol 3 (manual, chapter "Frontend/Backend Protocol"), bytes ⇄ messages. Pure: no I/O.
 * A frame is one type byte, an Int32 length that counts itself, and a body. The reader walks frames inside the chunks
 * that the socket gave and copies nothing unless a frame is cut by a chunk's end.
 */
import { Problem } from '../../../contract/problem.ts';

/** Largest frame of any kind that is taken whole, in bytes: rows that must be rewritten, statements, parameters. */
export const MAX_FRAME_BYTES = 64 * 1024 * 1024;
/** Largest start-up packet, in bytes; PostgreSQL's own limit. */
export const MAX_STARTUP_BYTES = 10_000;

/** Request codes that stand in the place of a protocol version (no type byte before them). */
export const CODE = { cancel: 80877102, ssl: 80877103, gss: 80877104 } as const;
export const PROTOCOL_MAJOR = 3;

/** Message type bytes. The same letter means different things in the two directions. */
export const FRONT = {
  bind: 0x42,
  close: 0x43,
  copyData: 0x64,
  copyDone: 0x63,
  copyFail: 0x66,
  describe: 0x44,
  execute: 0x45,
  flush: 0x48,
  functionCall: 0x46,
  parse: 0x50,
  password: 0x70,
  query: 0x51,
  sync: 0x53,
  terminate: 0x58,
} as const;

/** What ends a COPY or skips to a Sync, and holds no statement. */
export function passesUnsettled(type: number): boolean {
  return (
    type === FRONT.copyData || type === FRONT.copyDone || type === FRONT.copyFail || type === FRONT.sync || type === FRONT.flush || type === FRONT.terminate
  );
}

export const BACK = {
  authentication: 0x52,
  backendKey: 0x4b,
  bindComplete: 0x32,
  closeComplete: 0x33,
  commandComplete: 0x43,
  copyBoth: 0x57,
  copyData: 0x64,
  copyDone: 0x63,
  copyIn: 0x47,
  copyOut: 0x48,
  dataRow: 0x44,
  emptyQuery: 0x49,
  error: 0x45,
  functionResult: 0x56,
  negotiate: 0x76,
  noData: 0x6e,
  notice: 0x4e,
  notification: 0x41,
  parameterDescription: 0x74,
  parameterStatus: 0x53,
  parseComplete: 0x31,
  portalSuspended: 0x73,
  ready: 0x5a,
  rowDescription: 0x54,
} as const;

/** The transaction status that ReadyForQuery carries: idle, in a transaction, in a failed one. */
export const IDLE = 0x49;
export const IN_TRANSACTION = 0x54;
export const FAILED_TRANSACTION = 0x45;

export function violation(what: string): Problem {
  return new Problem('protocol-violation', `The other side does not keep to PostgreSQL's protocol: ${what}.`);
}

/**
 * Cuts a stream into frames. `push` a chunk, then call `next` until it is false; each time it is true, `type`, `buffer`,
 * `start` (of the type byte) and `end` describe a whole frame. What is left at the end is kept for the next chunk.
 */
export class FrameReader {
  type = 0;
  buffer: Buffer = EMPTY;
  start = 0;
  end = 0;
  readonly #max: number;
  #chunks: Buffer[] = [];
  /** Bytes in `#chunks`, and how many are needed before it is worth joining them. */
  #length = 0;
  #needed = 0;
  #at = 0;

  constructor(max = MAX_FRAME_BYTES) {
    this.#max = max;
  }

  /** Bytes that are held and not yet given out. */
  get pending(): number {
    return this.buffer.length - this.#at + this.#length;
  }

  push(chunk: Buffer): void {
    if (this.#at < this.buffer.length || this.#length > 0) {
      if (this.#length === 0) this.#hold();
      this.#chunks.push(chunk);
      this.#length += chunk.length;
      if (this.#length < this.#needed) return;
      this.buffer = Buffer.concat(this.#chunks, this.#length);
      this.#chunks = [];
      this.#length = 0;
    } else {
      this.buffer = chunk;
    }
    this.#at = 0;
  }

  /** Throws a `protocol-violation` where a length is impossible or beyond the cap. */
  next(): boolean {
    const { buffer } = this;
    const at = this.#at;
    if (this.#length > 0 || buffer.length - at < 5) {
      this.#needed = Math.max(this.#needed, 5);
      return false;
    }
    const size = buffer.readInt32BE(at + 1);
    if (size < 4 || size >= this.#max) throw violation(`a message of ${size} bytes`);
    const end = at + 1 + size;
    if (end > buffer.length) {
      this.#needed = size + 1;
      return false;
    }
    this.type = buffer[at] ?? 0;
    this.start = at;
    this.end = end;
    this.#at = end;
    this.#needed = 0;
    return true;
  }

  /** All that has not been given out: for what follows the frames (a TLS hello). */
  rest(): Buffer {
    const rest = this.#length > 0 ? Buffer.concat(this.#chunks, this.#length) : this.buffer.subarray(this.#at);
    this.buffer = EMPTY;
    this.#chunks = [];
    this.#length = this.#at = this.#needed = 0;
    return rest;
  }

  #hold(): void {
    const rest = this.buffer.subarray(this.#at);
    this.#chunks = [rest];
    this.#length = rest.length;
    this.buffer = EMPTY;
    this.#at = 0;
  }
}

const EMPTY = Buffer.alloc(0);
/** So many bytes are looked through by hand before the library is called, which takes longer for a short name. */
const NEAR = 24;

/** Reads the fields of one frame's body; throws a `protocol-violation` at its end. */
export class FieldReader {
  readonly buffer: Buffer;
  at: number;
  readonly end: number;

  constructor(buffer: Buffer, start: number, end: number) {
    this.buffer = buffer;
    this.at = start;
    this.end = end;
  }

  /** Over the body of a frame that starts at `start`. */
  static body(buffer: Buffer, start: number, end: number): FieldReader {
    return new FieldReader(buffer, start + 5, end);
  }

  #take(length: number): number {
    const at = this.at;
    if (length < 0 || at + length > this.end) throw violation('a message shorter than its own fields');
    this.at = at + length;
    return at;
  }

  byte(): number {
    return this.buffer[this.#take(1)] ?? 0;
  }

  int16(): number {
    return this.buffer.readInt16BE(this.#take(2));
  }

  uint16(): number {
    return this.buffer.readUInt16BE(this.#take(2));
  }

  int32(): number {
    return this.buffer.readInt32BE(this.#take(4));
  }

  uint32(): number {
    return this.buffer.readUInt32BE(this.#take(4));
  }

  bytes(length: number): Buffer {
    const at = this.#take(length);
    return this.buffer.subarray(at, at + length);
  }

  skip(length: number): void {
    this.#take(length);
  }

  /** A zero-terminated string, as UTF-8. */
  text(): string {
    const { at } = this;
    const stop = this.#stop();
    // Most names are empty.
    return stop === at ? '' : this.buffer.toString('utf8', at, stop);
  }

  /** The zero-terminated string's bytes, without the zero. */
  rawText(): Buffer {
    const { at } = this;
    return this.buffer.subarray(at, this.#stop());
  }

  /** Passes a zero, and says where it stands. */
  #stop(): number {
    const { at, buffer, end } = this;
    const near = Math.min(end, at + NEAR);
    let stop = at;
    while (stop < near && buffer[stop] !== 0) stop++;
    if (stop === near) stop = buffer.indexOf(0, stop);
    if (stop < 0 || stop >= end) throw violation('a string without an end');
    this.at = stop + 1;
    return stop;
  }

  get left(): number {
    return this.end - this.at;
  }
}

/** Builds frames. `take()` gives what was written and starts anew. */
export class FrameWriter {
  #buffer: Buffer;
  #at = 0;
  #open = -1;

  constructor(capacity = 256) {
    this.#buffer = Buffer.allocUnsafe(capacity);
  }

  get length(): number {
    return this.#at;
  }

  /** Starts a frame; `end()` writes its length. */
  begin(type: number): this {
    this.byte(type);
    this.#open = this.#at;
    return this.int32(0);
  }

  end(): this {
    this.#buffer.writeInt32BE(this.#at - this.#open, this.#open);
    this.#open = -1;
    return this;
  }

  #room(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, at + bytes));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    this.#at = at + bytes;
    return at;
  }

  byte(value: number): this {
    const at = this.#room(1);
    this.#buffer[at] = value;
    return this;
  }

  int16(value: number): this {
    const at = this.#room(2);
    this.#buffer.writeInt16BE(value, at);
    return this;
  }

  int32(value: number): this {
    const at = this.#room(4);
    this.#buffer.writeInt32BE(value, at);
    return this;
  }

  uint32(value: number): this {
    return this.int32(value | 0);
  }

  bytes(value: Uint8Array): this {
    const at = this.#room(value.length);
    this.#buffer.set(value, at);
    return this;
  }

  copy(from: Buffer, start: number, end: number): this {
    if (end > start) {
      const at = this.#room(end - start);
      from.copy(this.#buffer, at, start, end);
    }
    return this;
  }

  /** A zero-terminated string. A zero inside would end it early and let what follows be read as fields: it is cut there. */
  text(value: string): this {
    const zero = value.indexOf('\0');
    this.utf8(zero < 0 ? value : value.slice(0, zero));
    return this.byte(0);
  }

  /** UTF-8 without an end; gives its length in bytes. */
  utf8(value: string): number {
    // Three bytes a unit is the most that UTF-8 needs.
    const at = this.#room(value.length * 3);
    const length = this.#buffer.write(value, at, 'utf8');
    this.#at = at + length;
    return length;
  }

  /** A field of a DataRow or a parameter: Int32 length, then UTF-8; null is length -1. */
  field(value: string | null): this {
    if (value === null) return this.int32(-1);
    const at = this.#room(4);
    const length = this.utf8(value);
    this.#buffer.writeInt32BE(length, at);
    return this;
  }

  /** Writes an Int32 over what was written at `at`. */
  patch(at: number, value: number): void {
    this.#buffer.writeInt32BE(value, at);
  }

  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#at);
    this.#buffer = Buffer.allocUnsafe(256);
    this.#at = 0;
    return taken;
  }
}
