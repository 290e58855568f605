/** Gateways' data paths on a real store and a real HTTP server, in this process; tokens are handed out by the test. */
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { Person } from '../../../contract/actor.ts';
import { Problem } from '../../../contract/problem.ts';
import { Secret } from '../../../contract/secret.ts';
import { Acts } from '../../../gateway/recording/chains.ts';
import { type SessionOwner, StoreRecorder } from '../../../gateway/recording/recorder.ts';
import { type RecordKey, recordKey } from '../../../gateway/recording/recordKey.ts';
import { closeSessionsOf } from '../../../gateway/recording/recovery.ts';
import { DataPath } from '../../../gateway/sessions/dataPath.ts';
import type { Database } from '../../../gateway/store/database.ts';
import { migrate } from '../../../gateway/store/migrate.ts';
import { openPostgres } from '../../../gateway/store/postgres.ts';
import { Replica } from '../../../gateway/store/replica.ts';
import type { TunnelPrincipal } from '../../../gateway/tunnel/principal.ts';
import { type ApprovalQueue, createApprovals } from '../../../proxy/approval/queue.ts';
import { digestWith, newId } from '../../../proxy/daemon/installation.ts';
import { LiveSessions } from '../../../proxy/daemon/sessions.ts';
import { createSessionMasking } from '../../../proxy/masking/sessionMasking.ts';
import { Conversation } from '../../../proxy/pipeline/conversation.ts';
import { loadPolicy } from '../../../proxy/policy/load.ts';
import type { Policy } from '../../../proxy/policy/policy.ts';
import { mcpRelay } from '../../../proxy/protocols/mcp/mcp.ts';
import { postgres } from '../../../proxy/protocols/postgres/serve.ts';
import { listen } from '../tunnel/network.ts';

const clock = { now: (): number => Date.now() };

export interface TestGateway {
  readonly path: DataPath;
  readonly recordKey: RecordKey;
  readonly sessions: LiveSessions;
  readonly replica: Replica;
  readonly db: Database;
  readonly approvals: ApprovalQueue;
  readonly port: number;
  readonly url: string;
  readonly logged: string[];
  /** An access token of a person. */
  token(subject: string, more?: Partial<TunnelPrincipal> & { readonly lifeMs?: number }): { value: string; expiresAt: number };
  /** Takes this very token, as other replicas do. */
  accept(token: string, subject: string): void;
  setPolicy(text: string): void;
  stop(): Promise<void>;
}

export interface GatewaySetup {
  /** Of the gateway's own database. */
  readonly store: string;
  readonly policy: string;
  readonly secrets: ReadonlyMap<string, string>;
  readonly seed?: string;
  readonly leaseMs?: number;
  /** How often the lease is renewed, and looked for those that have run out; a fifth of it when absent. */
  readonly renewMs?: number;
  readonly patienceMs?: number;
}

