/** MCP servers behind the proxy: each connection is an endpoint at `/mcp/<name>`, each client of it a process of its own unless policy has them share. */
import { Router } from 'express';
import { Problem } from '../../../contract/problem.ts';
import type { OAuthConnection } from '../../credential/oauth/broker.ts';
import { signedInHeaders } from '../../credential/oauth/credentials.ts';
import type { ClientOptions } from '../../credential/oauth/registration.ts';
import { HandedSecrets, knowing } from '../../masking/handedSecrets.ts';
import type { Session } from '../../pipeline/session.ts';
import type { HttpUpstream, McpConnection, SecretRef, StdioUpstream } from '../../policy/policy.ts';
import type { ClientIdentity, Protocol, ProtocolHost, Served, ServedState } from '../protocol.ts';
import { RelayFront } from './http/relayFront.ts';
import { ModernLeg } from './modernLeg.ts';
import { type ClientSide, RelaySession } from './relaySession.ts';
import { SharedProcesses } from './shared/pool.ts';
import { TaskBook } from './taskBook.ts';
import { configuredHeaders, noting, type UpstreamCredentials } from './upstream/credentials.ts';
import { EraServer, type KnownEras } from './upstream/eras.ts';
import { ErrorOutput } from './upstream/errorOutput.ts';
import { HttpServer } from './upstream/http.ts';
import { SseServer } from './upstream/sse.ts';
import { StdioServer } from './upstream/stdio.ts';
import type { Channel, ChannelEvents, Upstream, UpstreamEvents } from './upstream/upstream.ts';

/** A server that ends sooner than this has failed to start, in milliseconds. */
const SETTLED_MS = 10_000;
/** Processes of one connection for clients of the era of sessions; beyond it the session unused longest ends. */
const MAX_PROCESSES = 32;
/** The same where sessions cost none. */
const MAX_SHARING = 200;
/** How long a server that fails to start is left alone: first, and at most, in milliseconds. */
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;

export interface RelayTimes {
  /** How often a client is told that a person has not answered yet, in milliseconds. */
  readonly progressMs?: number;
  /** How soon a client that is not known to wait is answered, in milliseconds. */
  readonly answerMs?: number;
  /** How long a process that sessions share waits for another one, in milliseconds. */
  readonly lingerMs?: number;
}

/** @param times shorter ones are for tests */
export function mcpRelay(times: RelayTimes = {}): Protocol<McpConnection> {
  return { name: 'mcp', serve: async (connection, host) => new Relay(connection, host, times) };
}

export const mcp: Protocol<McpConnection> = mcpRelay();

class Relay implements Served {
  readonly connection: McpConnection;
  readonly address: string;
  readonly #host: ProtocolHost;
  readonly oauth?: OAuthConnection;
  readonly #times: RelayTimes;
  readonly #front: RelayFront;
  readonly #modern: ModernLeg;
  readonly #mounted: { dispose(): void };
  readonly #sessions = new Set<RelaySession>();
  readonly #handed = new HandedSecrets();
  /** Where policy has a person's sessions share a process. */
  readonly #shared: SharedProcesses | undefined;
  readonly output: ErrorOutput;
  /** Why the last process that was started is of no use. */
  #failed: string | undefined;
  readonly #tasks: TaskBook;
  #known: KnownEras = { notSessions: false, notStateless: false };
  #failures = 0;
  #notBefore = 0;

