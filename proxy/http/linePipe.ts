/**
 * The bridge's way for a session of the older era: the client's lines go to the proxy as they are, and the proxy's back. Nothing is
 * taken apart but what is needed to open the session anew, and to answer for a proxy that has gone.
 */
import type { Socket } from 'node:net';
import { parseMessage } from './lineHead.ts';
import type { Lines } from './openLines.ts';
import type { Outgoing } from './stdio.ts';

/** So much of a line is looked at for the id that it answers, in bytes: the proxy writes it first. */
const LOOKED_AT = 2_048;
const ANSWERS = /^\{"jsonrpc":"2\.0","id":("(?:[^"\\]|\\.)*"|-?[\d.eE+-]+),"(?:result|error)"/;
/** The same for the ids that clients use, and so much of a line as that takes, in bytes. */
const ANSWERS_NUMBER = /^\{"jsonrpc":"2\.0","id":(\d{1,15}),"(?:result|error)"/;
const SHORT = 64;
const NEW_LINE = 10;
const NOTHING = Buffer.alloc(0);
const GONE = 'Countersign does not answer. Open an editor window with it, then try again.';

export interface PipeOptions {
  readonly output: Outgoing;
  /** Opens a connection, with another login where the last has expired. */
  readonly open: () => Promise<Lines | undefined>;
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
  /** The client's requests that wait, by id, each with its end of line. */
  readonly #open = new Map<unknown, Buffer>();
  /** What is sent once a session is open again. */
  #anew: Promise<void> | undefined;
  /** The proxy has ended the session, and answered all that it had taken. */
  #over = false;
  /** The beginning of a line that the client has had a piece of, and whose end has not come. */
  #begun: Buffer = NOTHING;
  #ended: (() => void) | undefined;

  constructor(options: PipeOptions, lines: Lines, opening: Buffer, openingId: unknown) {
    this.#options = options;
    this.#opening = opening;
    this.#openingId = openingId;
    this.#attach(lines);
  }

  /** One line of the client's, borrowed. @param id of a request @returns when the next may come, where that is not now */
  send(borrowed: Buffer, id: unknown, isInitialize: boolean): Promise<void> | undefined {
    const line = Buffer.allocUnsafe(borrowed.length + 1);
    line.set(borrowed);
    line[borrowed.length] = NEW_LINE;
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
    // What only looked like a request was refused under no id: its answer is not waited for.
    for (const [id, line] of this.#open) if (parseMessage(line.toString()) === undefined) this.#open.delete(id);
    while (this.#anew) await this.#anew;
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

  drop(): void {
    this.#socket?.destroy();
  }

  #write(socket: Socket, line: Buffer): void {
    if (!socket.write(line)) this.#options.pause();
  }

  #attach(lines: Lines): void {
    const { output, resume } = this.#options;
    const { socket } = lines;
    const flow = (): void => void socket.resume();
    this.#socket = socket;
    lines.onBytes((bytes) => {
      const mine = this.#look(bytes);
      if (mine.length === 0 || output.write(mine)) return;
      socket.pause();
      output.drained(flow);
    });
    socket.on('drain', resume);
    socket.once('close', () => {
      this.#socket = undefined;
      if (this.#begun.length > 0) output.write('\n');
      this.#begun = NOTHING;
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
  #look(bytes: Buffer): Buffer {
    let start = 0;
    for (let end = bytes.indexOf(NEW_LINE); end >= 0; end = bytes.indexOf(NEW_LINE, start)) {
      if (this.#begun.length > 0) {
        this.#begin(bytes, start, end);
        this.#answered(this.#begun, 0, this.#begun.length);
        this.#begun = NOTHING;
      } else if (end === start) {
        this.#over = true;
        return bytes.subarray(0, start);
      } else this.#answered(bytes, start, end);
      start = end + 1;
    }
    if (start < bytes.length) this.#begin(bytes, start, bytes.length);
    if (this.#open.size === 0) this.#ended?.();
    return bytes;
  }

  /** Keeps as much of a line as is looked at. */
  #begin(bytes: Buffer, start: number, end: number): void {
    const room = LOOKED_AT - this.#begun.length;
    if (room > 0) this.#begun = Buffer.concat([this.#begun, bytes.subarray(start, Math.min(end, start + room))]);
  }

  #answered(bytes: Buffer, start: number, end: number): void {
    const number = ANSWERS_NUMBER.exec(bytes.toString('latin1', start, Math.min(end, start + SHORT)))?.[1];
    if (number !== undefined) return void this.#open.delete(Number(number));
    const id = ANSWERS.exec(bytes.toString('utf8', start, Math.min(end, start + LOOKED_AT)))?.[1];
    if (id !== undefined) this.#open.delete(JSON.parse(id));
    return undefined;
  }

  /** The proxy was started again, or has ended the session: opens another as the first was opened. */
  async #sendAnew(line: Buffer, id: unknown): Promise<void> {
    const lines = await this.#options.open();
    if (!lines) return id === undefined ? undefined : this.#fail(id);
    if (line !== this.#opening) {
      const failed = await this.#reopen(lines);
      if (failed !== undefined) {
        lines.socket.destroy();
        return id === undefined ? undefined : this.#fail(id, failed);
      }
    }
    this.#attach(lines);
    this.#write(lines.socket, line);
    return undefined;
  }

  /** Resolves when the session is open, to why it is not otherwise. The client has had the answer to its `initialize` already. */
  #reopen(lines: Lines): Promise<string | undefined> {
    const { socket } = lines;
    return new Promise((resolve) => {
      let text = NOTHING;
      const gone = (): void => done(GONE);
      const done = (failed: string | undefined): void => {
        socket.off('close', gone);
        resolve(failed);
      };
      lines.onBytes((bytes) => {
        text = Buffer.concat([text, bytes]);
        for (let end = text.indexOf(NEW_LINE); end >= 0; end = text.indexOf(NEW_LINE)) {
          const line = text.toString('utf8', 0, end);
          const answered = ANSWERS.exec(line.slice(0, LOOKED_AT))?.[1];
          text = text.subarray(end + 1);
          if (answered === undefined || JSON.parse(answered) !== this.#openingId) continue;
          const { error } = JSON.parse(line) as { readonly error?: { readonly message?: string } };
          if (error) return done(error.message ?? GONE);
          lines.hold(text);
          socket.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n');
          return done(undefined);
        }
        return undefined;
      });
      socket.once('close', gone);
      this.#write(socket, this.#opening);
    });
  }

  #fail(id: unknown, why: string = GONE): void {
    this.#open.delete(id);
    this.#options.output.write(`${JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32_000, message: why } })}\n`);
    if (this.#open.size === 0) this.#ended?.();
  }
}
