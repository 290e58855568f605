/** Why a verdict is what it is: every rule, matched or not, with its reason. */
import type { Facts } from '../../contract/facts.ts';
import type { Decision, RuleRef, Verdict } from '../../contract/verdict.ts';
import type { Decider, RuleSet } from './decision.ts';
import type { DecisionContext } from './policy.ts';
import { reasonOf, testRule } from './rules.ts';

export interface ExplainedRule {
  readonly ref: RuleRef;
  readonly decision: Decision;
  /** `failed`: its condition could not be worked out, so it asks. */
  readonly matched: 'yes' | 'no' | 'failed';
  /** Which facts matched, or the first that did not. */
  readonly why: string;
  readonly isDefault: boolean;
}

export interface Explanation {
  readonly verdict: Verdict;
  /** Highest layer first, in the order of the file; each layer's default last. */
  readonly rules: readonly ExplainedRule[];
}

export function explainRules(sets: readonly RuleSet[], decider: Decider, facts: Facts, context: DecisionContext): Explanation {
  const rules: ExplainedRule[] = [];
  for (const set of sets) {
    let matched = false;
    for (const rule of set.rules) {
      const result = testRule(rule, facts, context);
      matched ||= result === 'yes';
      rules.push({
        ref: rule.ref,
        decision: rule.decision,
        matched: result === 'error' ? 'failed' : result,
        why: reasonOf(rule, facts, context),
        isDefault: false,
      });
    }
    const fallback = set.fallback.get(facts.effect);
    if (!fallback) continue;
    const why = matched ? 'a rule of its layer matched' : reasonOf(fallback, facts, context);
    rules.push({ ref: fallback.ref, decision: fallback.decision, matched: matched ? 'no' : 'yes', why, isDefault: true });
  }
  return { verdict: decider.decide(facts, context), rules };
}
