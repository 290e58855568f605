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
