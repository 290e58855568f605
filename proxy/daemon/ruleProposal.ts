/** What a rule would have meant: the policy's proposal, held against what was recorded lately. */
import { agentName } from '../../contract/agentName.ts';
import type { OperationDetail, OperationPage, OperationQuery, RuleProposal } from '../../contract/control.ts';
import { contextOf, type PolicyInForce, proposeRule } from '../policy/proposeRule.ts';

/** How far back is looked, in days, and at how many operations: each is read from its session's file. */
const DAYS = 30;
const LOOKED_AT = 60;
/** Shown of those that match, newest first. */
const SHOWN = 5;

interface Recorded {
  operations(query: OperationQuery): OperationPage | Promise<OperationPage>;
  operation(id: string, quick?: boolean): OperationDetail | null | Promise<OperationDetail | null>;
}

/** Null where the operation is not recorded here. */
export async function ruleProposal(operation: string, inForce: PolicyInForce, record: Recorded): Promise<RuleProposal | null> {
  // What is written into the policy is shown to a person first; whether the record holds is said where it is shown.
  const detail = await record.operation(operation, true);
  if (!detail) return null;
  const proposed = proposeRule(inForce, detail);
  if (!proposed.ok) return { operation, helps: false, why: proposed.why };
  const { connection, effect } = detail.summary;
  const page = await record.operations({ filter: `connection:"${connection.replaceAll('"', '')}" effect:${effect} after:${DAYS}d`, limit: LOOKED_AT });
  const matched: OperationDetail[] = [];
  for (const { operation: id, connection: of } of page.operations) {
    const one = of === connection ? await record.operation(id, true) : null;
    if (one && proposed.matches(one.facts, contextOf(one))) matched.push(one);
  }
  const became = matched.map(becameOf);
  const count = (what: string): number => became.filter((one) => one === what).length;
  return {
    operation,
    helps: true,
    rule: proposed.rule,
    covers: proposed.covers,
    file: proposed.file,
    before: proposed.before,
    after: proposed.after,
    line: proposed.line,
    history: {
      days: DAYS,
      whole: !page.more,
      approved: count('approved'),
      denied: count('denied'),
      allowed: count('allowed'),
      latest: matched.slice(0, SHOWN).map(({ summary }, i) => ({
        operation: summary.operation,
        headline: summary.headline.slice(0, 300),
        at: summary.at,
        agent: agentName(summary.actor.agent),
        became: became[i] ?? 'denied',
      })),
    },
  };
}

/** What is still open counts as not let through. */
function becameOf({ approval, summary, verdict }: OperationDetail): 'approved' | 'denied' | 'allowed' {
  if (verdict.decision === 'allow') return 'allowed';
  return verdict.decision === 'ask' && approval?.answer === 'approved' && summary.outcome !== 'denied' ? 'approved' : 'denied';
}
