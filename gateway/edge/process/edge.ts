/** An edge put together: who it is, where it lets itself be led, its links to the gateway, and what it says of its health. */
import { createServer, request as httpRequest, type Server } from 'node:http';
import { hostname } from 'node:os';
import { ApiError } from '../../../contract/gateway/api.ts';
import { Problem } from '../../../contract/problem.ts';
import type { EdgeTarget } from '../../../contract/tunnel.ts';
import type { Log } from '../../../proxy/pipeline/engine.ts';
import { dial } from '../../../proxy/uplink/dial.ts';
import type { Env } from '../../config/load.ts';
import { Metrics } from '../../metrics.ts';
import { Allowed, type Lookup } from './allow.ts';
import type { EdgeConfig } from './config.ts';
import { Dials } from './dials.ts';
import { EdgeIdentity, type Post } from './identity.ts';
import { Replicas } from './replicas.ts';

/** How often the key's age is looked at, in milliseconds. */
const KEY_EVERY_MS = 6 * 3_600_000;
const POST_MS = 15_000;
const MAX_ANSWER_BYTES = 16_384;

export interface EdgeOptions {
  readonly config: EdgeConfig;
  readonly env: Env;
  readonly version: string;
  readonly log: Log;
  /** Looks names up; left out: as the system does. */
  readonly lookup?: Lookup;
}

export class Edge {
  readonly identity: EdgeIdentity;
  readonly metrics = new Metrics();
  readonly #config: EdgeConfig;
  readonly #log: Log;
  readonly #allowed: Allowed;
  readonly #dials: Dials;
  readonly #replicas: Replicas;
  readonly #keyTimer: NodeJS.Timeout;
  #server: Server | undefined;
  #draining = false;
  #said = '';
  #stopped: Promise<void> | undefined;

  /** Joins where that has not been done, and connects. @throws Problem with a sentence for whoever started it */
  static async start(options: EdgeOptions): Promise<Edge> {
    const { config, env, log } = options;
    const identity = await EdgeIdentity.open({ data: config.data, token: config.token, gateway: config.gateway, log, post: posting(config, env) });
    const edge = new Edge(options, identity);
    await edge.#listen();
    edge.#replicas.start();
    void edge.#changeKey();
    log.info('edge.started', { edge: identity.edge, gateway: config.gateway.host, allow: config.allow.map(({ text }) => text) });
    return edge;
  }

