/** Who may answer a question. Pure: the same for the one who is asked, the one who answers, and a grant that was given earlier. */
import type { Person } from '../../contract/actor.ts';
import { samePerson } from '../../proxy/approval/grants.ts';

export interface Terms {
  /** `requester`, `group:NAME`, `user:SUBJECT`. */
  readonly approvers: readonly string[];
  readonly quorum: number;
  readonly freshLogin: boolean;
  /** Who may answer besides, once nobody has for long enough. */
  readonly escalateTo: readonly string[];
  readonly escalated: boolean;
}

/** Whether someone may approve. The requester may only where `requester` is named: being in a group that may does not count. */
export function mayApprove(terms: Pick<Terms, 'approvers' | 'escalateTo' | 'escalated'>, requester: Person, person: Person): boolean {
  if (samePerson(requester, person)) return terms.approvers.includes('requester');
  const named = terms.escalated ? [...terms.approvers, ...terms.escalateTo] : terms.approvers;
  return named.some((who) => (who.startsWith('group:') ? person.groups.includes(who.slice(6)) : who.startsWith('user:') && person.subject === who.slice(5)));
}

/** Whether these people's approvals are enough. */
export function enough(terms: Terms, requester: Person, people: readonly Person[]): boolean {
  const able = people.filter((person, i) => mayApprove(terms, requester, person) && people.findIndex((other) => samePerson(other, person)) === i);
  return able.length >= terms.quorum;
}
