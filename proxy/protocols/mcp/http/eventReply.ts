/** The answer to one HTTP request: one JSON message where there is nothing to say before it, else a stream of events. */
import type { Answering } from '../../../http/answering.ts';
import { type Text, TextWriter, utf8 } from '../../../recording/utf8.ts';
import { messageText } from '../message.ts';

/** Comments on an open stream, in milliseconds. */
const KEEP_ALIVE_MS = 10_000;
/** How long a server that answers with a stream is given, in milliseconds: what it has said by then leaves in one piece. */
const FIRST_WORD_MS = 30;
const STREAM_HEADERS = { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store, no-transform', 'X-Accel-Buffering': 'no' };
const JSON_HEADERS = [['Content-Type', 'application/json']] as const;
/** An answer that takes longer becomes a stream, so that the client sees that someone is there, in milliseconds. */
const PATIENCE_MS = 2_000;
/** What a client may leave unread before it is given up, in bytes. */
const MAX_UNREAD_BYTES = 128 * 1024 * 1024;

export class EventReply {
  readonly #response: Answering;
  #timer: NodeJS.Timeout | undefined;
  #streaming = false;
  /** It is to be a stream, even if of one event. */
  #soon = false;
  #ended = false;

  /** @param onPatience called when the answer has taken so long that it becomes a stream; `open` by itself if it is not given */
  constructor(response: Answering, onPatience?: () => void) {
    this.#response = response;
    this.#timer = setTimeout(() => (onPatience ? onPatience() : this.open()), PATIENCE_MS);
    this.#timer.unref();
    response.once('close', () => this.#stop());
  }

  get streaming(): boolean {
    return this.#streaming;
  }

  get alive(): boolean {
    return !this.#ended;
  }

  /** It becomes a stream in a moment, unless it has been answered by then. */
  openSoon(open: () => void): void {
    if (this.#streaming || this.#ended || this.#soon) return;
    this.#soon = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(open, FIRST_WORD_MS);
    this.#timer.unref();
  }

  open(): void {
    if (this.#streaming || this.#ended) return;
    this.#begin();
    this.#response.flushHeaders();
  }

  /** Headers of a stream; they leave with what is written next. */
  #begin(): void {
    this.#streaming = true;
    clearTimeout(this.#timer);
    this.#response.writeHead(200, STREAM_HEADERS);
    this.#timer = setInterval(() => this.#write(': waiting\n\n'), KEEP_ALIVE_MS);
    this.#timer.unref();
  }

  /** Makes it a stream and sends an event on it. @param fields lines before the data, whole */
  event(data: Text, fields = ''): void {
    if (!this.#streaming && !this.#ended) this.#begin();
    this.#write(written(eventText(data, fields)));
  }

  /** The last thing that is said. */
  end(message: object, status = 200, fields = ''): void {
    if (this.#ended) return;
    const data = messageText(message);
    if (this.#streaming) {
      this.event(data, fields);
      this.close();
      return;
    }
    this.#stop();
    // Whole, it leaves with its length and the headers in one write.
    this.#response.statusCode = this.#soon ? 200 : status;
    for (const [name, value] of this.#soon ? Object.entries(STREAM_HEADERS) : JSON_HEADERS) this.#response.setHeader(name, value);
    this.#response.end(written(this.#soon ? eventText(data, fields) : data));
  }

  /** Ends the stream without a last word. */
  close(): void {
    if (this.#ended) return;
    this.open();
    this.#stop();
    this.#response.end();
  }

  #write(text: string | Buffer): void {
    if (this.#ended) return;
    this.#response.write(text);
    if (this.#response.writableLength > MAX_UNREAD_BYTES) this.#response.destroy();
  }

  #stop(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }
}

/** What is short is encoded with what goes before it. */
function written(text: Text): string | Buffer {
  return typeof text === 'string' ? text : utf8(text);
}

function eventText(data: Text, fields: string): Text {
  return new TextWriter().add(`event: message\n${fields}data: `).add(data).add('\n\n').text;
}
