import { z } from 'zod';

export const DECISIONS = ['allow', 'ask', 'deny'] as const;
export const Decision = z.enum(DECISIONS);
export type Decision = z.infer<typeof Decision>;

const LAYERS = ['builtin', 'organisation', 'user', 'workspace'] as const;

/** Which rule decided, and where a person finds it. */
export const RuleRef = z.object({
  id: z.string().max(200),
  layer: z.enum(LAYERS),
  /** The file it stands in, as shown to a person, and its 1-based line; absent for built-in rules. */
  file: z.string().max(1000).optional(),
  line: z.number().int().positive().optional(),
});
export type RuleRef = z.infer<typeof RuleRef>;

export const Verdict = z.object({
  decision: Decision,
  rule: RuleRef,
  /** The rule author's sentence to whoever is stopped. */
  say: z.string().max(1000).optional(),
  /** Why, in words: which facts matched. */
  because: z.string().max(1000),
  policyVersion: z.string().max(128),
  /** For `ask`: who may answer (`requester`, `group:dba`), how many, and how long they have, in milliseconds. */
  approvers: z.array(z.string().max(200)).max(50),
  quorum: z.number().int().min(1).max(10),
  expiresMs: z.number().int().positive(),
  preview: z.enum(['none', 'dry-run']),
  /** Whoever approves must have signed in anew for this very question. Gateway only. */
  freshLogin: z.boolean().optional(),
  /** After this many milliseconds without an answer, these may answer as well. Gateway only. */
  escalate: z.object({ afterMs: z.number().int().positive(), to: z.array(z.string().max(200)).max(50) }).optional(),
});
export type Verdict = z.infer<typeof Verdict>;

export const MASK_KINDS = ['redact', 'partial', 'hash', 'token'] as const;
export const MaskKind = z.enum(MASK_KINDS);
export type MaskKind = z.infer<typeof MaskKind>;
