import { type Actor, AGENT_KINDS, type Agent } from '../../../contract/actor.ts';
import type { ClientIdentity } from '../protocol.ts';

/** What a client says of itself when it connects. Unverified. */
export interface ClientInfo {
  readonly name: string;
  readonly version?: string | undefined;
}

const KINDS: readonly (readonly [RegExp, (typeof AGENT_KINDS)[number]])[] = [
  [/cursor/i, 'cursor'],
  [/claude[ _-]?code/i, 'claude-code'],
  [/copilot/i, 'copilot'],
  [/codex/i, 'codex'],
  [/visual studio code|vscode|vs code/i, 'vscode-chat'],
];

/** What is not seen, or changes how the rest is: a name that a person is shown must be what it looks like. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]+/gu;

/** Reads what a client said of itself, as one line of what can be seen; undefined where that is nothing usable. */
export function clientInfoOf(value: unknown): ClientInfo | undefined {
  if (typeof value !== 'object' || value === null || !('name' in value) || typeof value.name !== 'string') return undefined;
  return { name: plain(value.name), ...('version' in value && typeof value.version === 'string' && { version: plain(value.version) }) };
}

function plain(text: string): string {
  return text.slice(0, 400).replaceAll(UNSEEN, ' ').replaceAll(/\s+/g, ' ').trim();
}

/** The agent as the client names itself, else as its login tells. */
function agentOf(info: ClientInfo | undefined, known: Agent): Agent {
  const name = info?.name.slice(0, 200).trim();
  if (!info || !name) return known;
  const kind = KINDS.find(([pattern]) => pattern.test(name))?.[1] ?? known.kind;
  return { kind, name, ...(info.version && { version: info.version.slice(0, 100) }) };
}

/** Who acts: the person of the login, and the agent that its client says it is. */
export function actorOf(identity: ClientIdentity, info: ClientInfo | undefined): Actor {
  return { person: identity.actor.person, agent: agentOf(info, identity.actor.agent) };
}
