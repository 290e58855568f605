/** The gateway put together: its store, its place among the replicas, who people are, and what it serves. */

import { type GatewayInfo } from '../contract/gateway/api.ts';
import { Problem } from '../contract/problem.ts';
import type { Secret } from '../contract/secret.ts';
import { TUNNEL_PATH } from '../contract/tunnel.ts';
import { Secrets } from '../proxy/credential/secrets.ts';
import type { Log } from '../proxy/pipeline/engine.ts';
import type { SecretRef } from '../proxy/policy/policy.ts';
import { protocols } from '../proxy/protocols/index.ts';
import { EventStreams } from './api/events.ts';
import { handlers } from './api/handlers.ts';
import { HttpServer } from './api/httpServer.ts';
import { apiRouter } from './api/router.ts';
import { Answers } from './approval/answers.ts';
import { Notices } from './approval/notices.ts';
import { withdrawQuestionsOf } from './approval/storeApprovals.ts';
import { awsCredentials } from './aws/login.ts';
import { stsPlace } from './aws/place.ts';
import { type Env, type GatewayConfig, readSecret } from './config/load.ts';
import { consoleRouter } from './console/console.ts';
import { CredentialStore } from './credential/credentialStore.ts';
import { keysFor, vaultOf } from './credential/keys.ts';
import { RdsLogins } from './credential/rdsLogins.ts';
import { TokenExchanges } from './credential/tokenExchange.ts';
import { VaultLeases } from './credential/vaultLeases.ts';
import { EdgeLinks } from './edge/edgeLinks.ts';
import { EdgePresence, forgetLinksOf, listEdges } from './edge/edgePresence.ts';
import { EdgeStore, isEdgeToken } from './edge/edgeStore.ts';
import { joinRoutes } from './edge/joinRoutes.ts';
import { GatewayEngine } from './engine.ts';
import { Identity } from './identity/identity.ts';
import { Metrics } from './metrics.ts';
import { StoredPins } from './pins/storedPins.ts';
import { CentralPolicy } from './policy/central.ts';
import { Archiver } from './recording/archive/archiver.ts';
import { RecordLines } from './recording/archive/recordLines.ts';
import { Retention } from './recording/archive/retention.ts';
import { Acts } from './recording/chains.ts';
import type { ObjectStore } from './recording/objects/objectStore.ts';
import { openPlaces } from './recording/objects/open.ts';
import { recordKeyOf } from './recording/recordKey.ts';
import { masterKey, oldMasterKeys, type Sealer, sealerWith } from './sealed.ts';
import { DataPath } from './sessions/dataPath.ts';
import { Laptops } from './sessions/laptops.ts';
import { StoredTasks } from './sessions/storedTasks.ts';
import { Sessions } from './sessions.ts';
import { Bus } from './store/bus.ts';
import type { Database } from './store/database.ts';
import { openEmbedded } from './store/embedded.ts';
import { migrate } from './store/migrate.ts';
import { isStoreDown, openPostgres, storeProblem } from './store/postgres.ts';
import { Replica } from './store/replica.ts';
import { principals } from './tunnel/principals.ts';

export interface GatewayOptions {
  readonly config: GatewayConfig;
  readonly env: Env;
  readonly version: string;
  readonly log: Log;
  /** For tests: how long a replica's lease lasts, in milliseconds. */
  readonly leaseMs?: number;
  /** For tests: how long a tunnel may be without a connection, in milliseconds. */
  readonly resumeMs?: number;
}

/** How long `/readyz` waits for the store, in milliseconds. */
const READY_TIMEOUT_MS = 2_000;

export class Gateway {
  readonly config: GatewayConfig;
  readonly version: string;
  readonly log: Log;
  readonly db: Database;
  readonly bus: Bus;
  readonly replica: Replica;
  readonly metrics: Metrics;
  readonly sealer: Sealer;
  readonly http: HttpServer;
  readonly identity: Identity;
  readonly policy: CentralPolicy;
  readonly answers: Answers;
  /** What sessions run in: see `conversations.identity` for who their clients are. */
  readonly core: GatewayEngine;
  /** The tunnel's end, and the connections that are served through it. */
  readonly path: DataPath;
  readonly pins: StoredPins;
  /** What is done here, written down and signed. */
  readonly acts: Acts;
  readonly credentials: CredentialStore;
  readonly edges: EdgeStore;
  /** Edges that are connected to this process. */
  readonly edgeLinks: EdgeLinks;
  readonly #presence: EdgePresence;
  /** Reads records, wherever they lie. */
  readonly lines: RecordLines;
  readonly archiver: Archiver | undefined;
  readonly retention: Retention | undefined;
  readonly #leases: VaultLeases | undefined;
  readonly #rds: RdsLogins;
  readonly #exchanges: TokenExchanges;
  readonly #notices: Notices;
  readonly #events: EventStreams;
  #draining = false;
  #stopped: Promise<void> | undefined;

