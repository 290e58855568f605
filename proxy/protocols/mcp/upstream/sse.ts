/** One server over HTTP+SSE as it was before 2025-03-26: a stream that names an endpoint, and a POST to it for each message. */
import { Problem } from '../../../../contract/problem.ts';
import { MAX_MESSAGE_CHARS, parseMessage } from '../message.ts';
import { EventStream, type ServerEvent } from './eventStream.ts';
import type { HttpOptions } from './http.ts';
import { drain, type HttpAnswer, HttpClient } from './httpExchange.ts';
import { unreachable } from './unreachable.ts';
import type { Channel, Outgoing } from './upstream.ts';

/** How long the server may take to name its endpoint, in milliseconds. */
const ENDPOINT_MS = 15_000;

export class SseServer implements Channel {
  readonly #options: HttpOptions;
  readonly #http: HttpClient;
  readonly #stopped = new AbortController();
  readonly #endpoint: Promise<URL>;
  #named: (url: URL) => void = () => {};
  #body: HttpAnswer['body'] | undefined;
  /** Messages go one after another: the old transport promises the order of nothing else. */
  #sending: Promise<void> = Promise.resolve();
  #exited = false;

  /** Connects. Whether it could is told by `onExit`. */
  constructor(options: HttpOptions) {
    this.#options = options;
    this.#http = new HttpClient(options.dial);
    this.#endpoint = new Promise((resolve) => {
      this.#named = resolve;
    });
    void this.#connect();
  }

  get running(): boolean {
    return !this.#exited && !this.#stopped.signal.aborted;
  }

  send(message: Outgoing): void {
    if (!this.running) return;
    this.#sending = this.#sending.then(() => this.#post(message));
  }

  pause(): void {
    this.#body?.pause();
  }

  resume(): void {
    this.#body?.resume();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#http.close();
  }

  async #connect(): Promise<void> {
    const { connection, url } = this.#options;
    const late = setTimeout(
      () => this.#exit(`The MCP server ${connection} did not name its endpoint. Is it one of the old kind (transport: sse)?`),
      ENDPOINT_MS,
    );
    void this.#endpoint.then(() => clearTimeout(late));
    try {
      const answer = await this.#authorised((headers) =>
        this.#http.send({ method: 'GET', url, signal: this.#stopped.signal, headers: { ...headers, Accept: 'text/event-stream' } }),
      );
      if (answer.status !== 200 || !(answer.headers['content-type'] ?? '').startsWith('text/event-stream')) {
        answer.body.destroy();
        return this.#exit(`The MCP server ${connection} does not speak HTTP+SSE at ${url.host} (status ${answer.status}). Remove \`transport: sse\`.`);
      }
      this.#body = answer.body;
      const events = new EventStream({ maxChars: MAX_MESSAGE_CHARS, onEvent: (event) => this.#received(event) });
      await new Promise<void>((resolve, reject) => {
        const data = (chunk: Buffer): void => {
          try {
            events.write(chunk);
          } catch (cause) {
            answer.body.destroy();
            reject(new Problem('message-too-long', `The MCP server ${connection} sent a message of more than ${MAX_MESSAGE_CHARS} characters.`, { cause }));
          }
        };
        answer.body.read({ data, end: resolve, error: reject });
      });
      this.#exit(`The MCP server ${connection} has ended the connection.`);
    } catch (cause) {
      if (!this.#stopped.signal.aborted) this.#exit(unreachable(connection, url, cause));
    } finally {
      clearTimeout(late);
    }
    return undefined;
  }

  #received({ type, data }: ServerEvent): void {
    const { connection, log, onMessage, url } = this.#options;
    if (type === 'endpoint') {
      const endpoint = URL.parse(data, url.href);
      // What we send carries credentials, so it goes to nobody but whom the policy names.
      if (!endpoint || endpoint.origin !== url.origin) return this.#exit(`The MCP server ${connection} names an endpoint on another host. It was not used.`);
      return this.#named(endpoint);
    }
    if (type !== 'message') return undefined;
    try {
      return onMessage(parseMessage(data));
    } catch (cause) {
      return log.warn('mcp.server.malformed', { connection, code: cause instanceof Problem ? cause.code : 'unknown' });
    }
  }

  async #post(message: Outgoing): Promise<void> {
    const { connection, url, onMessage } = this.#options;
    try {
      const endpoint = await this.#endpoint;
      const body = JSON.stringify({ jsonrpc: '2.0', ...message });
      const answer = await this.#authorised((headers) =>
        this.#http.send({ method: 'POST', url: endpoint, signal: this.#stopped.signal, headers: { ...headers, 'Content-Type': 'application/json' }, body }),
      );
      drain(answer.body);
      if (answer.status >= 400) throw new Problem('http-status', `The MCP server ${connection} answered with status ${answer.status}.`);
    } catch (cause) {
      if (!('method' in message) || !('id' in message) || !this.running) return;
      onMessage({ kind: 'response', id: message.id, reply: { error: { code: -32_000, message: unreachable(connection, url, cause) } } });
    }
  }

  async #authorised(send: (headers: Readonly<Record<string, string>>) => Promise<HttpAnswer>): Promise<HttpAnswer> {
    const { connection, credentials, url } = this.#options;
    for (let again = true; ; again = false) {
      const answer = await send(await credentials.headers(url));
      if (answer.status !== 401 && answer.status !== 403) return answer;
      answer.body.destroy();
      if (again && (await credentials.refused(url, answer.status, answer.headers['www-authenticate']))) continue;
      throw new Problem(
        'upstream-unauthorised',
        `The MCP server ${connection} refuses our credentials (${answer.status}). Provide them in the Connections view.`,
      );
    }
  }

  #exit(why: string): void {
    if (this.#exited) return;
    this.#exited = true;
    this.#stopped.abort();
    this.#http.close();
    this.#options.onExit(why);
  }
}
