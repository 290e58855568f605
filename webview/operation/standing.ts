import type { OperationDetail } from '../../contract/control.ts';
import { personName } from '../parts/names.ts';
import { say } from '../parts/strings.ts';

export interface Standing {
  readonly tone: 'good' | 'bad' | 'wait';
  /** `allowed by rule reads`, `approved by Ben`, `denied by rule no-mass-delete`. */
  readonly text: string;
}

/** How an operation stands, in the fewest words that name who or what decided. */
export function standingOf({ summary, verdict, approval }: Pick<OperationDetail, 'summary' | 'verdict' | 'approval'>): Standing {
  const rule = say('standing.rule', { rule: verdict.rule.id });
  const decided = ((): Standing => {
    if (approval) {
      const who = approval.by ? ` ${say('decided.by', { who: personName(approval.by) })}` : '';
      return approval.answer === 'approved'
        ? { tone: 'good', text: `${say('standing.approved')}${who}` }
        : { tone: 'bad', text: `${say('op.outcome.denied')}${approval.by ? who : ` · ${approval.why}`}` };
    }
    if (verdict.decision === 'deny' || summary.outcome === 'denied') return { tone: 'bad', text: `${say('op.outcome.denied')} ${rule}` };
    return verdict.decision === 'allow' ? { tone: 'good', text: `${say('op.verdict.allow')} ${rule}` } : { tone: 'wait', text: say('standing.waiting') };
  })();
  const { outcome } = summary;
  if (outcome === undefined) return decided.tone === 'good' ? { tone: 'wait', text: `${decided.text} · ${say('op.outcome.open')}` } : decided;
  if (outcome === 'done' || outcome === 'denied') return decided;
  return { tone: 'bad', text: `${decided.text} · ${say(`op.outcome.${outcome}`)}` };
}
