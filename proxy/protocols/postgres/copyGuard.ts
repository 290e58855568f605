/** Looks for tokens and masks in the data of a COPY, which nobody decides on row by row: neither may be written so. */
import { maskIn, type SessionMasking } from '../../masking/masking.ts';
import { FRONT, FrameWriter } from './frames.ts';

/** Longer than any token or mask, in bytes: what may be cut by a message's end. */
const TAIL = 160;
const OPENING = Buffer.from('‹');
const LESS = 60;

export const COPY_REFUSED =
  'Countersign refuses data that holds a token or a mask (‹…›): COPY would store it in place of the value. Use INSERT or UPDATE, in which tokens are put back.';

export class CopyGuard {
  readonly #masking: SessionMasking;
  #tail: Buffer = Buffer.alloc(0);
  /** Something was found. */
  failed = false;

  constructor(masking: SessionMasking) {
    this.#masking = masking;
  }

  /** Whether the data that goes on in `buffer[start, end)` may go upstream. */
  passes(buffer: Buffer, start: number, end: number): boolean {
    const data = buffer.subarray(start, end);
    const before = this.#tail;
    // Small messages are kept until they make up a tail together.
    this.#tail = data.length >= TAIL ? Buffer.from(data.subarray(-TAIL)) : Buffer.concat([before, data]).subarray(-TAIL);
    const ascii = this.#masking.tokens.any;
    const looked = before.length > 0 ? Buffer.concat([before, data]) : data;
    if (!looked.includes(OPENING) && !(ascii && looked.includes(LESS))) return true;
    const text = looked.toString();
    this.failed = maskIn(text) === 'withheld' || this.#masking.tokens.find(text).length > 0;
    return !this.failed;
  }
}

export function copyFail(reason: string): Buffer {
  return new FrameWriter().begin(FRONT.copyFail).text(reason).end().take();
}
