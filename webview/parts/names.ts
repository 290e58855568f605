import type { Agent, Person } from '../../contract/actor.ts';
import { AGENT_NAMES, agentName } from '../../contract/agentName.ts';
import type { Facts } from '../../contract/facts.ts';

export { agentName };

/** What the client calls itself, where that says more than its kind. */
export function ownName(agent: Agent): string | undefined {
  const known = AGENT_NAMES[agent.kind];
  return known === undefined || agent.name === '' || agent.name.toLowerCase() === known.toLowerCase() ? undefined : agent.name;
}

export function personName(person: Person): string {
  return person.name ?? person.subject;
}

export function headlineOf(agent: Agent, facts: Facts): string {
  return `${agentName(agent)} → ${facts.headline}`;
}
