/** The body of an answer while it arrives: for one reader, who may come late, stop it and start it again. */
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';

/** What is kept for a reader that has not come, in bytes; beyond it the server waits. */
const MAX_HELD_BYTES = 64 * 1024;

export interface BodyReader {
  readonly data: (chunk: Buffer) => void;
  readonly end: () => void;
  readonly error: (cause: Error) => void;
}

export interface BodySource {
  pause(): unknown;
  resume(): unknown;
  /** Nobody wants the rest. */
  destroy(): void;
  readonly encoding: string | undefined;
}

const NOBODY: BodyReader = { data: () => {}, end: () => {}, error: () => {} };

export class Body {
  readonly #source: BodySource;
  readonly #through: Through | undefined;
  #reader: BodyReader | undefined;
  #held: Buffer[] = [];
  #heldBytes = 0;
  #paused = false;
  #ended = false;
  #cause: Error | undefined;

  constructor(source: BodySource) {
    this.#source = source;
    this.#through = throughOf(source.encoding);
    this.#through?.on('data', (chunk: Buffer) => this.#took(chunk));
    this.#through?.once('end', () => this.#over());
    this.#through?.once('error', (cause) => {
      this.fail(cause);
      source.destroy();
    });
    this.#through?.on('drain', () => this.#flow());
  }

  /** Nothing more will come of it. */
  get over(): boolean {
    return this.#ended || this.#cause !== undefined;
  }

  /** What has come already is told at once; a later reader takes an earlier one's place. */
  read(reader: BodyReader): void {
    this.#reader = reader;
    this.#tell();
  }

  pause(): void {
    this.#paused = true;
    this.#flow();
  }

  resume(): void {
    this.#paused = false;
    this.#tell();
  }

  destroy(): void {
    this.#reader = NOBODY;
    this.#held = [];
    if (this.over) return;
    this.#source.destroy();
    this.#through?.destroy();
  }

  push(chunk: Buffer): void {
    if (this.#through) {
      this.#through.write(chunk);
      this.#flow();
    } else this.#took(chunk);
  }

  finish(): void {
    if (this.#through) this.#through.end();
    else this.#over();
  }

  fail(cause: Error): void {
    if (this.over) return;
    this.#cause = cause;
    this.#tell();
  }

  #took(chunk: Buffer): void {
    if (this.#reader && !this.#paused && this.#held.length === 0) return this.#reader.data(chunk);
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    return this.#flow();
  }

  #over(): void {
    this.#ended = true;
    this.#tell();
  }

  #tell(): void {
    while (this.#reader && !this.#paused) {
      const chunk = this.#held.shift();
      if (!chunk) break;
      this.#heldBytes -= chunk.length;
      this.#reader.data(chunk);
    }
    if (!this.over) this.#flow();
    else if (this.#reader && this.#held.length === 0) {
      const reader = this.#reader;
      this.#reader = NOBODY;
      if (this.#cause) reader.error(this.#cause);
      else reader.end();
    }
  }

  /** Lets the server go on, or wait. */
  #flow(): void {
    if (this.over) return;
    const full = this.#heldBytes > MAX_HELD_BYTES;
    if (this.#through) {
      if (full || this.#paused) this.#through.pause();
      else if (this.#through.isPaused()) this.#through.resume();
    }
    if (full || this.#paused || this.#through?.writableNeedDrain === true) this.#source.pause();
    else this.#source.resume();
  }
}

type Through = ReturnType<typeof createGunzip>;

function throughOf(encoding: string | undefined): Through | undefined {
  switch (encoding?.toLowerCase()) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'br':
      return createBrotliDecompress() as unknown as Through;
    case 'deflate':
      return createInflate();
    case undefined:
    default:
      return undefined;
  }
}
