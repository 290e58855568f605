/**
 * Who may call what: one line an endpoint, and nothing that is not in it is served. What someone may see of what they call
 * (their own sessions, the questions that they may answer) is decided where it is read; the comments say so.
 */
import type { EndpointId } from '../../contract/gateway/api.ts';
import { ROLES } from '../../contract/gateway/identity.ts';

/** The roles of people, and the callers that are not people: service accounts, those among them that put policy, and runs of agents. */
export const CALLERS = [...ROLES, 'service', 'publisher', 'run'] as const;
export type Caller = (typeof CALLERS)[number];

const PEOPLE: readonly Caller[] = ROLES;
const ANYONE: readonly Caller[] = CALLERS;

export const AUTHORIZATION: Readonly<Record<EndpointId, readonly Caller[]>> = {
  me: ANYONE,
  signOut: PEOPLE,
  // Each hears only of what they could read.
  events: PEOPLE,

  policy: [...PEOPLE, 'service'],
  policyKeys: ANYONE,
  // A publisher is a workload with exact claims: no person's login, no run of an agent, no secret that lies somewhere.
  putPolicy: ['admin', 'publisher'],
  checkPolicy: ['admin', 'auditor', 'publisher'],
  // As the history: what decides, and why, tells the whole text bit by bit. An approver reads of a question's rule on the question.
  explainPolicy: ['admin', 'auditor'],
  // Which version is in force, and whose: no text.
  policyHistory: ['admin', 'auditor', 'publisher'],
  policyVersion: ['admin', 'auditor'],
  // A service account and its runs see the connections that they may use.
  connections: [...PEOPLE, 'service', 'run'],

  // What a shared server may say to everybody's agents is the organisation's to accept, as its policy is.
  pins: ['admin', 'auditor'],
  pinTexts: ['admin', 'auditor'],
  answerPins: ['admin'],

  // Their own questions, the ones that they may answer; an auditor all.
  approvals: ['developer', 'approver', 'auditor'],
  approval: ['developer', 'approver', 'auditor'],
  // Whoever the question's rule names; the requester may always say no.
  answer: ['developer', 'approver'],
  freshLogin: ['developer', 'approver'],
  requestAccess: ['developer'],
  // Their own, those that they gave; an auditor and an admin all.
  grants: ['developer', 'approver', 'auditor', 'admin'],
  // Their own, those that they gave; an admin any.
  endGrant: ['developer', 'approver', 'admin'],

  // Their own; an auditor all. An admin sees who is connected to what, and no record.
  sessions: ['developer', 'approver', 'auditor', 'admin'],
  session: ['developer', 'approver', 'auditor', 'admin'],
  sessionEntries: ['developer', 'approver', 'auditor'],
  // Their own; an admin any.
  endSession: ['developer', 'approver', 'admin'],

  people: ['admin', 'auditor'],
  disablePerson: ['admin'],
  enablePerson: ['admin'],
  signOutPerson: ['admin'],
  serviceAccounts: ['admin', 'auditor'],
  newServiceAccount: ['admin'],
  disableServiceAccount: ['admin'],
  enableServiceAccount: ['admin'],
  rotateKeys: ['admin'],
  edges: ['admin', 'auditor'],
  newEdge: ['admin'],
  revokeEdge: ['admin'],

  storage: ['auditor', 'admin'],
  audit: ['auditor'],
  verifyAudit: ['auditor'],
};

/**
 * What a terminal's login may call. Its tokens lie where an agent on the same machine can read them: so it can look and ask,
 * and nothing that it calls decides, ends or changes anything of others.
 */
export const FROM_TERMINAL: ReadonlySet<EndpointId> = new Set<EndpointId>([
  'me',
  'signOut',
  'events',
  'policy',
  'policyKeys',
  'connections',
  'approvals',
  'requestAccess',
  'grants',
  'sessions',
  'session',
]);

export function mayCall(endpoint: EndpointId, callers: readonly Caller[]): boolean {
  return AUTHORIZATION[endpoint].some((caller) => callers.includes(caller));
}
