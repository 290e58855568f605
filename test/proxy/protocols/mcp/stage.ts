/** A proxy's insides around the MCP surface: the real HTTP server, logins, approvals and masking; policy and record by the test. */
import { createHash } from 'node:crypto';
import { Client, type ClientOptions, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { Person } from '../../../../contract/actor.ts';
import type { Facts } from '../../../../contract/facts.ts';
import type { Digest } from '../../../../contract/ids.ts';
import type { EntryBody } from '../../../../contract/recording.ts';
import { Secret } from '../../../../contract/secret.ts';
import type { Decision } from '../../../../contract/verdict.ts';
import { freePort } from '../../../../demo/freePort.ts';
import { createApprovals } from '../../../../proxy/approval/queue.ts';
import { LoopbackServer } from '../../../../proxy/http/loopback.ts';
import { ClientLogins } from '../../../../proxy/identity/clients.ts';
import { createSessionMasking } from '../../../../proxy/masking/masking.ts';
import { Pins } from '../../../../proxy/pinning/pins.ts';
import type { Engine } from '../../../../proxy/pipeline/engine.ts';
import type { ConnectionConfig, DecisionContext } from '../../../../proxy/policy/policy.ts';
import type { ClientIdentity, ProtocolHost, Served } from '../../../../proxy/protocols/protocol.ts';
import type { SessionHeader } from '../../../../proxy/recording/recorder.ts';
import { PinsInMemory } from '../../../support/pins.ts';
import { within } from '../../../support/soon.ts';

const ada: Person = { issuer: 'os', subject: 'ada', name: 'Ada', groups: [] };

export class Stage {
  readonly entries: EntryBody[] = [];
  readonly sessions: SessionHeader[] = [];
  readonly decided: { readonly facts: Facts; readonly context: DecisionContext }[] = [];
  readonly logged: { readonly event: string; readonly fields?: unknown }[] = [];
  readonly connections: ConnectionConfig[] = [];
  readonly served = new Map<string, Served>();
  readonly secrets = new Map<string, Secret>();
  policyVersion = 'v1';
  /** What time it is: a test may have it stand still. */
  now: () => number = Date.now;
  decide: (facts: Facts, context: DecisionContext) => Decision = () => 'allow';
  deniedForGood: (facts: Facts, context: DecisionContext) => boolean = () => false;
  readonly pinned = new PinsInMemory();
  /** Whether a person looks at what is quarantined at once, and accepts it. */
  acceptsAll = true;
  readonly host: ProtocolHost;
  readonly clients: ClientLogins;
  /** Window → whose it is, where it is not Ada's. */
  readonly people = new Map<string, Person>();
  readonly http: LoopbackServer;
  readonly #asked: (() => void)[] = [];
  readonly approvals = createApprovals({
    clock: { now: () => Date.now() },
    newId: () => `app_${Math.random().toString(36).slice(2)}`,
    onChange: () => {
      for (const tell of this.#asked.splice(0)) tell();
    },
  });
  readonly #clients: Client[] = [];

  /** @param ownOrigin takes requests that a page of its own would send; without it no page's */
  static async start(ownOrigin = false): Promise<Stage> {
    const port = await freePort();
    const stage = new Stage(port, ownOrigin ? [`http://127.0.0.1:${port}`] : []);
    await stage.http.start();
    stage.approvals.setAudience(1);
    return stage;
  }

  private constructor(port: number, allowedOrigins: readonly string[]) {
    let ids = 0;
    const clock = { now: () => this.now() };
    const newId = (prefix: string): string => `${prefix}_${++ids}`;
    const write = (kind: string) => (event: string, fields?: unknown) => void this.logged.push({ event: `${kind} ${event}`, fields });
    const log = { info: write('info'), warn: write('warn'), error: write('error') };
    this.clients = new ClientLogins({ secret: new Secret('s'.repeat(64)), person: ada, clock, newId });
    const bearer = (token: string): ClientIdentity | undefined => {
      const identity = this.clients.bearer(token);
      const person = [...this.people].find(([window]) => this.clients.issueBearer(window).reveal() === token)?.[1];
      return identity && person ? { ...identity, actor: { ...identity.actor, person } } : identity;
    };
    const clients = { login: (user: string) => this.clients.login(user), bearer };
    this.http = new LoopbackServer({ port, clients, log, allowedOrigins });
    const maskPlan = { columns: new Map(), detectors: new Map(), otherwise: 'redact' } as const;
    const engine: Engine = {
      policy: () => ({
        version: this.policyVersion,
        connections: new Map(this.connections.map((c) => [c.name, c])),
        decide: (facts, context) => {
          this.decided.push({ facts, context });
          return {
            decision: this.decide(facts, context),
            rule: { id: 'the-rule', layer: 'user' },
            because: 'the test says so',
            policyVersion: this.policyVersion,
            approvers: ['requester'],
            quorum: 1,
            expiresMs: 60_000,
            preview: 'none',
          };
        },
        cacheable: () => false,
        deniedForGood: (facts, context) => this.deniedForGood(facts, context),
        maskPlan: () => maskPlan,
      }),
      approvals: this.approvals,
      recorder: {
        open: async (header) => {
          this.sessions.push(header);
          return {
            append: (body) => void this.entries.push(body),
            appendOperation: (entry) => void this.entries.push(entry.body()),
            sync: async () => {},
            close: async (reason) => void this.entries.push({ type: 'session.close', reason }),
          };
        },
        halted: undefined,
        keepRaw: () => {},
      },
      masking: () => createSessionMasking({ plan: maskPlan, hashKey: new Uint8Array(32) }),
      digest: (parts) => createHash('sha256').update(JSON.stringify(parts)).digest('hex') as Digest,
      newId,
      clock,
      log,
    };
    this.host = {
      engine,
      clients: this.clients,
      secret: (ref) => this.secrets.get(ref.name),
      port: async (_, configured) => configured ?? freePort(),
      mount: (...mounted) => this.http.mount(...mounted),
      served: (name) => this.served.get(name),
      connections: () => this.connections,
      pins: new Pins({ storage: this.pinned, clock, log, changed: () => queueMicrotask(() => this.#pinsChanged()) }),
      changed: () => {},
    };
  }

  #pinsChanged(): void {
    if (!this.acceptsAll) return;
    for (const connection of this.served.keys()) this.accept(connection);
    for (const { name } of this.connections) this.accept(name);
  }

  /** A person accepts all that waits of a server. */
  accept(connection: string): void {
    const items = this.host.pins.view(connection).quarantined.map(({ kind, name, hash }) => ({ kind, name, hash }));
    if (items.length > 0) this.host.pins.answer({ connection, items, answer: 'accept' });
  }

  url(path: string): URL {
    return new URL(`http://127.0.0.1:${this.http.port}/${path}`);
  }

  headers(window = 'window'): Record<string, string> {
    return { Authorization: `Bearer ${this.clients.issueBearer(window).reveal()}` };
  }

  /** Headers of a request of 2026-07-28. @param name what the method is about, where it is about something */
  statelessHeaders(method: string, name: unknown, window?: string): Record<string, string> {
    return {
      ...this.headers(window),
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
      'MCP-Protocol-Version': '2026-07-28',
      'Mcp-Method': method,
      ...(typeof name === 'string' && { 'Mcp-Name': name }),
    };
  }

  /** A real client, connected; `modern` pins the stateless era. */
  async client(
    path: string,
    {
      modern = false,
      window = 'window',
      options = {},
      name = 'claude-code',
    }: { modern?: boolean; window?: string; options?: ClientOptions; name?: string } = {},
  ): Promise<Client> {
    const client = new Client({ name, version: '9.9' }, { ...options, ...(modern && { versionNegotiation: { mode: { pin: '2026-07-28' } } }) });
    this.#clients.push(client);
    await client.connect(new StreamableHTTPClientTransport(this.url(path), { requestInit: { headers: this.headers(window) } }));
    return client;
  }

  /** The question that is waiting, as soon as there is one. */
  async question() {
    for (;;) {
      const [first] = this.approvals.pending();
      if (first) return first;
      await within('a question', new Promise<void>((resolve) => this.#asked.push(resolve)));
    }
  }

  /** Resolves when nothing waits any more. */
  async quiet(): Promise<void> {
    while (this.approvals.pending().length > 0) await within('the last answer', new Promise<void>((resolve) => this.#asked.push(resolve)));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close().catch(() => {})));
    this.approvals.shutdown();
    await this.http.stop();
  }
}
