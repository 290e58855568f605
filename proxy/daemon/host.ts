/** The proxy put together: the engine and what it serves, the control channel and what it shows. */
import { join } from 'node:path';
import type { Person } from '../../contract/actor.ts';
import type { AnswerResult, ApprovalAnswer } from '../../contract/approval.ts';
import type {
  ConnectionOutput,
  DoctorCheck,
  Hello,
  OperationDetail,
  OperationPage,
  OperationQuery,
  OrganisationText,
  PutGateway,
  RuleProposal,
  Snapshot,
  SurfaceAccess,
  VerifyReport,
  Workspace,
} from '../../contract/control.ts';
import type { PinAnswer, PinAnswered, PinQuery, PinTexts } from '../../contract/pins.ts';
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import { OthersApprovals } from '../approval/others.ts';
import type { WindowHost } from '../control/window.ts';
import { OAuthBroker, type OAuthConnection } from '../credential/oauth/broker.ts';
import { Secrets } from '../credential/secrets.ts';
import { LoopbackServer } from '../http/loopback.ts';
import { ClientLogins } from '../identity/clients.ts';
import { PinFile } from '../pinning/pinFile.ts';
import { Pins } from '../pinning/pins.ts';
import type { Clock, Engine, Log } from '../pipeline/engine.ts';
import type { MaskPlan } from '../policy/policy.ts';
import type { ProtocolHost } from '../protocols/protocol.ts';
import { sharedProtocol, withOffered } from '../uplink/shared.ts';
import { examine } from './doctor.ts';
import { GatewayPart } from './gatewayPart.ts';
import { newId } from './installation.ts';
import type { PartEvents, Parts } from './parts.ts';
import { type Ports, portProblem } from './ports.ts';
import { ruleProposal } from './ruleProposal.ts';
import { Serving } from './serving.ts';
import { LiveSessions } from './sessions.ts';
import { agentAccess, connectionViews, surfaceAccess } from './views.ts';

/** Name under which the loopback server's port is kept; a connection cannot be called this. */
const HTTP_PORT_NAME = '(http)';
/** Accepted definitions of MCP servers, in the state folder. */
const PINS_FILE = 'mcp-pins.json';
/** How long a port that was taken waits before the next try, in milliseconds. */
const HTTP_RETRY_MS = 5_000;
/** A snapshot shows at most this many of each. */
const MAX_SHOWN = { connections: 500, pending: 500, decided: 50, grants: 200, problems: 100, files: 20 } as const;

export interface HostOptions {
  readonly version: string;
  readonly secret: Secret;
  readonly person: Person;
  readonly state: string;
  readonly ports: Ports;
  readonly digest: Engine['digest'];
  readonly clock: Clock;
  readonly log: Log;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Makes the parts; what they tell goes to the events. */
  readonly parts: (events: PartEvents) => Promise<Parts>;
  /** Mounts what is not a connection: our own MCP server. */
  readonly own: (host: ProtocolHost) => { stop(): void | Promise<void> };
  /** Has every window's editor keep a secret; null forgets it. */
  readonly keep: (name: string, value: string | null) => void;
  /** A snapshot would differ from the last one. */
  readonly changed: () => void;
  /** A window or a session has come or gone. */
  readonly activity: () => void;
  /** A window asked the proxy to leave. */
  readonly leave: (reason: string) => void;
  readonly retryMs?: number;
}

export class Host implements WindowHost {
  readonly version: string;
  readonly #options: HostOptions;
  readonly #parts: Parts;
  readonly #sessions: LiveSessions;
  readonly #clients: ClientLogins;
  readonly #secrets: Secrets;
  readonly #oauth: OAuthBroker;
  readonly #serving: Serving;
  readonly #gateway: GatewayPart;
  readonly #others: OthersApprovals;
  /** What the gateway offered last, as text. */
  #offered = '';
  readonly #pins: Pins;
  readonly #http: LoopbackServer;
  readonly #own: { stop(): void | Promise<void> };
  readonly #startedAt: number;
  /** Window → how many channels it has open: a reload opens the next before the last has closed. */
  readonly #windows = new Map<string, number>();
  /** Connection → its masks as text, as of the policy that sessions began under. */
  readonly #maskPlans = new Map<string, string>();
  #httpProblem: string | undefined;
  #httpTimer: NodeJS.Timeout | undefined;
  #halted: string | undefined;
  #revision = 0;
  #stopped: Promise<void> | undefined;

