/** Server-sent events as they arrive: bytes in, events out, with a cap on what is held. */

export interface ServerEvent {
  readonly type: string;
  readonly data: string;
  /** The last id that the stream has given so far. */
  readonly id: string | undefined;
}

export interface EventStreamOptions {
  /** Longest event, in characters. */
  readonly maxChars: number;
  readonly onEvent: (event: ServerEvent) => void;
  /** How long to wait before connecting again, in milliseconds, as the server asks. */
  readonly onRetry?: (ms: number) => void;
}

export class EventStream {
  readonly #options: EventStreamOptions;
  /** Leaves out the mark that a text may begin with. Decodes several times as fast as Node's `StringDecoder`. */
  readonly #decoder = new TextDecoder();
  #rest: string[] = [];
  #held = 0;
  #data: string[] = [];
  #type = '';
  #id: string | undefined;
  #afterReturn = false;

  constructor(options: EventStreamOptions) {
    this.#options = options;
  }

  /** @throws when an event is too long */
  write(chunk: Buffer): void {
    const text = this.#decoder.decode(chunk, { stream: true });
    // A carriage return that ended the last chunk has ended its line: a newline now is its second half.
    let start = this.#afterReturn && text.startsWith('\n') ? 1 : 0;
    if (text !== '') this.#afterReturn = text.endsWith('\r');
    for (let i = nextBreak(text, start); i >= 0; i = nextBreak(text, start)) {
      const piece = text.slice(start, i);
      const line = this.#rest.length === 0 ? piece : this.#rest.join('') + piece;
      this.#rest = [];
      start = i + (text[i] === '\r' && text[i + 1] === '\n' ? 2 : 1);
      this.#line(line);
    }
    if (start >= text.length) return;
    this.#rest.push(text.slice(start));
    this.#count(text.length - start);
  }

  #line(line: string): void {
    if (line === '') return this.#dispatch();
    const colon = line.indexOf(':');
    if (colon === 0) return undefined;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'data') {
      this.#data.push(value);
      // An empty line is kept as well.
      this.#count(value.length + 1);
    } else if (field === 'event') this.#type = value;
    else if (field === 'id' && !value.includes('\0')) this.#id = value;
    else if (field === 'retry' && /^\d{1,9}$/.test(value)) this.#options.onRetry?.(Number(value));
    return undefined;
  }

  #dispatch(): void {
    const data = this.#data;
    const type = this.#type || 'message';
    this.#data = [];
    this.#type = '';
    this.#held = 0;
    if (data.length > 0) this.#options.onEvent({ type, data: data.length === 1 ? (data[0] ?? '') : data.join('\n'), id: this.#id });
  }

  #count(length: number): void {
    this.#held += length;
    if (this.#held > 2 * this.#options.maxChars) throw new Error('an event is too long');
  }
}

function nextBreak(text: string, from: number): number {
  const newline = text.indexOf('\n', from);
  const carriage = text.indexOf('\r', from);
  if (carriage < 0) return newline;
  return newline < 0 ? carriage : Math.min(newline, carriage);
}
