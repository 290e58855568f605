/**
 * The gateway's API: every endpoint that a signed-in client can call, with the decoders of what goes in and what comes out.
 * Both sides use this table; `gateway/api/authorization.ts` says who may call which.
 */
import { z } from 'zod';
import { PinAnswered, PinTexts, SharedPinAnswer, SharedPinsView } from '../pins.ts';
import { AccessRequest, GatewayAnswer, GatewayAnswerResult, GatewayApproval, GatewayApprovals, GatewayGrant } from './approvals.ts';
import { AddedEdge, EdgeView, NewEdge } from './edges.ts';
import { ExplainPolicy, PolicyExplanation } from './explain.ts';
import { Me, NewServiceAccount, PersonView, ServiceAccountView } from './identity.ts';
import { PolicyCheck, PolicyKeys, PolicyVersion, PolicyVersionDetail, PutPolicy, SharedConnection, SignedPolicy } from './policy.ts';
import { AuditPage, AuditReport, GatewaySession, SessionEntries, SessionQuery, StorageHealth } from './sessions.ts';

export interface Endpoint {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** `:id` stands for one path segment. */
  readonly path: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** Absent: a stream, which `docs/gateway.md` describes. */
  readonly answer?: z.ZodType;
}

const Nothing = z.object({});
const Page = z.object({ after: z.coerce.number().int().nonnegative().default(0), limit: z.coerce.number().int().min(1).max(1000).default(200) });

