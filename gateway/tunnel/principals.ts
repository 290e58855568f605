/** Access tokens of this gateway → whose tunnel it is, and who their streams' clients are to the engine. */
import type { Conversations } from '../conversations.ts';
import type { Identity } from '../identity/identity.ts';
import type { Principal } from '../identity/principal.ts';
import type { DataPathOptions } from '../sessions/dataPath.ts';
import type { TunnelPrincipal } from './principal.ts';

/** For a person who may look at things here and use nothing. */
const NONE: readonly string[] = [];

export function principals(identity: Pick<Identity, 'authenticate'>, conversations: Conversations): Pick<DataPathOptions, 'authenticate' | 'identity'> {
  const known = new WeakMap<TunnelPrincipal, Principal>();
  return {
    authenticate: async (token) => {
      const principal = await identity.authenticate(token);
      const { basis, expiresAt, id, person } = principal;
      const tunnel: TunnelPrincipal = {
        id,
        person,
        basis,
        expiresAt,
        connections: connectionsOf(principal),
        ...(principal.kind === 'run' && { agent: principal.agent }),
      };
      known.set(tunnel, principal);
      return tunnel;
    },
    identity: (tunnel, { agent, conversation, readOnly, reason, surface }) => {
      const principal = known.get(tunnel);
      if (!principal) throw new Error('a tunnel of nobody');
      return {
        ...conversations.identity(principal, surface, { agent, run: conversation }),
        ...(readOnly !== undefined && { readOnly }),
        ...(reason !== undefined && { reason }),
      };
    },
  };
}

/** The shared connections that they may use; undefined: all. */
export function connectionsOf(principal: Principal): readonly string[] | undefined {
  if (principal.kind === 'person') return principal.roles.includes('developer') ? undefined : NONE;
  return principal.connections;
}
