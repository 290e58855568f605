/** Which clients wait as long as a person takes, as far as is known of each (November 2026). The one place to add to. */
import type { Agent } from '../../../contract/actor.ts';

/** How long any client can be expected to wait, in milliseconds: the SDKs, Cursor and Codex give up after a minute. */
export const ANSWER_WITHIN_MS = 45_000;

/**
 * By kind: VS Code's own agent has no timer; Claude Code waits for hours, and for five minutes without a byte, which the comments on
 * an open stream are there for. Not Cursor, Codex, Copilot's processes or anything on an SDK's default.
 */
const PATIENT: ReadonlySet<Agent['kind']> = new Set(['vscode-chat', 'claude-code']);

/** What an agent calls itself is not checked: who claims too much is only given up on by itself. */
export function isPatient(agent: Agent): boolean {
  return PATIENT.has(agent.kind);
}
