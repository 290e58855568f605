import type { Agent } from './actor.ts';

/** What people call each kind of agent; kept apart from the decoders, so that panels can use it without them. */
export const AGENT_NAMES: Readonly<Record<Agent['kind'], string | undefined>> = {
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
