import { z } from 'zod';
import { Actor, Person } from './actor.ts';
import { Facts } from './facts.ts';
import { SCOPE_HOW_LONGS, SCOPE_WHATS } from './scopes.ts';
import { Verdict } from './verdict.ts';

export const Scope = z.object({ what: z.enum(SCOPE_WHATS), howLong: z.enum(SCOPE_HOW_LONGS) });
export type Scope = z.infer<typeof Scope>;

export { NARROWEST, SCOPE_HOW_LONGS } from './scopes.ts';

/** Effect of a dry run: what would change, masked, already rolled back. */
export const DryRun = z.object({
  rows: z.number().int().nonnegative(),
  columns: z.array(z.string().max(300)).max(200),
  /** Pairs of masked rows before and after; `null` where a row is new or gone. */
  samples: z.array(z.object({ before: z.array(z.string().nullable()).nullable(), after: z.array(z.string().nullable()).nullable() })).max(20),
});
export type DryRun = z.infer<typeof DryRun>;

/** One waiting question, as a person sees it. Held in memory only. */
export const PendingApproval = z.object({
  id: z.string().max(128),
  operation: z.string().max(128),
  digest: z.string().max(128),
  session: z.string().max(128),
  conversation: z.string().max(128),
  actor: Actor,
  connection: z.string().max(200),
  protocol: z.string().max(40),
  facts: Facts,
  verdict: Verdict,
  /** The whole request as the agent sent it. */
  payload: z.string(),
  /** Language of the payload for highlighting: `sql`, `json`, `shell`, `text`. */
  language: z.string().max(20),
  params: z.array(z.string().nullable()).max(2000),
  /** What the agent says it is for: unverified. */
  reason: z.string().max(2000).optional(),
  /** Epoch milliseconds. */
  askedAt: z.number(),
  deadline: z.number(),
  /** Scopes that may be chosen, narrowest first. */
  scopes: z.array(Scope).max(20),
  dryRun: z.discriminatedUnion('state', [
    z.object({ state: z.literal('none'), why: z.string().max(400).optional() }),
    z.object({ state: z.literal('running') }),
    z.object({ state: z.literal('done'), result: DryRun }),
  ]),
  /** This conversation so far: number of operations, and sensitive tables it has read. */
  conversationSummary: z.object({
    operations: z.number().int(),
    sensitive: z.array(z.string().max(1000)).max(50),
    /** What was read that is sensitive, latest first: set where this could carry it out. */
    reads: z
      .array(
        z.object({
          connection: z.string().max(200),
          target: z.string().max(600),
          /** Columns, or the detectors that found something. */
          what: z.array(z.string().max(300)).max(20),
          /** Values that the agent saw masks of, where they were counted. */
          masked: z.number().int().nonnegative(),
          /** Epoch milliseconds. */
          at: z.number(),
        }),
      )
      .max(20)
      .optional(),
  }),
});
export type PendingApproval = z.infer<typeof PendingApproval>;

/** A question that has been answered, kept a while for the quiet line in the view. */
export const DecidedApproval = z.object({
  id: z.string().max(128),
  /** Empty for what is no operation: access over a time. */
  operation: z.string().max(128),
  headline: z.string().max(300),
  connection: z.string().max(200),
  agent: z.string().max(200),
  answer: z.enum(['approved', 'denied']),
  why: z.string().max(40),
  by: Person.optional(),
  note: z.string().max(2000).optional(),
  decidedAt: z.number(),
  /** Until when what was granted holds, epoch milliseconds. */
  until: z.number().optional(),
  /** Filled in when the operation has ended. */
  outcome: z.string().max(200).optional(),
});
export type DecidedApproval = z.infer<typeof DecidedApproval>;

/** A standing approval for a shape or a target. */
export const GrantView = z.object({
  id: z.string().max(128),
  what: z.enum(SCOPE_WHATS),
  /** In words: `UPDATE orders (same shape)`. */
  covers: z.string().max(400),
  connection: z.string().max(200),
  by: Person,
  /** Epoch milliseconds, absent for "until the session ends". */
  until: z.number().optional(),
  used: z.number().int().nonnegative(),
  /** False where whoever is shown it may only look on. */
  mayEnd: z.boolean().optional(),
});
export type GrantView = z.infer<typeof GrantView>;

/** A person's click: bound to the question's id and to the digest that was on the screen. */
export const ApprovalAnswer = z.discriminatedUnion('answer', [
  z.object({ answer: z.literal('approve'), id: z.string().max(128), digest: z.string().max(128), scope: Scope }),
  z.object({ answer: z.literal('deny'), id: z.string().max(128), digest: z.string().max(128), note: z.string().max(2000).optional() }),
]);
export type ApprovalAnswer = z.infer<typeof ApprovalAnswer>;

/** What became of a click. */
export const ANSWER_RESULTS = ['accepted', 'already-decided', 'stale', 'unknown', 'not-allowed'] as const;
export type AnswerResult = (typeof ANSWER_RESULTS)[number];
