/**
 * An HTTP/1.1 response as it arrives (RFC 9112), read by ourselves: what Node's client puts around one costs more than the rest of a
 * small call. Strict: what two readers could read in two ways is refused, and what was refused is not read on.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { Problem } from '../../../../contract/problem.ts';

/** Longest status line and headers, and longest trailers, in bytes. */
const MAX_HEAD_BYTES = 64 * 1024;
/** Longest line that says how long a chunk is, in bytes: the rest of it is extensions that nobody reads. */
const MAX_CHUNK_LINE = 1024;
/** Provisional answers before the final one. */
const MAX_PROVISIONAL = 20;
const STATUS = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const LENGTH = /^\d{1,15}$/;
const CHUNK_LENGTH = /^([0-9a-fA-F]{1,12})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;
/** Of headers that come twice only these have one meaning each way; the rest is joined, as lists are. */
const SINGLE: ReadonlySet<string> = new Set(['content-type', 'content-encoding', 'location', 'mcp-session-id', 'transfer-encoding']);

export interface ResponseHead {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The connection can be used again once the body has ended. */
  readonly reusable: boolean;
}

export interface ResponseEvents {
  readonly onHead: (head: ResponseHead) => void;
  readonly onData: (chunk: Buffer) => void;
  /** The body is complete. */
  readonly onEnd: () => void;
}

type State = 'head' | 'length' | 'close' | 'chunk-line' | 'chunk' | 'chunk-end' | 'trailers' | 'done';

export class ResponseReader {
  readonly #events: ResponseEvents;
  #state: State = 'head';
  /** Of a line or head that has not ended. */
  #held: Buffer | undefined;
  /** Bytes of the body, or of the chunk, that are still to come. */
  #left = 0;
  #provisional = 0;

  constructor(events: ResponseEvents) {
    this.#events = events;
  }

  /** Whether the head was read: from there on the connection's end may be the body's. */
  get begun(): boolean {
    return this.#state !== 'head';
  }

  get done(): boolean {
    return this.#state === 'done';
  }

  /** @returns what came after the response, which nobody asked for: a connection with any is not used again. @throws a `Problem` */
  write(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && this.#state !== 'done') at = this.#step(bytes, at);
    return bytes.length - at;
  }

  /** The connection has ended. @throws where the response had not */
  end(): void {
    if (this.#state === 'close') return this.#finish();
    if (this.#state !== 'done') throw Object.assign(new Error('the server hung up in the middle of its answer'), { code: 'ECONNRESET' });
    return undefined;
  }

  #step(bytes: Buffer, at: number): number {
    switch (this.#state) {
      case 'head':
        return this.#until(bytes, at, '\r\n\r\n', MAX_HEAD_BYTES, (text) => this.#head(text));
      case 'close':
        this.#events.onData(at === 0 ? bytes : bytes.subarray(at));
        return bytes.length;
      case 'length':
      case 'chunk': {
        const end = Math.min(bytes.length, at + this.#left);
        this.#left -= end - at;
        this.#events.onData(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
        if (this.#left === 0 && this.#state === 'chunk') this.#state = 'chunk-end';
        else if (this.#left === 0 && this.#state === 'length') this.#finish();
        return end;
      }
      case 'chunk-line':
        return this.#until(bytes, at, '\r\n', MAX_CHUNK_LINE, (line) => {
          const length = CHUNK_LENGTH.exec(line)?.[1];
          if (length === undefined) throw malformed();
          this.#left = Number.parseInt(length, 16);
          this.#state = this.#left === 0 ? 'trailers' : 'chunk';
        });
      case 'chunk-end':
        return this.#until(bytes, at, '\r\n', 2, (line) => {
          if (line !== '') throw malformed();
          this.#state = 'chunk-line';
        });
      case 'trailers':
        // They say nothing that we would go by.
        return this.#until(bytes, at, '\r\n', MAX_HEAD_BYTES, (line) => {
          if (line === '') this.#finish();
        });
      case 'done':
        return at;
    }
  }

  /** Takes the text up to `mark`, once it is all there. @param most its length, in bytes */
  #until(bytes: Buffer, at: number, mark: string, most: number, take: (text: string) => void): number {
    const held = this.#held;
    const here = held ? Buffer.concat([held, bytes.subarray(at)]) : bytes;
    const from = held ? 0 : at;
    const end = here.indexOf(mark, from, 'latin1');
    if (end - from > most || (end < 0 && here.length - from > most + mark.length)) throw malformed();
    if (end < 0) {
      this.#held = held ? here : bytes.subarray(at);
      return bytes.length;
    }
    this.#held = undefined;
    take(here.toString('latin1', from, end));
    return at + (end + mark.length - from) - (held?.length ?? 0);
  }

  #head(text: string): void {
    const { headers, minor, status } = readHead(text);
    if (status < 200) {
      // Nothing was asked to be switched to.
      if (status === 101 || ++this.#provisional > MAX_PROVISIONAL) throw malformed();
      return;
    }
    const { connection, 'content-length': length, 'transfer-encoding': coding } = headers;
    if (coding !== undefined && (coding.toLowerCase() !== 'chunked' || length !== undefined || minor === '0')) throw malformed();
    if (length !== undefined && !LENGTH.test(length)) throw malformed();
    const closes = minor === '0' || /(?:^|,)[\t ]*close[\t ]*(?:,|$)/i.test(connection ?? '');
    const bodiless = status === 204 || status === 304;
    this.#left = Number(length ?? 0);
    this.#state = bodiless ? 'length' : coding !== undefined ? 'chunk-line' : length !== undefined ? 'length' : 'close';
    const empty = this.#state === 'length' && (bodiless || this.#left === 0);
    this.#events.onHead({ status, headers, reusable: !closes && this.#state !== 'close' });
    if (empty) this.#finish();
  }

  #finish(): void {
    this.#state = 'done';
    this.#events.onEnd();
  }
}

interface Head {
  readonly minor: string | undefined;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** A server says the same head again and again, but for the second in it. */
let last: { readonly text: string; readonly head: Head } | undefined;

function readHead(text: string): Head {
  if (last?.text === text) return last.head;
  const [line = '', ...fields] = text.split('\r\n');
  const [, minor, code] = STATUS.exec(line) ?? [];
  if (code === undefined) throw malformed();
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  for (const field of fields) {
    const colon = field.indexOf(':');
    const name = field.slice(0, Math.max(0, colon)).toLowerCase();
    const value = field.slice(colon + 1).trim();
    if (!NAME.test(name) || !VALUE.test(value)) throw malformed();
    const before = headers[name];
    if (before !== undefined && (SINGLE.has(name) || (name === 'content-length' && before !== value))) throw malformed();
    headers[name] = before === undefined || name === 'content-length' ? value : `${before}, ${value}`;
  }
  const head = { minor, status: Number(code), headers: Object.freeze(headers) };
  last = { text, head };
  return head;
}

function malformed(): Problem {
  return new Problem('malformed-http', 'The server’s answer was refused: it is not HTTP that can be read in one way only.');
}
