/** Rules and defaults, compiled: what each says, and whether it speaks of an operation. */
import type { Person } from '../../contract/actor.ts';
import { EFFECTS, type Effect, type Facts } from '../../contract/facts.ts';
import type { Decision, RuleRef } from '../../contract/verdict.ts';
import { type Condition, compileCondition } from './condition.ts';
import { compileMatch, type Matcher } from './match.ts';
import type { DecisionContext } from './policy.ts';
import { found, type Path, type Problems } from './problems.ts';
import { Rule, type RuleShape } from './schema.ts';
import { shapeErrors } from './shapeErrors.ts';
import type { YamlText } from './yamlText.ts';

/** Longest an answer may be waited for. */
const MAX_EXPIRES_MS = 24 * 3_600_000;

/** What an ask asks for; undefined: the rule does not say, so another may, or the default holds. */
export interface AskTerms {
  readonly approvers: readonly string[] | undefined;
  readonly expiresMs: number | undefined;
  readonly preview: 'none' | 'dry-run' | undefined;
  readonly min: number | undefined;
  readonly freshLogin: boolean | undefined;
  readonly escalate: { readonly afterMs: number; readonly to: readonly string[] } | undefined;
}

export interface CompiledRule extends AskTerms {
  readonly ref: RuleRef;
  readonly decision: Decision;
  readonly say: string | undefined;
  readonly matcher: Matcher;
  readonly condition: Condition | undefined;
  /** For a default: what to say instead of which facts matched. */
  readonly isDefault: boolean;
  /** Who asks is this one, to this rule: to the machine they are a user without groups. */
  readonly person?: Person;
}

function seenBy({ person }: CompiledRule, context: DecisionContext): DecisionContext {
  return person ? { ...context, actor: { ...context.actor, person } } : context;
}

/** False where it cannot match an operation of that effect, whatever else is true of it. */
export function canMatch({ condition, matcher }: CompiledRule, effect: string): boolean {
  return (matcher.effects?.has(effect) ?? true) && (condition?.effects?.has(effect) ?? true);
}

/** `error`: the condition failed, so the rule asks, whatever its verdict. */
export type RuleTest = 'yes' | 'no' | 'error';

export function testRule(rule: CompiledRule, facts: Facts, asked: DecisionContext): RuleTest {
  const context = seenBy(rule, asked);
  for (const clause of rule.matcher.clauses) if (!clause.test(facts, context)) return 'no';
  if (!rule.condition) return 'yes';
  const { result } = rule.condition.evaluate(facts, context);
  return result === 'absent' ? 'no' : result;
}

/**
 * What a rule says of an operation whatever its arguments and whatever happened before: `perhaps` where it looks at those and
 * nothing else of it rules the operation out.
 */
export function testRuleForGood(rule: CompiledRule, facts: Facts, asked: DecisionContext): 'yes' | 'no' | 'perhaps' {
  const context = seenBy(rule, asked);
  for (const clause of rule.matcher.clauses) if (clause.varies !== true && !clause.test(facts, context)) return 'no';
  if (rule.matcher.clauses.some((clause) => clause.varies === true)) return 'perhaps';
  if (!rule.condition) return 'yes';
  if (!rule.condition.cacheable) return 'perhaps';
  const { result } = rule.condition.evaluate(facts, context);
  return result === 'yes' ? 'yes' : result === 'error' ? 'perhaps' : 'no';
}

/** Why a rule matched, or why not: a sentence without its end. */
export function reasonOf(rule: CompiledRule, facts: Facts, asked: DecisionContext): string {
  const context = seenBy(rule, asked);
  if (rule.isDefault) return 'no rule matched, so the default for this effect holds';
  const matched: string[] = [];
  for (const clause of rule.matcher.clauses) {
    if (!clause.test(facts, context)) return `${clause.key} is ${clause.has(facts, context)}, not ${clause.wanted}`;
    matched.push(`${clause.key} is ${clause.has(facts, context)}`);
  }
  if (rule.condition) {
    const evaluated = rule.condition.evaluate(facts, context);
    const source = rule.condition.source.length > 200 ? `${rule.condition.source.slice(0, 199)}…` : rule.condition.source;
    switch (evaluated.result) {
      case 'yes':
        matched.push(`${source} holds`);
        break;
      case 'no':
        return `${source} does not hold`;
      case 'absent':
        return `its condition speaks of ${evaluated.family}, which this operation has not`;
      case 'error':
        return `its condition could not be worked out (${evaluated.why}), so it asks; guard it with has(…)`;
    }
  }
  return matched.join(', ');
}

export function parseDuration(text: string): number {
  const unit = { s: 1000, m: 60_000, h: 3_600_000 }[text.at(-1) ?? ''] ?? 0;
  return Number.parseInt(text, 10) * unit;
}

