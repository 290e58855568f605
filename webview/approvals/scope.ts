import type { PendingApproval, Scope } from '../../contract/approval.ts';
import { NARROWEST, SCOPE_HOW_LONGS, SCOPE_WHATS } from '../../contract/scopes.ts';
import { agentName } from '../parts/names.ts';
import { say } from '../parts/strings.ts';
import { clockTime } from '../parts/timeLeft.ts';

export interface Choice<Value extends string> {
  readonly value: Value;
  readonly label: string;
  readonly allowed: boolean;
}

export interface ScopeChoices {
  readonly whats: readonly Choice<Scope['what']>[];
  readonly howLongs: readonly Choice<Scope['howLong']>[];
  /** Why something broader is locked; absent when nothing is. */
  readonly locked?: string;
  /** False where there is one choice only and two selects would say nothing. */
  readonly several: boolean;
}

const MINUTES: Readonly<Record<Scope['howLong'], number | undefined>> = { once: undefined, session: undefined, '15m': 15, '1h': 60 };

export function scopeChoices(ask: PendingApproval, chosen: Scope): ScopeChoices {
  const allowed = [...ask.scopes, NARROWEST];
  const whats = SCOPE_WHATS.map((value) => ({ value, label: whatLabel(value, ask), allowed: allowed.some((s) => s.what === value) }));
  const howLongs = SCOPE_HOW_LONGS.map((value) => ({
    value,
    label: say(`scope.howLong.${value}`),
    allowed: allowed.some((s) => s.what === chosen.what && s.howLong === value),
  }));
  return {
    whats,
    howLongs,
    several: ask.scopes.some((s) => s.what !== NARROWEST.what || s.howLong !== NARROWEST.howLong),
    ...(whats.some((w) => !w.allowed) && { locked: whyLocked(ask) }),
  };
}

/** The choice after one half of it changed: the narrowest that is allowed with the new half. */
export function withWhat(ask: PendingApproval, chosen: Scope, what: Scope['what']): Scope {
  const fits = SCOPE_HOW_LONGS.filter((howLong) => isAllowed(ask, { what, howLong }));
  const howLong = fits.includes(chosen.howLong) ? chosen.howLong : fits[0];
  return howLong === undefined ? chosen : { what, howLong };
}

export function isAllowed(ask: PendingApproval, scope: Scope): boolean {
  if (scope.what === NARROWEST.what && scope.howLong === NARROWEST.howLong) return true;
  return ask.scopes.some((s) => s.what === scope.what && s.howLong === scope.howLong);
}

/** What the choice will cover, in a sentence. */
export function scopeSentence(ask: PendingApproval, scope: Scope, now: number): string {
  if (scope.howLong === 'once') return say('scope.once');
  const minutes = MINUTES[scope.howLong];
  const until = minutes === undefined ? say('scope.until.session') : say('scope.until.time', { time: clockTime(now + minutes * 60_000) });
  const { connection, facts } = ask;
  const agent = agentName(ask.actor.agent);
  switch (scope.what) {
    case 'exact':
      return say('scope.exact', { agent, connection, until });
    case 'shape':
      return say('scope.shape', { agent, headline: facts.headline, connection, until });
    case 'target':
      return say('scope.target', { agent, effect: facts.effect, targets: facts.targets.map((t) => t.name).join(', ') || facts.headline, connection, until });
  }
}

function whatLabel(what: Scope['what'], { facts }: PendingApproval): string {
  return say(`scope.what.${what}`, { effect: facts.effect });
}

function whyLocked({ facts, verdict, scopes }: PendingApproval): string {
  if (verdict.quorum > 1) return say('scope.why.quorum', { n: verdict.quorum });
  if (facts.effect === 'unknown') return say('scope.why.unknown');
  if (facts.bulk) return say('scope.why.bulk');
  if (facts.effect === 'admin') return say('scope.why.admin');
  if (scopes.length > 1 && !scopes.some((s) => s.what === 'shape')) return say('scope.why.shape');
  if (scopes.length > 1) return say('scope.why.target', { effect: facts.effect });
  return say('scope.why.rule', { rule: verdict.rule.id });
}
