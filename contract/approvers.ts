import type { Person } from './actor.ts';
import type { PendingApproval } from './approval.ts';

/** Whether this person may answer, going by what the verdict says of approvers. For display: the proxy decides. */
export function waitsForMe(pending: PendingApproval, me: Person): boolean {
  return pending.verdict.approvers.some((who) => {
    if (who === 'requester') return pending.actor.person.issuer === me.issuer && pending.actor.person.subject === me.subject;
    if (who.startsWith('group:')) return me.groups.includes(who.slice('group:'.length));
    return who === me.subject || who === `user:${me.subject}`;
  });
}
