/** Questions that people other than the requester answer, and what was granted over a time. */
import { z } from 'zod';
import { Actor, Agent, Person } from '../actor.ts';
import { ApprovalAnswer, PendingApproval, Scope } from '../approval.ts';

/** What was answered so far, where more than one must. */
const GivenAnswer = z.object({ by: Person, answer: z.enum(['approve', 'deny']), note: z.string().max(2000).optional(), at: z.number() });

const state = z.enum(['pending', 'approved', 'denied', 'spent']);

/** Access over a time: what is asked for, by whom, why. */
export const AccessRequest = z.object({
  connection: z.string().min(1).max(200),
  /** Effects that it covers: each needs to be asked for by name. */
  effects: z
    .array(z.enum(['read', 'write', 'delete', 'schema', 'send', 'execute', 'admin']))
    .min(1)
    .max(7),
  /** Targets by name; `*` for any. */
  targets: z.array(z.string().min(1).max(300)).min(1).max(100),
  minutes: z
    .number()
    .int()
    .min(1)
    .max(7 * 24 * 60),
  reason: z.string().min(1).max(2000),
  /** Who should look at it: `group:dba`, `user:…`. Narrows who policy lets answer; never widens it. */
  reviewers: z.array(z.string().max(200)).max(20).default([]),
});
export type AccessRequest = z.infer<typeof AccessRequest>;

/** The same as one person is shown it. Names, targets and reason are what somebody wrote: shown as text. */
export const AccessAsk = z.object({
  id: z.string().max(128),
  digest: z.string().max(128),
  access: AccessRequest,
  requester: Person,
  /** What it was asked through, where that was no editor or page of ours. */
  agent: Agent.optional(),
  askedAt: z.number(),
  deadline: z.number(),
  approvers: z.array(z.string().max(200)).max(50),
  /** How many have said yes, of how many who must. */
  approvals: z.number().int().nonnegative(),
  quorum: z.number().int().min(1).max(10),
  /** `withdraw`: this person asked it. `wait`: they have answered, or others do. */
  mine: z.enum(['approve', 'withdraw', 'wait']),
});
export type AccessAsk = z.infer<typeof AccessAsk>;

export const GatewayApproval = z.object({
  id: z.string().max(128),
  kind: z.enum(['operation', 'access']),
  state,
  /** Why it ended, where it did: `person`, `deadline`, `withdrawn`, … */
  why: z.string().max(40).optional(),
  /** The whole question, for `operation`. */
  question: PendingApproval.optional(),
  /** For `access`. */
  access: AccessRequest.optional(),
  requester: Person,
  actor: Actor.optional(),
  connection: z.string().max(200),
  digest: z.string().max(128),
  askedAt: z.number(),
  deadline: z.number(),
  approvers: z.array(z.string().max(200)).max(50),
  quorum: z.number().int().min(1).max(10),
  freshLogin: z.boolean(),
  escalated: z.boolean(),
  answers: z.array(GivenAnswer).max(50),
  /** What the one who asks for this may do with it. */
  mine: z.object({ requested: z.boolean(), mayAnswer: z.boolean(), mayApprove: z.boolean(), answered: z.boolean(), needsFreshLogin: z.boolean() }),
  decidedAt: z.number().optional(),
});
export type GatewayApproval = z.infer<typeof GatewayApproval>;
export const GatewayApprovals = z.object({ pending: z.array(GatewayApproval).max(500), decided: z.array(GatewayApproval).max(50) });
export type GatewayApprovals = z.infer<typeof GatewayApprovals>;

/** An answer over the API; the id is in the path, and must be the same. */
export const GatewayAnswer = ApprovalAnswer;
const GATEWAY_ANSWER_RESULTS = ['accepted', 'already-decided', 'stale', 'unknown', 'not-allowed', 'needs-fresh-login', 'answered-before'] as const;
export const GatewayAnswerResult = z.object({ result: z.enum(GATEWAY_ANSWER_RESULTS), sentence: z.string().max(1000).optional() });
export type GatewayAnswerResult = z.infer<typeof GatewayAnswerResult>;

export const GatewayGrant = z.object({
  id: z.string().max(128),
  person: Person,
  connection: z.string().max(200),
  covers: z.string().max(400),
  scope: Scope.optional(),
  access: AccessRequest.optional(),
  reason: z.string().max(2000).optional(),
  by: z.array(Person).max(50),
  createdAt: z.number(),
  until: z.number(),
  used: z.number().int().nonnegative(),
  endedAt: z.number().optional(),
});
export type GatewayGrant = z.infer<typeof GatewayGrant>;
