/** A session of the older era whose client's messages come as lines on a stream of their own: what a bridge for stdio carries. */
import { isUtf8 } from 'node:buffer';
import type { Duplex } from 'node:stream';
import { Problem } from '../../../contract/problem.ts';
import { MAX_BODY_BYTES } from '../../http/body.ts';
import { LineReader, outlineOf } from '../../http/lineReader.ts';
import { parseStrict } from '../../http/strictJson.ts';
import { TextWriter, utf8 } from '../../recording/utf8.ts';
import type { LegTransport, SessionEvents } from './http/sessionTransport.ts';
import { type Id, type Message, messageText, readMessage } from './message.ts';

/** What a client may leave unread before it is given up, in bytes. */
const MAX_UNREAD_BYTES = 128 * 1024 * 1024;

export interface LineEvents extends Pick<SessionEvents, 'onMessage'> {
  /** The client has hung up. */
  readonly onEnd: () => void;
}

export class LineTransport implements LegTransport {
  readonly id: string;
  readonly #stream: Duplex;
  readonly #events: LineEvents;
  /** The client's requests that have no answer yet. */
  readonly #waiting = new Set<Id>();
  #ending = false;
  #ended = false;

  constructor(id: string, stream: Duplex, events: LineEvents) {
    this.id = id;
    this.#stream = stream;
    this.#events = events;
    const tooLong = `A message may have at most ${MAX_BODY_BYTES} bytes.`;
    const lines = new LineReader(
      MAX_BODY_BYTES,
      (line) => this.#line(line),
      (skipped) => this.#refuse(outlineOf(skipped).id ?? null, tooLong),
    );
    stream.on('data', (chunk: Buffer) => {
      if (lines.write(chunk)) return;
      this.#refuse(null, tooLong);
      stream.end();
      stream.removeAllListeners('data');
      stream.resume();
    });
    // Who does not read its answers is not read from.
    stream.on('drain', () => void stream.resume());
    stream.on('error', () => stream.destroy());
    stream.once('end', () => this.#end());
    stream.once('close', () => this.#end());
  }

  send(message: object): void {
    this.#write({ jsonrpc: '2.0', ...message });
  }

  answer(id: Id, message: object): void {
    this.#waiting.delete(id);
    this.#write({ jsonrpc: '2.0', ...message });
  }

  /** There is one stream, and it is open. */
  stream(): void {}

  breakOff(): void {}

  ending(): void {
    this.#ending = true;
  }

  /** All that was taken has its answer. An empty line says so: what the client sent since can be sent again. */
  close(): void {
    if (this.#stream.writable) this.#stream.end('\n');
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stream.end();
    this.#events.onEnd();
  }

  #line(line: Buffer): void {
    if (this.#ending || line.length === 0 || (line.length === 1 && line[0] === 13)) return;
    let message: Message;
    try {
      if (!isUtf8(line)) throw new Problem('malformed-json', 'A message was refused: it is not UTF-8.');
      message = readMessage(parseStrict(line.toString()));
    } catch (cause) {
      return this.#refuse(idIn(line), cause instanceof Problem ? cause.message : 'A message was refused.');
    }
    if (message.kind === 'request') {
      if (this.#waiting.has(message.id)) return this.#refuse(message.id, 'A request with this id waits already.');
      this.#waiting.add(message.id);
    }
    return this.#events.onMessage(message);
  }

  #refuse(id: Id | null, message: string): void {
    this.#write({ jsonrpc: '2.0', id, error: { code: -32_600, message } });
  }

  #write(message: object): void {
    if (!this.#stream.writable) return;
    if (!this.#stream.write(utf8(new TextWriter().add(messageText(message)).add('\n').text))) this.#stream.pause();
    if (this.#stream.writableLength > MAX_UNREAD_BYTES) this.#stream.destroy();
  }
}

/** What a refused message calls itself, for its refusal to reach whoever sent it. Nothing else is read of it. */
function idIn(line: Buffer): Id | null {
  try {
    const { id } = JSON.parse(line.toString()) as { readonly id?: unknown };
    return typeof id === 'string' || typeof id === 'number' ? id : null;
  } catch {
    return null;
  }
}
