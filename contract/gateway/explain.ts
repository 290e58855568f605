/** "What would happen if": one operation under the policy in force, and under a draft. Nothing is sent anywhere. */
import { z } from 'zod';
import { AGENT_KINDS } from '../actor.ts';
import { EFFECTS, Facts } from '../facts.ts';
import { Decision, RuleRef, Verdict } from '../verdict.ts';
import { MAX_POLICY_TEXT } from './policy.ts';

/** Longest statement, and longest arguments of a tool as JSON, in UTF-16 units. */
const MAX_TRIED_CHARS = 20_000;

const TriedOperation = z.discriminatedUnion('kind', [
  /** Read with the connection's own catalog, where this replica serves it. */
  z.object({ kind: z.literal('sql'), text: z.string().min(1).max(MAX_TRIED_CHARS) }),
  z.object({ kind: z.literal('tool'), tool: z.string().min(1).max(200), args: z.string().max(MAX_TRIED_CHARS) }),
  /** As written down by hand: for what is not served here. */
  z.object({ kind: z.literal('facts'), effect: z.enum(EFFECTS), targets: z.array(z.string().min(1).max(512)).max(100), bulk: z.boolean() }),
]);

export const ExplainPolicy = z.object({
  /** A draft, to be compared with what is in force. */
  text: z.string().max(MAX_POLICY_TEXT).optional(),
  person: z.object({ subject: z.string().min(1).max(256), groups: z.array(z.string().max(256)).max(200).default([]) }),
  agent: z.enum(AGENT_KINDS),
  connection: z.string().min(1).max(200),
  operation: TriedOperation,
  /** Sensitive targets that the conversation has read before: `orders/customers`. */
  read: z.array(z.string().min(1).max(600)).max(100).default([]),
});
export type ExplainPolicy = z.infer<typeof ExplainPolicy>;

const ExplainedVerdict = z.object({
  /** What it is taken for: which columns are sensitive is for the policy to say. */
  facts: Facts,
  verdict: Verdict,
  /** Those that matched, or could not be worked out; with `why`. A default among them is what holds where no rule does. */
  rules: z
    .array(z.object({ ref: RuleRef, decision: Decision, matched: z.enum(['yes', 'no', 'failed']), why: z.string().max(2000), isDefault: z.boolean() }))
    .max(1_000),
});
export type ExplainedVerdict = z.infer<typeof ExplainedVerdict>;

export const PolicyExplanation = z.object({
  /** A statement each; each is decided by itself, and the strictest verdict stands for the whole. */
  parts: z.array(z.object({ inForce: ExplainedVerdict, draft: ExplainedVerdict.optional() })).max(200),
  /** The whole: which part decides. */
  inForce: z.object({ part: z.number().int().nonnegative() }),
  draft: z.object({ part: z.number().int().nonnegative() }).optional(),
  /** What could not be looked at, and what that means. */
  notes: z.array(z.string().max(1000)).max(10),
});
export type PolicyExplanation = z.infer<typeof PolicyExplanation>;
