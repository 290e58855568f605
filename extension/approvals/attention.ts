/** What of a snapshot needs a person: how many asks, which are new, and how to say so. Pure. */
import type { Person } from '../../contract/actor.ts';
import { agentName } from '../../contract/agentName.ts';
import type { PendingApproval } from '../../contract/approval.ts';
import { waitsForMe } from '../../contract/approvers.ts';
import { plainLine } from '../plainLine.ts';
import type { Translate } from '../translate.ts';

export function mine(pending: readonly PendingApproval[], me: Person | undefined): PendingApproval[] {
  return me === undefined ? [] : pending.filter((ask) => waitsForMe(ask, me));
}

/** Asks that were not there before. The ids seen shrink with the queue, so they never pile up. */
export function fresh(seen: ReadonlySet<string>, pending: readonly PendingApproval[]): PendingApproval[] {
  return pending.filter((ask) => !seen.has(ask.id));
}

/** Who and what in one line: the parsed effect, never the agent's prose. */
export function headline(ask: PendingApproval, t: Translate): string {
  return t('{0} → {1} on {2}', plainLine(agentName(ask.actor.agent)), plainLine(ask.facts.headline), plainLine(ask.connection));
}

/** What a notification says about asks: it points to the view and decides nothing. */
export function noticeText(asks: readonly PendingApproval[], t: Translate): string {
  const [first] = asks;
  if (first === undefined) return '';
  return asks.length === 1 ? t('Waiting for you: {0}', headline(first, t)) : t('{0} requests wait for you. The first: {1}', asks.length, headline(first, t));
}

export function badgeText(count: number, t: Translate): string {
  return count === 1 ? t('1 request waits for you') : t('{0} requests wait for you', count);
}
