/** What a person is shown of a question, in the editor or at a gateway. */
import { PendingApproval } from '../../contract/approval.ts';
import type { Question } from './approvals.ts';
import { offeredScopes } from './scopes.ts';

/** One question, in characters of payload and parameters. */
export const MAX_QUESTION_CHARS = 512 * 1024;
/** Longest that a question can wait, in milliseconds, whatever policy says. */
const MAX_WAIT_MS = 24 * 60 * 60_000;

/** A question as it is shown; how far its dry run is comes and goes. */
const ShownQuestion = PendingApproval.omit({ dryRun: true });
export type ShownQuestion = Omit<PendingApproval, 'dryRun'>;

/** What of a question must be shown whole, in characters. */
export function charsOf({ payload, params }: Question): number {
  return params.reduce((sum, param) => sum + (param?.length ?? 4), payload.length);
}

/** Undefined where it would not fit whole: nobody approves what they cannot see. @param now epoch milliseconds */
export function shownQuestion(id: string, question: Question, now: number): ShownQuestion | undefined {
  if (charsOf(question) > MAX_QUESTION_CHARS) return undefined;
  const { reason, ...shown } = question;
  const parsed = ShownQuestion.safeParse({
    ...shown,
    ...(reason !== undefined && { reason: reason.slice(0, 2000) }),
    id,
    askedAt: now,
    deadline: now + Math.min(question.verdict.expiresMs, MAX_WAIT_MS),
    scopes: offeredScopes(question),
  });
  return parsed.success ? parsed.data : undefined;
}
