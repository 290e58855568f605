/**
 * Access over a time: asked for once, with a reason, and reviewed by those whom policy would ask each time. It stands in for
 * their answers, and for nothing more: a question that others must answer, or that wants a fresh login, is asked all the same.
 */
import type { Person } from '../../contract/actor.ts';
import type { Effect, Facts } from '../../contract/facts.ts';
import type { AccessRequest } from '../../contract/gateway/approvals.ts';
import { Problem } from '../../contract/problem.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { Question } from '../../proxy/approval/approvals.ts';
import type { DecisionContext, Policy } from '../../proxy/policy/policy.ts';
import { enough } from './terms.ts';

/** Effects for which each operation is looked at by itself. */
const ONE_AT_A_TIME: readonly Effect[] = ['admin', 'unknown'];

export function accessCovers(access: AccessRequest, people: readonly Person[], question: Question): boolean {
  const { facts, verdict, connection, actor } = question;
  if (connection !== access.connection || facts.bulk || ONE_AT_A_TIME.includes(facts.effect) || verdict.freshLogin) return false;
  if (!(access.effects as readonly string[]).includes(facts.effect)) return false;
  // What no target can be named of is not what was asked for.
  if (facts.targets.length === 0 || !facts.targets.every(({ name }) => access.targets.includes('*') || access.targets.includes(name))) return false;
  return enough({ ...verdict, freshLogin: false, escalated: false, escalateTo: [] }, actor.person, people);
}

export interface Review {
  readonly approvers: readonly string[];
  readonly quorum: number;
  readonly freshLogin: boolean;
  readonly policyVersion: string;
}

/** Who must look at a request: whoever policy would ask about any of it. @throws `Problem` `forbidden` where policy denies part of it, or would ask nobody */
export function reviewOf(access: AccessRequest, policy: Policy, context: Omit<DecisionContext, 'conversationRead' | 'surface'>): Review {
  const verdicts: Verdict[] = access.effects.flatMap((effect) =>
    access.targets.map((name) => policy.decide(exampleOf(effect, name), { ...context, surface: 'terminal', conversationRead: [] })),
  );
  const denied = verdicts.find(({ decision }) => decision === 'deny');
  if (denied) throw new Problem('forbidden', `Rule ${denied.rule.id} denies part of this, whoever approves: ${denied.say ?? denied.because}`);
  const asking = verdicts.filter(({ decision }) => decision === 'ask');
  if (asking.length === 0) throw new Problem('bad-request', 'Policy allows all of this without a question. Nothing needs to be requested.');
  const common = asking.map(({ approvers }) => approvers).reduce((a, b) => a.filter((who) => b.includes(who)));
  const narrowed = access.reviewers.length === 0 ? common : common.filter((who) => access.reviewers.includes(who));
  // Over a time somebody else looks at it, even where the requester may answer each question alone.
  const approvers = narrowed.filter((who) => who !== 'requester');
  if (approvers.length === 0)
    throw new Problem('forbidden', 'Nobody but you could approve this under the policy, so it cannot be granted over a time. Ask for each operation.');
  return {
    approvers,
    quorum: Math.max(...asking.map(({ quorum }) => quorum)),
    freshLogin: asking.some(({ freshLogin }) => freshLogin === true),
    policyVersion: policy.version,
  };
}

export function coversInWords({ effects, targets }: AccessRequest): string {
  return `any ${effects.join(' or ')} on ${targets.includes('*') ? 'anything' : targets.join(', ')}`.slice(0, 400);
}

function exampleOf(effect: Effect, name: string): Facts {
  return { effect, verb: 'request', headline: `${effect} ${name}`.slice(0, 300), targets: [{ kind: 'table', name }], bulk: false, sensitive: [], notes: [] };
}
