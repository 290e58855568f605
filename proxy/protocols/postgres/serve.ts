/** A PostgreSQL connection on loopback: the listener, the sessions, the catalog they share, and the state a person sees. */
import { createServer, type Server, Socket } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import type { Facts } from '../../../contract/facts.ts';
import { Problem } from '../../../contract/problem.ts';
import type { Outcome, RunResult } from '../../pipeline/operation.ts';
import { run } from '../../pipeline/run.ts';
import { Session } from '../../pipeline/session.ts';
import type { MaskPlan, Policy, PostgresConnection } from '../../policy/policy.ts';
import type { ClientIdentity, Dial, Protocol, ProtocolHost, Served, ServedState } from '../protocol.ts';
import { type Backend, LoginRefused, openBackend, upstreamUser } from './backend.ts';
import { ClientGone } from './byteSource.ts';
import { CancelKeys } from './cancelKeys.ts';
import { CATALOG_APPLICATION, CatalogKeeper } from './catalogKeeper.ts';
import { loopbackTls } from './certificate.ts';
import { DRY_RUN_APPLICATION } from './dryRun.ts';
import type { Reading } from './flight.ts';
import { BACK, FrameWriter, IDLE } from './frames.ts';
import type { Ground } from './ground.ts';
import { Logins, type SessionLogin } from './logins.ts';
import { diagnostic, errorResponse, type OwnError, parameterStatus, readyForQuery, SQLSTATE } from './messages.ts';
import { connectOperation } from './operations.ts';
import { followed, renamed } from './plans.ts';
import { refusalError } from './refusals.ts';
import { ClientSession } from './session.ts';
import { controlStartup, isOwnError, readSearchPath, type Startup } from './settings.ts';
import type { Catalog } from './sql/catalog.ts';
import { SqlClassifier, type StatementInfo } from './sql/classifier.ts';
import { authenticate, greet, Refused } from './startup.ts';

/** How long a client may take to log in, in milliseconds; PostgreSQL's own default. */
const LOGIN_TIMEOUT_MS = 60_000;
/** Most clients of one connection at once, those that are logging in included. */
const MAX_CLIENTS = 500;
const KEEP_ALIVE_MS = 30_000;
/** How long a new client waits for a database that is starting, in milliseconds. */
const READY_TIMEOUT_MS = 10_000;
/** Most distinct search paths for which readings are kept. */
const MAX_READINGS = 200;

export const postgres: Protocol<PostgresConnection> = {
  name: 'postgres',
  async serve(connection, host) {
    const served = new ServedPostgres(connection, host, await SqlClassifier.load());
    await served.listen();
    return served;
  },
};

interface Upstream {
  readonly backend: Backend;
  readonly login: SessionLogin;
}

class ServedPostgres implements Served, Ground {
  readonly connection: PostgresConnection;
  readonly engine: ProtocolHost['engine'];
  readonly classifier: SqlClassifier;
  readonly catalogs: CatalogKeeper;
  readonly #host: ProtocolHost;
  readonly #logins: Logins;
  readonly #server: Server;
  readonly #cancelKeys = new CancelKeys();
  readonly #sessions = new Set<ClientSession>();
  readonly #starting = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  #port = 0;
  #state: ServedState = { state: 'starting' };
  #readings = new Map<string, Reading>();
  /** The same by the very list that a session has: it asks for every statement. */
  #readingOf = new WeakMap<readonly string[], Reading>();
  #readingFor: { readonly catalog: Catalog; readonly policy: Policy; readonly flows: number } | undefined;
  #plan: MaskPlan | undefined;
  readonly #flows: StatementInfo['flows'][number][] = [];

  constructor(connection: PostgresConnection, host: ProtocolHost, classifier: SqlClassifier) {
    this.connection = connection;
    this.engine = host.engine;
    this.classifier = classifier;
    this.#host = host;
    this.#logins = new Logins(connection, host, () => this.catalogs);
    this.catalogs = new CatalogKeeper({
      open: async (signal) => {
        const login = await this.#logins.forCatalog();
        const startup = new Map([
          ['application_name', CATALOG_APPLICATION],
          ['default_transaction_read_only', 'on'],
        ]);
        return openBackend(login.connection, login.password, startup, signal, this.#dial);
      },
      now: () => this.engine.clock.now(),
      reading: () => this.#logins.catalogOptions,
      changed: (problem) => this.#catalogRead(problem),
    });
    this.#server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS, pauseOnConnect: false }, (socket) =>
      this.#accept(socket),
    );
  }

