/**
 * Lines as they arrive, as bytes: a line is handed on when it is whole, and what is not is held up to a cap. Of one that is longer
 * no more is kept than it takes to say whose it was; the lines after it are read.
 */

const NEW_LINE = 10;
/** A line that is longer than this has no end, in bytes. */
export const MAX_SKIPPED_BYTES = 256 * 1024 * 1024;
/** What is kept of a line that is too long, at its beginning and at its end, in bytes. */
const EDGE_BYTES = 2_048;

/** The edges of a line that was too long. */
export interface Skipped {
  readonly head: Buffer;
  readonly tail: Buffer;
}

export class LineReader {
  readonly #maxBytes: number;
  readonly #onLine: (line: Buffer) => void;
  readonly #onSkipped: (line: Skipped) => void;
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Of the line that is being skipped. */
  #skipping: { readonly head: Buffer; tail: Buffer; bytes: number } | undefined;

  /** @param maxBytes of one line */
  constructor(maxBytes: number, onLine: (line: Buffer) => void, onSkipped: (line: Skipped) => void) {
    this.#maxBytes = maxBytes;
    this.#onLine = onLine;
    this.#onSkipped = onSkipped;
  }

  /** @param bytes borrowed, and so is each line of them that is handed on: both are the caller's again when this returns
   * @returns false for a line that has no end: what comes after it is not read */
  write(bytes: Buffer): boolean {
    let start = 0;
    for (let end = bytes.indexOf(NEW_LINE); end >= 0; end = bytes.indexOf(NEW_LINE, start)) {
      if (this.#heldBytes === 0 && !this.#skipping && end - start <= this.#maxBytes) this.#onLine(bytes.subarray(start, end));
      else {
        this.#piece(bytes, start, end);
        this.#take();
      }
      start = end + 1;
    }
    if (start < bytes.length) this.#piece(bytes, start, bytes.length);
    return (this.#skipping?.bytes ?? 0) <= MAX_SKIPPED_BYTES;
  }

  /** Nothing more will come: what there is, is the last line. */
  end(): void {
    if (this.#heldBytes > 0 || this.#skipping) this.#take();
  }

  #piece(bytes: Buffer, start: number, end: number): void {
    const piece = bytes.subarray(start, end);
    if (this.#skipping) {
      const skipping = this.#skipping;
      skipping.bytes += piece.length;
      skipping.tail = edge(skipping.tail, piece);
      return;
    }
    if (this.#heldBytes + piece.length <= this.#maxBytes) {
      this.#held.push(Buffer.from(piece));
      this.#heldBytes += piece.length;
      return;
    }
    const whole = Buffer.concat([...this.#held, piece], Math.min(this.#heldBytes + piece.length, EDGE_BYTES));
    const tail = edge(this.#held.reduce(edge, Buffer.alloc(0)), piece);
    this.#skipping = { head: whole, tail, bytes: this.#heldBytes + piece.length };
    this.#held = [];
    this.#heldBytes = 0;
  }

  #take(): void {
    const skipped = this.#skipping;
    if (skipped) {
      this.#skipping = undefined;
      return this.#onSkipped(skipped);
    }
    const line = this.#held.length === 1 ? (this.#held[0] as Buffer) : Buffer.concat(this.#held);
    this.#held = [];
    this.#heldBytes = 0;
    return this.#onLine(line);
  }
}

/** The end of what two pieces make, in memory of its own. */
function edge(before: Buffer, piece: Buffer): Buffer {
  if (piece.length >= EDGE_BYTES) return Buffer.from(piece.subarray(-EDGE_BYTES));
  return Buffer.concat([before.subarray(-(EDGE_BYTES - piece.length)), piece]);
}

/** What can be known of a JSON-RPC message of which only the edges are there. */
export interface Outline {
  readonly kind: 'request' | 'response' | 'unknown';
  readonly id: string | number | undefined;
}

/** One member of the message, with its value where that is short. */
const MEMBER = /\s*[{,]\s*"(jsonrpc|id|method|params|result|error)"\s*:\s*(?:("(?:[^"\\]|\\.){0,300}"|-?\d{1,15})(?=\s*,))?/y;
/** The last member: nothing that lies deeper is followed by one brace alone. */
const LAST_ID = /,\s*"id"\s*:\s*("(?:[^"\\]|\\.){0,300}"|-?\d{1,15})\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$/;

export function outlineOf({ head, tail }: Skipped): Outline {
  const text = head.toString('latin1');
  const seen = new Map<string, string | undefined>();
  MEMBER.lastIndex = 0;
  for (let match = MEMBER.exec(text); match?.[1] !== undefined; match = MEMBER.exec(text)) {
    seen.set(match[1], match[2]);
    if (match[2] === undefined) break;
  }
  const id = seen.get('id') ?? LAST_ID.exec(tail.toString('latin1'))?.[1];
  return {
    kind: seen.has('result') || seen.has('error') ? 'response' : seen.has('method') || seen.has('params') ? 'request' : 'unknown',
    id: id === undefined ? undefined : valueOf(id),
  };
}

function valueOf(text: string): string | number | undefined {
  try {
    return JSON.parse(text) as string | number;
  } catch {
    return undefined;
  }
}
