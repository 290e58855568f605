import { DECISIONS, type Verdict } from '../../contract/verdict.ts';
import type { Policy } from '../policy/policy.ts';
import type { DryRunAttempt, Operation } from './operation.ts';
import { MINT, Permit } from './permit.ts';
import type { Session } from './session.ts';

/**
 * Verdicts that may be used again, by session and by the very list of facts: a protocol hands in the same list for
 * statements of the same shape. Kept for one policy, and only where no rule looks at anything else.
 */
const kept = new WeakMap<Session, { readonly policy: Policy; readonly verdicts: WeakMap<Operation['parts'], Verdict> }>();

/** Decides every part of an operation; the strictest verdict stands for the whole. */
export function decide(policy: Policy, session: Session, operation: Operation): Verdict {
  let known = kept.get(session);
  if (known?.policy !== policy) {
    known = { policy, verdicts: new WeakMap() };
    kept.set(session, known);
  }
  let verdict = known.verdicts.get(operation.parts);
  if (verdict) return verdict;
  verdict = decideAnew(policy, session, operation);
  const { protocol } = session.request;
  if (operation.parts.every((part) => policy.cacheable(protocol, part.effect))) known.verdicts.set(operation.parts, verdict);
  return verdict;
}

function decideAnew(policy: Policy, session: Session, operation: Operation): Verdict {
  const { actor, connection, protocol, surface, conversation } = session.request;
  const context = { actor, connection, protocol, surface, conversationRead: conversation.read };
  let worst: Verdict | undefined;
  for (const part of operation.parts) {
    const verdict = policy.decide(part, context);
    if (!worst || DECISIONS.indexOf(verdict.decision) > DECISIONS.indexOf(worst.decision)) worst = verdict;
  }
  if (!worst) throw new Error('an operation without parts');
  return worst;
}

/** A permit by verdict alone. */
export function permitByVerdict(verdict: Verdict, operation: Operation): Permit {
  if (verdict.decision !== 'allow') throw new Error(`no permit from a verdict of ${verdict.decision}`);
  return Permit[MINT](operation, operation, `rule:${verdict.rule.id}`);
}

/**
 * A permit to try an operation before a person has answered, for those bytes alone. Policy gives it, not a person: only the
 * highest file's rule can say `preview: dry-run`, because it executes before approval.
 */
export function permitForDryRun(policy: Policy, verdict: Verdict, operation: Operation, attempt: DryRunAttempt): Permit {
  if (verdict.decision !== 'ask' || verdict.preview !== 'dry-run')
    throw new Error(`no dry run under a verdict of ${verdict.decision}, preview ${verdict.preview}`);
  if (verdict.policyVersion !== policy.version) throw new Error('no dry run under a policy that is no longer in force');
  return Permit[MINT](operation, attempt, `dry-run:${verdict.rule.id}`);
}