export async function testGateway({ leaseMs, patienceMs, policy: text, renewMs, secrets, seed = 'seed', store }: GatewaySetup): Promise<TestGateway> {
  const logged: string[] = [];
  const add = (event: string, fields?: unknown): void =>
    void logged.push(`${event} ${JSON.stringify(fields, (_k, v: unknown) => (v instanceof Error ? v.message : v))}`);
  const log = { info: add, warn: add, error: add };
  const db = openPostgres({ url: store, log });
  await migrate(db, log);
  let policy = parse(text);
  const tokens = new Map<string, TunnelPrincipal>();
  const approvals = createApprovals({ clock, newId: (prefix) => newId(prefix), onChange: () => {} });
  approvals.setAudience(1);
  const derive = (use: string): Buffer => createHash('sha256').update(seed).update(use).digest();
  const key = recordKey(derive('record signing'));
  const sessions = new LiveSessions(
    log,
    () => {},
    (session) => approvals.sessionEnded(session),
  );
  const replica: Replica = new Replica(db, {
    version: '1',
    log,
    ...(leaseMs !== undefined && { leaseMs, renewMs: renewMs ?? leaseMs / 5 }),
    onFenced: () => void sessions.end('the gateway lost touch with its store'),
    onDead: async (tx, dead) => {
      for (const chain of await closeSessionsOf(tx, key, dead, clock.now())) recorder.signSoon(chain);
    },
  });
  const conversations = new Map<string, Conversation>();
  const owners = new Map<string, SessionOwner>();
  const recorder: StoreRecorder = new StoreRecorder({
    db,
    key,
    clock,
    log,
    replica,
    ownerOf: ({ actor, conversation }) => owners.get(conversation) ?? { person: `per_${actor.person.subject}`, basis: `log_${actor.person.subject}` },
    onHalt: (sentence) => {
      if (sentence !== undefined) void sessions.end(sentence);
    },
    onFenced: (session) => void sessions.end('another gateway has taken over', [session]),
    ...(patienceMs !== undefined && { patienceMs }),
  });
  const path: DataPath = new DataPath({
    engine: {
      policy: () => policy,
      approvals,
      recorder,
      masking: (connection, vault) => createSessionMasking({ plan: policy.maskPlan(connection), hashKey: derive('masks'), vault, connection }),
      digest: digestWith(new Secret(derive('digests').toString('hex'))),
      newId,
      clock,
      log,
      sessions,
    },
    sessions,
    protocols: [postgres, mcpRelay()],
    secret: ({ name }) => {
      const value = secrets.get(name);
      return value === undefined ? undefined : new Secret(value);
    },
    authenticate: async (token) => {
      const known = tokens.get(token);
      if (!known) throw new Problem('bad-token', 'This sign-in is not valid any more. Sign in again.');
      return known;
    },
    identity: ({ basis, id, person }, { agent, conversation: name, readOnly, reason, surface }) => {
      const conversation = conversations.get(`${id} ${name}`) ?? new Conversation(newId('con'));
      conversations.set(`${id} ${name}`, conversation);
      owners.set(conversation.id, { person: id, basis });
      return { actor: { person, agent }, surface, conversation, ...(readOnly !== undefined && { readOnly }), ...(reason !== undefined && { reason }) };
    },
  });
  await replica.start();
  await new Acts(key).begin(db);
  path.policyChanged();
  await path.settled();
  const http = createServer();
  http.on('upgrade', (request, socket, head) => {
    if (!path.tunnel.upgrade(request, socket, head)) socket.destroy();
  });
  const port = await listen(http);
  return {
    path,
    recordKey: key,
    sessions,
    replica,
    db,
    approvals,
    port,
    url: `http://127.0.0.1:${port}`,
    logged,
    token: (subject, { lifeMs = 3_600_000, ...more } = {}) => {
      const value = randomBytes(16).toString('hex');
      const person: Person = { issuer: 'https://idp.example', subject, name: subject, groups: [] };
      const expiresAt = Date.now() + lifeMs;
      tokens.set(value, { id: `per_${subject}`, person, basis: `log_${subject}`, expiresAt, ...more });
      return { value, expiresAt };
    },
    accept: (token, subject) => {
      const person: Person = { issuer: 'https://idp.example', subject, groups: [] };
      tokens.set(token, { id: `per_${subject}`, person, basis: `log_${subject}`, expiresAt: Date.now() + 3_600_000 });
    },
    setPolicy: (next) => {
      policy = parse(next);
      approvals.policyChanged(policy.version);
      path.policyChanged();
    },
    stop: async () => {
      approvals.shutdown();
      await path.stop('The test is over.', 0);
      await recorder.stop('The test is over.', 1_000);
      const closed = new Promise((resolve) => http.close(resolve));
      http.closeAllConnections();
      await closed;
      await replica.stop().catch(() => {});
      await db.close();
    },
  };
}

function parse(text: string): Policy {
  const loaded = loadPolicy([{ layer: 'organisation', file: 'organisation.yaml', text }], { gateway: true });
  if (!loaded.ok) throw new Error(`the test's policy is broken: ${loaded.problems.map((p) => `${p.line}: ${p.message}`).join('; ')}`);
  return loaded.policy;
}
