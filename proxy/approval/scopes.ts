/** Which scopes a question may be answered with. The risky kinds are answered one at a time, whatever a person would like. */
import type { Scope } from '../../contract/approval.ts';
import { NARROWEST, SCOPE_HOW_LONGS } from '../../contract/approval.ts';
import type { Facts } from '../../contract/facts.ts';
import type { Question } from './approvals.ts';

/** Effects for which nothing but "exactly this, once" is offered. */
const ONE_AT_A_TIME: readonly Facts['effect'][] = ['admin', 'unknown'];
/** Effects mild enough to be granted for everything on a target. */
const BY_TARGET: readonly Facts['effect'][] = ['read', 'send', 'write'];

/** Narrowest first; never empty. */
export function offeredScopes({ facts, shape }: Pick<Question, 'facts' | 'shape'>): Scope[] {
  const scopes: Scope[] = [NARROWEST];
  // What holds a secret is looked at each time: the next one may hold another.
  if (facts.bulk || ONE_AT_A_TIME.includes(facts.effect) || facts.mcp?.secrets?.some((id) => id !== 'email' && id !== 'phone')) return scopes;
  const whats: Scope['what'][] = ['exact'];
  if (shape !== undefined) whats.push('shape');
  if (facts.targets.length > 0 && BY_TARGET.includes(facts.effect)) whats.push('target');
  for (const what of whats) {
    for (const howLong of SCOPE_HOW_LONGS) if (howLong !== 'once') scopes.push({ what, howLong });
  }
  return scopes;
}

export function isOffered(scopes: readonly Scope[], scope: Scope): boolean {
  return scopes.some((s) => s.what === scope.what && s.howLong === scope.howLong);
}
