/** Groups and subjects → roles, as the configuration says. */
import { ROLES, type Role } from '../../contract/gateway/identity.ts';
import type { GatewayConfig } from '../config/load.ts';

export function rolesOf(roles: GatewayConfig['identity']['roles'], subject: string, groups: readonly string[]): Role[] {
  return ROLES.filter((role) =>
    roles[role].some((who) => who === '*' || who === `user:${subject}` || (who.startsWith('group:') && groups.includes(who.slice(6)))),
  );
}
