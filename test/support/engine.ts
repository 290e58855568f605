/** A real engine on temporary folders: the proxy's own policy, masking, recorder and approvals, with a person who answers as a test says. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Actor, Person } from '../../contract/actor.ts';
import type { ApprovalAnswer, PendingApproval } from '../../contract/approval.ts';
import { NARROWEST } from '../../contract/approval.ts';
import { Entry, type EntryBody } from '../../contract/recording.ts';
import { Secret } from '../../contract/secret.ts';
import { freePort } from '../../demo/freePort.ts';
import { type ApprovalQueue, createApprovals } from '../../proxy/approval/queue.ts';
import { digestWith, newId } from '../../proxy/daemon/installation.ts';
import { createSessionMasking } from '../../proxy/masking/masking.ts';
import { Pins } from '../../proxy/pinning/pins.ts';
import { Conversation } from '../../proxy/pipeline/conversation.ts';
import type { Engine } from '../../proxy/pipeline/engine.ts';
import type { Session } from '../../proxy/pipeline/session.ts';
import { loadPolicy } from '../../proxy/policy/load.ts';
import type { ConnectionConfig, Policy } from '../../proxy/policy/policy.ts';
import type { ClientIdentity, ProtocolHost } from '../../proxy/protocols/protocol.ts';
import { createRecorder, type LocalRecorder } from '../../proxy/recording/localRecorder.ts';
import { PinsInMemory } from './pins.ts';

export const ADA: Person = { issuer: 'os', subject: 'ada', name: 'Ada', groups: [] };
const SCRIPT: Actor = { person: ADA, agent: { kind: 'script', name: 'test' } };
export const LOGIN = { user: 'agent', password: 'short-lived-login-of-the-tests' };

export interface TestEngine {
  readonly engine: Engine;
  readonly approvals: ApprovalQueue;
  readonly host: ProtocolHost;
  readonly directory: string;
  readonly sessions: Set<Session>;
  readonly logged: { level: string; event: string; fields: unknown }[];
  /** Upstream secrets by name; delete one to have it missing. */
  readonly secrets: Map<string, Secret>;
  policy(): Policy;
  setPolicy(text: string): void;
  identity(more?: Partial<ClientIdentity>): ClientIdentity;
  /** The next question that comes up, answered; resolves with it. */
  onAsk(answer: 'approve' | 'deny' | ((pending: PendingApproval) => ApprovalAnswer | undefined), note?: string): Promise<PendingApproval>;
  /** Questions that no `onAsk` waits for are denied; while held they stay open. */
  holdAsks(hold: boolean): void;
  /** Every entry of every session, in the order of each file, read from disk. */
  entries(): Promise<EntryBody[]>;
  /** All that was written to disk, as text. */
  written(): Promise<string>;
  stop(): Promise<void>;
}

function parsePolicy(text: string): Policy {
  const loaded = loadPolicy([{ layer: 'user', file: 'countersign.yaml', text }]);
  if (!loaded.ok) throw new Error(`the test's policy is broken: ${loaded.problems.map((p) => `${p.line}: ${p.message}`).join('; ')}`);
  return loaded.policy;
}

export async function testEngine(policyText: string): Promise<TestEngine> {
  const directory = await mkdtemp(join(tmpdir(), 'countersign-test-'));
  const key = randomBytes(32);
  const clock = { now: () => Date.now() };
  const logged: TestEngine['logged'] = [];
  const log = {
    info: (event: string, fields?: unknown) => void logged.push({ level: 'info', event, fields }),
    warn: (event: string, fields?: unknown) => void logged.push({ level: 'warn', event, fields }),
    error: (event: string, fields?: unknown) => void logged.push({ level: 'error', event, fields }),
  };
  const recorder: LocalRecorder = await createRecorder({ directory: join(directory, 'record'), clock, log });
  let policy = parsePolicy(policyText);
  const answers: { answer: Parameters<TestEngine['onAsk']>[0]; note: string | undefined; seen: (pending: PendingApproval) => void }[] = [];
  const answered = new Set<string>();
  let holding = false;
  const approvals = createApprovals({
    clock,
    newId: (prefix) => newId(prefix),
    onChange: () => queueMicrotask(answerNext),
  });
  approvals.setAudience(1);
  const answerNext = (): void => {
    for (const pending of approvals.pending()) {
      if (answered.has(pending.id)) continue;
      const next = answers.shift();
      if (!next && holding) return;
      answered.add(pending.id);
      const base = { id: pending.id, digest: pending.digest };
      const click: ApprovalAnswer | undefined = !next
        ? { answer: 'deny', ...base, note: 'the test did not expect this question' }
        : typeof next.answer === 'function'
          ? next.answer(pending)
          : next.answer === 'approve'
            ? { answer: 'approve', ...base, scope: NARROWEST }
            : { answer: 'deny', ...base, ...(next.note !== undefined && { note: next.note }) };
      if (click) approvals.answer(click, ADA);
      next?.seen(pending);
    }
  };
  const sessions = new Set<Session>();
  const engine: Engine = {
    policy: () => policy,
    approvals,
    recorder,
    masking: (connection, vault) => createSessionMasking({ plan: policy.maskPlan(connection), hashKey: key, vault, connection }),
    digest: digestWith(new Secret(key.toString('hex'))),
    newId,
    clock,
    log,
    sessions: { opened: (session) => void sessions.add(session), closed: (session) => void sessions.delete(session) },
  };
  const secrets = new Map<string, Secret>();
  const conversation = new Conversation(newId('con'));
  const identity = (more: Partial<ClientIdentity> = {}): ClientIdentity => ({ actor: SCRIPT, surface: 'terminal', conversation, ...more });
  const login = new Secret(LOGIN.password);
  const host: ProtocolHost = {
    engine,
    clients: { login: (user) => (user === LOGIN.user ? { secret: login, identity: identity() } : undefined), bearer: () => undefined },
    secret: (ref) => secrets.get(ref.name),
    port: (_connection, configured) => (configured === undefined ? freePort() : Promise.resolve(configured)),
    mount: () => ({ dispose: () => {} }),
    served: () => undefined,
    connections: (): readonly ConnectionConfig[] => [...policy.connections.values()],
    pins: new Pins({ storage: new PinsInMemory(), clock, log, changed: () => {} }),
    changed: () => {},
  };
  const files = async (): Promise<string[]> => {
    await recorder.flush();
    const names = await readdir(directory, { recursive: true, withFileTypes: true });
    return names.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  };
  return {
    engine,
    approvals,
    host,
    directory,
    sessions,
    logged,
    secrets,
    policy: () => policy,
    setPolicy: (text) => {
      policy = parsePolicy(text);
      approvals.policyChanged(policy.version);
    },
    identity,
    onAsk: (answer, note) =>
      new Promise((seen) => {
        answers.push({ answer, note, seen });
        answerNext();
      }),
    holdAsks: (hold) => {
      holding = hold;
      if (!hold) answerNext();
    },
    entries: async () => {
      const bodies: EntryBody[] = [];
      for (const file of (await files()).filter((name) => name.includes('sessions') && name.endsWith('.jsonl'))) {
        for (const line of (await readFile(file, 'utf8')).split('\n')) if (line !== '') bodies.push(Entry.parse(JSON.parse(line)).body);
      }
      return bodies;
    },
    written: async () => (await Promise.all((await files()).map((file) => readFile(file, 'latin1').catch(() => '')))).join('\n'),
    stop: async () => {
      approvals.shutdown();
      await recorder.stop('the test is over');
      await rm(directory, { recursive: true, force: true });
    },
  };
}
