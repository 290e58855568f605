import type { DecidedApproval } from '../../contract/approval.ts';
import { personName } from '../parts/names.ts';
import { say, sayOr } from '../parts/strings.ts';

/** `Approved by Ben · 214 rows`, `Denied: no answer in time`. */
export function decidedWord({ answer, why, by, outcome }: DecidedApproval): string {
  const word = why === 'person' ? say(answer === 'approved' ? 'decided.approved' : 'decided.denied') : sayOr(`decided.${why}`, say(`decided.${answer}`));
  const who = by && why === 'person' ? ` ${say('decided.by', { who: personName(by) })}` : '';
  return `${word}${who}${outcome === undefined || outcome === '' ? '' : ` · ${outcome}`}`;
}

/** Whom a rule asks, in words: `group:dba` is the group dba. */
export function approverWords(approver: string): string {
  const [, kind, name = ''] = /^(group|user):(.+)$/s.exec(approver) ?? [];
  return kind === 'group' ? say('ask.group', { name }) : kind === 'user' ? name : approver;
}
