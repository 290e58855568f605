/** Who is calling, once they have shown it. */
import type { Agent, Person } from '../../contract/actor.ts';
import type { Role } from '../../contract/gateway/identity.ts';
import type { Caller } from '../api/authorization.ts';

interface Known {
  /** Id in the table of people, or of service accounts. */
  readonly id: string;
  readonly person: Person;
  /** When the proof runs out, epoch milliseconds. */
  readonly expiresAt: number;
  /** What it stands on: a login's id, a service account's. Ended, everything of it is cut. */
  readonly basis: string;
}

export type Principal =
  | (Known & {
      readonly kind: 'person';
      readonly roles: readonly Role[];
      readonly authTime: number;
      readonly client: string;
      readonly via: 'cookie' | 'bearer';
    })
  | (Known & { readonly kind: 'service'; readonly connections: readonly string[]; readonly publisher: boolean; readonly generation: number })
  /** A run of an agent, acting for a person or a service account, on its own short-lived token. */
  | (Known & {
      readonly kind: 'run';
      readonly agent: Agent;
      readonly run: string;
      readonly connections: readonly string[] | undefined;
      readonly for: 'person' | 'service';
    });

export function callersOf(principal: Principal): readonly Caller[] {
  switch (principal.kind) {
    case 'person':
      return principal.roles;
    case 'service':
      return [principal.publisher ? 'publisher' : 'service'];
    case 'run':
      return ['run'];
  }
}
