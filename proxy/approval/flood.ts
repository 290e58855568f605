/**
 * Asks that are alike, counted: an agent that asks the same kind of thing again and again wears a person out until they click
 * yes. They are grouped on the screen; beyond a number they are denied before anybody sees them.
 */
import type { Question } from './approvals.ts';

/** Alike asks that can wait at once, in one conversation, over all of its sessions. */
export const MAX_ALIKE_WAITING = 20;
/** Alike asks that a person is shown within `WINDOW_MS`, answered or not. */
export const MAX_ALIKE = 100;
export const WINDOW_MS = 5 * 60_000;
/** Kinds that are counted; beyond it the one asked longest ago is forgotten. */
const MAX_KINDS = 1_000;

/** Equal for what one agent asks of one connection under one rule, whatever the values in it: as the panel groups it. */
function kindOf({ actor, connection, conversation, facts, verdict }: Question): string {
  const { person, agent } = actor;
  return JSON.stringify([person.issuer, person.subject, agent.kind, agent.name, connection, conversation, facts.headline, facts.effect, verdict.rule.id]);
}

export class Flood {
  /** When each kind was asked, oldest first. */
  readonly #asked = new Map<string, number[]>();

  /** Whether a person may be asked this as well. Counts it where they may. */
  admits(question: Question, waiting: Iterable<{ readonly question: Question }>, now: number): boolean {
    const kind = kindOf(question);
    let alike = 0;
    for (const one of waiting) if (kindOf(one.question) === kind) alike++;
    if (alike >= MAX_ALIKE_WAITING) return false;
    const recent = (this.#asked.get(kind) ?? []).filter((at) => now - at < WINDOW_MS);
    this.#asked.delete(kind);
    this.#asked.set(kind, recent);
    if (recent.length >= MAX_ALIKE) return false;
    recent.push(now);
    for (const oldest of this.#asked.keys()) {
      if (this.#asked.size <= MAX_KINDS) break;
      this.#asked.delete(oldest);
    }
    return true;
  }
}
