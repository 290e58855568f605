import type { DryRun } from '../../contract/approval.ts';
import type { Facts } from '../../contract/facts.ts';
import type { Digest, OperationId } from '../../contract/ids.ts';
import type { Answer } from '../../contract/response.ts';
import type { Permit } from './permit.ts';

/** One thing asked for, already classified by its protocol. */
export interface Operation {
  readonly id: OperationId;
  /** Over connection, session context, exact bytes and parameters: see `Engine.digest`. */
  readonly digest: Digest;
  /** One entry a statement; each is decided, the strictest wins. Never empty. */
  readonly parts: readonly [Facts, ...Facts[]];
  /** The whole request as text, for a person. */
  readonly payload: string;
  readonly params: readonly (string | null)[];
  /** The same with what is sensitive masked: what is written to the record. `facts` where `parts` hold what may not be. */
  readonly recorded: { readonly payload: string; readonly params?: readonly (string | null)[] | undefined; readonly facts?: Facts | undefined };
  /** How many characters of it are recorded at most, where that is known before they are made. */
  readonly size?: number | undefined;
  readonly language: 'sql' | 'json' | 'shell' | 'text';
  /** Normalised form without literals; equal shapes can share a grant and a cached verdict. */
  readonly shape?: string | undefined;
  /** What the agent says it is for. Unverified. */
  readonly reason?: string | undefined;
  /** Set where the surface promised to change nothing: anything but a read is refused whatever policy says. */
  readonly readOnly?: boolean | undefined;
  /** Called when a person is asked, with the question's id and its deadline in epoch milliseconds. */
  readonly asked?: ((approval: string, deadline: number) => void) | undefined;
  /** Awaited once a person has approved: whether somebody is there for what comes of it. To false, nothing is forwarded. */
  readonly claim?: (() => Promise<boolean>) | undefined;
  /** Set where it cannot be forwarded whatever policy says: why, as a sentence for the agent. */
  readonly refused?: string | undefined;
  /** Prepares a dry run; sends nothing. Rejects with a Problem whose sentence says why there can be none. */
  readonly dryRun?: (() => Promise<DryRunAttempt>) | undefined;
  /** Why there can be none, where that is known at once. */
  readonly noDryRun?: string | undefined;
}

/**
 * An operation as it would be tried before anyone has answered: its own bytes, so its own digest and its own permit. `run`
 * spends the permit before the first byte, always takes back what it did, and settles soon after the signal aborts.
 */
export interface DryRunAttempt {
  readonly digest: Digest;
  run(permit: Permit, signal: AbortSignal): Promise<DryRun>;
}

/** What came of forwarding. Everything in it is masked. */
export interface Outcome {
  readonly outcome: 'done' | 'failed' | 'cancelled' | 'lost';
  readonly rows?: number;
  readonly masked: number;
  readonly error?: { readonly code: string; readonly message: string };
  readonly answer?: Answer;
  /** Before masking; goes to memory only. */
  readonly raw?: Answer;
}

/** Why an operation was not forwarded, as data; each protocol words it in its own well-formed error. */
export interface Refusal {
  readonly code:
    | 'denied-by-rule'
    | 'quarantined'
    | 'denied-by-person'
    | 'no-answer'
    | 'nobody-to-ask'
    | 'not-read-only'
    | 'cancelled'
    | 'not-recorded'
    | 'session-closed'
    | 'too-many-asks';
  /** A sentence for the agent and the person behind it: what was refused, by which rule or whom, what to do. */
  readonly sentence: string;
  readonly rule?: string;
  readonly note?: string;
}

export type RunResult = { readonly forwarded: true; readonly outcome: Outcome } | { readonly forwarded: false; readonly refusal: Refusal };
