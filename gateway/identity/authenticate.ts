/** Bearer tokens and cookies → who is calling. What a token says is believed only while what it stands on stands. */
import type { Person } from '../../contract/actor.ts';
import { Problem } from '../../contract/problem.ts';
import type { People } from './people.ts';
import type { Principal } from './principal.ts';
import type { Account, ServiceAccounts } from './serviceAccounts.ts';
import type { Tokens } from './tokens.ts';

export interface AuthenticateParts {
  readonly people: People;
  readonly accounts: ServiceAccounts;
  readonly tokens: Tokens;
  readonly publicUrl: string;
}

const ENDED = 'Your sign-in has ended. Sign in again.';

/** @throws `Problem` `bad-token` */
export async function byToken(parts: AuthenticateParts, token: string): Promise<Principal> {
  const claims = await parts.tokens.verify(token);
  const expiresAt = claims.exp * 1000;
  const { basis } = claims;
  if (claims.kind === 'person' || (claims.kind === 'run' && claims.for === 'person')) {
    const live = await parts.people.live(basis);
    if (!live || live.personId !== claims.sub) throw new Problem('bad-token', ENDED);
    const known = { id: live.personId, person: live.person, basis, expiresAt: Math.min(expiresAt, live.expiresAt) };
    if (claims.kind === 'person') return { kind: 'person', ...known, roles: live.roles, authTime: live.authTime, client: live.client, via: 'bearer' };
    if (!claims.act) throw new Problem('bad-token', ENDED);
    // An agent may what its person may: nothing, where they are here to look at things and not to use them.
    const connections = live.roles.includes('developer') ? claims.connections : [];
    return { kind: 'run', ...known, agent: claims.act.agent, run: claims.act.sub, connections, for: 'person' };
  }
  const account = await parts.accounts.live(basis);
  if (!account || account.id !== claims.sub || account.generation !== (claims.generation ?? 0)) throw new Problem('bad-token', ENDED);
  const known = { id: account.id, person: accountPerson(account, parts.publicUrl), basis, expiresAt };
  if (claims.kind === 'service')
    return { kind: 'service', ...known, connections: account.connections, publisher: account.publisher, generation: account.generation };
  if (!claims.act) throw new Problem('bad-token', ENDED);
  const connections = claims.connections?.filter((name) => account.connections.includes(name)) ?? account.connections;
  return { kind: 'run', ...known, agent: claims.act.agent, run: claims.act.sub, connections, for: 'service' };
}

export async function byCookie({ people }: AuthenticateParts, cookie: string): Promise<Principal | undefined> {
  const live = await people.byCookie(cookie);
  if (!live) return undefined;
  return {
    kind: 'person',
    id: live.personId,
    person: live.person,
    roles: live.roles,
    authTime: live.authTime,
    client: live.client,
    expiresAt: live.expiresAt,
    basis: live.login,
    via: 'cookie',
  };
}

/** A service account as the actor that policy sees; its issuer is the gateway itself, so that no provider can make one up. */
function accountPerson(account: Account, publicUrl: string): Person {
  return { issuer: publicUrl, subject: `service:${account.name}`, name: account.name, groups: [...account.groups] };
}
