/** Sessions as a tree: day → conversation → operation, newest first. Pure. */
import { agentName } from '../../contract/agentName.ts';
import type { OperationSummary } from '../../contract/control.ts';
import { protocolName } from '../../contract/protocolName.ts';
import type { Translate } from '../translate.ts';

interface DayNode {
  readonly kind: 'day';
  readonly id: string;
  readonly label: string;
  readonly children: readonly ConversationNode[];
}

interface ConversationNode {
  readonly kind: 'conversation';
  readonly id: string;
  readonly label: string;
  readonly description: string;
  readonly icon: string;
  readonly children: readonly OperationNode[];
}

export interface OperationNode {
  readonly kind: 'operation';
  readonly id: string;
  readonly operation: string;
  readonly session: string;
  readonly label: string;
  readonly description: string;
  readonly tooltip: readonly string[];
  readonly icon: { readonly name: string; readonly color: string | undefined };
  /** For a screen reader: the icon in words. */
  readonly spoken: string;
}

interface MoreNode {
  readonly kind: 'more';
  readonly id: string;
  readonly label: string;
}

export type SessionNode = DayNode | ConversationNode | OperationNode | MoreNode;

const DAY_MS = 86_400_000;

/** @param now epoch milliseconds; days are the person's own, as `Date` knows them */
export function sessionTree(operations: readonly OperationSummary[], more: boolean, now: number, language: string, t: Translate): SessionNode[] {
  const days = new Map<string, OperationSummary[]>();
  for (const operation of [...operations].sort((a, b) => b.at - a.at)) append(days, dayKey(operation.at), operation);
  const nodes: SessionNode[] = [...days].map(([key, list]) => ({
    kind: 'day',
    id: `day:${key}`,
    label: dayLabel(key, list[0]?.at ?? now, now, language, t),
    children: conversations(key, list, language, t),
  }));
  if (more) nodes.push({ kind: 'more', id: 'more', label: t('Show earlier operations') });
  return nodes;
}

function conversations(day: string, operations: readonly OperationSummary[], language: string, t: Translate): ConversationNode[] {
  const groups = new Map<string, OperationSummary[]>();
  for (const operation of operations) append(groups, operation.conversation, operation);
  return [...groups].map(([conversation, list]) => {
    const oldest = list.at(-1);
    const actor = list[0]?.actor;
    const stopped = list.filter((o) => o.outcome === 'denied').length;
    const parts = [clock(oldest?.at ?? 0, language), list.length === 1 ? t('1 operation') : t('{0} operations', list.length)];
    if (stopped > 0) parts.push(t('{0} denied', stopped));
    return {
      kind: 'conversation',
      id: `conversation:${day}:${conversation}`,
      label: actor === undefined ? conversation : `${actor.person.name ?? actor.person.subject} · ${agentName(actor.agent)}`,
      description: parts.join(' · '),
      icon: actor?.agent.kind === 'terminal' ? 'terminal' : 'comment-discussion',
      // Within a conversation the order of events is what tells the story.
      children: [...list].reverse().map((operation) => operationNode(operation, language, t)),
    };
  });
}

export function operationNode(operation: OperationSummary, language: string, t: Translate): OperationNode {
  const look = verdictLook(operation, t);
  const parts = [look.remark];
  if (operation.rows !== undefined) parts.push(operation.rows === 1 ? t('1 row') : t('{0} rows', operation.rows));
  if (operation.masked > 0) parts.push(t('masked {0}', operation.masked));
  if (operation.tookMs !== undefined && operation.outcome !== 'denied') parts.push(duration(operation.tookMs));
  const approver = operation.approvedBy === undefined ? [] : [t('Approved by {0}', operation.approvedBy)];
  return {
    kind: 'operation',
    id: `operation:${operation.operation}`,
    operation: operation.operation,
    session: operation.session,
    label: operation.headline,
    description: parts.filter((part) => part !== '').join(' · '),
    tooltip: [
      `${operation.headline} — ${look.spoken}`,
      `${clock(operation.at, language)} · ${operation.connection} (${protocolName(operation.protocol)})`,
      t('Rule: {0}', operation.rule),
      ...approver,
      ...(operation.waitedMs === undefined ? [] : [t('Waited {0} for an answer', duration(operation.waitedMs))]),
    ],
    icon: { name: look.icon, color: look.color },
    spoken: `${operation.headline}, ${look.spoken}, ${operation.connection}`,
  };
}

interface Look {
  readonly icon: string;
  readonly color: string | undefined;
  readonly spoken: string;
  /** What the line says beyond the icon. */
  readonly remark: string;
}

function verdictLook(operation: OperationSummary, t: Translate): Look {
  const { outcome, decision, approvedBy, rule } = operation;
  if (outcome === undefined) {
    return decision === 'ask'
      ? { icon: 'question', color: 'charts.yellow', spoken: t('waiting or running'), remark: t('asked') }
      : { icon: 'sync', color: undefined, spoken: t('running'), remark: t('running') };
  }
  switch (outcome) {
    case 'denied':
      return { icon: 'circle-slash', color: 'testing.iconFailed', spoken: t('denied by {0}', rule), remark: t('denied · {0}', rule) };
    case 'failed':
      return { icon: 'error', color: 'testing.iconFailed', spoken: t('failed'), remark: t('failed') };
    case 'cancelled':
      return { icon: 'debug-stop', color: undefined, spoken: t('cancelled'), remark: t('cancelled') };
    case 'lost':
      return { icon: 'warning', color: 'testing.iconErrored', spoken: t('lost: the proxy ended before it could say how this went'), remark: t('lost') };
    case 'done':
      if (decision !== 'ask') return { icon: 'pass', color: 'testing.iconPassed', spoken: t('allowed'), remark: '' };
      return {
        icon: 'verified',
        color: 'testing.iconPassed',
        spoken: approvedBy === undefined ? t('approved') : t('approved by {0}', approvedBy),
        remark: approvedBy === undefined ? t('approved') : t('approved by {0}', approvedBy),
      };
  }
}

/** `12 ms`, `4.1 s`, `3 min`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.max(1, Math.round(ms))} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
  return `${Math.round(ms / 60_000)} min`;
}

function dayLabel(key: string, at: number, now: number, language: string, t: Translate): string {
  if (key === dayKey(now)) return t('Today');
  if (key === dayKey(now - DAY_MS)) return t('Yesterday');
  return new Intl.DateTimeFormat(language, { dateStyle: 'full' }).format(at);
}

function dayKey(at: number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, '0')}-${String(date.getDate()).padStart(2, '0')}`;
}

function clock(at: number, language: string): string {
  return new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit' }).format(at);
}

function append<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
