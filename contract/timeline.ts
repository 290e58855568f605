/** Operations of a conversation or a session in order, for going through them: what each was, and what became of it. */
import { z } from 'zod';
import type { OperationSummary } from './control.ts';

/** Steps that a panel is given; of a longer session the newest. */
export const MAX_STEPS = 500;

/** `allowed` is a rule's word alone; the others are where somebody decided, or something went wrong. */
const STEP_TONES = ['allowed', 'approved', 'denied', 'waiting', 'failed'] as const;
export type StepTone = (typeof STEP_TONES)[number];

export const Step = z.object({
  operation: z.string().max(128),
  /** Epoch milliseconds. */
  at: z.number(),
  headline: z.string().max(300),
  tone: z.enum(STEP_TONES),
});
export type Step = z.infer<typeof Step>;

/** @param operations in any order */
export function stepsOf(operations: readonly OperationSummary[]): Step[] {
  return [...operations]
    .sort((a, b) => a.at - b.at)
    .slice(-MAX_STEPS)
    .map((one) => ({ operation: one.operation, at: one.at, headline: one.headline.slice(0, 300), tone: toneOf(one) }));
}

function toneOf({ approvedBy, decision, outcome }: OperationSummary): StepTone {
  if (decision === 'deny' || outcome === 'denied') return 'denied';
  if (outcome === 'failed' || outcome === 'lost' || outcome === 'cancelled') return 'failed';
  if (decision === 'ask') return outcome === undefined && approvedBy === undefined ? 'waiting' : 'approved';
  return 'allowed';
}
