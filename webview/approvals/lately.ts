/** How people have answered the same kind of question lately: what a broader answer would have spared them, or let through. */
import type { DecidedApproval, PendingApproval } from '../../contract/approval.ts';
import { say } from '../parts/strings.ts';

/** @returns `undefined` where nobody has: a rule's or a clock's no is nobody's answer */
export function latelyLine({ id, actor, connection, facts }: PendingApproval, decided: readonly DecidedApproval[]): string | undefined {
  const alike = decided.filter(
    (d) => d.id !== id && d.why === 'person' && d.headline === facts.headline && d.connection === connection && d.agent === actor.agent.name,
  );
  const [approved, denied] = (['approved', 'denied'] as const).map((answer) => alike.filter((d) => d.answer === answer).length);
  const words = [approved ? say('ask.lately.approved', { n: approved }) : '', denied ? say('ask.lately.denied', { n: denied }) : ''].filter(Boolean);
  return words.length === 0 ? undefined : say('ask.lately', { answers: words.join(', ') });
}
