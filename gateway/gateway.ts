/** The gateway put together: its store, its place among the replicas, who people are, and what it serves. */
import { Problem } from '../contract/problem.ts';
import type { Log } from '../proxy/pipeline/engine.ts';
import { HttpServer } from './api/httpServer.ts';
import { type Env, type GatewayConfig, readSecret } from './config/load.ts';
import { Metrics } from './metrics.ts';
import { masterKey, type Sealer, sealerWith } from './sealed.ts';
import { Bus } from './store/bus.ts';
import type { Database } from './store/database.ts';
import { openEmbedded } from './store/embedded.ts';
import { migrate } from './store/migrate.ts';
import { openPostgres, storeProblem } from './store/postgres.ts';
import { Replica } from './store/replica.ts';

export interface GatewayOptions {
  readonly config: GatewayConfig;
  readonly env: Env;
  readonly version: string;
  readonly log: Log;
  /** For tests: how long a replica's lease lasts, in milliseconds. */
  readonly leaseMs?: number;
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
  #draining = false;
  #stopped: Promise<void> | undefined;

  /** Opens the store, brings its tables up to date, and begins to serve. @throws `Problem` with a sentence for whoever started it */
  static async start(options: GatewayOptions): Promise<Gateway> {
    const { config, env, log } = options;
    const sealer = sealerWith(masterKey(config, env));
    const db = await openStore(config, log);
    try {
      const gateway = new Gateway(options, db, sealer);
      await gateway.#start();
      return gateway;
    } catch (cause) {
      await db.close().catch(() => undefined);
      throw cause;
    }
  }

  private constructor({ config, env, log, version, leaseMs }: GatewayOptions, db: Database, sealer: Sealer) {
    this.config = config;
    this.version = version;
    this.log = log;
    this.db = db;
    this.sealer = sealer;
    this.metrics = new Metrics();
    this.bus = new Bus(db, log);
    this.replica = new Replica(db, {
      version,
      log,
      ...(leaseMs !== undefined && { leaseMs, renewMs: leaseMs / 5 }),
      onFenced: () => undefined,
      onDead: () => Promise.resolve(),
    });
    this.http = new HttpServer({
      config,
      log,
      metrics: this.metrics,
      metricsToken: config.metrics.token === undefined ? undefined : readSecret(config.metrics.token, env).reveal(),
      notReady: () => this.#notReady(),
    });
    const startedAt = Date.now();
    this.metrics.gauge('countersign_up_seconds', 'How long this process has run.', () => (Date.now() - startedAt) / 1000);
    this.metrics.gauge('countersign_memory_bytes', 'Resident memory of this process.', () => process.memoryUsage.rss());
    this.metrics.gauge('countersign_replica_alive', '1 while this process holds its lease.', () => (this.replica.alive ? 1 : 0));
  }

  async #start(): Promise<void> {
    await this.replica.start();
    await this.bus.start();
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
    await this.http.stop(this.config.drainSeconds * 1000);
    this.bus.stop();
    await this.replica.stop().catch((cause: unknown) => this.log.warn('replica.not-ended', { cause }));
    await this.db.close();
    this.log.info('gateway.stopped');
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
async function openStore(config: GatewayConfig, log: Log): Promise<Database> {
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
