/** Believable snapshots for the tests of what is shown. */
import type { Person } from '../../contract/actor.ts';
import type { PendingApproval } from '../../contract/approval.ts';
import type { ConnectionView, OperationSummary, Snapshot } from '../../contract/control.ts';

export const ADA: Person = { issuer: 'os', subject: 'ada', groups: ['dba'] };

export function ask(change: Partial<PendingApproval> = {}, approvers: string[] = ['requester']): PendingApproval {
  return {
    id: 'ap_1',
    operation: 'op_1',
    digest: 'd1',
    session: 's1',
    conversation: 'c1',
    actor: { person: ADA, agent: { kind: 'claude-code', name: 'Claude Code' } },
    connection: 'orders',
    protocol: 'postgres',
    facts: { effect: 'write', verb: 'UPDATE', targets: [], bulk: false, sensitive: [], headline: 'UPDATE orders', notes: [] },
    verdict: {
      decision: 'ask',
      rule: { id: 'production-writes', layer: 'user' },
      because: 'it writes',
      policyVersion: 'v1',
      approvers,
      quorum: 1,
      expiresMs: 600_000,
      preview: 'none',
    },
    payload: "UPDATE orders SET status = 'refunded'",
    language: 'sql',
    params: [],
    askedAt: 1_000,
    deadline: 601_000,
    scopes: [{ what: 'exact', howLong: 'once' }],
    dryRun: { state: 'none' },
    conversationSummary: { operations: 1, sensitive: [] },
    ...change,
  };
}

export function connection(change: Partial<ConnectionView> = {}): ConnectionView {
  return {
    name: 'orders',
    protocol: 'postgres',
    via: 'local',
    state: 'ready',
    address: 'postgres://127.0.0.1:28100/orders',
    credential: 'static login, kept by the editor',
    sensitive: { 'customers.email': 'partial' },
    ...change,
  };
}

export function snapshot(change: Partial<Snapshot> = {}): Snapshot {
  return {
    revision: 1,
    proxy: { version: '0.1.0', pid: 4242, startedAt: 0, windows: 1 },
    person: ADA,
    policy: { version: 'v1', files: ['/home/ada/countersign.yaml'], problems: [], rules: 3 },
    connections: [connection()],
    pending: [],
    decided: [],
    grants: [],
    recordRevision: 0,
    ...change,
  };
}

export function operation(change: Partial<OperationSummary> = {}): OperationSummary {
  return {
    operation: 'op_1',
    session: 's1',
    conversation: 'c1',
    at: new Date(2026, 10, 20, 10, 41).getTime(),
    actor: { person: ADA, agent: { kind: 'claude-code', name: 'Claude Code' } },
    connection: 'orders',
    protocol: 'postgres',
    headline: 'SELECT customers',
    effect: 'read',
    decision: 'allow',
    rule: 'defaults.read',
    outcome: 'done',
    rows: 50,
    masked: 3,
    tookMs: 12,
    ...change,
  };
}
