/** The response to a request that was read without Node's server: in one write where it is whole at once, else in chunks. */
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { mostBytes, utf8, writeUtf8 } from '../recording/utf8.ts';
import type { Answering } from './answering.ts';

const VALUE = /^[\t\x20-\x7e]*$/;
const LENGTH = 'content-length';
/** Room for a response's head: its headers are few, and our own. */
const MAX_HEAD_BYTES = 4_096;
/** Longest body that is given room for the most that it can become, in characters. */
const MAX_AT_ONCE = 1_048_576;
/** Largest room that is kept for the next response, in bytes. */
const MAX_KEPT_BYTES = 262_144;

export interface LaneReplyOptions {
  readonly socket: Socket;
  /** Headers of each response, unless it has others of the same names. */
  readonly always: readonly (readonly [name: string, value: string])[];
  /** Seconds for which the connection is kept. */
  readonly keepAliveS: number;
  /** The response is complete. */
  readonly done: () => void;
}

export class LaneReply implements Answering {
  readonly #options: LaneReplyOptions;
  readonly #headers = new Map<string, string>();
  statusCode = 200;
  #sent = false;
  #chunked = false;
  #over = false;
  #onClose: (() => void)[] = [];

  constructor(options: LaneReplyOptions) {
    this.#options = options;
  }

  get headersSent(): boolean {
    return this.#sent;
  }

  get writableLength(): number {
    return this.#options.socket.writableLength;
  }

  setHeader(name: string, value: string): void {
    if (!VALUE.test(value)) throw new Error(`the header ${name} holds what no header may`);
    this.#headers.set(name.toLowerCase(), `${name}: ${value}\r\n`);
  }

  writeHead(status: number, headers?: Readonly<Record<string, string | number>>): this {
    this.statusCode = status;
    for (const name in headers) this.setHeader(name, String(headers[name]));
    return this;
  }

  flushHeaders(): void {
    if (this.#sent || this.#over) return;
    this.#options.socket.write(this.#head(undefined), 'latin1');
  }

  write(text: string | Buffer): void {
    if (this.#over || text.length === 0) return;
    this.#send([this.#sent ? '' : this.#head(undefined), ...chunk(text)]);
  }

  #send(parts: readonly (string | Buffer)[]): void {
    this.#options.socket.write(parts.every((part) => typeof part === 'string') ? parts.join('') : utf8(parts));
  }

  end(body: string | Buffer = ''): void {
    if (this.#over) return;
    this.#over = true;
    const { done } = this.#options;
    if (!this.#sent) this.#whole(body);
    else if (this.#chunked) this.#send([...(body.length > 0 ? chunk(body) : []), '0\r\n\r\n']);
    this.#closed();
    done();
  }

  /** Encoded once, behind room for the head, which says how long it has become. */
  #whole(body: string | Buffer): void {
    const { socket } = this.#options;
    if (body.length > MAX_AT_ONCE) {
      socket.cork();
      socket.write(this.#head(Buffer.byteLength(body)), 'latin1');
      socket.write(body);
      return socket.uncork();
    }
    const text = typeof body === 'string' ? body : [body];
    const bytes = roomFor(MAX_HEAD_BYTES + mostBytes(text));
    const length = writeUtf8(bytes, text, MAX_HEAD_BYTES);
    const head = this.#head(length);
    const start = MAX_HEAD_BYTES - head.length;
    if (start < 0) throw new Error(`a head of more than ${MAX_HEAD_BYTES} bytes`);
    bytes.write(head, start, 'latin1');
    socket.write(bytes.subarray(start, MAX_HEAD_BYTES + length));
    // The system has it all: nothing looks at the bytes any more.
    if (socket.writableLength === 0 && bytes.length <= MAX_KEPT_BYTES) spare = bytes;
    return undefined;
  }

  destroy(): void {
    this.#options.socket.destroy();
  }

  once(_event: 'close', listener: () => void): void {
    this.#onClose.push(listener);
  }

  /** The connection has gone. */
  gone(): void {
    if (this.#over) return;
    this.#over = true;
    this.#closed();
  }

  #closed(): void {
    const listeners = this.#onClose;
    this.#onClose = [];
    // Whoever ends it is told after the turn in which they did, as by Node.
    process.nextTick(() => {
      for (const listener of listeners) listener();
    });
  }

  /** @param length of the whole body, where that is known; else it goes in chunks */
  #head(length: number | undefined): string {
    this.#sent = true;
    const { always, keepAliveS } = this.#options;
    let head = `HTTP/1.1 ${this.statusCode} ${STATUS_CODES[this.statusCode] ?? 'Unknown'}\r\n`;
    for (const [name, line] of this.#headers) if (name !== LENGTH) head += line;
    for (const [name, value] of always) if (!this.#headers.has(name.toLowerCase())) head += `${name}: ${value}\r\n`;
    this.#chunked = length === undefined;
    head += length === undefined ? 'Transfer-Encoding: chunked\r\n' : `Content-Length: ${length}\r\n`;
    return `${head}Date: ${dateNow()}\r\nConnection: keep-alive\r\nKeep-Alive: timeout=${keepAliveS}\r\n\r\n`;
  }
}

let spare: Buffer | undefined;
function roomFor(bytes: number): Buffer {
  const kept = spare;
  spare = undefined;
  return kept && kept.length >= bytes ? kept : Buffer.allocUnsafeSlow(bytes);
}

function chunk(text: string | Buffer): readonly (string | Buffer)[] {
  return [`${Buffer.byteLength(text).toString(16)}\r\n`, text, '\r\n'];
}

let second = 0;
let dateText = '';
/** For the `Date` header, made once a second. */
function dateNow(): string {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    dateText = new Date(now * 1000).toUTCString();
  }
  return dateText;
}
