/** Questions and grants as they lie in the store, decoded, and as people see them. */
import { z } from 'zod';
import { Actor, Person } from '../../contract/actor.ts';
import { PendingApproval, Scope } from '../../contract/approval.ts';
import { Facts } from '../../contract/facts.ts';
import { AccessRequest, type GatewayApproval, type GatewayGrant } from '../../contract/gateway/approvals.ts';
import { Verdict } from '../../contract/verdict.ts';
import type { Compared } from '../../proxy/approval/grants.ts';
import { samePerson } from '../../proxy/approval/grants.ts';
import type { Sealer } from '../sealed.ts';
import type { Queryable } from '../store/database.ts';
import { mayApprove, type Terms } from './terms.ts';

/** What lies open in the store of a question: nothing that an agent sent. */
export const OpenQuestion = z.object({
  requester: Person,
  actor: Actor.optional(),
  headline: z.string(),
  protocol: z.string(),
  access: AccessRequest.optional(),
});
export type OpenQuestion = z.infer<typeof OpenQuestion>;

export interface ApprovalRow {
  readonly id: string;
  readonly kind: 'operation' | 'access';
  readonly state: 'pending' | 'approved' | 'denied' | 'spent';
  readonly session: string | null;
  readonly owner: string | null;
  readonly operation: string | null;
  readonly digest: string;
  readonly policy_version: string;
  readonly connection: string;
  readonly requester: string;
  readonly question: unknown;
  readonly sealed_question: string | null;
  readonly approvers: string[];
  readonly quorum: number;
  readonly fresh_login: boolean;
  readonly escalate_to: string[];
  readonly escalated_at: number | null;
  readonly asked_at: number;
  readonly deadline: number;
  readonly why: string | null;
  readonly decided_at: number | null;
  readonly decided_by: unknown;
  readonly note: string | null;
  readonly scope: unknown;
  readonly grant_id: string | null;
}

export interface AnswerRow {
  readonly approval: string;
  readonly person: string;
  readonly answer: 'approve' | 'deny';
  readonly note: string | null;
  readonly at: number;
  readonly by: unknown;
}

export interface GrantRow {
  readonly id: string;
  readonly person: string;
  readonly connection: string;
  readonly scope: unknown;
  readonly covers: string;
  readonly given: unknown;
  readonly reason: string | null;
  readonly approval: string;
  readonly policy_version: string;
  readonly given_by: unknown;
  readonly created_at: number;
  readonly until: number;
  readonly used: number;
  readonly ended_at: number | null;
}

/** Use of a key, for `Sealer`. */
export const QUESTION = 'question';

export function termsOf(row: ApprovalRow): Terms {
  return { approvers: row.approvers, quorum: row.quorum, freshLogin: row.fresh_login, escalateTo: row.escalate_to, escalated: row.escalated_at !== null };
}

export function questionOf(row: ApprovalRow): OpenQuestion {
  return OpenQuestion.parse(row.question);
}

export interface Viewer {
  readonly id: string;
  readonly person: Person;
  /** Sees everything, answers nothing. */
  readonly auditor: boolean;
}

/** Whether someone may know of a question at all. */
export function maySee(row: ApprovalRow, viewer: Viewer): boolean {
  return viewer.auditor || row.requester === viewer.id || mayApprove({ ...termsOf(row), escalated: true }, questionOf(row).requester, viewer.person);
}

export function viewOf(row: ApprovalRow, answers: readonly AnswerRow[], viewer: Viewer, fresh: ReadonlySet<string>, sealer: Sealer): GatewayApproval {
  const open = questionOf(row);
  const terms = termsOf(row);
  const requested = row.requester === viewer.id;
  const answered = answers.some((answer) => answer.person === viewer.id);
  const waits = row.state === 'pending' && !answered;
  const approves = waits && mayApprove(terms, open.requester, viewer.person);
  // Whoever asks may always take it back.
  const mayAnswer = approves || (waits && requested);
  return {
    id: row.id,
    kind: row.kind,
    state: row.state,
    ...(row.why !== null && { why: row.why }),
    ...(row.sealed_question !== null && { question: PendingApproval.parse(JSON.parse(sealer.open(QUESTION, row.sealed_question).reveal())) }),
    ...(open.access && { access: open.access }),
    requester: open.requester,
    ...(open.actor && { actor: open.actor }),
    connection: row.connection,
    digest: row.digest,
    askedAt: row.asked_at,
    deadline: row.deadline,
    approvers: row.approvers,
    quorum: row.quorum,
    freshLogin: row.fresh_login,
    escalated: row.escalated_at !== null,
    answers: answers.map((answer) => ({
      by: Person.parse(answer.by),
      answer: answer.answer,
      ...(answer.note !== null && { note: answer.note }),
      at: answer.at,
    })),
    mine: { requested, mayAnswer, mayApprove: approves, answered, needsFreshLogin: mayAnswer && row.fresh_login && !fresh.has(row.id) },
    ...(row.decided_at !== null && { decidedAt: row.decided_at }),
  };
}

export const People = z.array(Person).max(50);

/** What a grant of `scope` was given for; without what the agent sent. */
const Given = z.object({
  connection: z.string(),
  protocol: z.string(),
  actor: Actor,
  verdict: Verdict,
  session: z.string(),
  conversation: z.string(),
  digest: z.string(),
  shape: z.string().optional(),
  facts: Facts,
  conversationSummary: PendingApproval.shape.conversationSummary,
});

export function comparedOf(given: unknown): Compared | undefined {
  const parsed = Given.safeParse(given);
  if (!parsed.success) return undefined;
  const { shape, ...rest } = parsed.data;
  return { ...rest, ...(shape !== undefined && { shape }) } as Compared;
}

export function comparable(question: Compared): z.input<typeof Given> {
  const { connection, protocol, actor, verdict, session, conversation, digest, shape, facts, conversationSummary } = question;
  // Arguments may hold anything; nothing is compared by them.
  const open = { ...facts, ...(facts.mcp && { mcp: { ...facts.mcp, args: {} } }) };
  return { connection, protocol, actor, verdict, session, conversation, digest, ...(shape !== undefined && { shape }), facts: open, conversationSummary };
}

export function grantView(row: GrantRow, person: Person): GatewayGrant {
  const scope = Scope.safeParse(row.scope);
  const access = AccessRequest.safeParse(row.scope);
  return {
    id: row.id,
    person,
    connection: row.connection,
    covers: row.covers,
    ...(scope.success && { scope: scope.data }),
    ...(access.success && { access: access.data }),
    ...(row.reason !== null && { reason: row.reason }),
    by: People.parse(row.given_by),
    createdAt: row.created_at,
    until: row.until,
    used: row.used,
    ...(row.ended_at !== null && { endedAt: row.ended_at }),
  };
}

export function mayEnd(row: GrantRow, viewer: Viewer, admin: boolean): boolean {
  return admin || row.person === viewer.id || People.parse(row.given_by).some((giver) => samePerson(giver, viewer.person));
}

export async function answersOf(db: Queryable, approvals: readonly string[]): Promise<ReadonlyMap<string, AnswerRow[]>> {
  const rows =
    approvals.length === 0
      ? []
      : await db.query<AnswerRow>('SELECT approval, person, answer, note, at, by FROM answers WHERE approval = ANY($1) ORDER BY at', [[...approvals]]);
  return Map.groupBy(rows, (row) => row.approval);
}
