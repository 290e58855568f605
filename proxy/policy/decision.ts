/**
 * How rules become a verdict. Each layer answers by itself (the strictest of its rules that match, else its default), and
 * the strictest layer wins: so a layer can be added without any verdict becoming milder.
 */
import { EFFECTS, type Effect, type Facts } from '../../contract/facts.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { DecisionContext } from './policy.ts';
import { type CompiledRule, canMatch, reasonOf, testRule, testRuleForGood } from './rules.ts';

/** How long a person has to answer where no rule says. */
const DEFAULT_EXPIRES_MS = 5 * 60_000;
const MAX_BECAUSE_CHARS = 1000;

/** One layer's rules; `fallback` holds where none of them matches. */
export interface RuleSet {
  readonly rules: readonly CompiledRule[];
  readonly fallback: ReadonlyMap<string, CompiledRule>;
  /** Below the highest file: its terms can only narrow those of the layers above. */
  readonly lower: boolean;
}

interface Step {
  readonly rules: readonly CompiledRule[];
  readonly fallback: CompiledRule | undefined;
  readonly lower: boolean;
}

interface Asking {
  readonly rule: CompiledRule;
  readonly lower: boolean;
}

type Terms = Pick<Verdict, 'approvers' | 'expiresMs' | 'preview' | 'quorum' | 'freshLogin' | 'escalate'>;
const DEFAULT_TERMS: Terms = { approvers: ['requester'], expiresMs: DEFAULT_EXPIRES_MS, preview: 'none', quorum: 1 };

export class Decider {
  readonly #byEffect: ReadonlyMap<string, readonly Step[]>;
  readonly #version: string;
  /** Verdicts by a default alone never vary: made once. */
  readonly #byDefault = new Map<CompiledRule, Verdict>();
  readonly #cacheable = new Map<string, boolean>();

  /** @param sets highest layer first; the first must have a fallback for every effect */
  constructor(sets: readonly RuleSet[], version: string) {
    this.#version = version;
    this.#byEffect = new Map(
      EFFECTS.map((effect) => [
        effect,
        sets
          .map((set) => ({
            rules: set.rules.filter((rule) => canMatch(rule, effect)),
            fallback: set.fallback.get(effect),
            lower: set.lower,
          }))
          .filter((step) => step.rules.length > 0 || step.fallback !== undefined),
      ]),
    );
  }

  decide(facts: Facts, context: DecisionContext): Verdict {
    let asking: Asking[] | undefined;
    let allowing: CompiledRule | undefined;
    let denying: CompiledRule | undefined;
    for (const step of this.#byEffect.get(facts.effect) ?? []) {
      let matched = false;
      for (const rule of step.rules) {
        const result = testRule(rule, facts, context);
        if (result === 'no') continue;
        if (result === 'error') {
          // Does not count as matched: the layer's default may be stricter than asking.
          (asking ??= []).push({ rule, lower: step.lower });
          continue;
        }
        matched = true;
        if (rule.decision === 'deny') denying ??= rule;
        else if (rule.decision === 'ask') (asking ??= []).push({ rule, lower: step.lower });
        else allowing ??= rule;
      }
      const { fallback } = step;
      if (matched || !fallback) continue;
      if (fallback.decision === 'deny') denying ??= fallback;
      else if (fallback.decision === 'ask') (asking ??= []).push({ rule: fallback, lower: step.lower });
      else allowing ??= fallback;
    }
    if (denying) return this.#single(denying, facts, context);
    if (asking) return this.#ask(asking, facts, context);
    if (allowing) return this.#single(allowing, facts, context);
    return this.#nothing();
  }

  /** Whether no rule that can speak of such an operation looks at what differs from one to the next. */
  cacheable(protocol: string, effect: Effect): boolean {
    const key = `${protocol} ${effect}`;
    let known = this.#cacheable.get(key);
    if (known === undefined) {
      known = (this.#byEffect.get(effect) ?? []).every(({ rules }) =>
        rules.every((rule) => !rule.matcher.speaksOf(protocol) || (rule.matcher.cacheable && (rule.condition?.cacheable ?? true))),
      );
      this.#cacheable.set(key, known);
    }
    return known;
  }

  /** Whether a layer denies it by a rule that does not look at arguments, or by a default that no rule could take the place of. */
  deniedForGood(facts: Facts, context: DecisionContext): boolean {
    return (this.#byEffect.get(facts.effect) ?? []).some(({ rules, fallback }) => {
      let mayMatch = false;
      for (const rule of rules) {
        const result = testRuleForGood(rule, facts, context);
        if (result === 'yes' && rule.decision === 'deny') return true;
        if (result !== 'no' && rule.decision !== 'deny') mayMatch = true;
      }
      return !mayMatch && fallback?.decision === 'deny';
    });
  }

  #single(rule: CompiledRule, facts: Facts, context: DecisionContext): Verdict {
    if (!rule.isDefault) return this.#verdict(rule, rule.decision, reasonOf(rule, facts, context), rule.say, DEFAULT_TERMS);
    let verdict = this.#byDefault.get(rule);
    if (!verdict) {
      verdict = this.#verdict(rule, rule.decision, reasonOf(rule, facts, context), undefined, DEFAULT_TERMS);
      this.#byDefault.set(rule, verdict);
    }
    return verdict;
  }

  /** Several may ask: whoever answers must satisfy all of them, in the shortest time that any gives. */
  #ask(asking: readonly Asking[], facts: Facts, context: DecisionContext): Verdict {
    const lead = (asking.find(({ rule }) => !rule.isDefault) ?? asking[0])?.rule;
    if (!lead) return this.#nothing();
    if (asking.length === 1 && lead.isDefault) return this.#single(lead, facts, context);
    const others = asking.map(({ rule }) => rule).filter((rule) => rule !== lead && !rule.isDefault);
    const reason = reasonOf(lead, facts, context);
    const because =
      others.length > 0
        ? `${reason}; asked by ${others
            .slice(0, 5)
            .map((rule) => rule.ref.id)
            .join(', ')} too`
        : reason;
    const terms = combine(asking);
    if (terms.approvers.length > 0) {
      return this.#verdict(lead, 'ask', because, lead.say ?? others.find((rule) => rule.say !== undefined)?.say, terms);
    }
    const ids = asking.map(({ rule }) => rule.ref.id).join(', ');
    return this.#verdict(lead, 'deny', because, `Nobody can approve this: no approver satisfies all of the rules that ask (${ids}).`, DEFAULT_TERMS);
  }

  #verdict(rule: CompiledRule, decision: Verdict['decision'], because: string, say: string | undefined, terms: Terms): Verdict {
    return {
      decision,
      rule: rule.ref,
      ...(say !== undefined && { say }),
      because: because.length > MAX_BECAUSE_CHARS ? `${because.slice(0, MAX_BECAUSE_CHARS - 1)}…` : because,
      policyVersion: this.#version,
      ...terms,
    };
  }

  /** An effect that no layer knows: nothing lets it through. */
  #nothing(): Verdict {
    return {
      decision: 'deny',
      rule: { id: 'nothing-allows', layer: 'builtin' },
      because: 'no rule and no default speaks of this operation',
      policyVersion: this.#version,
      ...DEFAULT_TERMS,
    };
  }
}

