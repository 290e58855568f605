/** Where one message of the PostgreSQL protocol ends and the next begins, in bytes that pass: only there can a word of our own be put in. */

const HEADER_BYTES = 5;

export class MessageEdge {
  /** Bytes of the current message that are still to come. */
  #left = 0;
  /** A header that was cut by a chunk's end. */
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;

  /** Nothing is half said. */
  get clean(): boolean {
    return this.#left === 0 && this.#headerBytes === 0;
  }

  pass(chunk: Buffer): void {
    let at = Math.min(this.#left, chunk.length);
    this.#left -= at;
    while (at < chunk.length) {
      const take = Math.min(HEADER_BYTES - this.#headerBytes, chunk.length - at);
      chunk.copy(this.#header, this.#headerBytes, at, at + take);
      this.#headerBytes += take;
      at += take;
      if (this.#headerBytes < HEADER_BYTES) return;
      this.#headerBytes = 0;
      const body = Math.max(0, this.#header.readInt32BE(1) - 4);
      const here = Math.min(body, chunk.length - at);
      at += here;
      this.#left = body - here;
    }
  }
}
