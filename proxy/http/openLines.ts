/**
 * Asks the proxy for a connection that carries lines. The request is written and its answer read here: Node's client for HTTP would
 * be most of what a bridge loads, and gives the connection away as a stream.
 */
import { connect, type Socket } from 'node:net';
import { LINES } from './lines.ts';
import { intoOneBuffer } from './stdio.ts';

/** How long the proxy may take to take the connection up, in milliseconds. */
const OPEN_MS = 5_000;
/** Longest head of an answer, in bytes. */
const MAX_HEAD_BYTES = 16 * 1024;
const END_OF_HEAD = '\r\n\r\n';
const SWITCHED = /^HTTP\/1\.1 101 [^\r\n]*\r\n(?:[^\r\n]+\r\n)*?upgrade: *countersign-lines *\r\n/i;
const UNKNOWN = /^HTTP\/1\.1 401 /;
const BEARER = /^[!-~]+$/;

export interface Login {
  readonly endpoint: string;
  readonly token: string;
}

/** A connection that has been switched to lines. What it brings goes to whoever took it last, and is theirs until they return. */
export class Lines {
  readonly socket: Socket;
  #take: ((bytes: Buffer) => void) | undefined;
  #early: Buffer[] = [];

  constructor(socket: Socket) {
    this.socket = socket;
  }

  onBytes(take: (bytes: Buffer) => void): void {
    this.#take = take;
    for (const bytes of this.#early.splice(0)) this.received(bytes);
  }

  /** What comes from now on, and this before it, is for who takes it next. */
  hold(bytes: Buffer): void {
    this.#take = undefined;
    if (bytes.length > 0) this.#early.push(Buffer.from(bytes));
  }

  received(bytes: Buffer): void {
    if (this.#take) this.#take(bytes);
    else this.#early.push(Buffer.from(bytes));
  }
}

/** @returns undefined where the proxy does not take lines at this address, or cannot be reached; `login` where it does not know the bearer */
export function openLines({ endpoint, token }: Login): Promise<Lines | 'login' | undefined> {
  const { hostname, pathname, port } = new URL(endpoint);
  if (!BEARER.test(token)) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    let head = Buffer.alloc(0);
    let take = (bytes: Buffer): void => {
      head = Buffer.concat([head, bytes]);
      const end = head.indexOf(END_OF_HEAD);
      if (end < 0 && head.length <= MAX_HEAD_BYTES) return;
      const text = head.toString('latin1', 0, end < 0 ? 0 : end + 2);
      if (SWITCHED.test(text)) switched(head.subarray(end + END_OF_HEAD.length));
      else refused(UNKNOWN.test(text) ? 'login' : undefined);
    };
    const socket = connect({ host: hostname, port: Number(port), noDelay: true, onread: intoOneBuffer((bytes) => take(bytes)) });
    const refused = (why: 'login' | undefined): void => {
      take = () => undefined;
      socket.destroy();
      resolve(why);
    };
    const gone = (): void => refused(undefined);
    const switched = (early: Buffer): void => {
      const lines = new Lines(socket);
      take = (bytes) => lines.received(bytes);
      socket.setTimeout(0);
      socket.off('timeout', gone).off('end', gone).off('close', gone);
      if (early.length > 0) lines.received(early);
      resolve(lines);
    };
    socket.setTimeout(OPEN_MS);
    socket.once('timeout', gone).once('end', gone).once('close', gone);
    socket.on('error', () => socket.destroy());
    socket.write(`GET ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nAuthorization: Bearer ${token}\r\nConnection: Upgrade\r\nUpgrade: ${LINES}\r\n\r\n`);
  });
}