/** The terms of all who ask; what the layers above leave unsaid counts as the default before a lower layer narrows it. */
function combine(asking: readonly Asking[]): Terms {
  const above = narrow(
    undefined,
    asking.filter(({ lower }) => !lower),
  );
  return (
    narrow(
      above,
      asking.filter(({ lower }) => lower),
    ) ?? DEFAULT_TERMS
  );
}

function narrow(above: Terms | undefined, asking: readonly Asking[]): Terms | undefined {
  if (asking.length === 0) return above;
  let approvers = above?.approvers;
  let expiresMs = above?.expiresMs;
  for (const { rule } of asking) {
    const wanted = rule.approvers;
    if (wanted) approvers = approvers ? approvers.filter((who) => wanted.includes(who)) : [...wanted];
    if (rule.expiresMs !== undefined) expiresMs = Math.min(expiresMs ?? rule.expiresMs, rule.expiresMs);
  }
  const previews = asking.map(({ rule }) => rule.preview);
  // A dry run executes before approval: only the highest file may want it, and any layer may refuse it.
  const wanted = above ? above.preview === 'dry-run' : asking.some(({ rule, lower }) => !lower && rule.preview === 'dry-run');
  const freshLogin = above?.freshLogin === true || asking.some(({ rule }) => rule.freshLogin === true);
  // Lets more people answer: so only where one rule alone asks, and no lower layer narrows who may.
  const [only, ...others] = asking.filter(({ rule }) => !rule.isDefault);
  const escalate = above
    ? asking.some(({ rule }) => rule.approvers)
      ? undefined
      : above.escalate
    : others.length === 0 && only && !only.lower
      ? only.rule.escalate
      : undefined;
  return {
    approvers: approvers ?? DEFAULT_TERMS.approvers,
    expiresMs: expiresMs ?? DEFAULT_EXPIRES_MS,
    quorum: Math.max(above?.quorum ?? 1, ...asking.map(({ rule }) => rule.min ?? 1)),
    ...(freshLogin && { freshLogin }),
    ...(escalate && { escalate: { afterMs: escalate.afterMs, to: [...escalate.to] } }),
    preview: wanted && !previews.includes('none') ? 'dry-run' : 'none',
  };
}
