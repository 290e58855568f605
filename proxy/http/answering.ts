/** A request and the response to it, as far as whoever answers at a path needs them, whoever reads and writes them. */
import type { IncomingHttpHeaders } from 'node:http';

export interface Asked {
  readonly method?: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

/** Of Node's `ServerResponse`, and meant as there. */
export interface Answering {
  readonly headersSent: boolean;
  /** What the client has not read yet, in bytes. */
  readonly writableLength: number;
  /** Of a response without `writeHead`, whose headers are set one by one and whose body is whole: its length is added. */
  statusCode: number;
  setHeader(name: string, value: string): unknown;
  /** The headers leave with what is written next. */
  writeHead(status: number, headers?: Readonly<Record<string, string | number>>): Answering;
  flushHeaders(): void;
  write(text: string | Buffer): unknown;
  end(body?: string | Buffer): unknown;
  destroy(): unknown;
  /** The response is complete, or its client has gone. */
  once(event: 'close', listener: () => void): unknown;
}
