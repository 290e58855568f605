/** What of the gateway's questions a window shows. Apart, so that activation loads nothing of what fetches them. */
import type { DecidedApproval, PendingApproval } from '../../contract/approval.ts';
import type { AccessAsk } from '../../contract/gateway/approvals.ts';

export interface TeamQuestions {
  readonly pending: readonly PendingApproval[];
  /** Ids of those that this person may approve. */
  readonly mine: readonly string[];
  /** Ids of those that this person asked, and that others answer: they may take them back. */
  readonly own: readonly string[];
  /** Requests for access over a time, this person's own and those that they may answer. */
  readonly access: readonly AccessAsk[];
  readonly decided: readonly DecidedApproval[];
}

export const NO_QUESTIONS: TeamQuestions = { pending: [], mine: [], own: [], access: [], decided: [] };
