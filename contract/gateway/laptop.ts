/** A question about a connection of a laptop's own that others answer: one line of JSON each way, on a stream of kind `ask`. */
import { z } from 'zod';
import { Person } from '../actor.ts';
import { PendingApproval, Scope } from '../approval.ts';

/** Largest question, in bytes of JSON. */
export const MAX_LAPTOP_QUESTION_BYTES = 4 * 1024 * 1024;
/** Largest answer, in bytes of JSON. */
export const MAX_LAPTOP_OUTCOME_BYTES = 256 * 1024;

/** As the laptop's proxy says; the person is the one of the tunnel, whatever stands in `actor`. */
export const LaptopQuestion = PendingApproval.omit({ id: true, askedAt: true, deadline: true, scopes: true, dryRun: true }).extend({
  shape: z.string().max(1_000_000).optional(),
});
export type LaptopQuestion = z.infer<typeof LaptopQuestion>;

/** Ends the question. Closing the stream before withdraws it. */
export const LaptopOutcome = z.discriminatedUnion('answer', [
  /** Used up at the gateway: good for the operation that was asked about, now. */
  z.object({ answer: z.literal('approved'), approval: z.string().max(128), by: Person, scope: Scope, why: z.enum(['person', 'grant']), waitedMs: z.number() }),
  z.object({
    answer: z.literal('denied'),
    approval: z.string().max(128),
    why: z.enum(['person', 'deadline', 'withdrawn', 'nobody', 'limit', 'alike', 'too-large', 'policy-changed', 'shutdown', 'out-of-reach', 'not-asked']),
    by: Person.optional(),
    note: z.string().max(2000).optional(),
    waitedMs: z.number(),
  }),
]);
export type LaptopOutcome = z.infer<typeof LaptopOutcome>;
