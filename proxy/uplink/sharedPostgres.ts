/**
 * A database that the gateway holds, at the same loopback port as a local one: the client logs in here, and from then on its
 * bytes go to the gateway, which reads them, asks, masks and records. Nothing is decided here.
 */
import { createServer, type Server, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Problem } from '../../contract/problem.ts';
import type { StreamOpening } from '../../contract/tunnel.ts';
import type { PostgresConnection } from '../policy/policy.ts';
import { ClientGone } from '../protocols/postgres/byteSource.ts';
import { loopbackTls } from '../protocols/postgres/certificate.ts';
import { type FieldReader, FrameWriter, PROTOCOL_MAJOR } from '../protocols/postgres/frames.ts';
import { errorResponse, SQLSTATE } from '../protocols/postgres/messages.ts';
import { authenticate, greet, Refused } from '../protocols/postgres/startup.ts';
import type { ClientIdentity, ProtocolHost, Served, ServedState } from '../protocols/protocol.ts';
import { MessageEdge } from './messageEdge.ts';
import type { MuxStream } from './muxStream.ts';
import { type SharedUplink, sharedState } from './sharedState.ts';

/** How long a client may take to log in, in milliseconds; PostgreSQL's own default. */
const LOGIN_TIMEOUT_MS = 60_000;
/** Most clients of one connection at once. */
const MAX_CLIENTS = 500;
const KEEP_ALIVE_MS = 30_000;
const CANCEL_REQUEST = 80_877_102;
/** What the gateway is told of a request to cancel: it carries its own proof, and no person. */
const CANCELLING = { kind: 'bytes', surface: 'terminal', agent: { kind: 'unknown', name: 'cancel' }, conversation: 'cancel' } as const;

export class SharedPostgres implements Served {
  readonly connection: PostgresConnection;
  readonly #host: ProtocolHost;
  readonly #uplink: SharedUplink;
  readonly #server: Server;
  readonly #open = new Set<{ readonly client: Duplex; end(sentence: string): void }>();
  readonly #abort = new AbortController();
  #port = 0;
  #starting = 0;

  constructor(connection: PostgresConnection, host: ProtocolHost, uplink: SharedUplink) {
    this.connection = connection;
    this.#host = host;
    this.#uplink = uplink;
    this.#server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS }, (socket) => this.#accept(socket));
  }