export const ENDPOINTS = {
  me: { method: 'GET', path: '/v1/me', answer: Me },
  signOut: { method: 'POST', path: '/v1/me/sign-out', body: Nothing, answer: Nothing },
  /** Server-sent events: `event: policy | approval | grant | session | edge | pin`, `data: {"subject": id}`; ask again for what changed. */
  events: { method: 'GET', path: '/v1/events' },

  policy: { method: 'GET', path: '/v1/policy', answer: SignedPolicy },
  policyKeys: { method: 'GET', path: '/v1/policy/keys', answer: PolicyKeys },
  putPolicy: { method: 'PUT', path: '/v1/policy', body: PutPolicy, answer: PolicyVersion },
  checkPolicy: { method: 'POST', path: '/v1/policy/check', body: z.object({ text: PutPolicy.shape.text }), answer: PolicyCheck },
  /** A `POST` for what it carries: nothing is changed by it. */
  explainPolicy: { method: 'POST', path: '/v1/policy/explain', body: ExplainPolicy, answer: PolicyExplanation },
  policyHistory: {
    method: 'GET',
    path: '/v1/policy/history',
    query: z.object({ before: z.coerce.number().int().optional() }),
    answer: z.object({ versions: z.array(PolicyVersion), more: z.boolean() }),
  },
  policyVersion: { method: 'GET', path: '/v1/policy/history/:id', answer: PolicyVersionDetail },
  connections: { method: 'GET', path: '/v1/connections', answer: z.object({ connections: z.array(SharedConnection) }) },

  /** What MCP servers were accepted with, and what waits for a person. */
  pins: { method: 'GET', path: '/v1/pins', answer: z.object({ connections: z.array(SharedPinsView).max(1_000) }) },
  /** `:id`: a connection. The texts of all that waits, before and after. */
  pinTexts: { method: 'GET', path: '/v1/pins/:id', answer: PinTexts },
  /** For exactly the definitions that it names by their hashes. */
  answerPins: { method: 'POST', path: '/v1/pins/:id/answer', body: SharedPinAnswer, answer: PinAnswered },

  approvals: { method: 'GET', path: '/v1/approvals', answer: GatewayApprovals },
  approval: { method: 'GET', path: '/v1/approvals/:id', answer: GatewayApproval },
  answer: { method: 'POST', path: '/v1/approvals/:id/answer', body: GatewayAnswer, answer: GatewayAnswerResult },
  /** Where to send the browser for a login that counts for this approval alone. */
  freshLogin: { method: 'POST', path: '/v1/approvals/:id/fresh-login', body: Nothing, answer: z.object({ url: z.string() }) },
  requestAccess: { method: 'POST', path: '/v1/access-requests', body: AccessRequest, answer: GatewayApproval },
  grants: { method: 'GET', path: '/v1/grants', answer: z.object({ grants: z.array(GatewayGrant) }) },
  endGrant: { method: 'DELETE', path: '/v1/grants/:id', answer: z.object({ ended: z.boolean() }) },

  sessions: { method: 'GET', path: '/v1/sessions', query: SessionQuery, answer: z.object({ sessions: z.array(GatewaySession), more: z.boolean() }) },
  session: { method: 'GET', path: '/v1/sessions/:id', answer: GatewaySession },
  sessionEntries: { method: 'GET', path: '/v1/sessions/:id/entries', query: Page, answer: SessionEntries },
  endSession: { method: 'POST', path: '/v1/sessions/:id/end', body: Nothing, answer: z.object({ ended: z.boolean() }) },

  people: { method: 'GET', path: '/v1/people', answer: z.object({ people: z.array(PersonView) }) },
  disablePerson: { method: 'POST', path: '/v1/people/:id/disable', body: Nothing, answer: Nothing },
  enablePerson: { method: 'POST', path: '/v1/people/:id/enable', body: Nothing, answer: Nothing },
  signOutPerson: { method: 'POST', path: '/v1/people/:id/sign-out', body: Nothing, answer: Nothing },
  serviceAccounts: { method: 'GET', path: '/v1/service-accounts', answer: z.object({ accounts: z.array(ServiceAccountView) }) },
  /** `secret` is shown here and never again. */
  newServiceAccount: {
    method: 'POST',
    path: '/v1/service-accounts',
    body: NewServiceAccount,
    answer: z.object({ account: ServiceAccountView, secret: z.string().optional() }),
  },
  enableServiceAccount: { method: 'POST', path: '/v1/service-accounts/:id/enable', body: Nothing, answer: Nothing },
  disableServiceAccount: { method: 'POST', path: '/v1/service-accounts/:id/disable', body: Nothing, answer: Nothing },
  rotateKeys: { method: 'POST', path: '/v1/keys/rotate', body: Nothing, answer: Nothing },

  edges: { method: 'GET', path: '/v1/edges', answer: z.object({ edges: z.array(EdgeView).max(500) }) },
  /** `token` is shown here and never again. */
  newEdge: { method: 'POST', path: '/v1/edges', body: NewEdge, answer: AddedEdge },
  /** `:id`: an edge's name, for all of it, or the id of one of its keys. */
  revokeEdge: { method: 'POST', path: '/v1/edges/:id/revoke', body: Nothing, answer: Nothing },

  storage: { method: 'GET', path: '/v1/storage', answer: StorageHealth },
  audit: { method: 'GET', path: '/v1/audit', query: Page.extend({ chain: z.string().max(200).default('gateway') }), answer: AuditPage },
  verifyAudit: { method: 'POST', path: '/v1/audit/verify', body: Nothing, answer: AuditReport },
} as const satisfies Record<string, Endpoint>;

export type EndpointId = keyof typeof ENDPOINTS;

/** Every refusal: the code is stable, the sentence is for a person. */
export const ApiError = z.object({ error: z.string().max(60), sentence: z.string().max(2000) });
export type ApiError = z.infer<typeof ApiError>;

/** What a client asks before it is signed in. */
export const GatewayInfo = z.object({
  name: z.literal('countersign-gateway'),
  version: z.string().max(60),
  /** OAuth issuer of its tokens: `/.well-known/oauth-authorization-server` below it says the rest. */
  issuer: z.string().max(2000),
  providers: z.array(z.object({ id: z.string().max(40), title: z.string().max(200), kind: z.enum(['oidc', 'saml']) })).max(20),
});
export type GatewayInfo = z.infer<typeof GatewayInfo>;

/** OAuth client ids of our own clients: public, they hold no secret. */
export const EDITOR_CLIENT = 'countersign-editor';
export const CLI_CLIENT = 'countersign-cli';
