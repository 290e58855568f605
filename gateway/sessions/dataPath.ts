/**
 * The data path of the gateway: the same engine as the proxy's, over the store. Streams of the tunnel become clients of the
 * protocols here; who they are is what their token says.
 */
import type { Duplex } from 'node:stream';
import type { Facts } from '../../contract/facts.ts';
import { assertNever, Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import type { OfferedConnection, StreamOpening } from '../../contract/tunnel.ts';
import { Serving } from '../../proxy/daemon/serving.ts';
import { Pins } from '../../proxy/pinning/pins.ts';
import type { SharedPins } from '../../proxy/pinning/sharedPins.ts';
import type { Engine } from '../../proxy/pipeline/engine.ts';
import type { ConnectionConfig, MaskPlan, SecretRef } from '../../proxy/policy/policy.ts';
import type { ClientIdentity, Dial, Protocol, ProtocolHost, ServedState } from '../../proxy/protocols/protocol.ts';
import type { MuxStream } from '../../proxy/uplink/muxStream.ts';
import type { EdgeLinks } from '../edge/edgeLinks.ts';
import type { TunnelPrincipal } from '../tunnel/principal.ts';
import { type TunnelLink, TunnelServer } from '../tunnel/server.ts';
import { HttpStreams } from './httpStreams.ts';
import type { Laptops } from './laptops.ts';

/** How long clients have to read why they were ended, in milliseconds. */
const LAST_WORDS_MS = 100;

/** The sessions that are open in this process, as far as the data path ends them. */
export interface OpenSessions {
  readonly size: number;
  end(sentence: string, sessions?: Iterable<string>): Promise<void>;
}

export interface DataPathOptions {
  readonly engine: Engine;
  readonly sessions: OpenSessions;
  readonly protocols: readonly Protocol[];
  /** Upstream secrets, by where the policy says that they are. */
  readonly secret: (ref: SecretRef) => Secret | undefined;
  /** Logins that are lent: Vault's, where the gateway is told of one. */
  readonly lease?: ProtocolHost['lease'];
  readonly exchange?: ProtocolHost['exchange'];
  /** @throws Problem whose sentence says why the token is not good */
  readonly authenticate: (token: string) => Promise<TunnelPrincipal>;
  /** Who a stream's client is to the engine: the person is the token's; what acts for them is the proxy's word, unless the token names it. */
  readonly identity: (principal: TunnelPrincipal, opening: StreamOpening) => ClientIdentity;
  /** What laptops are handed for what they enforce themselves. */
  readonly laptops?: Laptops;
  /** Edges that open the way to what is not reached from here; absent: there are none. */
  readonly edges?: EdgeLinks;
  /** What MCP servers were accepted with, for all replicas; absent: for as long as this one runs. */
  readonly pins?: SharedPins;
  /** Whose tasks are whose, for all replicas. */
  readonly tasks?: ProtocolHost['tasks'];
  readonly resumeMs?: number;
}

export class DataPath {
  readonly tunnel: TunnelServer;
  readonly #options: DataPathOptions;
  readonly #serving: Serving;
  readonly #http: HttpStreams;
  readonly #pins: Pins;
  #stopped = false;

  constructor(options: DataPathOptions) {
    const { authenticate, edges, engine, lease, protocols, secret } = options;
    this.#options = options;
    this.#http = new HttpStreams(engine.log);
    this.#pins = new Pins({
      // Kept in the store, or nowhere.
      storage: { load: () => ({ state: 'missing' }), save: () => {} },
      clock: engine.clock,
      log: engine.log,
      // Not from within: whoever is told may ask for the same again.
      changed: () => queueMicrotask(() => this.#serving.reconsider()),
      ...(options.pins && { shared: options.pins }),
    });
    const host: ProtocolHost = {
      engine,
      // Nobody logs in to a gateway with a password: who they are came with the tunnel.
      clients: { login: () => undefined, bearer: () => undefined },
      secret,
      // What names an edge is reached through it or not at all.
      dial: ({ edge, name }) => (edge === undefined ? undefined : (edges?.through(edge, name) ?? noEdges)),
      ...(lease && { lease }),
      ...(options.exchange && { exchange: options.exchange }),
      told: publicProblem,
      loopback: false,
      port: () => Promise.reject(new Error('a gateway listens on no port for a connection')),
      mount: (path, router) => this.#http.mount(path, router),
      served: (name) => this.#serving.get(name),
      connections: () => [...engine.policy().connections.values()],
      pins: this.#pins,
      ...(options.tasks && { tasks: options.tasks }),
      changed: () => this.tunnel.offersChanged(),
    };
    const { laptops } = options;
    this.tunnel = new TunnelServer({
      authenticate,
      ...(laptops && { policyTag: (principal: TunnelPrincipal) => laptops.tag(principal) }),
      offered: (principal) => this.#offered(principal),
      onStream: (link, opening, stream) => this.#take(link, opening, stream),
      ...(edges && { edges }),
      clock: engine.clock,
      log: engine.log,
      ...(options.resumeMs !== undefined && { resumeMs: options.resumeMs }),
    });
    this.#serving = new Serving({ protocols, host, isGateway: true, log: engine.log });
  }

  /** Serves what the policy says now; to be called at the start and after every change of it. */
  policyChanged(): void {
    if (this.#stopped) return;
    this.#serving.update(new Map([...this.#options.engine.policy().connections].filter(([, { via }]) => via === 'gateway')));
    this.tunnel.offersChanged();
    this.#options.edges?.announce();
  }

  /** An edge has come or gone: what is behind it is tried again, and everyone is told how it stands. */
  edgeChanged(edge: string): void {
    if (this.#stopped) return;
    for (const { config, served, state } of this.#serving.all) {
      if (config.edge === edge && state.state !== 'ready' && this.#edgeProblem(config) === undefined) served?.retry?.();
    }
    this.tunnel.offersChanged();
  }

  #edgeProblem({ edge, name }: ConnectionConfig): string | undefined {
    if (edge === undefined) return undefined;
    return this.#options.edges ? this.#options.edges.problem(edge, name) : NO_EDGES;
  }

  /** Reads what MCP servers were accepted with: what one offers is compared with what others do. */
  loadPins(): Promise<void> {
    return this.#pins.load();
  }

  /** Another replica, or a person, has changed what is accepted of a server. */
  pinsChanged(connection: string): void {
    if (this.#stopped) return;
    void this.#pins.refresh(connection).catch((cause: unknown) => this.#options.engine.log.warn('pins.not-read', { cause }));
  }

  /** A secret has come or changed: whoever uses it tries again. */
  secretChanged(name: string): void {
    this.#serving.retry(name);
  }

  /** Someone's sign-in was ended: their tunnels are cut, and with them every session. */
  cut(basis: string, sentence: string): number {
    return this.tunnel.cut((principal) => principal.basis === basis, 'revoked', sentence);
  }

  /** What a text would be taken for on a connection that is served here; nothing is sent for it. Undefined: it is not served. */
  understand(connection: string, text: string, plan: MaskPlan): Promise<readonly Facts[]> | undefined {
    return this.#serving.get(connection)?.understand?.(text, plan);
  }

  /** Sends everyone elsewhere, then ends what is left. */
  async stop(sentence: string, graceMs: number): Promise<void> {
    if (this.#stopped) return;
    await this.tunnel.drain(sentence, graceMs);
    this.#stopped = true;
    await this.#serving.stop(sentence.replace(/\.$/, ''));
    await this.#options.sessions.end(sentence);
    // What was said last is on its way.
    if (this.tunnel.size > 0) await new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS));
    this.tunnel.stop(sentence);
  }

  /** Resolves when everything that is being started has come to its end. */
  settled(): Promise<void> {
    return this.#serving.settled();
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #take({ principal }: TunnelLink, opening: StreamOpening, stream: MuxStream): void {
    if (opening.kind === 'policy' || opening.kind === 'ask') {
      const { laptops } = this.#options;
      if (!laptops || principal.edge !== undefined) stream.reset('gateway-refused', 'This gateway does not do that.');
      else if (opening.kind === 'policy') laptops.policy(principal, stream);
      else laptops.ask(principal, opening, this.#options.identity(principal, opening), stream);
      return;
    }
    const refused = this.#refusal(principal, opening);
    if (refused) {
      stream.reset(refused.code, refused.message);
      return;
    }
    const served = this.#serving.get(opening.connection);
    const identity = this.#options.identity(principal, opening);
    switch (opening.kind) {
      case 'bytes':
        if (served?.connect) splice(stream, served.connect(identity));
        else stream.reset('gateway-refused', `${opening.connection} is no database.`);
        return;
      case 'http':
        this.#http.serve(stream, identity, opening.connection);
        return;
      default:
        assertNever(opening.kind);
    }
  }

  #refusal(principal: TunnelPrincipal, { connection }: StreamOpening): Problem | undefined {
    if (this.#stopped) return new Problem('gateway-draining', 'The gateway is shutting down. Connect again.');
    if (principal.expiresAt + 60_000 < this.#options.engine.clock.now())
      return new Problem('gateway-signed-out', 'Your sign-in to the gateway has expired. Sign in again.');
    const halted = this.#options.engine.recorder.halted;
    if (halted !== undefined) return new Problem('gateway-halted', halted);
    // What someone may not use looks like what there is not.
    if (!this.#mayUse(principal, connection))
      return new Problem('gateway-refused', `The gateway does not offer you ${connection}. Ask whoever looks after its policy.`);
    const config = this.#serving.all.find((entry) => entry.config.name === connection)?.config;
    const problem = config && this.#edgeProblem(config);
    if (problem !== undefined) return new Problem('gateway-edge', problem);
    const state = this.#serving.state(connection);
    if (!this.#serving.get(connection))
      return new Problem('gateway-starting', 'problem' in state ? state.problem : `${connection} is starting. Try again in a moment.`);
    return undefined;
  }

  #mayUse({ connections }: TunnelPrincipal, name: string): boolean {
    return (connections === undefined || connections.includes(name)) && this.#serving.all.some(({ config }) => config.name === name);
  }

  #stateFor(config: ConnectionConfig, state: ServedState): Pick<OfferedConnection, 'state' | 'problem'> {
    // Without its edge it does not work, whatever was known of it before.
    const problem = this.#edgeProblem(config);
    if (problem !== undefined) return { state: 'failed', problem };
    return { state: state.state, ...('problem' in state && { problem: publicProblem(config, state.problem) }) };
  }

  #offered(principal: TunnelPrincipal): OfferedConnection[] {
    return this.#serving.all
      .filter(({ config: { name } }) => principal.connections === undefined || principal.connections.includes(name))
      .slice(0, 500)
      .map(({ config, state }) => ({
        name: config.name,
        protocol: config.protocol,
        ...(config.protocol === 'postgres' && { database: config.upstream.database.slice(0, 200) }),
        sensitive: Object.fromEntries([...config.sensitive].slice(0, 2_000)),
        credential: credentialOf(config),
        ...this.#stateFor(config, state),
      }));
  }
}

const NO_EDGES = 'This gateway has no edges.';
const noEdges: Dial = () => Promise.reject(new Problem('edge-away', NO_EDGES));

/** Bytes both ways between a stream of the tunnel and a client inside; each side's end is the other's. */
function splice(outside: MuxStream, inside: Duplex): void {
  outside.pipe(inside).pipe(outside);
  outside.once('close', () => inside.destroy());
  inside.once('close', () => {
    // What the engine said last still has to be read.
    if (!outside.writableEnded) outside.end();
  });
  inside.on('error', () => {});
}

function credentialOf(config: ConnectionConfig): string {
  if (config.protocol !== 'postgres' || !config.credential) return 'kept by the gateway';
  if ('lease' in config.credential) return `lent for each session by ${config.credential.lease === 'vault' ? 'Vault' : 'AWS'}, to the gateway`;
  return 'a role of its own for each session, made by the gateway';
}

/** Where a database is, and what its secret is called, is nobody's business on a laptop. */
function publicProblem(config: ConnectionConfig, problem: string): string {
  if (config.protocol !== 'postgres') return `${config.name} does not work at the moment. Ask whoever runs the gateway.`;
  const { host, port } = config.upstream;
  return problem.includes(host) || problem.includes('secret') || problem.includes(String(port))
    ? `The gateway cannot reach ${config.name}, or cannot log in to it. Ask whoever runs the gateway: its log says why.`
    : problem.slice(0, 1000);
}