  async listen(): Promise<void> {
    const { name, port: wanted } = this.connection;
    const port = await this.#host.port(name, wanted);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const why =
          cause.code === 'EADDRINUSE'
            ? 'is taken by another program. Free it, or give the connection another port'
            : `cannot be listened on (${cause.message})`;
        reject(new Problem('port-taken', `${name}: port ${port} on this machine ${why}.`, { cause }));
      });
      this.#server.listen({ host: '127.0.0.1', port, exclusive: true }, resolve);
    });
    this.#server.removeAllListeners('error');
    this.#server.on('error', (cause) => this.#host.engine.log.error('shared.listener', { connection: name, cause }));
    const address = this.#server.address();
    this.#port = typeof address === 'object' && address ? address.port : port;
  }

  get state(): ServedState {
    return sharedState(this.#uplink, this.connection.name);
  }

  get #database(): string {
    return this.#uplink.offered.find(({ name }) => name === this.connection.name)?.database ?? this.connection.upstream.database;
  }

  get address(): string {
    return `postgres://127.0.0.1:${this.#port}/${encodeURIComponent(this.#database)}`;
  }

  get environment(): { readonly host: string; readonly port: number; readonly database: string } {
    return { host: '127.0.0.1', port: this.#port, database: this.#database };
  }

  connect(identity: ClientIdentity): Duplex {
    const stream = this.#uplink.open(openingOf(this.connection.name, 'bytes', identity));
    // What `pg` expects of a socket: to be connected first.
    return Object.assign(stream, { connect: () => process.nextTick(() => stream.emit('connect')) });
  }

  async stop(reason: string): Promise<void> {
    this.#abort.abort(reason);
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const session of this.#open) session.end(`Countersign ended this session: ${reason}.`);
    await closed;
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {});
    if (this.#abort.signal.aborted || this.#starting + this.#open.size >= MAX_CLIENTS) {
      socket.end(errorResponse({ severity: 'FATAL', code: '53300', message: `too many clients: Countersign serves ${MAX_CLIENTS} at once on a connection` }));
      return;
    }
    this.#starting++;
    void this.#begin(socket).finally(() => this.#starting--);
  }

  /** Never rejects: a client is told, or gone. */
  async #begin(raw: Socket): Promise<void> {
    let client: Duplex = raw;
    const gone = new AbortController();
    raw.once('close', () => gone.abort(new ClientGone('the client closed the connection')));
    const signal = AbortSignal.any([this.#abort.signal, gone.signal, AbortSignal.timeout(LOGIN_TIMEOUT_MS)]);
    try {
      const greeting = await greet(raw, () => loopbackTls(this.#host.engine.clock.now()), signal);
      if (greeting.kind === 'cancel') return this.#cancel(raw, greeting.body);
      client = greeting.stream;
      client.on('error', () => {});
      const { parameters, source } = greeting;
      const user = parameters.get('user') ?? '';
      if (user === '') throw new Refused({ code: SQLSTATE.invalidAuthorization, message: 'no PostgreSQL user name specified in startup packet' });
      const identity = await authenticate(client, source, user, this.#host.clients);
      const stream = this.#uplink.open(openingOf(this.connection.name, 'bytes', identity));
      stream.write(startupMessage(parameters));
      const ahead = source.release();
      if (ahead.length > 0) stream.write(ahead);
      this.#carry(client, stream);
    } catch (cause) {
      if (cause instanceof ClientGone || client.destroyed) return void client.destroy();
      const error =
        cause instanceof Refused
          ? cause.error
          : {
              code: SQLSTATE.cannotConnectNow,
              message: cause instanceof Problem ? cause.message : 'Countersign failed while it opened this session. Its log says more.',
            };
      if (!(cause instanceof Problem)) this.#host.engine.log.error('shared.login-failed', { connection: this.connection.name, cause });
      client.end(errorResponse({ severity: 'FATAL', ...error }));
      client.resume();
      setTimeout(() => client.destroy(), 1000).unref();
    }
  }

  /** Bytes both ways, until either side ends; where the tunnel ends it, the client reads why. */
  #carry(client: Duplex, stream: MuxStream): void {
    const edge = new MessageEdge();
    const end = (sentence: string): void => {
      if (client.writable && edge.clean) client.write(errorResponse({ severity: 'FATAL', code: SQLSTATE.adminShutdown, message: sentence }));
      client.end();
      client.resume();
      stream.destroy();
      setTimeout(() => client.destroy(), 1000).unref();
    };
    const session = { client, end };
    this.#open.add(session);
    const over = (): void => void this.#open.delete(session);
    stream.on('data', (chunk: Buffer) => {
      edge.pass(chunk);
      if (!client.write(chunk)) stream.pause();
    });
    client.on('drain', () => stream.resume());
    client.on('data', (chunk: Buffer) => {
      if (!stream.write(chunk)) client.pause();
    });
    stream.on('drain', () => client.resume());
    client.once('end', () => stream.end());
    client.once('close', () => {
      over();
      stream.destroy();
    });
    stream.once('end', () => client.end());
    stream.once('close', () => {
      over();
      if (stream.errored) end(stream.errored.message);
      else client.end();
    });
    if (stream.errored) end(stream.errored.message);
    client.resume();
  }

  #cancel(raw: Socket, body: FieldReader): void {
    const key = Buffer.from(body.bytes(body.left));
    const request = new FrameWriter(64)
      .int32(8 + key.length)
      .int32(CANCEL_REQUEST)
      .bytes(key)
      .take();
    for (const stream of this.#uplink.openOnEach({ connection: this.connection.name, ...CANCELLING })) {
      stream.resume();
      stream.end(request);
    }
    raw.end();
  }
}

/** Who asks, as the gateway is told: all but the person, whom it knows by the token. */
export function openingOf(connection: string, kind: StreamOpening['kind'], identity: ClientIdentity): StreamOpening {
  const { actor, conversation, readOnly, reason, surface } = identity;
  return {
    connection,
    kind,
    surface,
    agent: actor.agent,
    conversation: conversation.id,
    ...(readOnly !== undefined && { readOnly }),
    ...(reason !== undefined && { reason: reason.slice(0, 2000) }),
  };
}

function startupMessage(parameters: ReadonlyMap<string, string>): Buffer {
  const body = new FrameWriter(256).int32(PROTOCOL_MAJOR << 16);
  // The login's name was for this proxy alone.
  for (const [name, value] of parameters) body.text(name).text(name === 'user' ? 'countersign' : value);
  const bytes = Buffer.from(body.byte(0).take());
  const size = Buffer.alloc(4);
  size.writeInt32BE(bytes.length + 4);
  return Buffer.concat([size, bytes]);
}