  /** Puts everything together and begins to serve; what cannot be served is a state, not an error. */
  static async start(options: HostOptions): Promise<Host> {
    // The parts may call before there is a host to take it: what they said is looked at once it is there.
    let host: Host | undefined;
    let halted: string | undefined;
    const parts = await options.parts({
      changed: () => host?.changed(),
      policyChanged: () => host?.policyChanged(),
      grantEnded: (sessions) => host?.cut(sessions),
      halted: (sentence) => {
        halted = sentence;
        host?.halt(sentence);
      },
    });
    host = new Host(options, parts, await options.ports.of(HTTP_PORT_NAME));
    const already = halted ?? parts.record.halted;
    if (already !== undefined) host.halt(already);
    await host.#listen();
    host.policyChanged();
    return host;
  }

  private constructor(options: HostOptions, parts: Parts, httpPort: number) {
    const { clock, log } = options;
    this.version = options.version;
    this.#options = options;
    this.#parts = parts;
    this.#startedAt = clock.now();
    this.#sessions = new LiveSessions(log, options.activity, (session) => parts.approvals.sessionEnded(session));
    this.#clients = new ClientLogins({ secret: options.secret, person: options.person, clock, newId });
    this.#secrets = new Secrets(options.env, (name) => {
      this.#serving.retry(name);
      this.changed();
    });
    this.#http = new LoopbackServer({ port: httpPort, clients: this.#clients, log });
    this.#oauth = new OAuthBroker({ now: () => clock.now(), log, changed: () => this.changed(), keep: options.keep });
    this.#others = new OthersApprovals({ own: parts.approvals, open: (opening) => this.#gateway.open(opening), newId, clock, log });
    const engine: Engine = {
      policy: parts.policy.current,
      approvals: this.#others,
      recorder: parts.record,
      masking: parts.masking,
      digest: options.digest,
      newId,
      clock,
      log,
      sessions: this.#sessions,
    };
    this.#pins = new Pins({
      storage: new PinFile(join(options.state, PINS_FILE), options.secret),
      clock,
      log,
      changed: () => {
        // Not from within: whoever is told may ask for the same again.
        queueMicrotask(() => this.#serving.reconsider());
        this.changed();
      },
    });
    const protocolHost: ProtocolHost = {
      engine,
      clients: this.#clients,
      secret: (ref) => this.#secrets.get(ref),
      port: (connection, configured) => options.ports.of(connection, configured),
      mount: (...mounted) => this.#http.mount(...mounted),
      served: (connection) => this.#serving.get(connection),
      connections: () => [...parts.policy.current().connections.values()],
      pins: this.#pins,
      changed: () => this.changed(),
      oauth: (settings) => this.#oauth.of(settings),
    };
    this.#gateway = new GatewayPart({
      env: options.env,
      version: options.version,
      clock,
      log,
      changed: () => this.#gatewayChanged(),
      organisation: parts.policy.organisation,
    });
    this.#serving = new Serving({
      protocols: parts.protocols,
      host: protocolHost,
      shared: sharedProtocol(this.#gateway),
      log,
      ...(options.retryMs !== undefined && { retryMs: options.retryMs }),
    });
    this.#own = options.own(protocolHost);
  }

  get language(): WindowHost['language'] {
    return this.#parts.language;
  }

  /** How many windows are open. */
  get windows(): number {
    return this.#windows.size;
  }

  /** How many clients are connected through the proxy. */
  get sessions(): number {
    return this.#sessions.size;
  }

  changed(): void {
    this.#revision++;
    this.#options.changed();
  }

  policyChanged(): void {
    const { policy, approvals } = this.#parts;
    approvals.policyChanged(policy.current().version);
    this.#others.policyChanged(policy.current().version);
    if (this.#halted === undefined && !this.#stopped) {
      this.#cutWhereMasksChanged();
      this.#serving.update(withOffered(policy.current().connections, this.#gateway));
      this.#serving.reconsider();
    }
    this.changed();
  }

  /** Connections come and go with what the gateway offers; all else that it says is for showing. */
  #gatewayChanged(): void {
    const offered = JSON.stringify(this.#gateway.offered.map(({ name, protocol, database, sensitive }) => [name, protocol, database, sensitive]));
    if (offered !== this.#offered && this.#halted === undefined && !this.#stopped) {
      this.#offered = offered;
      this.#serving.update(withOffered(this.#parts.policy.current().connections, this.#gateway));
    }
    this.changed();
  }

  /** A session masks as the policy said when it began: one that would mask differently now must begin again. */
  #cutWhereMasksChanged(): void {
    const policy = this.#parts.policy.current();
    const connections = new Set([...this.#maskPlans.keys(), ...policy.connections.keys()]);
    for (const connection of connections) {
      const plan = policy.connections.has(connection) ? planText(policy.maskPlan(connection)) : undefined;
      const before = this.#maskPlans.get(connection);
      if (plan === undefined) this.#maskPlans.delete(connection);
      else this.#maskPlans.set(connection, plan);
      if (before !== undefined && before !== plan) {
        void this.#sessions.end('what is masked on this connection has changed', this.#sessions.on(connection));
      }
    }
  }

  /** Nothing can be recorded any more: nothing is forwarded any more. */
  halt(sentence: string): void {
    if (this.#halted !== undefined) return;
    this.#halted = sentence;
    this.#options.log.error('host.halted');
    void this.#sessions.end(sentence);
    void this.#serving.stop(sentence).then(() => this.changed());
    this.changed();
  }

  opened(hello: Hello): void {
    this.#clients.window(hello.window, hello.editor);
    this.#windows.set(hello.window, (this.#windows.get(hello.window) ?? 0) + 1);
    this.#windowsChanged();
  }

  closed({ window }: Hello): void {
    const left = (this.#windows.get(window) ?? 1) - 1;
    if (left > 0) this.#windows.set(window, left);
    else {
      this.#windows.delete(window);
      if (!this.#stopped) void this.workspace(window, { folders: [] });
    }
    this.#windowsChanged();
  }

  snapshot(): Snapshot {
    const { policy, approvals, record } = this.#parts;
    const view = policy.view();
    return {
      revision: this.#revision,
      proxy: { version: this.version, pid: process.pid, startedAt: this.#startedAt, windows: this.#windows.size },
      person: this.#options.person,
      policy: { ...view, files: view.files.slice(0, MAX_SHOWN.files), problems: view.problems.slice(0, MAX_SHOWN.problems) },
      connections: connectionViews(this.#serving, this.#secrets, this.#pins).slice(0, MAX_SHOWN.connections),
      pending: approvals.pending().slice(0, MAX_SHOWN.pending),
      decided: approvals.decided().slice(0, MAX_SHOWN.decided),
      grants: approvals.grants().slice(0, MAX_SHOWN.grants),
      recordRevision: record.revision(),
      ...(this.#gateway.view && { gateway: this.#gateway.view }),
      ...(this.#halted !== undefined && { halted: this.#halted.slice(0, 1000) }),
    };
  }

  answer(answer: ApprovalAnswer): AnswerResult {
    return this.#parts.approvals.answer(answer, this.#options.person);
  }

  endGrant(id: string): boolean {
    return this.#parts.approvals.endGrant(id);
  }

  /** Ends the sessions that an ended grant has let through. */
  cut(sessions: readonly string[]): void {
    void this.#sessions.end('a person ended the grant that it used, and what the grant covered is asked again', sessions);
  }

  pinTexts(query: PinQuery): PinTexts {
    return this.#pins.texts(query);
  }

  pinAnswer(answer: PinAnswer): PinAnswered {
    return this.#pins.answer(answer);
  }

  operations(query: OperationQuery): OperationPage | Promise<OperationPage> {
    return this.#parts.record.operations(query);
  }

  operation(id: string, quick: boolean): OperationDetail | null | Promise<OperationDetail | null> {
    return this.#parts.record.operation(id, quick);
  }

  proposeRule(operation: string): Promise<RuleProposal | null> {
    return ruleProposal(operation, this.#parts.policy.inForce(), this.#parts.record);
  }

  access(window: string): SurfaceAccess {
    return surfaceAccess(window, { serving: this.#serving, clients: this.#clients, httpPort: this.#httpPort });
  }

  /** What a bridge that an agent's process `run` started needs; undefined while nothing listens. */
  agentAccess(run: string): { readonly url: string; readonly token: Secret } | undefined {
    const port = this.#httpPort;
    return port === undefined ? undefined : agentAccess(run, { clients: this.#clients, port });
  }

  putSecret(name: string, value: string | null): void {
    // Tokens are no secret that a policy could name.
    if (!this.#oauth.restore(name, value)) this.#secrets.put(name, value);
  }

  connectionOutput(connection: string): ConnectionOutput {
    return { lines: [...(this.#serving.get(connection)?.output?.lines() ?? [])] };
  }

  signIn(connection: string): Promise<string> {
    return this.#signedIn(connection).begin();
  }

  signInPage(connection: string, redirect: string): Promise<string> {
    return this.#signedIn(connection).address(redirect);
  }

  signOut(connection: string): Promise<void> {
    return this.#signedIn(connection).signOut();
  }

  #signedIn(connection: string): OAuthConnection {
    const oauth = this.#serving.get(connection)?.oauth;
    if (!oauth) throw new Problem('no-sign-in', `${connection} is not reached by signing in.`);
    return oauth;
  }

  putGateway(given: PutGateway): void {
    this.#gateway.put(given);
  }

  organisationPolicy(): OrganisationText {
    return this.#parts.policy.organisation.text();
  }

  async workspace(window: string, workspace: Workspace): Promise<void> {
    await this.#parts.policy.workspace(window, workspace);
  }

  doctor(): Promise<DoctorCheck[]> {
    return examine({
      policy: this.#parts.policy.view(),
      halted: this.#halted,
      verify: () => this.verify(undefined),
      serving: this.#serving,
      secrets: this.#secrets,
      pins: this.#pins,
      http: { port: this.#httpPort, problem: this.#httpProblem },
      state: this.#options.state,
      now: this.#options.clock.now(),
    });
  }

  verify(session: string | undefined): Promise<VerifyReport> {
    return this.#parts.record.verify(session);
  }

  shutdown(reason: string): void {
    this.#options.leave(reason);
  }

  /** Denies what waits, ends every session with a sentence, closes the record, frees the ports. */
  stop(sentence: string): Promise<void> {
    this.#stopped ??= this.#stop(sentence);
    return this.#stopped;
  }

  async #stop(sentence: string): Promise<void> {
    clearTimeout(this.#httpTimer);
    const { approvals, policy, record } = this.#parts;
    approvals.shutdown();
    this.#others.shutdown();
    await this.#serving.stop(sentence);
    await this.#gateway.stop(sentence);
    await this.#own.stop();
    await this.#http.stop();
    this.#oauth.stop();
    await this.#sessions.end(sentence);
    await record.stop(sentence);
    await policy.stop();
  }

  get #httpPort(): number | undefined {
    return this.#http.listening ? this.#http.port : undefined;
  }

  #windowsChanged(): void {
    this.#parts.approvals.setAudience(this.#windows.size);
    this.#options.activity();
    this.changed();
  }

  /** Opens the loopback server, again and again while somebody else has its port. */
  async #listen(): Promise<void> {
    try {
      await this.#http.start();
      this.#httpProblem = undefined;
      if (this.#stopped) return await this.#http.stop();
    } catch (cause) {
      const problem = portProblem('the MCP endpoint', this.#http.port, cause);
      if (this.#httpProblem === undefined) this.#options.log.warn('http.not-served', { cause: problem });
      this.#httpProblem = problem.message;
      if (this.#stopped) return;
      this.#httpTimer = setTimeout(() => void this.#listen(), this.#options.retryMs ?? HTTP_RETRY_MS);
    }
    this.changed();
  }
}

function planText({ columns, detectors, otherwise }: MaskPlan): string {
  return JSON.stringify([[...columns].sort(), [...detectors].sort(), otherwise]);
}
