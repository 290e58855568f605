import { type Facts, mergeFacts } from '../../contract/facts.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { ApprovalOutcome, Question } from '../approval/approvals.ts';
import type { Engine } from './engine.ts';
import type { Operation } from './operation.ts';
import { MINT, Permit } from './permit.ts';
import type { Session } from './session.ts';
import { tryOut } from './tryOut.ts';

/** Asks a person and waits for what comes of it. */
export async function approve(engine: Engine, session: Session, operation: Operation, verdict: Verdict, signal: AbortSignal): Promise<ApprovalOutcome> {
  const { actor, connection, protocol, conversation } = session.request;
  const sensitive = conversation.read.filter((r) => r.sensitive).map((r) => r.target.slice(0, 1000));
  const facts = mergeFacts(operation.parts);
  const trial = tryOut(engine, session, operation, verdict);
  const outcome = await engine.approvals.ask(
    {
      operation: operation.id,
      digest: operation.digest,
      session: session.id,
      conversation: conversation.id,
      actor,
      connection,
      protocol,
      facts,
      verdict,
      payload: operation.payload,
      language: operation.language,
      params: [...operation.params],
      conversationSummary: { operations: conversation.operations, sensitive: sensitive.slice(0, 50), ...(leaves(facts) && readsOf(session)) },
      ...(operation.asked && { asked: operation.asked }),
      ...(operation.reason !== undefined && { reason: operation.reason }),
      ...(operation.shape !== undefined && { shape: operation.shape }),
      ...(trial && { dryRun: trial.run }),
      ...(operation.noDryRun !== undefined && verdict.preview === 'dry-run' && { noDryRun: operation.noDryRun }),
    },
    signal,
  );
  await trial?.settled();
  return outcome;
}

/** A permit by approval: spends it, and checks that it was given for these bytes under the policy now in force. */
export function permitByApproval(engine: Engine, outcome: ApprovalOutcome, operation: Operation, policyVersion: string): Permit | undefined {
  if (outcome.answer !== 'approved') return undefined;
  if (outcome.digest !== operation.digest || outcome.policyVersion !== policyVersion) return undefined;
  if (!engine.approvals.spend(outcome.approval)) return undefined;
  return Permit[MINT](operation, operation, `approval:${outcome.approval}`);
}

/** Whether it could carry out what was read. */
function leaves({ effect, mcp }: Facts): boolean {
  return effect === 'send' || mcp?.outward === true;
}

/** Both ends are shown: what was read is this one. */
function readsOf({ request }: Session): Pick<Question['conversationSummary'], 'reads'> {
  const latest = [...request.conversation.sensitive].reverse().slice(0, 20);
  if (latest.length === 0) return {};
  return {
    reads: latest.map(({ connection, target, what, masked, at }) => ({ connection, target: target.slice(0, 600), what: what.slice(0, 20), masked, at })),
  };
}
