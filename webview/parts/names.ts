import type { Agent, Person } from '../../contract/actor.ts';
import type { Facts } from '../../contract/facts.ts';

const AGENT_NAMES: Readonly<Record<Agent['kind'], string | undefined>> = {
  'vscode-chat': 'VS Code chat',
  cursor: 'Cursor',
  'claude-code': 'Claude Code',
  copilot: 'Copilot',
  codex: 'Codex',
  terminal: 'Terminal',
  script: 'Script',
  unknown: undefined,
};

/** By its kind where that is known: a name is only what the client said of itself. */
export function agentName(agent: Agent): string {
  return AGENT_NAMES[agent.kind] ?? agent.name;
}

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