  /** Opens the store, brings its tables up to date, and begins to serve. @throws `Problem` with a sentence for whoever started it */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const { config, env, log } = options;
    const sealer = sealerWith(masterKey(config, env), oldMasterKeys(config, env));
    const db = await openStore(config, log);
    try {
      const gateway = new Gateway(options, db, sealer);
      await gateway.#start();
      return gateway;
    } catch (cause) {
      await db.close().catch(() => undefined);
      // It may go away in the middle of the start.
      throw !(cause instanceof Problem) && isStoreDown(cause) ? storeProblem(cause) : cause;
    }
  }

  private constructor({ config, env, log, version, leaseMs, resumeMs }: GatewayOptions, db: Database, sealer: Sealer) {
    this.config = config;
    this.version = version;
    this.log = log;
    this.db = db;
    this.sealer = sealer;
    this.metrics = new Metrics();
    const acts = new Acts(recordKeyOf(sealer));
    this.acts = acts;
    this.bus = new Bus(db, log);
    this.replica = new Replica(db, {
      version,
      log,
      ...(leaseMs !== undefined && { leaseMs, renewMs: leaseMs / 5 }),
      onFenced: () => this.core.fenced(),
      onDead: async (tx, replica) => {
        await withdrawQuestionsOf(tx, replica);
        await this.core.closeSessionsOf(tx, replica);
        await forgetLinksOf(tx, replica);
      },
    });
    this.#notices = new Notices(db, config, env, this.bus, log);
    this.answers = new Answers({ db, acts, sealer, config, notices: this.#notices, policy: () => this.policy.current(), log });
    this.identity = new Identity({
      config,
      env,
      db,
      acts,
      bus: this.bus,
      sealer,
      log,
      fresh: (tx, approval, person, authTime) => this.answers.fresh(tx, approval, person, authTime),
    });
    this.policy = new CentralPolicy({
      db,
      acts,
      bus: this.bus,
      keys: this.identity.keys,
      config,
      log,
      changed: (policy) => {
        this.core.policyChanged(policy);
        this.path.policyChanged();
      },
    });
    this.core = new GatewayEngine({
      db,
      bus: this.bus,
      replica: this.replica,
      sealer,
      notices: this.#notices,
      policy: () => this.policy.current(),
      log,
      stands: (basis) => this.identity.stands(basis),
    });
    const places = openPlaces(config, env);
    this.lines = new RecordLines(places.all);
    this.archiver = places.archive && this.#archiverOn(places.archive);
    const { keepDays } = config.recordings;
    this.retention =
      keepDays === undefined
        ? undefined
        : new Retention({ db, key: this.core.recordKey, stores: places.all, log, keepDays, grew: (chain) => this.core.signSoon(chain) });
    const vault = vaultOf(config, env);
    this.#leases = vault && new VaultLeases(vault, log);
    this.credentials = new CredentialStore(db, keysFor(config, env, vault), log);
    const given = new Secrets(env, () => undefined);
    const secret = (ref: SecretRef): Secret | undefined => (ref.from === 'secret' ? this.credentials.get(ref.name) : given.get(ref));
    const clock = { now: () => Date.now() };
    const sts = stsPlace(config, env);
    this.#rds = new RdsLogins({ sts, credentials: awsCredentials(config.aws.login, env, sts), clock, log });
    this.#exchanges = new TokenExchanges({ issuer: config.publicUrl, keys: this.identity.keys, secret, clock, log });
    this.edges = new EdgeStore({ db, acts, publicUrl: config.publicUrl, clockSkew: config.identity.clockSkew, log });
    this.#presence = new EdgePresence({
      db,
      bus: this.bus,
      replica: this.replica,
      store: this.edges,
      links: () => this.edgeLinks,
      cut: (key) => void this.path.cut(key, 'The key of this edge was revoked. Join again with a new token.'),
      changed: (edge) => this.path.edgeChanged(edge),
      log,
    });
    this.edgeLinks = new EdgeLinks({
      replicas: () => this.#presence.replicas,
      connections: () => this.policy.current().connections.values(),
      elsewhere: (edge) => this.#presence.elsewhere(edge),
      changed: (edge) => {
        this.#presence.soon();
        this.path.edgeChanged(edge);
      },
      log,
    });
    const who = principals(this.identity, this.core.conversations);
    this.pins = new StoredPins(db, acts);
    this.path = new DataPath({
      engine: this.core.engine,
      sessions: this.core.sessions,
      protocols,
      secret,
      lease: (credential, _signal, actor) => {
        if (credential.lease === 'aws-rds') return this.#rds.issue(credential, actor);
        if (this.#leases) return this.#leases.issue(credential.path);
        throw new Problem('no-lease', 'This connection gets its logins from Vault, and this gateway is told of none. Add `vault` to its configuration.');
      },
      exchange: this.#exchanges.credentials,
      ...who,
      laptops: new Laptops({ central: this.policy, approvals: this.core.approvals, log }),
      authenticate: async (token) => await (isEdgeToken(token) ? this.edges.authenticate(token) : who.authenticate(token)),
      edges: this.edgeLinks,
      pins: this.pins,
      tasks: new StoredTasks(db),
      ...(resumeMs !== undefined && { resumeMs }),
    });
    this.bus.on('pin', ({ subject }) => this.path.pinsChanged(subject));
    this.bus.on('credential', () => void this.#readCredentials());
    const cut = (basis: string): void => void this.path.cut(basis, 'Your sign-in to the gateway has ended. Sign in again.');
    this.bus.on('login', ({ subject }) => {
      this.identity.stands(subject).then(
        (stands) => !stands && cut(subject),
        (cause: unknown) => log.warn('login.not-read', { cause }),
      );
    });
    // Switched off, or on again a moment later: what it had open ends either way.
    this.bus.on('account', ({ subject }) => cut(subject));
    this.#events = new EventStreams({ db, bus: this.bus, answers: this.answers, log });
    this.http = new HttpServer({
      config,
      log,
      metrics: this.metrics,
      metricsToken: config.metrics.token === undefined ? undefined : readSecret(config.metrics.token, env).reveal(),
      notReady: () => this.#notReady(),
    });
    this.http.upgrade(TUNNEL_PATH, (request, socket, head) => void this.path.tunnel.upgrade(request, socket, head));
    this.#routes();
    const startedAt = Date.now();
    this.metrics.gauge('countersign_sessions_open', 'Sessions that run in this process.', () => this.core.sessions.size);
    this.metrics.gauge('countersign_tunnels_open', 'Proxies that are connected to this process.', () => this.path.tunnel.size);
    this.metrics.gauge('countersign_edges_connected', 'Links of edges to this process.', () => this.edgeLinks.size);
    this.metrics.gauge('countersign_questions_waiting', 'Questions of this process that wait for a person.', () => this.core.approvals.waiting);
    this.metrics.gauge('countersign_event_streams', 'Open streams of events.', () => this.#events.size);
    this.metrics.gauge('countersign_policy_version', 'The version of the policy in force here.', () => this.policy.version);
    this.metrics.gauge('countersign_recording_halted', '1 while nothing can be recorded.', () => (this.core.engine.recorder.halted === undefined ? 0 : 1));
    this.metrics.gauge('countersign_up_seconds', 'How long this process has run.', () => (Date.now() - startedAt) / 1000);
    this.metrics.gauge('countersign_memory_bytes', 'Resident memory of this process.', () => process.memoryUsage.rss());
    this.metrics.gauge('countersign_replica_alive', '1 while this process holds its lease.', () => (this.replica.alive ? 1 : 0));
  }

  async #start(): Promise<void> {
    await this.replica.start();
    await this.acts.start(this.db, this.log);
    await this.identity.start();
    await this.bus.start();
    await this.#readCredentials();
    await this.policy.start();
    await this.#presence.start();
    await this.path.loadPins();
    this.path.policyChanged();
    this.answers.start();
    this.#notices.start();
    this.archiver?.start();
    this.retention?.start();
    await this.http.start();
    this.log.info('gateway.started', { listen: this.config.listen, store: this.db.kind, replica: this.replica.id });
  }

  /** Lets what runs end, refuses what is new, gives up its place. The second call waits for the first. */
  stop(why: string): Promise<void> {
    this.#stopped ??= this.#stop(why);
    return this.#stopped;
  }

  async #stop(why: string): Promise<void> {
    this.#draining = true;
    this.log.info('gateway.draining', { why });
    // Streams never end by themselves; everything else may take its time.
    this.#events.stop();
    const closing = this.http.stop(this.config.drainSeconds * 1000);
    await this.path.stop('This gateway is shutting down. Connect again, and another one serves you.', this.config.drainSeconds * 1000);
    await Promise.all([this.#leases?.stop(), this.#rds.stop(), this.#exchanges.stop()]);
    await this.core.stop('this gateway is shutting down; connect again and another one serves you');
    await closing;
    await Promise.all([this.archiver?.stop(), this.retention?.stop()]);
    this.answers.stop();
    this.#notices.stop();
    this.#presence.stop();
    this.policy.stop();
    this.identity.stop();
    this.acts.stop();
    this.bus.stop();
    await this.replica.stop().catch((cause: unknown) => this.log.warn('replica.not-ended', { cause }));
    await this.db.close();
    this.log.info('gateway.stopped');
  }

  async #readCredentials(): Promise<void> {
    try {
      for (const name of await this.credentials.load()) this.path.secretChanged(name);
    } catch (cause) {
      this.log.warn('credentials.not-read', { cause });
    }
  }

  #routes(): void {
    const { app } = this.http;
    const { config, db, sealer, identity, policy, answers } = this;
    const info: GatewayInfo = {
      name: 'countersign-gateway',
      version: this.version,
      issuer: config.publicUrl,
      providers: [...identity.providers.values()].map(({ id, title, kind }) => ({ id, title, kind })),
    };
    app.get('/.well-known/countersign-gateway', (_request, response) => void response.json(info));
    app.use(identity.routes());
    app.use(joinRoutes(this.edges, identity.limits));
    app.use(consoleRouter(this.log));
    const { people, accounts, keys, limits, login, tokens } = identity;
    const sessions = new Sessions(db, this.lines);
    app.use(
      apiRouter(
        { people, accounts, tokens, publicUrl: config.publicUrl, cookieName: login.cookieName, sealer },
        handlers({
          db,
          acts: this.acts,
          config,
          sealer,
          people,
          accounts,
          keys,
          limits,
          policy,
          answers,
          sessions,
          edges: {
            list: async () => await listEdges(db, policy.current().connections.values()),
            add: async (wanted, by) => await this.edges.add(wanted, by),
            revoke: async (what, by) => await this.edges.revoke(what, by),
          },
          pins: this.pins,
          events: this.#events,
          login,
          recordKey: this.core.recordKey,
          lines: this.lines,
          archive: this.archiver && (() => (this.archiver as Archiver).health),
          understand: (connection, text, plan) => this.path.understand(connection, text, plan),
        }),
      ),
    );
  }

  #archiverOn(store: ObjectStore): Archiver {
    const bytes = this.metrics.counter('countersign_archived_bytes_total', 'Bytes of records that this process moved to the archive.');
    const archiver = new Archiver({ db: this.db, store, log: this.log, afterMs: this.config.recordings.after * 1000, archived: (size) => bytes({}, size) });
    this.metrics.gauge('countersign_archive_waiting', 'Ended sessions that should be in the archive and are not.', () => archiver.state.waiting);
    this.metrics.gauge('countersign_archive_failing', '1 while the archive cannot be used.', () => (archiver.state.problem === undefined ? 0 : 1));
    this.metrics.gauge('countersign_archive_broken', 'Ended sessions whose record does not hold, and that stay in the database.', () => archiver.state.broken);
    return archiver;
  }

  async #notReady(): Promise<string | undefined> {
    if (this.#draining) return 'This gateway is shutting down.';
    if (!this.replica.alive) return 'This gateway has lost its lease and gets another when its store answers.';
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error('the store did not answer in time')), READY_TIMEOUT_MS);
      });
      await Promise.race([this.db.query('SELECT 1'), late]);
      return undefined;
    } catch (cause) {
      return storeProblem(cause).message;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @throws `Problem` where the store cannot be opened, or is too new for this gateway */
export async function openStore(config: GatewayConfig, log: Log): Promise<Database> {
  const url = config.database.kind === 'postgres' ? config.database.url.reveal() : undefined;
  const migrating = url === undefined ? await openEmbedded(config.data) : openPostgres({ url, log, maxConnections: 1, patient: true });
  try {
    await migrate(migrating, log);
  } catch (cause) {
    await migrating.close().catch(() => undefined);
    throw cause instanceof Problem ? cause : storeProblem(cause);
  }
  if (url === undefined) return migrating;
  await migrating.close();
  return openPostgres({ url, log });
}