  constructor(connection: McpConnection, host: ProtocolHost, times: RelayTimes) {
    this.#times = times;
    this.connection = connection;
    this.#host = host;
    this.#tasks = new TaskBook(connection.name, host.tasks);
    this.address = `/mcp/${connection.name}`;
    this.output = new ErrorOutput(
      () => host.engine.clock.now(),
      (text) => this.#scrub(text),
    );
    const oauth = signInOf(connection, host);
    if (oauth) this.oauth = oauth;
    const { upstream } = connection;
    if (upstream.transport === 'stdio' && connection.share === 'person') {
      this.#shared = new SharedProcesses({
        connection: connection.name,
        log: host.engine.log,
        lingerMs: times.lingerMs,
        // Whatever the process says on its own is no session's.
        start: (on) => this.#spawn((text) => this.#scrub(text), upstream, on),
      });
    }
    const leg = { host, open: (identity: ClientIdentity, client: ClientSide) => this.#open(identity, client) };
    this.#modern = new ModernLeg(leg);
    this.#front = new RelayFront({ log: host.engine.log, maxSessions: this.#shared ? MAX_SHARING : MAX_PROCESSES, leg, modern: this.#modern });
    const router = Router();
    router.all('/', this.#front.handle);
    this.#mounted = host.mount(`mcp/${connection.name}`, router, { request: this.#front.request, lines: this.#front.lines });
  }

  get state(): ServedState {
    const { upstream, name } = this.connection;
    const used: readonly (readonly [string, string | SecretRef])[] =
      upstream.transport === 'stdio' ? [...upstream.command.map((value, i) => [`argument ${i}`, value] as const), ...upstream.env] : [...upstream.headers];
    for (const [variable, value] of used) {
      if (typeof value === 'string' || this.#host.secret(value)) continue;
      return {
        state: 'needs-secret',
        secret: value.name,
        problem: `${name} needs the secret "${value.name}" for ${variable}. Provide it in the Connections view.`,
      };
    }
    if (this.oauth?.state === 'needed') return { state: 'needs-sign-in', problem: this.oauth.problem };
    return this.#failed === undefined ? { state: 'ready' } : { state: 'failed', problem: this.#failed };
  }

  retry(): void {
    this.#known = { notSessions: false, notStateless: false };
    this.#failures = 0;
    this.#notBefore = 0;
    this.#failed = undefined;
    this.#shared?.retire();
    this.#host.changed();
  }

  reconsider(): void {
    for (const session of this.#sessions) void session.reconsider().catch((cause: unknown) => this.#host.engine.log.error('mcp.relay.failed', { cause }));
  }

  async stop(reason: string): Promise<void> {
    this.#mounted.dispose();
    await Promise.all([...this.#sessions].map((session) => session.close(reason)));
    await Promise.all([this.#front.close(), this.#modern.close()]);
    await this.#shared?.stop();
  }

  async #open(identity: ClientIdentity, client: ClientSide): Promise<RelaySession> {
    const { state } = this;
    // One that failed to start is started again by whoever comes, not before its time.
    if (state.state === 'needs-secret' || state.state === 'needs-sign-in') throw new Problem('not-ready', state.problem);
    const relay = await RelaySession.open({
      host: this.#host,
      connection: this.connection,
      identity,
      client,
      secrets: this.#handed,
      tasks: this.#tasks,
      start: (session, on) => this.#start(session, on),
      ...this.#times,
    });
    this.#sessions.add(relay);
    relay.signal.addEventListener('abort', () => this.#sessions.delete(relay), { once: true });
    return relay;
  }

  #start(session: Session, on: UpstreamEvents): Upstream {
    const { connection } = this;
    const { upstream, name } = connection;
    if (upstream.transport === 'stdio') {
      const { issuer, subject } = session.request.actor.person;
      const person = JSON.stringify([issuer, subject]);
      return new EraServer(
        on,
        this.#known,
        (events) => this.#shared?.seat(person, events) ?? this.#spawn((text) => session.masking.scrub(text).text, upstream, events),
      );
    }
    const configured = configuredHeaders(name, upstream.headers, this.#host.secret);
    const options = {
      connection: name,
      url: new URL(upstream.url),
      credentials: noting(
        this.#handed,
        upstream.headers,
        this.#exchanged(session, configured, upstream) ?? (this.oauth ? signedInHeaders(configured, this.oauth) : configured),
      ),
      log: this.#host.engine.log,
      dial: this.#host.dial?.(connection),
    };
    return new EraServer(on, this.#known, (events) =>
      upstream.transport === 'sse' ? new SseServer({ ...options, ...events }) : new HttpServer({ ...options, ...events }),
    );
  }

  /** The person's own token, where the policy says that there is one. */
  #exchanged({ request, signal }: Session, configured: UpstreamCredentials, { exchange, url }: HttpUpstream): UpstreamCredentials | undefined {
    if (!exchange) return undefined;
    const { name: connection } = this.connection;
    const theirs = this.#host.exchange?.({ connection, url: new URL(url), settings: exchange, actor: request.actor, signal });
    if (!theirs) throw new Problem('no-exchange', `${connection} wants a token for each person, and only a gateway gets those.`);
    return {
      headers: async (to) => ({ ...(await configured.headers(to)), ...(await theirs.headers(to)) }),
      refused: (...refusal) => theirs.refused(...refusal),
    };
  }

  /** Of no session in particular. */
  #scrub(text: string): string {
    return knowing(this.#host.engine.masking(this.connection.name), this.#handed).scrub(text).text;
  }

  /** @param failed why it does not run; undefined: it does */
  #stands(failed: string | undefined): void {
    if (this.#failed === failed) return;
    this.#failed = failed;
    this.#host.changed();
  }

  #spawn(scrub: (text: string) => string, upstream: StdioUpstream, on: ChannelEvents): Channel {
    const { name } = this.connection;
    const { clock, log } = this.#host.engine;
    const now = clock.now();
    if (now < this.#notBefore) {
      throw new Problem(
        'backing-off',
        `The MCP server ${name} has ended ${this.#failures} times right after it was started; what it wrote may say why. It can be started again in ${Math.ceil((this.#notBefore - now) / 1000)} seconds.`,
      );
    }
    const env: Record<string, string> = {};
    const known = (value: string | SecretRef): string => {
      if (typeof value === 'string') return value;
      const secret = this.#host.secret(value);
      if (!secret) throw new Problem('needs-secret', `${name} needs the secret "${value.name}". Provide it in the Connections view.`);
      this.#handed.add(secret.reveal());
      return secret.reveal();
    };
    const command = upstream.command.map(known);
    for (const [variable, value] of upstream.env) env[variable] = known(value);
    const server: StdioServer = new StdioServer({
      connection: name,
      command,
      env,
      cwd: upstream.cwd,
      log,
      output: this.output,
      scrub,
      onMessage: (message) => {
        this.#stands(undefined);
        on.onMessage(message);
      },
      onExit: (why) => {
        this.#failures = clock.now() - now < SETTLED_MS && !server.stopping ? this.#failures + 1 : 0;
        // One quick end may be a client that left; from the second on it is the server.
        this.#notBefore = this.#failures < 2 ? 0 : clock.now() + Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** (this.#failures - 2));
        if (this.#failures > 0) this.#stands(`${why} It ended right after it was started; the next client that comes starts it again.`);
        on.onExit(why);
      },
      ...(on.onDrain && { onDrain: on.onDrain }),
    });
    return server;
  }
}

/** How a person signs in to a server that is reached over HTTP, unless policy says with which `Authorization` to come. */
function signInOf({ name, upstream }: McpConnection, host: ProtocolHost): OAuthConnection | undefined {
  if (upstream.transport === 'stdio' || upstream.exchange || [...upstream.headers.keys()].some((header) => header.toLowerCase() === 'authorization'))
    return undefined;
  const { id, issuer, secret, metadata, scopes = [] } = upstream.oauth ?? {};
  const client = (): ClientOptions => {
    const known = secret && host.secret(secret);
    if (secret && !known) throw new Problem('needs-secret', `${name} needs the secret "${secret.name}" to sign in. Provide it in the Connections view.`);
    return {
      ...(id !== undefined && { id }),
      ...(issuer !== undefined && { issuer }),
      ...(known && { secret: known }),
      ...(metadata !== undefined && { metadata }),
    };
  };
  return host.oauth?.({ name, url: new URL(upstream.url), client, scopes });
}