/** @param loosens whether a rule of this layer may allow anything; if not, one that does is only warned about */
export function compileRules(
  yaml: YamlText,
  rules: readonly unknown[],
  layer: RuleRef['layer'],
  loosens: boolean,
  problems: Problems,
  gateway = false,
): CompiledRule[] {
  const compiled: CompiledRule[] = [];
  const ids = new Map<string, number>();
  rules.forEach((value, index) => {
    const path: Path = ['rules', index];
    const parsed = Rule.safeParse(value);
    if (!parsed.success) {
      problems.errors.push(...shapeErrors(yaml, path, parsed.error.issues));
      return;
    }
    const rule = parsed.data;
    const line = yaml.at([...path, 'id']).line;
    const first = ids.get(rule.id);
    if (first !== undefined) {
      problems.errors.push(
        found(
          yaml.file,
          yaml.at([...path, 'id']),
          `A rule on line ${first} is called \`${rule.id}\` too. Give each its own id: it is how people find what decided.`,
        ),
      );
      return;
    }
    ids.set(rule.id, line);
    const one = compileRule(yaml, path, rule, { id: rule.id, layer, ...(layer !== 'builtin' && { file: yaml.file, line }) }, problems, gateway);
    if (!one) return;
    if (one.decision === 'allow' && !loosens) {
      const message = `A rule of the ${layer} can only tighten: \`allow\` undoes nothing that a higher layer, or the built-in policy, asks or denies.`;
      problems.warnings.push(found(yaml.file, yaml.at([...path, 'verdict']), message));
    }
    if (one.preview === 'dry-run' && !loosens) {
      // A dry run executes the statement before anyone has approved it.
      const message = `A rule of the ${layer} can only tighten, and a dry run executes the statement before anyone has approved it. Only the highest file may ask for one: ignored.`;
      problems.warnings.push(found(yaml.file, yaml.at([...path, 'preview']), message));
    }
    compiled.push(one);
  });
  return compiled;
}

function compileRule(yaml: YamlText, path: Path, rule: RuleShape, ref: RuleRef, problems: Problems, gateway: boolean): CompiledRule | undefined {
  const before = problems.errors.length;
  const error = (at: Path, message: string): void => void problems.errors.push(found(yaml.file, yaml.at([...path, ...at]), message));
  const allows = rule.verdict === 'allow';
  const { matcher, errors } = compileMatch(rule.match, allows);
  for (const { path: at, message } of errors) error(['match', ...at], message);
  // A pattern that was refused leaves no clause, but was meant to be one.
  if (matcher.clauses.length === 0 && errors.length === 0 && (rule.match || rule.when === undefined)) {
    error(rule.match ? ['match'] : [], 'This rule matches everything. Say under `match:` what it speaks of, give it `when:`, or use `defaults`.');
  }

  let condition: Condition | undefined;
  if (rule.when !== undefined) {
    const result = compileCondition(rule.when, allows);
    if (result.ok) condition = result.condition;
    else problems.errors.push(found(yaml.file, yaml.within([...path, 'when'], result.at), result.message));
  }

  if (!gateway) {
    if (rule['fresh-login']) error(['fresh-login'], '`fresh-login` needs the shared gateway, where people sign in. Remove it: nothing here would enforce it.');
    if (rule.min !== undefined && rule.min > 1)
      error(['min'], 'More than one approver needs the shared gateway, where others can answer. Remove `min`: nobody else could.');
    if (rule.escalate) error(['escalate'], '`escalate` needs the shared gateway, where others can answer. Remove it: nobody else could.');
  }
  if (rule.verdict !== 'ask') {
    for (const key of ['approvers', 'min', 'expires', 'preview', 'fresh-login', 'escalate'] as const) {
      if (rule[key] !== undefined)
        error([key], `\`${key}\` is about asking, and this rule’s verdict is \`${rule.verdict}\`. Remove it, or say \`verdict: ask\`.`);
    }
  }
  const expiresMs = rule.expires === undefined ? undefined : parseDuration(rule.expires);
  if (expiresMs !== undefined && expiresMs > MAX_EXPIRES_MS) error(['expires'], 'Nobody can be waited for longer than `24h`.');
  const approvers = rule.approvers === undefined ? undefined : Array.isArray(rule.approvers) ? rule.approvers : [rule.approvers];
  if (rule.min !== undefined && rule.min > 1 && !approvers?.some((who) => who.startsWith('group:')) && rule.min > (approvers?.length ?? 1)) {
    error(['min'], `Only ${approvers?.length ?? 1} can approve, so ${rule.min} never will. Name a group under \`approvers\`, or lower \`min\`.`);
  }
  if (problems.errors.length > before) return undefined;
  const escalate = rule.escalate && {
    afterMs: parseDuration(rule.escalate.after),
    to: Array.isArray(rule.escalate.to) ? rule.escalate.to : [rule.escalate.to],
  };
  const terms = { approvers, expiresMs, preview: rule.preview, min: rule.min, freshLogin: rule['fresh-login'], escalate };
  return { ref, decision: rule.verdict, say: rule.say, matcher, condition, isDefault: false, ...terms };
}

const NOUNS: Readonly<Record<Effect, string>> = {
  read: 'reads',
  send: 'sends',
  write: 'writes',
  delete: 'deletes',
  schema: 'schema-changes',
  execute: 'executes',
  admin: 'admin',
  unknown: 'unknown',
};
const SUFFIX: Readonly<Record<Decision, string>> = { allow: 'allowed', ask: 'ask', deny: 'denied' };

/** The rule that a default stands for: `writes-ask`, `reads-allowed`. */
export function defaultRule(effect: Effect, decision: Decision, where: Omit<RuleRef, 'id'>): CompiledRule {
  return {
    ref: { id: `${NOUNS[effect]}-${SUFFIX[decision]}`, ...where },
    decision,
    say: undefined,
    matcher: { clauses: [], effects: new Set([effect]), cacheable: true, speaksOf: () => true, cost: 0 },
    condition: undefined,
    isDefault: true,
    approvers: undefined,
    expiresMs: undefined,
    preview: undefined,
    min: undefined,
    freshLogin: undefined,
    escalate: undefined,
  };
}

/** Ids that defaults take, so that no rule can pass for one. */
export const DEFAULT_RULE_IDS: ReadonlySet<string> = new Set(EFFECTS.flatMap((effect) => Object.values(SUFFIX).map((suffix) => `${NOUNS[effect]}-${suffix}`)));
