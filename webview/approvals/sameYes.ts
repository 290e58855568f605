/** Where a person has said the same yes so often that a rule could say it for them. */
import type { DecidedApproval } from '../../contract/approval.ts';

/** A yes that is said this often, and no no beside it, is worth an offer. */
const SAME_YES = 3;

export interface Offer {
  /** The same for the same kind of thing: what was declined stays so. */
  readonly key: string;
  /** The newest operation of the kind. */
  readonly operation: string;
  readonly headline: string;
  readonly connection: string;
  readonly approved: number;
}

/**
 * The kind that was approved last of those that are due; nothing that a grant or a clock answered counts, and one no is enough
 * to leave the person alone.
 *
 * @param mine ids of the decisions that a rule of the person's own could speak of
 */
export function offerOf(decided: readonly DecidedApproval[], mine: readonly string[], declined: ReadonlySet<string>): Offer | undefined {
  const answered = decided.filter(({ id, why }) => why === 'person' && mine.includes(id)).sort((a, b) => b.decidedAt - a.decidedAt);
  const kinds = Map.groupBy(answered, ({ agent, connection, headline }) => JSON.stringify([connection, headline, agent]));
  for (const [key, those] of kinds) {
    const [newest] = those;
    if (!newest || declined.has(key) || those.length < SAME_YES || those.some(({ answer }) => answer === 'denied')) continue;
    return { key, operation: newest.operation, headline: newest.headline, connection: newest.connection, approved: those.length };
  }
  return undefined;
}
