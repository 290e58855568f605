/**
 * What goes to one side in one turn: ranges of the chunks that came in, joined where they touch, and bytes of our own.
 * Sent with one write where it is one range or small, as one vector otherwise.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** Up to so many bytes, copying pieces together costs less than a vector of them. */
const JOINED_BYTES = 16_384;

export class Outbox {
  #pieces: Buffer[] = [];
  /** The range that is still growing. */
  #buffer: Buffer | undefined;
  #start = 0;
  #end = 0;
  #lent = false;

  get empty(): boolean {
    return this.#buffer === undefined && this.#pieces.length === 0;
  }

  /** Nothing that was put in is referred to any more, here or by the other side's stream. */
  get free(): boolean {
    return !this.#lent && this.empty;
  }

  /** Whether nothing is left of what was put in, so that the buffers it lay in may be used again. */
  letGo(to: Duplex): boolean {
    // Of other streams it is not known whether they hold what they were given: a stream of the tunnel does.
    if (this.empty && to.writableLength === 0 && to instanceof Socket) this.#lent = false;
    return !this.#lent && this.empty;
  }

  range(buffer: Buffer, start: number, end: number): void {
    if (end <= start) return;
    if (this.#buffer === buffer && this.#end === start) {
      this.#end = end;
      return;
    }
    this.#close();
    this.#buffer = buffer;
    this.#start = start;
    this.#end = end;
  }

  bytes(bytes: Buffer): void {
    if (bytes.length === 0) return;
    this.#close();
    this.#pieces.push(bytes);
  }

  #close(): void {
    if (!this.#buffer) return;
    const whole = this.#start === 0 && this.#end === this.#buffer.length;
    this.#pieces.push(whole ? this.#buffer : this.#buffer.subarray(this.#start, this.#end));
    this.#buffer = undefined;
  }

  /** All that is in it, as one. */
  take(): Buffer {
    this.#close();
    const pieces = this.#pieces;
    this.#pieces = [];
    return Buffer.concat(pieces);
  }

  /** Writes it all; false when the other side should be waited for. */
  flush(to: Duplex): boolean {
    this.#close();
    const pieces = this.#pieces;
    if (pieces.length === 0) return !to.writableNeedDrain;
    this.#pieces = [];
    this.#lent = true;
    if (to.destroyed || to.writableEnded) return true;
    const first = pieces[0];
    if (pieces.length === 1 && first) return to.write(first);
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (bytes <= JOINED_BYTES) return to.write(Buffer.concat(pieces, bytes));
    to.cork();
    let more = true;
    for (const piece of pieces) more = to.write(piece);
    to.uncork();
    return more;
  }
}
