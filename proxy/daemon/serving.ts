/** Serves every connection of the policy, and after a change of policy stops, starts and leaves alone accordingly. */
import { Problem } from '../../contract/problem.ts';
import type { Log } from '../pipeline/engine.ts';
import type { ConnectionConfig } from '../policy/policy.ts';
import type { Protocol, ProtocolHost, Served, ServedState } from '../protocols/protocol.ts';

/** How long a connection that could not be served waits before the next try, in milliseconds. */
const RETRY_MS = 5_000;

export interface ServingOptions {
  readonly protocols: readonly Protocol[];
  readonly host: ProtocolHost;
  /** How connections of a gateway are served; absent: this proxy knows none. */
  readonly shared?: Pick<Protocol, 'serve'>;
  /** True in the gateway itself, which serves them like any other. */
  readonly isGateway?: boolean;
  readonly log: Log;
  readonly retryMs?: number;
}

interface Entry {
  readonly config: ConnectionConfig;
  /** Two configurations with the same text are the same. */
  readonly text: string;
  served?: Served;
  problem?: string;
  timer?: NodeJS.Timeout;
  stopped: boolean;
  /** The start that is under way, if any; a stop waits for it. */
  starting: Promise<void>;
}

export class Serving {
  readonly #options: ServingOptions;
  readonly #entries = new Map<string, Entry>();
  #order: readonly string[] = [];
  /** Stops that are under way: a connection that is served anew needs the port that the old one frees. */
  readonly #stopping = new Map<string, Promise<void>>();

  constructor(options: ServingOptions) {
    this.#options = options;
  }

  /** Brings what is served in line with the connections of a policy. */
  update(connections: ReadonlyMap<string, ConnectionConfig>): void {
    for (const [name, entry] of this.#entries) {
      const wanted = connections.get(name);
      if (!wanted || configText(wanted) !== entry.text) void this.#stop(name, entry, `the policy for ${name} changed; connect again`);
    }
    this.#order = [...connections.keys()];
    for (const [name, config] of connections) {
      if (this.#entries.has(name)) continue;
      const entry: Entry = { config, text: configText(config), stopped: false, starting: Promise.resolve() };
      this.#entries.set(name, entry);
      this.#start(name, entry);
    }
    this.#options.host.changed();
  }

  get(name: string): Served | undefined {
    return this.#entries.get(name)?.served;
  }

  state(name: string): ServedState {
    const entry = this.#entries.get(name);
    if (entry?.served) return entry.served.state;
    return entry?.problem === undefined ? { state: 'starting' } : { state: 'failed', problem: entry.problem };
  }

  /** Everything that is served, in the order of the policy. */
  get all(): readonly { readonly config: ConnectionConfig; readonly served: Served | undefined; readonly state: ServedState }[] {
    return this.#order.flatMap((name) => {
      const entry = this.#entries.get(name);
      return entry ? { config: entry.config, served: entry.served, state: this.state(name) } : [];
    });
  }

  /** A secret has come or changed: whoever uses it tries again. */
  retry(secret: string): void {
    for (const { config, served } of this.#entries.values()) if (served && secretNames(config).includes(secret)) served.retry?.();
  }

  /** What clients were shown may be otherwise now. */
  reconsider(): void {
    for (const { served } of this.#entries.values()) served?.reconsider?.();
  }

  /** Resolves when every start and stop that is under way has come to its end. */
  async settled(): Promise<void> {
    await Promise.all([...this.#entries.values()].map((entry) => entry.starting));
    await Promise.all(this.#stopping.values());
  }

  async stop(reason: string): Promise<void> {
    await Promise.all([...this.#entries].map(([name, entry]) => this.#stop(name, entry, reason)));
    await Promise.all(this.#stopping.values());
  }

  #start(name: string, entry: Entry): void {
    entry.starting = this.#serve(name, entry).then(() => this.#options.host.changed());
  }

  async #serve(name: string, entry: Entry): Promise<void> {
    await this.#stopping.get(name);
    if (entry.stopped) return;
    const { host, isGateway, log, protocols, shared } = this.#options;
    try {
      const far = entry.config.via === 'gateway' && !isGateway;
      if (far && !shared) {
        throw new Problem('gateway', `${name} is reached through a gateway, and this proxy is signed in to none. Sign in to the gateway, or set "via: local".`);
      }
      const protocol = protocols.find((candidate) => candidate.name === entry.config.protocol);
      if (!protocol) throw new Problem('no-protocol', `${name} speaks ${entry.config.protocol}, which this version does not know. Update Countersign.`);
      const served = await (far && shared ? shared : protocol).serve(entry.config, host);
      if (entry.stopped) return await served.stop('stopped while starting');
      entry.served = served;
      delete entry.problem;
      log.info('connection.served', { connection: name, address: served.address });
    } catch (cause) {
      const ours = cause instanceof Problem;
      entry.problem = (
        ours ? cause.message : `${name} could not be served because of a fault in Countersign. Its log says more; it is tried again by itself.`
      ).slice(0, 1000);
      log[ours ? 'warn' : 'error']('connection.not-served', { connection: name, cause });
      if (entry.stopped || (ours && (cause.code === 'gateway' || cause.code === 'no-protocol'))) return;
      entry.timer = setTimeout(() => this.#start(name, entry), this.#options.retryMs ?? RETRY_MS);
      entry.timer.unref();
    }
  }

  #stop(name: string, entry: Entry, reason: string): Promise<void> {
    entry.stopped = true;
    clearTimeout(entry.timer);
    this.#entries.delete(name);
    // After the stops before it: they free the port that this one may hold again.
    const stopping: Promise<void> = Promise.all([this.#stopping.get(name), entry.starting])
      .then(() => entry.served?.stop(reason))
      .catch((cause: unknown) => this.#options.log.error('connection.not-stopped', { connection: name, cause }))
      .then(() => {
        if (this.#stopping.get(name) === stopping) this.#stopping.delete(name);
      });
    this.#stopping.set(name, stopping);
    return stopping;
  }
}

/** The names of the editor's secrets that a connection uses. */
export function secretNames(config: ConnectionConfig): readonly string[] {
  return secretRefs(config).flatMap((ref) => (ref.from === 'secret' ? [ref.name] : []));
}

/** Every secret that a connection uses, wherever it comes from. */
export function secretRefs(config: ConnectionConfig): readonly { readonly from: 'secret' | 'env' | 'file'; readonly name: string }[] {
  if (config.protocol === 'postgres') {
    const ref = (config.credential && 'admin' in config.credential ? config.credential.admin : undefined) ?? config.password;
    return ref ? [ref] : [];
  }
  const { upstream } = config;
  const values = upstream.transport === 'stdio' ? [...upstream.command, ...upstream.env.values()] : [...upstream.headers.values(), upstream.oauth?.secret];
  return values.filter((value) => value !== undefined && typeof value !== 'string');
}

/** A configuration as text, its maps in order. */
function configText(config: ConnectionConfig): string {
  return JSON.stringify(config, (_key, value: unknown) => (value instanceof Map ? [...value].sort() : value));
}