  private constructor({ config, env, log, lookup, version }: EdgeOptions, identity: EdgeIdentity) {
    this.identity = identity;
    this.#config = config;
    this.#log = log;
    this.#allowed = new Allowed(config.allow, lookup);
    const dialled = this.metrics.counter('countersign_edge_dials_total', 'Connections that the gateway asked for, by how they ended.');
    const bytes = this.metrics.counter('countersign_edge_bytes_total', 'Bytes carried, by direction: in from what is behind the edge, or out to it.');
    this.#dials = new Dials({
      edge: identity.edge,
      allowed: this.#allowed,
      log,
      counted: (outcome) => dialled({ outcome }),
      passed: (direction, count) => bytes({ direction }, count),
    });
    this.#replicas = new Replicas({
      url: config.gateway,
      edge: identity.edge,
      token: () => identity.token(),
      version,
      env,
      ca: config.ca,
      clock: { now: () => Date.now() },
      log,
      onStream: (opening, stream, targets) => this.#dials.take(opening, stream, targets),
      standing: (targets) => ({ host: `${hostname().slice(0, 180)}:${process.pid}`, draining: this.#draining, problems: this.#problems(targets) }),
      changed: () => this.#changed(),
    });
    const startedAt = Date.now();
    this.metrics.gauge('countersign_edge_replicas_connected', 'Replicas of the gateway that this edge is connected to.', () => this.#replicas.counts.connected);
    this.metrics.gauge('countersign_edge_replicas', 'Replicas of the gateway that run, as it says.', () => this.#replicas.counts.known);
    this.metrics.gauge('countersign_edge_connections_open', 'Connections that are open through this edge.', () => this.#dials.size);
    this.metrics.gauge('countersign_up_seconds', 'How long this process has run.', () => (Date.now() - startedAt) / 1000);
    this.metrics.gauge('countersign_memory_bytes', 'Resident memory of this process.', () => process.memoryUsage.rss());
    this.#keyTimer = setInterval(() => void this.#changeKey(), KEY_EVERY_MS);
    this.#keyTimer.unref();
  }

  /** Why nothing should be expected of it now, in a sentence. */
  get notReady(): string | undefined {
    return this.#draining ? 'This edge is shutting down.' : this.#replicas.problem;
  }

  get counts(): { readonly connected: number; readonly known: number } {
    return this.#replicas.counts;
  }

  /** Where health is asked for; undefined where nothing listens. */
  get address(): string | undefined {
    const at = this.#server?.address();
    return typeof at === 'object' && at ? `http://${at.address.includes(':') ? `[${at.address}]` : at.address}:${at.port}` : undefined;
  }

  /** Lets what is open end, takes nothing new. The second call waits for the first. */
  stop(why: string): Promise<void> {
    this.#stopped ??= this.#stop(why);
    return this.#stopped;
  }

  async #stop(why: string): Promise<void> {
    this.#log.info('edge.draining', { why });
    this.#draining = true;
    clearInterval(this.#keyTimer);
    this.#dials.drain();
    this.#replicas.say();
    const until = performance.now() + this.#config.drainSeconds * 1000;
    while (this.#dials.size > 0 && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 50));
    this.#dials.end();
    // What was said last is on its way.
    await new Promise((resolve) => setTimeout(resolve, 50));
    await this.#replicas.stop('The edge is shutting down.');
    await new Promise<void>((resolve) => (this.#server ? this.#server.close(() => resolve()) : resolve()));
    this.#log.info('edge.stopped');
  }

  /** Changes the key now, whatever its age. */
  async changeKey(): Promise<void> {
    await this.identity.rotate(true);
  }

  async #changeKey(): Promise<void> {
    await this.identity.rotate().catch((cause: unknown) => this.#log.warn('edge.key-not-changed', { cause }));
  }

  #changed(): void {
    const { connected, known } = this.#replicas.counts;
    const said = `${connected} of ${known}`;
    if (said === this.#said) return;
    this.#said = said;
    this.#log.info('edge.links', { connected, replicas: known });
  }

  /** What the gateway would ask for in vain: said at once, not when somebody waits. */
  #problems(targets: readonly EdgeTarget[]): Record<string, string> {
    const problems: Record<string, string> = {};
    for (const target of targets) {
      if (this.#allowed.judge(target) !== 'no') continue;
      this.#log.warn('edge.not-allowed', { connection: target.connection, host: target.host, port: target.port });
      problems[target.connection] =
        `The edge ${this.identity.edge} does not let itself be led to where ${target.connection} is: its own configuration does not allow it. Whoever runs the edge can add the address to its \`allow\`.`;
    }
    return problems;
  }

  async #listen(): Promise<void> {
    const { listen } = this.#config;
    if (listen === 'off') return;
    const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, (request, response) => {
      const answer = (status: number, type: string, text: string): void =>
        void response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff' }).end(text);
      const why = this.notReady;
      if (request.method !== 'GET') answer(405, 'text/plain', 'Only GET is answered here.\n');
      else if (request.url === '/healthz') answer(200, 'application/json', '{"ok":true}');
      else if (request.url === '/readyz')
        answer(why === undefined ? 200 : 503, 'application/json', JSON.stringify(why === undefined ? { ok: true } : { ok: false, sentence: why }));
      else if (request.url === '/metrics') answer(200, 'text/plain; version=0.0.4', this.metrics.text());
      else answer(404, 'text/plain', 'Nothing is here.\n');
    });
    const cut = listen.lastIndexOf(':');
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) =>
        reject(
          new Problem('listen', `The edge cannot listen on ${listen} (${cause.code ?? 'unknown error'}). Change \`listen\`, or write \`listen: off\`.`, {
            cause,
          }),
        ),
      );
      server.listen({ host: listen.slice(0, cut).replaceAll(/[[\]]/g, ''), port: Number(listen.slice(cut + 1)) }, resolve);
    });
    this.#server = server;
  }
}

/** Sends JSON to the gateway over the same way as the tunnel goes. */
function posting({ ca, gateway }: EdgeConfig, env: Env): Post {
  return async (path, body) => {
    const signal = AbortSignal.timeout(POST_MS);
    const socket = await dial({ url: gateway, env, signal, ...(ca !== undefined && { ca }) });
    const text = JSON.stringify(body);
    try {
      return await new Promise((resolve, reject) => {
        const lost = (cause: Error): void =>
          reject(new Problem('gateway-unreachable', `The gateway at ${gateway.host} cannot be reached (${cause.message.slice(0, 100)}).`, { cause }));
        const sent = httpRequest(
          {
            createConnection: () => socket,
            method: 'POST',
            path,
            signal,
            headers: { Host: gateway.host, 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) },
          },
          (response) => {
            let answer = '';
            response.setEncoding('utf8');
            response.on('data', (chunk: string) => {
              if (answer.length < MAX_ANSWER_BYTES) answer += chunk;
            });
            response.on('error', lost);
            response.on('end', () => {
              try {
                const said: unknown = JSON.parse(answer);
                if (response.statusCode === 200) return resolve(said);
                const { error, sentence } = ApiError.parse(said);
                return reject(new Problem(error, sentence));
              } catch (cause) {
                return reject(new Problem('gateway-refused', `What answers at ${gateway.host} is no gateway of this version. Check the address.`, { cause }));
              }
            });
          },
        );
        sent.on('error', lost);
        sent.end(text);
      });
    } finally {
      socket.destroy();
    }
  };
}
