/**
 * A rule that would have let an operation through without asking, as narrow as its facts allow, tried on the policy in force:
 * what is proposed is known to help, or said not to. Pure; it changes nothing.
 */
import type { OperationDetail } from '../../contract/control.ts';
import type { Facts } from '../../contract/facts.ts';
import { addRule, ruleBlock } from './addRule.ts';
import { type LoadedPolicy, loadPolicy, type PolicyLayer } from './load.ts';
import type { DecisionContext } from './policy.ts';
import { DEFAULT_RULE_IDS } from './rules.ts';

/** More targets than this make no rule that a person would read. */
const MAX_TARGETS = 10;
const MAX_ID = 90;
/** What no rule of this kind is proposed for: it is looked at each time. */
const NEVER: ReadonlySet<string> = new Set(['unknown', 'admin', 'schema', 'execute']);

export interface PolicyInForce {
  readonly policy: LoadedPolicy;
  readonly layers: readonly PolicyLayer[];
  /** The person's own file, which need not exist; undefined where there is none to have. */
  readonly user: string | undefined;
  readonly gateway: boolean;
}

export type RuleProposed =
  | { readonly ok: false; readonly why: string }
  | {
      readonly ok: true;
      /** For under `rules:`. */
      readonly rule: string;
      readonly covers: string;
      readonly file: string;
      readonly before: string;
      readonly after: string;
      readonly line: number;
      /** Whether it speaks of an operation. */
      readonly matches: (facts: Facts, context: DecisionContext) => boolean;
    };

export function proposeRule({ policy, layers, user, gateway }: PolicyInForce, detail: OperationDetail): RuleProposed {
  const { facts, verdict } = detail;
  if (verdict.decision !== 'ask') return no('Nobody was asked about this.');
  if (user === undefined) return no('There is no policy file of your own here.');
  if (layers.some(({ layer }) => layer === 'organisation'))
    return no('Your organisation’s policy asks about this, and a file of yours can only tighten it. Whoever looks after that policy can add a rule.');
  // An `allow` never outweighs a rule that asks: it stands in for a default alone.
  if (!DEFAULT_RULE_IDS.has(verdict.rule.id)) return no(`The rule ${verdict.rule.id} asks each time. Change that rule where it no longer fits.`);
  if (facts.bulk) return no('It changes every row, and is looked at each time.');
  if (NEVER.has(facts.effect)) return no(`What is ${facts.effect} is looked at each time.`);
  const match = matchOf(detail);
  if (!match) return no('It has no name that a rule could speak of.');
  const rule = { id: idOf(detail, policy), match, verdict: 'allow' };
  const mine = layers.find(({ layer }) => layer === 'user');
  const before = mine?.text ?? '';
  const added = addRule(before, rule);
  if (!added) return no(`${user} is written in a way that a rule cannot be added to. Add one by hand.`);
  const loaded = loadPolicy([...layers.filter((layer) => layer !== mine), { layer: 'user', file: user, text: added.text }], { gateway });
  if (!loaded.ok) return no('No rule that is narrow enough can be written for this.');
  const tried = loaded.policy;
  const matches = (given: Facts, context: DecisionContext): boolean =>
    tried.explain(given, context).rules.some(({ ref, matched }) => ref.id === rule.id && ref.layer === 'user' && matched === 'yes');
  const context = contextOf(detail);
  if (!matches(facts, context)) return no('No rule that is narrow enough can be written for this.');
  const now = tried.decide(facts, context);
  if (now.decision !== 'allow') return no(`The rule ${now.rule.id} would go on asking.`);
  return { ok: true, rule: ruleBlock(rule), covers: coversOf(detail), file: user, before, after: added.text, line: added.line, matches };
}

/** As it was decided; what was read before it is not known here, and rules that look at that are no defaults. */
export function contextOf({ summary: { actor, connection, protocol } }: Pick<OperationDetail, 'summary'>): DecisionContext {
  return { actor, connection, protocol, surface: '', conversationRead: [] };
}

function no(why: string): RuleProposed {
  return { ok: false, why };
}

function matchOf({ facts, summary }: OperationDetail): object | undefined {
  const { connection } = summary;
  const names = facts.targets.map(({ name }) => name);
  const sensitive = facts.sensitive;
  // A name that is a pattern would speak of others as well.
  if ([connection, ...names, ...sensitive].some((name) => name === '' || /[*?]/.test(name)) || names.length > MAX_TARGETS || sensitive.length > MAX_TARGETS)
    return undefined;
  const narrow = { connection, effect: facts.effect, bulk: false, sensitive: sensitive.length > 0 ? sensitive : false };
  if (facts.mcp) {
    const { tool, secrets } = facts.mcp;
    if (tool === '' || /[*?]/.test(tool) || (secrets?.length ?? 0) > 0) return undefined;
    return { ...narrow, mcp: { tool, secrets: false } };
  }
  if (names.length === 0) return undefined;
  const target = names.length === 1 ? names[0] : names;
  if (!facts.sql) return undefined;
  const { statement, where, masks, session } = facts.sql;
  if (masks || session) return undefined;
  return { ...narrow, target, sql: { statement, ...(where && { where }) } };
}

function coversOf({ facts, summary }: OperationDetail): string {
  const { connection } = summary;
  const quiet = facts.sensitive.length > 0 ? `, touching of sensitive data ${facts.sensitive.join(', ')} alone` : ', as long as it touches nothing sensitive';
  if (facts.mcp) return `Every agent of yours may call ${facts.mcp.tool} of ${connection} without asking, whatever its arguments${quiet}.`;
  const names = facts.targets.map(({ name }) => name).join(', ');
  const where = facts.sql?.where ? ' with a condition (WHERE)' : '';
  return `Every agent of yours may run ${facts.sql?.statement ?? facts.verb} of ${names} on ${connection}${where} without asking, whatever its values and conditions${quiet}.`.slice(
    0,
    1000,
  );
}

function idOf({ facts, summary }: OperationDetail, policy: LoadedPolicy): string {
  const taken = new Set(policy.rules.map(({ ref }) => ref.id));
  const words = `allow-${summary.connection}-${facts.headline}`
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_ID)
    .replace(/-+$/, '');
  for (let n = 1; ; n++) {
    const id = n === 1 ? words : `${words}-${n}`;
    if (!taken.has(id) && !DEFAULT_RULE_IDS.has(id)) return id;
  }
}
