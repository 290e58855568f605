/** The one table from the state of an ask to what a person can do with it. */
import { assertNever } from '../../contract/problem.ts';
import { type StringKey, say } from '../parts/strings.ts';
import { decidedWord } from './decided.ts';
import type { Entry } from './queue.ts';

export interface Actions {
  /** Approve, Deny… and the choice of scope. */
  readonly answer: boolean;
  /** Offered where the answer was not accepted and the ask is still open: shows the buttons again. */
  readonly again: boolean;
  /** Taking back what this person asked and others answer. */
  readonly withdraw?: true;
  /** What is the case instead of, or beside, the buttons. */
  readonly sentence?: string;
  readonly tone: 'wait' | 'good' | 'bad' | 'quiet';
}

export interface Circumstances {
  /** The link to the proxy is on. */
  readonly linked: boolean;
  /** This person may answer. */
  readonly mine: boolean;
  /** This person asked it, and others answer. */
  readonly own?: boolean;
  /** The deadline has passed. */
  readonly over: boolean;
  /** For an ask that waits for someone else: who and since when, in a sentence. */
  readonly othersLine: string;
}

const nothing = (tone: Actions['tone'], sentence: string): Actions => ({ answer: false, again: false, tone, sentence });

export function actionsOf({ phase }: Pick<Entry, 'phase'>, { linked, mine, own = false, over, othersLine }: Circumstances): Actions {
  switch (phase.kind) {
    case 'decided':
      return nothing(phase.decided.answer === 'approved' ? 'good' : 'quiet', decidedWord(phase.decided));
    case 'gone':
      return nothing(phase.why === 'gone' ? 'quiet' : 'bad', say(`result.${phase.why}`));
    case 'answered': {
      if (phase.result === 'accepted')
        return nothing(
          phase.answer === 'approve' ? 'good' : 'quiet',
          say(phase.answer === 'approve' ? 'result.approved' : own ? 'result.withdrawn' : 'result.denied'),
        );
      const sentence = phase.sentence ?? say(`result.${phase.result}` satisfies StringKey);
      if (over) return nothing('bad', sentence);
      if (phase.result === 'failed') return { answer: linked, again: false, tone: 'bad', sentence };
      return { answer: false, again: phase.result === 'stale' && linked, tone: 'bad', sentence };
    }
    case 'sending':
      return nothing('wait', say(phase.answer === 'approve' ? 'result.sendingApprove' : own ? 'result.sendingWithdraw' : 'result.sendingDeny'));
    case 'open':
      if (over) return nothing('bad', say('result.expired'));
      if (!mine) return { ...nothing('wait', othersLine), ...(own && linked && { withdraw: true as const }) };
      if (!linked) return nothing('bad', say('result.offline'));
      return { answer: true, again: false, tone: 'quiet' };
    default:
      return assertNever(phase);
  }
}
