/** A request for access over a time as a person is shown it, in the editor and in the console. No decoder in here: panels use it. */
import type { Person } from '../actor.ts';
import type { DecidedApproval } from '../approval.ts';
import type { AccessAsk, AccessRequest, GatewayApproval } from './approvals.ts';

/** Undefined for what is no request for access. */
export function accessAskOf({
  access,
  actor,
  answers,
  approvers,
  askedAt,
  deadline,
  digest,
  id,
  mine,
  quorum,
  requester,
}: GatewayApproval): AccessAsk | undefined {
  if (!access) return undefined;
  return {
    id,
    digest,
    access,
    requester,
    ...(actor && { agent: actor.agent }),
    askedAt,
    deadline,
    approvers,
    approvals: answers.filter(({ answer }) => answer === 'approve').length,
    quorum,
    mine: mine.mayApprove ? 'approve' : mine.requested && mine.mayAnswer ? 'withdraw' : 'wait',
  };
}

/** What became of one, for the list of the last decisions; it has no operation to open. */
export function decidedAccess(approval: GatewayApproval): DecidedApproval | undefined {
  const { access, actor, answers, connection, decidedAt, id, requester, state } = approval;
  if (!access || decidedAt === undefined) return undefined;
  const answer = state === 'denied' ? 'denied' : 'approved';
  const last = answers.findLast((one) => (one.answer === 'deny') === (answer === 'denied'));
  return {
    id,
    operation: '',
    headline: accessHeadline(access).slice(0, 300),
    connection,
    agent: actor?.agent.name ?? requester.name ?? requester.subject,
    answer,
    why: whyEnded(approval, last?.by),
    ...(last && { by: last.by }),
    ...(last?.note !== undefined && { note: last.note }),
    decidedAt,
    ...(answer === 'approved' && { until: decidedAt + access.minutes * 60_000 }),
  };
}

/** Whoever asks what others must answer has taken it back with their no. */
export function whyEnded({ approvers, requester, state, why }: GatewayApproval, by: Person | undefined): string {
  if (!by || (why !== undefined && why !== 'person')) return why ?? 'person';
  const own = by.issuer === requester.issuer && by.subject === requester.subject;
  return state === 'denied' && own && !approvers.includes('requester') ? 'withdrawn' : 'person';
}

export function accessHeadline({ connection, minutes }: AccessRequest): string {
  return `Access to ${connection} for ${minutesInWords(minutes)}`;
}

export function minutesInWords(minutes: number): string {
  if (minutes < 60 || minutes % 60 !== 0) return minutes === 1 ? '1 minute' : `${minutes} minutes`;
  return minutes === 60 ? '1 hour' : `${minutes / 60} hours`;
}
