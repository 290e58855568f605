/** Caps the messages of a JSON-RPC stream before anything buffers them whole. */
import { Transform, type TransformCallback } from 'node:stream';

/** Largest message that a window may send, in bytes: a policy file, at most. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
const MAX_HEADER_BYTES = 1_024;
const HEADER_END = Buffer.from('\r\n\r\n');

/** Passes `Content-Length` framed messages on, and fails at the first header that is malformed or announces too much. */
export class CappedFrames extends Transform {
  readonly #maxMessageBytes: number;
  #header = Buffer.alloc(0);
  #bodyLeft = 0;

  constructor(maxMessageBytes: number = MAX_MESSAGE_BYTES) {
    super();
    this.#maxMessageBytes = maxMessageBytes;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#bodyLeft > 0) {
        const body = rest.subarray(0, this.#bodyLeft);
        this.#bodyLeft -= body.length;
        this.push(body);
        rest = rest.subarray(body.length);
        continue;
      }
      const held = Buffer.concat([this.#header, rest.subarray(0, MAX_HEADER_BYTES + HEADER_END.length)]);
      const end = held.indexOf(HEADER_END);
      if (end < 0) {
        if (held.length > MAX_HEADER_BYTES) return done(new Error('header too long'));
        this.#header = held;
        return done();
      }
      const length = contentLength(held.toString('latin1', 0, end));
      if (length === undefined || length > this.#maxMessageBytes) return done(new Error('message refused'));
      this.push(held.subarray(0, end + HEADER_END.length));
      rest = rest.subarray(end + HEADER_END.length - this.#header.length);
      this.#header = Buffer.alloc(0);
      this.#bodyLeft = length;
    }
    return done();
  }
}

/** The one `Content-Length` of a header; undefined where there is none, or more than one, or it is no plain number. */
function contentLength(header: string): number | undefined {
  const values = header.split('\r\n').flatMap((line) => /^content-length: *(\d{1,9})$/i.exec(line)?.[1] ?? (/^content-length/i.test(line) ? [''] : []));
  return values.length === 1 && values[0] ? Number(values[0]) : undefined;
}
