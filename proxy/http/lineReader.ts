/** Lines as they arrive, as bytes: a line is handed on when it is whole, and what is not is held up to a cap. */

const NEW_LINE = 10;

export class LineReader {
  readonly #maxBytes: number;
  readonly #onLine: (line: Buffer) => void;
  #held: Buffer[] = [];
  #heldBytes = 0;

  /** @param maxBytes of one line */
  constructor(maxBytes: number, onLine: (line: Buffer) => void) {
    this.#maxBytes = maxBytes;
    this.#onLine = onLine;
  }

  /** @returns false for a line that is too long: what comes after it is not read */
  write(bytes: Buffer): boolean {
    let start = 0;
    for (let end = bytes.indexOf(NEW_LINE); end >= 0; end = bytes.indexOf(NEW_LINE, start)) {
      if (this.#heldBytes + end - start > this.#maxBytes) return false;
      this.#take(bytes.subarray(start, end));
      start = end + 1;
    }
    if (start === bytes.length) return true;
    this.#held.push(start === 0 ? bytes : bytes.subarray(start));
    this.#heldBytes += bytes.length - start;
    return this.#heldBytes <= this.#maxBytes;
  }

  /** Nothing more will come: what there is, is the last line. */
  end(): void {
    if (this.#heldBytes > 0) this.#take(Buffer.alloc(0));
  }

  #take(rest: Buffer): void {
    const line = this.#held.length === 0 ? rest : Buffer.concat([...this.#held, rest]);
    this.#held = [];
    this.#heldBytes = 0;
    this.#onLine(line);
  }
}
