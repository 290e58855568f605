/** Believable things to show, in the editor and in a panel. Times are relative to `NOW`, so that what is rendered does not change. */
import type { DecidedApproval, GrantView, PendingApproval } from '../../contract/approval.ts';
import type { ConnectionView, OperationDetail, OperationSummary, Snapshot } from '../../contract/control.ts';
import type { Facts } from '../../contract/facts.ts';
import type { AccessAsk } from '../../contract/gateway/approvals.ts';
import type { Answer } from '../../contract/response.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { ApprovalsSnapshot } from '../../contract/webview.ts';

/** Epoch milliseconds. */
export const NOW = Date.UTC(2026, 10, 20, 9, 41, 0);
export const ADA = { issuer: 'os', subject: 'ada', name: 'Ada', groups: [] };
export const BEN = { issuer: 'os', subject: 'ben', name: 'Ben', groups: ['dba'] };

export function facts(over: Partial<Facts> = {}): Facts {
  return {
    effect: 'write',
    verb: 'UPDATE',
    targets: [{ kind: 'table', name: 'orders' }],
    bulk: false,
    sensitive: [],
    headline: 'UPDATE orders',
    notes: ['one table', 'has WHERE'],
    sql: { statement: 'UPDATE', where: true, functions: [], returned: [], predicates: [], written: [], session: false },
    ...over,
  };
}

export function verdict(over: Partial<Verdict> = {}): Verdict {
  return {
    decision: 'ask',
    rule: { id: 'production-writes', layer: 'organisation', file: '/etc/countersign/countersign.yaml', line: 31 },
    because: 'connection is orders and effect is write',
    policyVersion: 'p-1',
    approvers: ['requester'],
    quorum: 1,
    expiresMs: 600_000,
    preview: 'dry-run',
    ...over,
  };
}

export function pending(over: Partial<PendingApproval> = {}): PendingApproval {
  return {
    id: 'app-1',
    operation: 'op-1',
    digest: 'd-1',
    session: 'ses-1',
    conversation: 'con-1',
    actor: { person: ADA, agent: { kind: 'claude-code', name: 'Claude Code' } },
    connection: 'orders',
    protocol: 'postgres',
    facts: facts(),
    verdict: verdict(),
    payload: "UPDATE orders\nSET status = 'refunded'\nWHERE placed_at < '2026-01-01' AND id > $1",
    language: 'sql',
    params: ['1041'],
    reason: 'refund the stale orders',
    askedAt: NOW - 120_000,
    deadline: NOW + 480_000,
    scopes: [
      { what: 'exact', howLong: 'once' },
      { what: 'exact', howLong: 'session' },
      { what: 'shape', howLong: 'session' },
      { what: 'shape', howLong: '15m' },
      { what: 'shape', howLong: '1h' },
      { what: 'target', howLong: 'session' },
      { what: 'target', howLong: '15m' },
    ],
    dryRun: {
      state: 'done',
      result: {
        rows: 214,
        columns: ['id', 'status', 'placed_at'],
        samples: [
          { before: ['1042', 'paid', '2025-11-02'], after: ['1042', 'refunded', '2025-11-02'] },
          { before: ['1043', 'paid', '2025-11-03'], after: ['1043', 'refunded', '2025-11-03'] },
          { before: ['1051', 'shipped', '2025-11-09'], after: ['1051', 'refunded', '2025-11-09'] },
        ],
      },
    },
    conversationSummary: { operations: 14, sensitive: ['orders/customers'] },
    ...over,
  };
}

/** An ask of a tool of an MCP server, another one for each `n`. */
export function toolAsk(n: number, over: Partial<PendingApproval> = {}): PendingApproval {
  return pending({
    id: `app-tool-${n}`,
    operation: `op-tool-${n}`,
    digest: `d-tool-${n}`,
    actor: { person: ADA, agent: { kind: 'cursor', name: 'Cursor' } },
    connection: 'github',
    protocol: 'mcp',
    facts: facts({
      effect: 'send',
      verb: 'tools/call',
      targets: [{ kind: 'tool', name: 'create_issue' }],
      headline: 'create_issue',
      notes: ['tool says: not read-only'],
    }),
    verdict: verdict({ rule: { id: 'tools-that-send', layer: 'builtin' }, because: 'effect is send' }),
    payload: JSON.stringify({ title: `Refund run ${n}`, labels: ['ops', 'refunds'], count: n, draft: false }, null, 2),
    language: 'json',
    params: [],
    dryRun: { state: 'none' },
    askedAt: NOW - 60_000 + n,
    deadline: NOW + 240_000,
    ...over,
  });
}

/** An ask of a call that could carry out what the conversation has read: from a database and from another server. */
export function carryingAsk(over: Partial<PendingApproval> = {}): PendingApproval {
  return toolAsk(1, {
    verdict: verdict({ rule: { id: 'after-sensitive-read-calls-ask', layer: 'builtin' }, because: 'this conversation has read sensitive data' }),
    conversationSummary: {
      operations: 31,
      sensitive: ['orders/customers', 'crm/get_contact'],
      reads: [
        { connection: 'orders', target: 'customers', what: ['customers.email', 'customers.ssn'], masked: 428, at: NOW - 90_000 },
        { connection: 'crm', target: 'get_contact', what: ['card'], masked: 1, at: NOW - 240_000 },
        { connection: 'files', target: '/srv/exports/2026/quarter-three/customers-with-cards-and-addresses.csv', what: ['iban'], masked: 0, at: NOW - 300_000 },
      ],
    },
    ...over,
  });
}

