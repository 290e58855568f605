/** Reads exact numbers of bytes from a stream before its frames begin: start-up packets and logins. */
import type { Duplex } from 'node:stream';
import { violation } from './frames.ts';

/** Most bytes that are held unread, in bytes: nobody who is not logged in may send more. */
const MAX_HELD_BYTES = 65_536;

/** The client left, or took too long: there is nobody to tell. */
export class ClientGone extends Error {}

export class ByteSource {
  readonly #stream: Duplex;
  readonly #signal: AbortSignal;
  #held: Buffer = Buffer.alloc(0);
  #gone = false;
  #wake: (() => void) | undefined;
  readonly #onData = (chunk: Buffer): void => {
    this.#held = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    this.#wake?.();
  };
  readonly #onGone = (): void => {
    this.#gone = true;
    this.#wake?.();
  };

  constructor(stream: Duplex, signal: AbortSignal) {
    this.#stream = stream;
    this.#signal = signal;
    stream.on('data', this.#onData).on('end', this.#onGone).on('close', this.#onGone);
    signal.addEventListener('abort', this.#onGone);
    if (signal.aborted || stream.destroyed) this.#gone = true;
  }

  async take(length: number): Promise<Buffer> {
    while (this.#held.length < length) {
      if (this.#gone) throw new ClientGone('the client closed the connection');
      if (this.#held.length > MAX_HELD_BYTES) throw violation('too much sent before the login');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const taken = this.#held.subarray(0, length);
    this.#held = this.#held.subarray(length);
    return taken;
  }

  /** Stops reading, leaves the stream paused, and gives what was read too much. */
  release(): Buffer {
    this.#stream.off('data', this.#onData).off('end', this.#onGone).off('close', this.#onGone);
    this.#signal.removeEventListener('abort', this.#onGone);
    this.#stream.pause();
    return this.#held;
  }
}