  async listen(): Promise<void> {
    if (this.#host.loopback === false) return this.retry();
    const port = await this.#host.port(this.connection.name, this.connection.port);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (cause: NodeJS.ErrnoException) => {
        const why =
          cause.code === 'EADDRINUSE'
            ? 'is taken by another program. Free it, or give the connection another port'
            : `cannot be listened on (${cause.message})`;
        reject(new Problem('port-taken', `${this.connection.name}: port ${port} on this machine ${why}.`, { cause }));
      });
      this.#server.listen({ host: '127.0.0.1', port, exclusive: true }, resolve);
    });
    this.#server.removeAllListeners('error');
    this.#server.on('error', (cause) => this.engine.log.error('postgres.listener', { connection: this.connection.name, cause }));
    const address = this.#server.address();
    this.#port = typeof address === 'object' && address ? address.port : port;
    this.retry();
  }

  get state(): ServedState {
    return this.#state;
  }

  get address(): string {
    return `postgres://127.0.0.1:${this.#port}/${encodeURIComponent(this.connection.upstream.database)}`;
  }

  get environment(): { readonly host: string; readonly port: number; readonly database: string } {
    return { host: '127.0.0.1', port: this.#port, database: this.connection.upstream.database };
  }

  async understand(sql: string, plan: MaskPlan): Promise<readonly Facts[]> {
    const catalog = await this.catalogs.fresh();
    return this.classifier.classify(sql, catalog, plan, { searchPath: ['$user', 'public'], standardConformingStrings: true }).parts;
  }

  connect(identity: ClientIdentity): Duplex {
    const [outside, inside] = duplexPair();
    // A pair does not tell one side that the other was destroyed.
    outside.once('close', () => inside.destroy());
    this.#start(inside, identity);
    // What `pg` expects of a socket: to be connected first, and to be tuned.
    return Object.assign(outside, {
      connect: () => process.nextTick(() => outside.emit('connect')),
      setNoDelay: () => outside,
      setKeepAlive: () => outside,
      ref: () => outside,
      unref: () => outside,
    });
  }

  retry(): void {
    this.catalogs.stale();
    this.#prepare();
  }

  async stop(reason: string): Promise<void> {
    this.#abort.abort(reason);
    this.catalogs.stop();
    const closed = this.#server.listening ? new Promise<void>((resolve) => this.#server.close(() => resolve())) : undefined;
    const error = { code: SQLSTATE.adminShutdown, message: `Countersign ended this session: ${reason}.` };
    await Promise.all([...this.#sessions].map((session) => session.end({ reason, error })));
    await Promise.all(this.#starting);
    await this.#logins.stop();
    await closed;
  }

  reading(searchPath: readonly string[]): Reading | undefined {
    this.catalogs.ageOut();
    const catalog = this.catalogs.current;
    if (!catalog) return undefined;
    const policy = this.engine.policy();
    const before = this.#readingFor;
    if (before && before.catalog !== catalog && this.#plan) this.follow(renamed(before.catalog, catalog, this.#plan));
    if (before?.catalog !== catalog || before.policy !== policy || before.flows !== this.#flows.length) {
      const samePlan = before?.policy === policy && before.flows === this.#flows.length;
      this.#readingFor = { catalog, policy, flows: this.#flows.length };
      this.#readings = new Map();
      this.#readingOf = new WeakMap();
      if (!samePlan || !this.#plan) this.#plan = followed(policy.maskPlan(this.connection.name), this.#flows);
    }
    const known = this.#readingOf.get(searchPath);
    if (known) return known;
    const key = JSON.stringify(searchPath);
    let reading = this.#readings.get(key);
    if (!reading && this.#plan) {
      if (this.#readings.size >= MAX_READINGS) this.#readings.clear();
      reading = { catalog, plan: this.#plan, searchPath };
      this.#readings.set(key, reading);
    }
    if (reading) this.#readingOf.set(searchPath, reading);
    return reading;
  }

  follow(flows: StatementInfo['flows']): void {
    // What is followed already is no news: a new plan makes everything be understood anew.
    const known = this.#plan;
    for (const flow of flows) if (!known || followed(known, [flow]).columns.size > known.columns.size) this.#flows.push(flow);
  }

  get #dial(): Dial | undefined {
    return this.#host.dial?.(this.connection);
  }

  // ── state ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  #prepare(): void {
    const reading = this.catalogs.fresh().then(
      () => {},
      () => {},
    );
    this.#starting.add(reading);
    void reading.finally(() => this.#starting.delete(reading));
  }

  #catalogRead(problem: unknown): void {
    if (this.#abort.signal.aborted) return;
    const before = JSON.stringify(this.#state);
    if (problem === undefined) {
      this.#state = { state: 'ready' };
      this.#logins.reached();
    } else if (problem instanceof Problem && problem.code === 'needs-secret') {
      this.#state = { state: 'needs-secret', secret: this.#logins.secretName, problem: problem.message };
    } else this.#state = { state: 'failed', problem: sentenceOf(problem, this.connection) };
    if (problem !== undefined) this.engine.log.warn('postgres.catalog', { connection: this.connection.name, cause: problem });
    if (JSON.stringify(this.#state) !== before) this.#host.changed();
  }

  // ── clients ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #accept(socket: Socket): void {
    socket.on('error', () => {});
    if (this.#abort.signal.aborted || this.#starting.size + this.#sessions.size >= MAX_CLIENTS) {
      socket.end(errorResponse({ severity: 'FATAL', code: '53300', message: `too many clients: Countersign serves ${MAX_CLIENTS} at once on a connection` }));
      return;
    }
    this.#start(socket, undefined);
  }

  #start(stream: Duplex, identity: ClientIdentity | undefined): void {
    const starting = this.#begin(stream, identity);
    this.#starting.add(starting);
    void starting.finally(() => this.#starting.delete(starting));
  }

  /** From the first byte to the first ReadyForQuery. Never rejects: a client is told, or gone. */
  async #begin(raw: Duplex, known: ClientIdentity | undefined): Promise<void> {
    let stream = raw;
    raw.on('error', () => {});
    const gone = new AbortController();
    raw.once('close', () => gone.abort(new ClientGone('the client closed the connection')));
    const signal = AbortSignal.any([this.#abort.signal, gone.signal, AbortSignal.timeout(LOGIN_TIMEOUT_MS)]);
    try {
      const greeting = await greet(raw, raw instanceof Socket ? () => loopbackTls(this.engine.clock.now()) : undefined, signal);
      if (greeting.kind === 'cancel') {
        // Drivers wait for the end of this connection before they send the next statement, which must not be hit.
        await this.#cancelKeys.cancel(greeting.body);
        raw.end();
        return;
      }
      stream = greeting.stream;
      stream.on('error', () => {});
      const { parameters, source } = greeting;
      const user = parameters.get('user') ?? '';
      if (user === '') throw new Refused({ code: SQLSTATE.invalidAuthorization, message: 'no PostgreSQL user name specified in startup packet' });
      const identity = known ?? (await authenticate(stream, source, user, this.#host.clients));
      const startup = controlStartup(parameters, this.connection, identity);
      if (isOwnError(startup)) throw new Refused(startup);
      const ahead = source.release();
      // Nothing more is expected before ReadyForQuery; but a client that leaves must be noticed.
      const watch = watchLeaving(stream);
      try {
        await this.#open(stream, identity, startup, () => Buffer.concat([ahead, watch.stop()]), signal);
      } finally {
        watch.stop();
      }
    } catch (cause) {
      this.#turnAway(stream, cause);
    }
  }

  #turnAway(stream: Duplex, cause: unknown): void {
    if (cause instanceof ClientGone || stream.destroyed) {
      stream.destroy();
      return;
    }
    const error = this.#startError(cause);
    if (error.code === SQLSTATE.internal) this.engine.log.error('postgres.login-failed', { connection: this.connection.name, cause });
    else this.engine.log.info('postgres.login-refused', { connection: this.connection.name, code: error.code });
    const bytes = cause instanceof LoginRefused ? diagnostic(BACK.error, cause.diagnostic) : errorResponse({ severity: 'FATAL', ...error });
    stream.end(bytes);
    stream.resume();
    setTimeout(() => stream.destroy(), 1000).unref();
  }

  #startError(cause: unknown): OwnError {
    if (this.#abort.signal.aborted)
      return { code: SQLSTATE.adminShutdown, message: `Countersign no longer serves ${this.connection.name}: ${String(this.#abort.signal.reason)}.` };
    if (cause instanceof Refused) return cause.error;
    if (cause instanceof Problem) {
      const message = this.#host.told?.(this.connection, cause.message) ?? cause.message;
      return { code: cause.code === 'protocol-violation' ? SQLSTATE.protocolViolation : SQLSTATE.cannotConnectNow, message };
    }
    return { code: SQLSTATE.internal, message: 'Countersign failed while it opened this session. Its log says more.' };
  }

  /** The session's record, its CONNECT through the pipeline, and then its backend. */
  async #open(client: Duplex, identity: ClientIdentity, startup: Startup, ahead: () => Buffer, signal: AbortSignal): Promise<void> {
    await this.#ready(signal);
    const { connection, engine } = this;
    const record = await Session.open(engine, {
      actor: identity.actor,
      connection: connection.name,
      protocol: 'postgres',
      surface: identity.surface,
      conversation: identity.conversation,
    });
    let backend: Backend | undefined;
    let login: SessionLogin | undefined;
    let failure: unknown;
    try {
      const operation = connectOperation(engine, connection, identity, upstreamUser(connection));
      const result = await run(engine, record, operation, signal, async (permit): Promise<Outcome> => {
        permit.use(operation.digest);
        try {
          login = await this.#logins.session(identity.actor);
          backend = await openBackend(login.connection, login.password, startup.upstream, AbortSignal.any([signal, record.signal]), this.#dial);
          return { outcome: 'done', masked: 0 };
        } catch (cause) {
          failure = cause;
          return {
            outcome: 'failed',
            masked: 0,
            error: { code: cause instanceof Problem ? cause.code : 'internal', message: record.masking.scrub(sentenceOf(cause, connection)).text },
          };
        }
      });
      refuseIfDenied(result);
      if (!backend || !login) throw failure ?? new Error('a session without a backend');
      signal.throwIfAborted();
      this.#hand(client, identity, startup, record, { backend, login }, ahead);
    } catch (cause) {
      backend?.socket.destroy();
      void login?.release();
      await record.close(cause instanceof Problem ? cause.message.slice(0, 400) : 'it could not be opened').catch(() => {});
      throw cause;
    }
  }

  #hand(client: Duplex, identity: ClientIdentity, startup: Startup, record: Session, { backend, login }: Upstream, ahead: () => Buffer): void {
    const key = this.#cancelKeys.add(backend.cancelKey.readInt32BE(0), () => session.cancel());
    const searchPath = readSearchPath(startup.searchPath ?? login.searchPath ?? backend.parameters.get('search_path') ?? '"$user", public');
    const session: ClientSession = new ClientSession({
      ground: this,
      identity,
      record,
      client,
      backend,
      searchPath,
      // A role that was made for the session may connect once.
      dryRunLogin:
        this.connection.credential && 'mint' in this.connection.credential
          ? undefined
          : {
              connection: login.connection,
              open: (signal) =>
                openBackend(login.connection, login.password, new Map([...startup.upstream, ['application_name', DRY_RUN_APPLICATION]]), signal, this.#dial),
            },
      onClosed: () => {
        key.dispose();
        void login.release();
        this.#sessions.delete(session);
      },
    });
    this.#sessions.add(session);
    login.lost?.addEventListener('abort', () => {
      const reason = 'the login that it was lent has ended';
      void session.end({ reason, error: { code: SQLSTATE.adminShutdown, message: `Countersign ended this session: ${reason}. Connect again.` } });
    });
    const greeting = new FrameWriter(1024).begin(BACK.authentication).int32(0).end();
    for (const [name, value] of backend.parameters) greeting.bytes(parameterStatus(name, value));
    greeting.begin(BACK.backendKey).bytes(key.bytes).end();
    for (const notice of backend.notices) greeting.bytes(notice);
    client.write(greeting.bytes(readyForQuery(IDLE)).take());
    session.start(ahead());
  }

  /** Without a catalog nothing is understood, so nothing is forwarded. */
  async #ready(signal: AbortSignal): Promise<void> {
    if (this.catalogs.current) return;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(READY_TIMEOUT_MS)]);
    let onAbort = (): void => {};
    const aborted = new Promise<never>((_resolve, reject) => {
      onAbort = () =>
        reject(
          signal.aborted
            ? signal.reason instanceof ClientGone
              ? signal.reason
              : new ClientGone('gone')
            : new Problem('starting', `${this.connection.name} is still starting: its catalog is being read. Try again in a moment.`),
        );
      limit.addEventListener('abort', onAbort);
    });
    try {
      await Promise.race([this.catalogs.fresh(), aborted]);
    } finally {
      limit.removeEventListener('abort', onAbort);
    }
  }
}

function refuseIfDenied(result: RunResult): void {
  if (!result.forwarded) throw new Refused({ ...refusalError(result.refusal) });
}

function sentenceOf(cause: unknown, connection: PostgresConnection): string {
  if (cause instanceof LoginRefused) return `${connection.name}: the database refused the login: ${cause.message}`;
  if (cause instanceof Problem) return cause.message;
  return `${connection.name} failed because of a fault in Countersign. Its log says more.`;
}

const NO_BYTES = Buffer.alloc(0);

/** Reads on while nobody else does, so that the end of the stream is seen; what comes is kept. */
function watchLeaving(stream: Duplex): { stop: () => Buffer } {
  const chunks: Buffer[] = [];
  const onData = (chunk: Buffer): void => {
    chunks.push(chunk);
    // A client that talks before it may is not read on: it can wait.
    if (chunks.length > 16) stream.pause();
  };
  const onEnd = (): void => void stream.destroy();
  let stopped = false;
  stream.on('data', onData).on('end', onEnd);
  stream.resume();
  return {
    stop: () => {
      if (stopped) return NO_BYTES;
      stopped = true;
      stream.off('data', onData).off('end', onEnd);
      stream.pause();
      return Buffer.concat(chunks.splice(0));
    },
  };
}
