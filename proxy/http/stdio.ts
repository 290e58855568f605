/**
 * The bridge's own standard input and output. Bytes are borrowed, both ways: who is handed some copies what it keeps. Pipes and
 * sockets are read into one buffer and written at once, which skips Node's streams; anything else (a file, a terminal, Windows)
 * goes through them.
 */
import { fstatSync, writeSync } from 'node:fs';
import { type OnReadOpts, Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';

/** What one read can bring, in bytes. */
const READ_BYTES = 64 * 1024;
/** How long a client that has hung up is left to read what it was answered, in milliseconds. */
const FLUSH_MS = 5_000;

export interface Incoming {
  /** Begins to read. */
  read(take: (bytes: Buffer) => void, ended: () => void, failed: (cause: Error) => void): void;
  pause(): void;
  resume(): void;
  close(): void;
}

export interface Outgoing {
  /** @returns false where the writer should wait until it is drained */
  write(bytes: Buffer | string): boolean;
  drained(then: () => void): void;
  /** Resolves when all of it is out of our hands, or can no longer be. */
  flushed(): Promise<void>;
  failed(then: (cause: Error) => void): void;
}

/** What reads into one buffer, over and over. */
export function intoOneBuffer(take: (bytes: Buffer) => void): OnReadOpts {
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  return {
    buffer,
    callback: (length) => {
      take(buffer.subarray(0, length));
      return true;
    },
  };
}

export function ownInput(): Incoming {
  return isPipe(0) && process.channel === undefined ? new PipeIn(0) : incoming(process.stdin);
}

export function ownOutput(): Outgoing {
  return isPipe(1) && process.channel === undefined ? new PipeOut(1, process.stdout) : outgoing(process.stdout);
}

/** Named pipes of Windows are written and read as its streams do it. */
function isPipe(fd: number): boolean {
  if (process.platform === 'win32') return false;
  try {
    const what = fstatSync(fd);
    return what.isFIFO() || what.isSocket();
  } catch {
    return false;
  }
}

class PipeIn implements Incoming {
  readonly #fd: number;
  #socket: Socket | undefined;

  constructor(fd: number) {
    this.#fd = fd;
  }

  read(take: (bytes: Buffer) => void, ended: () => void, failed: (cause: Error) => void): void {
    this.#socket = new Socket({ fd: this.#fd, readable: true, writable: false, onread: intoOneBuffer(take) });
    this.#socket.once('end', ended);
    this.#socket.once('error', failed);
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  close(): void {
    this.#socket?.destroy();
  }
}

/** What the pipe takes at once is written at once; the rest waits in the stream, and all that comes after it. */
class PipeOut implements Outgoing {
  readonly #fd: number;
  readonly #stream: Writable;

  /** @param stream of the same descriptor, which it has made one that does not block */
  constructor(fd: number, stream: Writable) {
    this.#fd = fd;
    this.#stream = stream;
  }

  write(bytes: Buffer | string): boolean {
    if (typeof bytes === 'string' || this.#stream.writableLength > 0) return this.#stream.write(typeof bytes === 'string' ? bytes : Buffer.from(bytes));
    let written = 0;
    try {
      written = writeSync(this.#fd, bytes);
    } catch {
      // Full, or broken: the stream finds out which.
    }
    return written === bytes.length || this.#stream.write(Buffer.from(bytes.subarray(written)));
  }

  drained(then: () => void): void {
    this.#stream.once('drain', then);
  }

  flushed(): Promise<void> {
    return flushed(this.#stream);
  }

  failed(then: (cause: Error) => void): void {
    this.#stream.once('error', then);
  }
}

/** Any stream, for tests and for what is no pipe. */
export function incoming(stream: Readable): Incoming {
  return {
    read: (take, ended, failed) => {
      stream.on('data', (chunk: Buffer | string) => take(typeof chunk === 'string' ? Buffer.from(chunk) : chunk));
      stream.once('end', ended);
      stream.once('error', failed);
    },
    pause: () => void stream.pause(),
    resume: () => void stream.resume(),
    close: () => void stream.destroy(),
  };
}

export function outgoing(stream: Writable): Outgoing {
  return {
    write: (bytes) => stream.write(typeof bytes === 'string' ? bytes : Buffer.from(bytes)),
    drained: (then) => void stream.once('drain', then),
    flushed: () => flushed(stream),
    failed: (then) => void stream.once('error', then),
  };
}

function flushed(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    if (stream.writableLength === 0) return resolve();
    const enough = setTimeout(resolve, FLUSH_MS);
    return void stream.write('', () => {
      clearTimeout(enough);
      resolve();
    });
  });
}
