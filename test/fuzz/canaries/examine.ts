/** Runs statements in all worlds and says what could be seen of a sensitive value. */
import { errorOf, row } from '../../proxy/protocols/postgres/proxied.ts';
import type { Answer, Step, Worlds } from './worlds.ts';

export interface Finding {
  /** A value came out; or an answer depends on values, though nobody was asked; or nothing came at all. */
  readonly kind: 'canary' | 'differs' | 'hang';
  readonly steps: readonly Step[];
  readonly seen: string;
}

const TOO_LARGE = '08P01';

/** That a statement failed, and how, tells something of what it ran over: docs/threat-model.md has words for that. What it says may not. */
function failure({ messages }: Answer): string {
  const error = messages.find(({ type }) => type === 'E');
  return error ? (errorOf(error).get('C') ?? '') : '';
}

/**
 * Without the line of the server's source at which something failed, how long a question waited, and how many rows there were
 * before a failure: docs/threat-model.md has words for that, too.
 */
function shownOf(answer: Answer): string {
  const failed = failure(answer) !== '';
  return answer.messages
    .filter(({ type }) => !failed || (type !== 'D' && type !== 'd'))
    .filter((message) => message.type !== 'N' || !(errorOf(message).get('M') ?? '').startsWith('Countersign holds'))
    .map((message) => {
      const { body, type } = message;
      // How tokens are numbered is the order in which values were seen, and their checks are another in each world.
      if (type === 'D') return type + JSON.stringify(row(message)).replaceAll(/‹([\w-]+)·\d+·\w+›/g, '‹$1›');
      if (type !== 'E' && type !== 'N') return type + body.toString('latin1');
      return type + JSON.stringify([...errorOf(message)].filter(([letter]) => !'FLR'.includes(letter))).replaceAll(/‹([\w-]+)·\d+·\w+›/g, '‹$1›');
    })
    .join('\n');
}

/** What the planner makes of its statistics is not looked at here, nor how large an answer is that is too large to be checked. */
function difference(steps: readonly Step[], first: readonly Answer[], second: readonly Answer[]): number {
  return first.findIndex((answer, i) => {
    const other = second[i];
    if (steps[i]?.sql.startsWith('explain') || failure(answer) === TOO_LARGE) return false;
    return other !== undefined && !answer.bytes.equals(other.bytes) && failure(answer) === failure(other) && shownOf(answer) !== shownOf(other);
  });
}

/** @param asks the statements put questions about values on purpose: only the values themselves are looked for */
export async function examine(
  worlds: Worlds,
  steps: readonly Step[],
  asks = false,
  count?: { answered: number; failed: number },
): Promise<Finding | undefined> {
  const [first, second, again] = worlds.careful;
  const [open, minted, one, two] = await Promise.all([
    worlds.open.run(steps),
    worlds.minted.run(steps),
    asks ? [] : first.run(steps),
    asks ? [] : second.run(steps),
  ]);
  if (count) {
    count.answered += open.filter(({ messages }) => messages.some(({ type }) => type === 'D' || type === 'd')).length;
    count.failed += open.filter((answer) => failure(answer) !== '').length;
  }
  const sent = steps.map(({ sql }) => sql).join('; ');
  for (const answers of [open, minted, one, two]) {
    const bytes = Buffer.concat(answers.map((answer) => answer.bytes));
    const [found] = worlds.canaries.in(bytes);
    if (found !== undefined && worlds.canaries.in(sent).length === 0) return { kind: 'canary', steps, seen: found };
  }
  const at = difference(steps, one, two);
  if (at < 0) return undefined;
  if (steps.length > 1) await worlds.tidy();
  // Is it chance, the clock, or the values?
  const third = await again.run(steps);
  if (difference(steps, one.slice(0, at + 1), third) === at || difference(steps, one.slice(0, at + 1), await first.run(steps)) === at) return undefined;
  const texts = [one, two].map((answers) => told(answers[at]));
  return { kind: 'differs', steps, seen: texts.join('\n  and: ') };
}

function told(answer: Answer | undefined): string {
  return (answer?.messages ?? [])
    .filter(({ type }) => 'DEdANS'.includes(type))
    .slice(0, 4)
    .map((message) => {
      if (message.type === 'D') return JSON.stringify(row(message));
      if (message.type === 'E' || message.type === 'N') return `${message.type} ${[...errorOf(message)].filter(([key]) => 'CMDHW'.includes(key)).join(' ')}`;
      return `${message.type} ${message.body.toString('latin1')}`;
    })
    .join(' ')
    .slice(0, 600);
}

/** Left out one by one, as long as it is still found. */
export async function shrink(worlds: Worlds, finding: Finding, asks: boolean): Promise<Finding> {
  let best = finding;
  for (let i = best.steps.length - 2; i >= 0; i--) {
    const fewer = best.steps.filter((_, at) => at !== i);
    if (best.steps.length > 1) await worlds.tidy();
    const still = await examine(worlds, fewer, asks);
    if (still?.kind === finding.kind) best = still;
  }
  return best;
}
