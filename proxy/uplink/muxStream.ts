/** One stream of the tunnel, as a Node Duplex. It sends no more than the other side has granted, and grants as it is read. */
import { Duplex } from 'node:stream';
import { FIRST_CREDIT_BYTES, MAX_CREDIT_BYTES, MAX_DATA_BYTES } from '../../contract/tunnel.ts';
import { TunnelViolation } from './frames.ts';

/** Why a stream ended, where it did not end by itself. */
export class StreamEnded extends Error {
  override readonly name = 'StreamEnded';
  readonly code: string;

  constructor(code: string, sentence: string) {
    super(sentence);
    this.code = code;
  }
}

/** What a stream needs of the multiplexer it is in. */
export interface StreamGround {
  /** False while the link takes no data: `resume` is called when it does again. */
  readonly writable: boolean;
  data(stream: number, chunk: Buffer): void;
  credit(stream: number, bytes: number): void;
  end(stream: number): void;
  reset(stream: number, code: string, sentence: string): void;
  /** The stream waits for the link, not for credit. */
  held(stream: MuxStream): void;
  /** How much credit may be out to the other side on one stream now, in bytes. */
  window(): number;
  closed(stream: number): void;
}

export class MuxStream extends Duplex {
  readonly id: number;
  readonly #ground: StreamGround;
  /** What the other side lets us send. */
  #credit = FIRST_CREDIT_BYTES;
  /** What we let the other side send: all that was granted and has not come yet. */
  #granted = FIRST_CREDIT_BYTES;
  /** How much we want to be granted at most; grows while the reader keeps up. */
  #window = FIRST_CREDIT_BYTES;
  #pending: { chunk: Buffer; callback: (cause?: Error | null) => void } | undefined;
  #ended = false;
  #over = false;

  constructor(id: number, ground: StreamGround) {
    super({ allowHalfOpen: true, readableHighWaterMark: MAX_DATA_BYTES, writableHighWaterMark: MAX_DATA_BYTES });
    this.id = id;
    this.#ground = ground;
    // Whoever uses it may have gone by the time it is reset; that must not end the process.
    this.on('error', () => {});
  }

  // ── from the link ──────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws TunnelViolation where more came than was granted, or something after the end */
  received(chunk: Buffer): void {
    if (this.#ended) throw new TunnelViolation('data after the end of a stream');
    if (chunk.length > this.#granted) throw new TunnelViolation('more data than was granted');
    this.#granted -= chunk.length;
    if (this.push(chunk)) this.#grant();
  }

  receivedEnd(): void {
    if (this.#ended) throw new TunnelViolation('a second end of a stream');
    this.#ended = true;
    this.push(null);
    // Nobody may be reading any more: then the end would never be seen, and the stream never closed.
    if (this.readableLength === 0) this.read(0);
  }

  receivedCredit(bytes: number): void {
    this.#credit += bytes;
    // The other side grants at most what keeps `MAX_CREDIT_BYTES` out.
    if (this.#credit > MAX_CREDIT_BYTES) throw new TunnelViolation('more credit than there can be');
    this.resumeSending();
  }

  /** The other side, or the link, ended it. */
  receivedReset(code: string, sentence: string): void {
    this.#over = true;
    this.destroy(new StreamEnded(code, sentence));
  }

  /** The link takes data again, or there is credit. */
  resumeSending(): void {
    const pending = this.#pending;
    if (!pending) return;
    const rest = this.#send(pending.chunk);
    if (rest) {
      pending.chunk = rest;
      return;
    }
    this.#pending = undefined;
    pending.callback();
  }

  /** Ends it both ways, and tells the other side why. */
  reset(code: string, sentence: string): void {
    if (!this.#over && !this.destroyed) this.#ground.reset(this.id, code, sentence);
    this.#over = true;
    this.destroy(new StreamEnded(code, sentence));
  }

  // ── Duplex ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  override _read(): void {
    this.#grant();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (cause?: Error | null) => void): void {
    const rest = this.#send(chunk);
    if (rest) this.#pending = { chunk: rest, callback };
    else callback();
  }

  override _final(callback: (cause?: Error | null) => void): void {
    if (!this.#over) this.#ground.end(this.id);
    callback();
  }

  override _destroy(cause: Error | null, callback: (cause?: Error | null) => void): void {
    const whole = this.#ended && this.writableFinished;
    if (!this.#over && !whole) this.#ground.reset(this.id, cause instanceof StreamEnded ? cause.code : 'closed', cause?.message ?? 'closed');
    this.#over = true;
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.callback(cause ?? new StreamEnded('closed', 'The stream was closed.'));
    this.#ground.closed(this.id);
    callback(cause);
  }

  // ── what a Node HTTP server or `pg` asks of a socket ───────────────────────────────────────────────────────────────

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  setTimeout(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  /** @returns what could not be sent yet. */
  #send(chunk: Buffer): Buffer | undefined {
    let rest = chunk;
    while (rest.length > 0) {
      if (!this.#ground.writable) {
        this.#ground.held(this);
        return rest;
      }
      const size = Math.min(rest.length, this.#credit, MAX_DATA_BYTES);
      if (size === 0) return rest;
      this.#credit -= size;
      this.#ground.data(this.id, size === rest.length ? rest : rest.subarray(0, size));
      rest = rest.subarray(size);
    }
    return undefined;
  }

  /** Called while the reader keeps up: what is in the buffer is less than a frame. Grants in few and large pieces. */
  #grant(): void {
    if (this.#over || this.#ended || this.#granted > this.#window / 2) return;
    this.#window = Math.max(FIRST_CREDIT_BYTES, Math.min(this.#window * 2, this.#ground.window(), MAX_CREDIT_BYTES));
    const more = this.#window - this.#granted;
    if (more <= 0) return;
    this.#granted += more;
    this.#ground.credit(this.id, more);
  }
}

/** A stream that was over before it began. */
export function endedStream(why = { code: 'gateway-unreachable', sentence: 'The gateway cannot be reached at the moment. Try again.' }): MuxStream {
  const nowhere = { writable: false, data: () => {}, credit: () => {}, end: () => {}, reset: () => {}, held: () => {}, window: () => 0, closed: () => {} };
  const stream = new MuxStream(0, nowhere);
  stream.receivedReset(why.code, why.sentence);
  return stream;
}
