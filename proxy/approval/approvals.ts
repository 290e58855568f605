/** Approvals as the pipeline uses them. */
import type { Person } from '../../contract/actor.ts';
import type { PendingApproval, Scope } from '../../contract/approval.ts';

/** What the pipeline hands over; the queue adds id, times and scopes. */
export type Question = Omit<PendingApproval, 'id' | 'askedAt' | 'deadline' | 'scopes' | 'dryRun'> & {
  /** Equal for operations that differ in literals only: what a `shape` grant covers. Absent: shape is not offered. */
  readonly shape?: string;
  /** Runs the operation, reads what would change, rolls back. Absent: no dry run, with `noDryRun` saying why. */
  readonly dryRun?: (signal: AbortSignal) => Promise<import('../../contract/approval.ts').DryRun>;
  readonly noDryRun?: string;
  /** Called when the question waits for a person. */
  readonly asked?: (approval: string, deadline: number) => void;
};

export type ApprovalOutcome =
  | {
      readonly answer: 'approved';
      readonly approval: string;
      readonly by: Person;
      readonly scope: Scope;
      readonly why: 'person' | 'grant';
      readonly digest: string;
      readonly policyVersion: string;
      readonly waitedMs: number;
    }
  | {
      readonly answer: 'denied';
      readonly approval: string;
      readonly by?: Person;
      readonly note?: string;
      /**
       * `out-of-reach`: the place where questions are kept does not answer, so that nobody can. `not-asked`: others than the one at
       * this machine would have to be asked, and cannot; `note` says why.
       */
      readonly why:
        | 'person'
        | 'deadline'
        | 'withdrawn'
        | 'nobody'
        | 'limit'
        | 'alike'
        | 'too-large'
        | 'policy-changed'
        | 'shutdown'
        | 'out-of-reach'
        | 'not-asked';
      readonly waitedMs: number;
    };

export interface Approvals {
  /** Resolves once, with a person's answer, a grant, the deadline, or a reason why nobody can answer. Never rejects. */
  ask(question: Question, signal: AbortSignal): Promise<ApprovalOutcome>;
  /** Spends an approval: true exactly once for each `approved` outcome. */
  spend(approval: string): boolean;
  /** Fills in the quiet line of a decided question. */
  ended(operation: string, outcome: string): void;
}
