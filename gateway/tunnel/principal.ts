import type { Agent, Person } from '../../contract/actor.ts';

/** Whose tunnel it is, as their access token says. */
export interface TunnelPrincipal {
  /** Id in the store's table of people, or of service accounts. */
  readonly id: string;
  readonly person: Person;
  /** When the token runs out, epoch milliseconds. */
  readonly expiresAt: number;
  /** The login or account that it stands on: ended, everything of it is cut. */
  readonly basis: string;
  /** The connections it is good for; absent: all that policy lets the person see. */
  readonly connections?: readonly string[] | undefined;
  /** What acts, where the token says so: then the proxy's word does not count. */
  readonly agent?: Agent | undefined;
  /** The edge that it is for, where it is one. Nobody else may serve as that edge, and it may do nothing else. */
  readonly edge?: string | undefined;
}

/** Whether a newer token is for the same one. */
export function samePrincipal(a: TunnelPrincipal, b: TunnelPrincipal): boolean {
  return a.person.issuer === b.person.issuer && a.person.subject === b.person.subject && a.edge === b.edge;
}
