import { mergeFacts } from '../../contract/facts.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { ApprovalOutcome } from '../approval/approvals.ts';
import type { Engine } from './engine.ts';
import type { Operation } from './operation.ts';
import { MINT, Permit } from './permit.ts';
import type { Session } from './session.ts';
import { tryOut } from './tryOut.ts';

/** Asks a person and waits for what comes of it. */
export async function approve(engine: Engine, session: Session, operation: Operation, verdict: Verdict, signal: AbortSignal): Promise<ApprovalOutcome> {
  const { actor, connection, protocol, conversation } = session.request;
  const sensitive = conversation.read.filter((r) => r.sensitive).map((r) => r.target);
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
      facts: mergeFacts(operation.parts),
      verdict,
      payload: operation.payload,
      language: operation.language,
      params: [...operation.params],
      conversationSummary: { operations: conversation.operations, sensitive: sensitive.slice(0, 50) },
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
  return Permit[MINT](operation.id, operation.digest, `approval:${outcome.approval}`);
}
