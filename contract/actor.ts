import { z } from 'zod';

/** A person as an identity provider (or, without one, the operating system) knows them. */
export const Person = z.object({
  /** Issuer URL of the identity provider, or `os` for the operating system's own user. */
  issuer: z.string().max(512),
  subject: z.string().max(256),
  name: z.string().max(256).optional(),
  groups: z.array(z.string().max(256)).max(200).default([]),
});
export type Person = z.infer<typeof Person>;

export const AGENT_KINDS = ['vscode-chat', 'cursor', 'claude-code', 'copilot', 'codex', 'terminal', 'script', 'unknown'] as const;

/** What acts for the person. The name is what the client said of itself: shown, matched by policy, never trusted to loosen. */
export const Agent = z.object({
  kind: z.enum(AGENT_KINDS),
  name: z.string().max(200),
  version: z.string().max(100).optional(),
});
export type Agent = z.infer<typeof Agent>;

/** Who asks: both halves stand on every record. */
export const Actor = z.object({ person: Person, agent: Agent });
export type Actor = z.infer<typeof Actor>;

/** How a person is named in one line: their name where one is known. */
export function personLabel(person: Person): string {
  return person.name ?? person.subject;
}
