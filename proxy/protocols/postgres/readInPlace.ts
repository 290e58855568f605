/**
 * Reads a plain socket into one buffer, again and again. A stream makes a buffer, a view and several calls of every read,
 * which costs more than all that is done with a small message; `net.Socket` can do without (`onread`), but only for a
 * socket that is made so. One that is open already gives its handle to another that is. Everything that is not a plain
 * socket (TLS, a pair inside the process), or is in the middle of something, is read as the stream that it is.
 */
import { Socket, type SocketConstructorOpts } from 'node:net';
import type { Duplex } from 'node:stream';

/** Most bytes of one read. Untouched pages of it cost nothing. */
const READ_BYTES = 65_536;

/** What of a socket's handle is used here; it is not documented, so it is looked for and not relied on. */
interface Handle {
  reading: boolean;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
}

/**
 * @param take gets each chunk; returns whether nothing refers to it any more, so that the next may be read in its place
 * @returns the stream to use from now on, paused, and what had been read ahead
 */
export function readInPlace(stream: Duplex, take: (chunk: Buffer) => boolean): { readonly stream: Duplex; readonly ahead: readonly Buffer[] } {
  const handle = handleOf(stream);
  if (!handle) {
    stream.on('data', take);
    return { stream, ahead: [] };
  }
  handle.reading = false;
  handle.readStop();
  const ahead: Buffer[] = [];
  for (let chunk = stream.read() as Buffer | null; chunk !== null; chunk = stream.read() as Buffer | null) ahead.push(chunk);
  Object.assign(stream, { _handle: null });
  stream.removeAllListeners();
  stream.on('error', () => {});
  stream.destroy();

  let buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  let free = true;
  const options: SocketConstructorOpts = {
    onread: {
      // Asked for at the start and after each read.
      buffer: () => {
        if (!free) buffer = Buffer.allocUnsafeSlow(READ_BYTES);
        free = true;
        return buffer;
      },
      callback: (bytes) => {
        free = take(buffer.subarray(0, bytes));
        return true;
      },
    },
  };
  return { stream: new Socket(Object.assign(options, { handle, manualStart: true })), ahead };
}

function handleOf(stream: Duplex): Handle | undefined {
  if (Object.getPrototypeOf(stream) !== Socket.prototype) return undefined;
  if (stream.destroyed || stream.readableEnded || stream.writableLength > 0 || stream.writableEnded) return undefined;
  const handle = (stream as { _handle?: Partial<Handle> | null })._handle;
  if (typeof handle?.useUserBuffer !== 'function' || typeof handle.readStop !== 'function') return undefined;
  return handle as Handle;
}
