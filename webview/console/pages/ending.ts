/** Ending what cannot be taken back: who may, and what they are asked first. */
import type { Person } from '../../../contract/actor.ts';
import type { GatewayGrant } from '../../../contract/gateway/approvals.ts';
import type { Me } from '../../../contract/gateway/identity.ts';
import type { GatewaySession } from '../../../contract/gateway/sessions.ts';
import { agentName, personName } from '../../parts/names.ts';
import type { Question } from '../confirm.ts';

/** Asked before a session is ended, from the list and from its own page. */
export function endQuestion({ actor, connection }: Pick<GatewaySession, 'actor' | 'connection'>): Question {
  return {
    title: 'End this session?',
    what: `The connection of ${personName(actor.person)}’s ${agentName(actor.agent)} to ${connection} is cut off at once; what it was doing there is not finished, and what it waits for is denied.`,
    button: 'End it',
  };
}

/** As the gateway goes by: one's own, an admin any. Whoever only looks on ends nothing. */
export function mayEnd(me: Me, { actor }: Pick<GatewaySession, 'actor'>): boolean {
  return me.roles.includes('admin') || isOneOf(me, [actor.person]);
}

/** The same for what was granted: whoever it was given to, whoever gave it, an admin any. */
export function mayEndGrant(me: Me, { by, person }: Pick<GatewayGrant, 'by' | 'person'>): boolean {
  return me.roles.includes('admin') || isOneOf(me, [person, ...by]);
}

function isOneOf({ person, roles }: Me, people: readonly Person[]): boolean {
  return (roles.includes('developer') || roles.includes('approver')) && people.some((one) => one.issuer === person.issuer && one.subject === person.subject);
}
