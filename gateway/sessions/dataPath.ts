/**
 * The data path of the gateway: the same engine as the proxy's, over the store. Streams of the tunnel become clients of the
 * protocols here; who they are is what their token says.
 */
import type { Duplex } from 'node:stream';
import { assertNever, Problem } from '../../contract/problem.ts';
import { Secret } from '../../contract/secret.ts';
import type { OfferedConnection, StreamOpening } from '../../contract/tunnel.ts';
import type { Approvals } from '../../proxy/approval/approvals.ts';
import { digestWith, newId } from '../../proxy/daemon/installation.ts';
import { Serving } from '../../proxy/daemon/serving.ts';
import { LiveSessions } from '../../proxy/daemon/sessions.ts';
import { createSessionMasking } from '../../proxy/masking/sessionMasking.ts';
import { Pins } from '../../proxy/pinning/pins.ts';
import type { Clock, Engine, Log } from '../../proxy/pipeline/engine.ts';
import type { ConnectionConfig, Policy, SecretRef } from '../../proxy/policy/policy.ts';
import type { ClientIdentity, Protocol, ProtocolHost } from '../../proxy/protocols/protocol.ts';
import type { MuxStream } from '../../proxy/uplink/muxStream.ts';
import { StoreRecorder } from '../recording/recorder.ts';
import { type RecordKey, recordKey } from '../recording/recordKey.ts';
import { closeSessionsOf } from '../recording/recovery.ts';
import type { Database, Queryable } from '../store/database.ts';
import type { TunnelPrincipal } from '../tunnel/principal.ts';
import { type TunnelLink, TunnelServer } from '../tunnel/server.ts';
import { Conversations } from './conversations.ts';
import { HttpStreams } from './httpStreams.ts';

/** How long a stop waits for the store to take the ends of sessions, in milliseconds. */
const STOP_MS = 3_000;
/** How long clients have to read why they were ended, in milliseconds. */
const LAST_WORDS_MS = 100;

export interface DataPathOptions {
  readonly db: Database;
  /** 32 bytes for one use, the same in every replica. */
  readonly derive: (use: string) => Buffer;
  readonly replica: { readonly id: string; readonly alive: boolean };
  readonly policy: () => Policy;
  /** Told of sessions that end, where it wants to be. */
  readonly approvals: Approvals & { sessionEnded?(session: string): void };
  readonly protocols: readonly Protocol[];
  /** Upstream secrets, by where the policy says that they are. */
  readonly secret: (ref: SecretRef) => Secret | undefined;
  /** Logins that are lent: Vault's, where the gateway is told of one. */
  readonly lease?: ProtocolHost['lease'];
  /** @throws Problem whose sentence says why the token is not good */
  readonly authenticate: (token: string) => Promise<TunnelPrincipal>;
  readonly clock: Clock;
  readonly log: Log;
  /** For the metrics: sessions and tunnels that are open. */
  readonly activity?: () => void;
  readonly resumeMs?: number;
  readonly patienceMs?: number;
}

export class DataPath {
  readonly tunnel: TunnelServer;
  readonly engine: Engine;
  readonly recordKey: RecordKey;
  readonly #options: DataPathOptions;
  readonly #recorder: StoreRecorder;
  readonly #sessions: LiveSessions;
  readonly #serving: Serving;
  readonly #http: HttpStreams;
  readonly #conversations = new Conversations(newId);
  /** Streams, by the session's link: what a person loses when they lose a connection. */
  readonly #streams = new Map<MuxStream, { readonly connection: string; readonly principal: () => TunnelPrincipal }>();
  #masks = new Map<string, string>();
  #stopped = false;

