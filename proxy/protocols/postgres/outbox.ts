/**
 * What goes to one side in one turn: ranges of the chunks that came in, joined where they touch, and bytes of our own.
 * Sent with one write where it is one range, as one vector where it is several.
 */
import type { Duplex } from 'node:stream';

export class Outbox {
  #pieces: Buffer[] = [];
  /** The range that is still growing. */
  #buffer: Buffer | undefined;
  #start = 0;
  #end = 0;

  get empty(): boolean {
    return this.#buffer === undefined && this.#pieces.length === 0;
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
    if (to.destroyed || to.writableEnded) return true;
    const first = pieces[0];
    if (pieces.length === 1 && first) return to.write(first);
    to.cork();
    let more = true;
    for (const piece of pieces) more = to.write(piece);
    to.uncork();
    return more;
  }
}
