/**
 * The bridge's way for a session of the older era: the client's lines go to the proxy as they are, and the proxy's back. Nothing is
 * taken apart but what is needed to open the session anew, and to answer for a proxy that has gone.
 */
import { request } from 'node:http';
import type { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { LINES } from './lines.ts';

/** How long the proxy may take to take the connection up, in milliseconds. */
const OPEN_MS = 5_000;
/** So much of a line is looked at for the id that it answers, in bytes: the proxy writes it first. */
const LOOKED_AT = 2_048;
const ANSWERS = /^\{"jsonrpc":"2\.0","id":("(?:[^"\\]|\\.)*"|-?[\d.eE+-]+),"(?:result|error)"/;
const NEW_LINE = 10;
const GONE = 'Countersign does not answer. Open an editor window with it, then try again.';

export interface Login {
  readonly endpoint: string;
  readonly token: string;
}

/** @returns undefined where the proxy does not take lines at this address, or cannot be reached; `login` where it does not know the bearer */
export function openLines({ endpoint, token }: Login): Promise<Socket | 'login' | undefined> {
  return new Promise((resolve) => {
    const asked = request(endpoint, { headers: { Authorization: `Bearer ${token}`, Connection: 'Upgrade', Upgrade: LINES }, timeout: OPEN_MS });
    asked.once('upgrade', (_response, socket, head) => {
      (socket as Socket).setNoDelay(true);
      socket.setTimeout(0);
      if (head.length > 0) socket.unshift(head);
      resolve(socket as Socket);
    });
    asked.once('response', (response) => {
      response.resume();
      resolve(response.statusCode === 401 ? 'login' : undefined);
    });
    asked.once('timeout', () => asked.destroy());
    asked.once('error', () => resolve(undefined));
    asked.end();
  });
}

export interface PipeOptions {
  readonly output: Writable;
  /** Opens a connection, with another login where the last has expired. */
  readonly open: () => Promise<Socket | undefined>;
  /** The client must wait, or can go on. */
  readonly pause: () => void;
  readonly resume: () => void;
}

export class LinePipe {
  readonly #options: PipeOptions;
  #socket: Socket | undefined;
  /** The client's `initialize`, to open a session anew. */
  #opening: Buffer;
  readonly #openingId: unknown;
  /** The client's requests that wait, by id. */
  readonly #open = new Map<unknown, Buffer>();
  /** What is sent once a session is open again. */
  #anew: Promise<void> | undefined;
  /** The proxy has ended the session, and answered all that it had taken. */
  #over = false;
  /** The beginning of a line whose end has not come. */
  #begun: Buffer = Buffer.alloc(0);
  /** The client has had a piece of a line. */
  #inLine = false;
  #ended: (() => void) | undefined;

  constructor(options: PipeOptions, socket: Socket, opening: Buffer, openingId: unknown) {
    this.#options = options;
    this.#opening = opening;
    this.#openingId = openingId;
    this.#attach(socket);
  }

  /** One line of the client's. @param id of a request @returns when the next may come, where that is not now */
  send(line: Buffer, id: unknown, isInitialize: boolean): Promise<void> | undefined {
    if (isInitialize) this.#opening = line;
    if (id !== undefined) this.#open.set(id, line);
    if (!this.#socket || this.#anew) return this.#later([[id, line]]);
    this.#write(this.#socket, line);
    return undefined;
  }

  /** One after another: a session is opened anew once for all that wait for it. */
  #later(lines: readonly (readonly [unknown, Buffer])[]): Promise<void> {
    const before = this.#anew;
    const anew = (async () => {
      await before;
      for (const [id, line] of lines) {
        if (this.#socket) this.#write(this.#socket, line);
        else await this.#sendAnew(line, id);
      }
    })().finally(() => {
      if (this.#anew === anew) this.#anew = undefined;
    });
    this.#anew = anew;
    return anew;
  }

  /** The client has hung up. Resolves when it has all its answers. */
  async end(): Promise<void> {
    if (this.#socket && this.#open.size > 0) {
      await new Promise<void>((resolve) => {
        this.#ended = resolve;
      });
    }
    const socket = this.#socket;
    if (!socket) return;
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve());
      socket.end();
    });
  }

  #write(socket: Socket, line: Buffer): void {
    socket.cork();
    socket.write(line);
    if (!socket.write('\n')) this.#options.pause();
    socket.uncork();
  }

  #attach(socket: Socket): void {
    const { output, resume } = this.#options;
    this.#socket = socket;
    const flow = (): void => void socket.resume();
    output.on('drain', flow);
    socket.on('data', (chunk: Buffer) => {
      const mine = this.#look(chunk);
      if (mine.length > 0 && !output.write(mine)) socket.pause();
    });
    socket.on('drain', resume);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      output.off('drain', flow);
      this.#socket = undefined;
      this.#begun = Buffer.alloc(0);
      if (this.#inLine) output.write('\n');
      this.#inLine = false;
      const open = [...this.#open];
      const again = this.#over && open.length > 0;
      this.#over = false;
      if (again) void this.#later(open).finally(resume);
      else {
        for (const [id] of open) this.#fail(id);
        resume();
      }
    });
  }

  /** Notes which requests are answered. @returns what is for the client */
  #look(chunk: Buffer): Buffer {
    let start = 0;
    for (let end = chunk.indexOf(NEW_LINE); ; end = chunk.indexOf(NEW_LINE, start)) {
      const stop = end < 0 ? chunk.length : end;
      if (this.#begun.length < LOOKED_AT && stop > start) {
        const piece = chunk.subarray(start, Math.min(stop, start + LOOKED_AT));
        this.#begun = this.#begun.length === 0 ? piece : Buffer.concat([this.#begun, piece]);
      }
      if (end < 0) break;
      if (this.#begun.length === 0) {
        this.#over = true;
        this.#inLine = false;
        return chunk.subarray(0, start);
      }
      const answered = ANSWERS.exec(this.#begun.toString('utf8', 0, LOOKED_AT))?.[1];
      if (answered !== undefined) this.#open.delete(JSON.parse(answered));
      this.#begun = chunk.subarray(0, 0);
      start = end + 1;
    }
    this.#inLine = start < chunk.length || (start === 0 && this.#inLine);
    if (this.#open.size === 0) this.#ended?.();
    return chunk;
  }

  /** The proxy was started again, or has ended the session: opens another as the first was opened. */
  async #sendAnew(line: Buffer, id: unknown): Promise<void> {
    const socket = await this.#options.open();
    if (!socket) return id === undefined ? undefined : this.#fail(id);
    if (line !== this.#opening) {
      const failed = await this.#reopen(socket);
      if (failed !== undefined) {
        socket.destroy();
        return id === undefined ? undefined : this.#fail(id, failed);
      }
    }
    this.#attach(socket);
    this.#write(socket, line);
    return undefined;
  }

  /** Resolves when the session is open, to why it is not otherwise. The client has had the answer to its `initialize` already. */
  #reopen(socket: Socket): Promise<string | undefined> {
    return new Promise((resolve) => {
      let text = Buffer.alloc(0);
      const done = (failed: string | undefined): void => {
        socket.removeAllListeners();
        resolve(failed);
      };
      socket.on('data', (chunk: Buffer) => {
        text = Buffer.concat([text, chunk]);
        for (let end = text.indexOf(NEW_LINE); end >= 0; end = text.indexOf(NEW_LINE)) {
          const line = text.toString('utf8', 0, end);
          const answered = ANSWERS.exec(line.slice(0, LOOKED_AT))?.[1];
          text = text.subarray(end + 1);
          if (answered === undefined || JSON.parse(answered) !== this.#openingId) continue;
          const { error } = JSON.parse(line) as { readonly error?: { readonly message?: string } };
          if (error) return done(error.message ?? GONE);
          socket.pause();
          if (text.length > 0) socket.unshift(text);
          socket.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
          return done(undefined);
        }
        return undefined;
      });
      socket.once('error', () => done(GONE));
      socket.once('close', () => done(GONE));
      this.#write(socket, this.#opening);
    });
  }

  #fail(id: unknown, why: string = GONE): void {
    this.#open.delete(id);
    this.#options.output.write(`${JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32_000, message: why } })}\n`);
    if (this.#open.size === 0) this.#ended?.();
  }
}