  constructor(options: DataPathOptions) {
    const { approvals, authenticate, clock, db, derive, log, policy, protocols, replica, secret } = options;
    this.#options = options;
    this.recordKey = recordKey(derive('record signing'));
    const hashKey = derive('hash masks');
    this.#sessions = new LiveSessions(
      log,
      () => options.activity?.(),
      (session) => approvals.sessionEnded?.(session),
    );
    this.#recorder = new StoreRecorder({
      db,
      key: this.recordKey,
      clock,
      log,
      replica,
      ownerOf: ({ actor, conversation }) => {
        const owner = this.#conversations.ownerOf(conversation);
        if (owner) return owner;
        // A protocol grouped sessions anew (a run of an agent is one MCP session): it acts for the same person.
        const known = [...this.#streams.values()].find((one) => samePerson(one.principal(), actor.person))?.principal();
        if (!known) throw new Problem('session-closed', 'The tunnel that this session came through is gone. Connect again.');
        return { person: known.id, login: known.basis };
      },
      onHalt: (sentence) => {
        if (sentence !== undefined) void this.#sessions.end(sentence);
      },
      onFenced: (session) => void this.#sessions.end('another gateway has taken over, because this one was out of touch', [session]),
      ...(options.patienceMs !== undefined && { patienceMs: options.patienceMs }),
    });
    this.#http = new HttpStreams(log);
    const host: ProtocolHost = {
      engine: (this.engine = {
        policy,
        approvals,
        recorder: this.#recorder,
        masking: (connection, vault) => createSessionMasking({ plan: policy().maskPlan(connection), hashKey, vault, connection }),
        digest: digestWith(new Secret(derive('digests').toString('hex'))),
        newId,
        clock,
        log,
        sessions: this.#sessions,
      }),
      // Nobody logs in to a gateway with a password: who they are came with the tunnel.
      clients: { login: () => undefined, bearer: () => undefined },
      secret,
      ...(options.lease && { lease: options.lease }),
      loopback: false,
      port: () => Promise.reject(new Error('a gateway listens on no port for a connection')),
      mount: (path, router) => this.#http.mount(path, router),
      served: (name) => this.#serving.get(name),
      connections: () => [...policy().connections.values()],
      // For as long as this replica runs: the store does not keep what was accepted yet, and nobody can be asked about a change here.
      pins: new Pins({ storage: { load: () => ({ state: 'missing' }), save: () => {} }, clock, log, changed: () => {} }),
      changed: () => this.tunnel.offersChanged(),
    };
    this.tunnel = new TunnelServer({
      authenticate,
      offered: (principal) => this.#offered(principal),
      onStream: (link, opening, stream) => this.#take(link, opening, stream),
      clock,
      log,
      ...(options.resumeMs !== undefined && { resumeMs: options.resumeMs }),
    });
    this.#serving = new Serving({ protocols, host, isGateway: true, log });
  }

  /** Sessions that are open here. */
  get sessions(): number {
    return this.#sessions.size;
  }

  get halted(): string | undefined {
    return this.#recorder.halted;
  }

  /** Serves what the policy says now; to be called at the start and after every change of it. */
  policyChanged(): void {
    if (this.#stopped) return;
    const policy = this.#options.policy();
    const shared = new Map([...policy.connections].filter(([, { via }]) => via === 'gateway'));
    // A session masks as the policy said when it began: one that would mask differently now must begin again.
    const masks = new Map([...shared.keys()].map((name) => [name, planText(policy, name)]));
    for (const [name, before] of this.#masks) {
      if (masks.has(name) && masks.get(name) !== before) void this.#sessions.end('what is masked on this connection has changed', this.#sessions.on(name));
    }
    this.#masks = masks;
    this.#serving.update(shared);
    this.tunnel.offersChanged();
  }

  /** Ends sessions by id, with a sentence: a grant was ended, or an administrator said so. */
  end(sentence: string, sessions: readonly string[]): Promise<void> {
    return this.#sessions.end(sentence, sessions);
  }

  /** Someone's sign-in was ended: their tunnels are cut, and with them every session. */
  cut(basis: string, sentence: string): number {
    return this.tunnel.cut((principal) => principal.basis === basis, 'revoked', sentence);
  }

  /** This process has lost its lease: it owns nothing any more. */
  fenced(): void {
    void this.#sessions.end('this gateway was out of touch with its store for too long');
  }

  /** Closes what a dead replica left open, in the transaction that ends it. */
  async closeSessionsOf(tx: Queryable, replica: string): Promise<void> {
    const chains = await closeSessionsOf(tx, replica, this.#options.clock.now());
    if (chains.length > 0) this.#options.log.warn('recorder.recovered', { replica, people: chains.length });
    for (const chain of chains) this.#recorder.signSoon(chain);
  }

  /** Sends everyone elsewhere, then ends what is left. */
  async stop(sentence: string, graceMs: number): Promise<void> {
    if (this.#stopped) return;
    await this.tunnel.drain(sentence, graceMs);
    this.#stopped = true;
    await this.#serving.stop(sentence.replace(/\.$/, ''));
    await this.#sessions.end(sentence);
    await this.#recorder.stop(sentence, STOP_MS);
    // What was said last is on its way.
    if (this.tunnel.size > 0) await new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS));
    this.tunnel.stop(sentence);
  }

  /** Resolves when everything that is being started has come to its end. */
  settled(): Promise<void> {
    return this.#serving.settled();
  }

  // ── streams ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #take(link: TunnelLink, opening: StreamOpening, stream: MuxStream): void {
    const principal = link.principal;
    const refused = this.#refusal(principal, opening);
    if (refused) {
      stream.reset(refused.code, refused.message);
      return;
    }
    const served = this.#serving.get(opening.connection);
    const identity = this.#identity(principal, opening);
    this.#streams.set(stream, { connection: opening.connection, principal: () => link.principal });
    stream.once('close', () => void this.#streams.delete(stream));
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
    if (principal.expiresAt + 60_000 < this.#options.clock.now())
      return new Problem('gateway-signed-out', 'Your sign-in to the gateway has expired. Sign in again.');
    const halted = this.#recorder.halted;
    if (halted !== undefined) return new Problem('gateway-halted', halted);
    // What someone may not use looks like what there is not.
    if (!this.#mayUse(principal, connection))
      return new Problem('gateway-refused', `The gateway does not offer you ${connection}. Ask whoever looks after its policy.`);
    const state = this.#serving.state(connection);
    if (!this.#serving.get(connection))
      return new Problem('gateway-starting', 'problem' in state ? state.problem : `${connection} is starting. Try again in a moment.`);
    return undefined;
  }

  #mayUse({ connections }: TunnelPrincipal, name: string): boolean {
    return (connections === undefined || connections.includes(name)) && this.#serving.all.some(({ config }) => config.name === name);
  }

  /** The person is the token's; what acts for them is the proxy's word. */
  #identity(principal: TunnelPrincipal, { agent, conversation, readOnly, reason, surface }: StreamOpening): ClientIdentity {
    return {
      actor: { person: principal.person, agent: principal.agent ?? agent },
      surface,
      conversation: this.#conversations.of(principal, conversation),
      ...(readOnly !== undefined && { readOnly }),
      ...(reason !== undefined && { reason }),
    };
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
        state: state.state,
        ...('problem' in state && { problem: publicProblem(config, state.problem) }),
      }));
  }
}

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

function samePerson(principal: TunnelPrincipal, person: { readonly issuer: string; readonly subject: string }): boolean {
  return principal.person.issuer === person.issuer && principal.person.subject === person.subject;
}

function credentialOf(config: ConnectionConfig): string {
  if (config.protocol !== 'postgres' || !config.credential) return 'kept by the gateway';
  return 'lease' in config.credential ? 'lent for each session by Vault, to the gateway' : 'a role of its own for each session, made by the gateway';
}

/** Where a database is, and what its secret is called, is nobody's business on a laptop. */
function publicProblem(config: ConnectionConfig, problem: string): string {
  if (config.protocol !== 'postgres') return `${config.name} does not work at the moment. Ask whoever runs the gateway.`;
  const { host, port } = config.upstream;
  return problem.includes(host) || problem.includes('secret') || problem.includes(String(port))
    ? `The gateway cannot reach ${config.name}, or cannot log in to it. Ask whoever runs the gateway: its log says why.`
    : problem.slice(0, 1000);
}

function planText(policy: Policy, name: string): string {
  const { columns, detectors, otherwise } = policy.maskPlan(name);
  return JSON.stringify([[...columns].sort(), [...detectors].sort(), otherwise]);
}