export function decided(over: Partial<DecidedApproval> = {}): DecidedApproval {
  return {
    id: 'app-0',
    operation: 'op-0',
    headline: 'UPDATE orders',
    connection: 'orders',
    agent: 'Claude Code',
    answer: 'approved',
    why: 'person',
    by: ADA,
    decidedAt: NOW - 60_000,
    outcome: 'done · 214 rows',
    ...over,
  };
}

/** Somebody's request for access over a time, which the person may grant. */
export function accessAsk(over: Partial<AccessAsk> = {}): AccessAsk {
  return {
    id: 'app-access',
    digest: 'd-access',
    access: {
      connection: 'orders',
      effects: ['read', 'write'],
      targets: ['customers', 'orders'],
      minutes: 60,
      reason: 'A long afternoon of refunds',
      reviewers: [],
    },
    requester: BEN,
    askedAt: NOW - 60_000,
    deadline: NOW + 80_000_000,
    approvers: ['group:dba'],
    approvals: 0,
    quorum: 1,
    mine: 'approve',
    ...over,
  };
}

export function grant(over: Partial<GrantView> = {}): GrantView {
  return { id: 'gra-1', what: 'shape', covers: 'UPDATE orders (same shape)', connection: 'orders', by: ADA, until: NOW + 900_000, used: 3, ...over };
}

export function snapshot(over: Partial<ApprovalsSnapshot> = {}): ApprovalsSnapshot {
  return { type: 'snapshot', link: { state: 'on' }, me: ADA, pending: [], decided: [], grants: [], policyProblems: 0, now: NOW, ...over };
}

export function connection(over: Partial<ConnectionView> = {}): ConnectionView {
  return {
    name: 'orders',
    protocol: 'postgres',
    via: 'local',
    state: 'ready',
    address: 'postgres://127.0.0.1:28100/orders',
    credential: 'static login, kept by the editor',
    sensitive: { 'customers.email': 'partial' },
    ...over,
  };
}

/** What a proxy tells a window of itself. */
export function proxySnapshot(over: Partial<Snapshot> = {}): Snapshot {
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
    ...over,
  };
}

const PEOPLE: readonly (readonly [string, string, string])[] = [
  ['Ada Lovelace', 'ada.lovelace@example.org', '078-05-1120'],
  ['Grace Hopper', 'grace@example.com', '219-09-9999'],
  ['Katherine Johnson', 'kj@example.net', '457-55-5462'],
];

/** Rows of customers as the agent saw them, and as they were. */
export function customers(count = 3): { readonly answer: Answer; readonly raw: Answer } {
  const rows = Array.from({ length: count }, (_, i) => [String(i + 1), ...(PEOPLE[i % PEOPLE.length] ?? ['', '', '']), 'note'] as const);
  return {
    answer: {
      kind: 'rows',
      columns: ['id', 'name', 'email', 'ssn', 'note'],
      rows: rows.map(([id, name, , , note], i) => [id, name, `‹email·${(i % PEOPLE.length) + 1}›`, '‹redacted›', i === 1 ? 'call ‹phone·1› after six' : note]),
      truncated: false,
      findings: rows.flatMap((_, i) => [
        { label: 'customers.email', by: 'column', mask: 'token' as const, at: [i, 2] as [number, number], shape: '•••@•••••••.•••' },
        { label: 'customers.ssn', by: 'column', mask: 'redact' as const, at: [i, 3] as [number, number], shape: '•••-••-••••' },
        ...(i === 1 ? [{ label: 'phone', by: 'phone', mask: 'token' as const, at: [i, 4] as [number, number], shape: '+•• ••• •••••••' }] : []),
      ]),
    },
    raw: {
      kind: 'rows',
      columns: ['id', 'name', 'email', 'ssn', 'note'],
      rows: rows.map(([id, name, email, ssn, note], i) => [id, name, email, ssn, i === 1 ? 'call +1 555 0100200 after six' : note]),
      truncated: false,
      findings: [],
    },
  };
}

export function operation(over: Partial<OperationSummary> = {}): OperationSummary {
  return {
    operation: 'op-1',
    session: 'ses-1',
    conversation: 'con-1',
    at: NOW,
    actor: { person: ADA, agent: { kind: 'claude-code', name: 'Claude Code' } },
    connection: 'orders',
    protocol: 'postgres',
    headline: 'SELECT customers',
    effect: 'read',
    decision: 'allow',
    rule: 'reads',
    outcome: 'done',
    rows: 3,
    masked: 7,
    tookMs: 12,
    ...over,
  };
}

export function detail(over: Partial<OperationDetail> = {}): OperationDetail {
  return {
    summary: operation(),
    payload: 'SELECT id, name, email, ssn, note FROM customers LIMIT 3',
    params: [],
    facts: facts({
      effect: 'read',
      verb: 'SELECT',
      headline: 'SELECT customers',
      targets: [{ kind: 'table', name: 'customers' }],
      sensitive: ['customers.email', 'customers.ssn'],
      notes: ['one table', 'LIMIT 3'],
    }),
    verdict: verdict({ decision: 'allow', rule: { id: 'reads', layer: 'builtin' }, because: 'effect is read' }),
    answer: customers().answer,
    verified: { ok: true, entries: 42, head: '9f2c1ab37d5e4c60a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718' },
    ...over,
  };
}
