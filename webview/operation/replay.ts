/** Going through a session: where one is, where a decision was, and how long nothing happened before. Pure. */
import type { Step } from '../../contract/timeline.ts';

/** A pause that is worth saying, in milliseconds: shorter ones are an agent's thinking. */
const IDLE_MS = 60_000;

/** Where somebody decided, or something went wrong: what a person who looks back looks for. */
export function isDecision({ tone }: Step): boolean {
  return tone !== 'allowed';
}

export function placeOf(steps: readonly Step[], operation: string): number {
  return steps.findIndex((step) => step.operation === operation);
}

/** The nearest decision in a direction; undefined where there is none. */
export function decisionFrom(steps: readonly Step[], from: number, by: 1 | -1): number | undefined {
  for (let at = from + by; at >= 0 && at < steps.length; at += by) {
    const step = steps[at];
    if (step && isDecision(step)) return at;
  }
  return undefined;
}

/** How long nothing happened before a step, where that is worth saying. */
export function idleBefore(steps: readonly Step[], at: number): number | undefined {
  const [before, step] = [steps[at - 1], steps[at]];
  const idle = before && step ? step.at - before.at : 0;
  return idle >= IDLE_MS ? idle : undefined;
}
