/** Who someone is to the shared gateway. */
import { z } from 'zod';
import { Person } from '../actor.ts';

/** What a person may do there; one person can have several. `docs/gateway.md` has the table of what each may. */
export const ROLES = ['developer', 'approver', 'auditor', 'admin'] as const;
export const Role = z.enum(ROLES);
export type Role = z.infer<typeof Role>;

/** Who is calling, as the gateway sees them. */
export const Me = z.object({
  kind: z.enum(['person', 'service', 'run']),
  person: Person,
  roles: z.array(Role).max(ROLES.length),
  /** When they last showed who they are, epoch milliseconds. */
  authTime: z.number().optional(),
  /** When the login ends, epoch milliseconds. */
  expiresAt: z.number(),
  /** For `run`: the agent that acts. */
  agent: z.string().max(200).optional(),
  /** To be sent back as `X-CSRF-Token` with everything but GET, where the login is a browser's cookie. */
  csrf: z.string().max(200).optional(),
});
export type Me = z.infer<typeof Me>;

export const PersonView = z.object({
  id: z.string().max(128),
  person: Person,
  email: z.string().max(320).optional(),
  roles: z.array(Role).max(ROLES.length),
  seenAt: z.number(),
  disabledAt: z.number().optional(),
  /** Logins that stand. */
  logins: z.number().int().nonnegative(),
});
export type PersonView = z.infer<typeof PersonView>;

/** How a workload that runs elsewhere proves which account it is: a token of an issuer that the configuration names, with these claims. */
export const WorkloadRule = z.object({
  issuer: z.string().max(40),
  /** Claim → its exact value, or a pattern with `*` inside. At least one. */
  claims: z.record(z.string().max(100), z.string().min(1).max(500)).refine((claims) => Object.keys(claims).length > 0, 'Name at least one claim.'),
});
export type WorkloadRule = z.infer<typeof WorkloadRule>;

/** An account for agents that run unattended. It asks; it approves nothing. */
export const ServiceAccountView = z.object({
  id: z.string().max(128),
  name: z.string().max(64),
  groups: z.array(z.string().max(256)).max(50),
  /** The connections that it may use. */
  connections: z.array(z.string().max(200)).max(200),
  /** Longest life of its tokens, in seconds. */
  maxSeconds: z.number().int(),
  /** It puts the organisation's policy, and uses no connection. */
  publisher: z.boolean(),
  proof: z.enum(['secret', 'workload']),
  workload: WorkloadRule.optional(),
  createdAt: z.number(),
  disabledAt: z.number().optional(),
});
export type ServiceAccountView = z.infer<typeof ServiceAccountView>;

export const NewServiceAccount = z.object({
  name: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/),
  groups: z.array(z.string().min(1).max(256)).max(50).default([]),
  connections: z.array(z.string().min(1).max(200)).max(200).default([]),
  maxSeconds: z.number().int().min(60).max(3600).default(900),
  /** Left out: the answer holds a secret, once. */
  workload: WorkloadRule.optional(),
  /** It puts the organisation's policy, from where that is kept, and does nothing else: no connections, and a workload with exact claims. */
  publisher: z.boolean().default(false),
});
export type NewServiceAccount = z.infer<typeof NewServiceAccount>;
