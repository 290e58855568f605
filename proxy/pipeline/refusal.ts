/** The sentences an agent gets when it is stopped. Each says what happened, by whom or what, and what to do. */

import { personLabel } from '../../contract/actor.ts';
import { mergeFacts } from '../../contract/facts.ts';
import type { Verdict } from '../../contract/verdict.ts';
import type { ApprovalOutcome } from '../approval/approvals.ts';
import type { Operation, Refusal } from './operation.ts';

type Denied = Extract<ApprovalOutcome, { answer: 'denied' }>;

export const refusalOf = {
  rule(verdict: Verdict): Refusal {
    const say = verdict.say ?? verdict.because;
    return { code: 'denied-by-rule', rule: verdict.rule.id, sentence: `Denied by rule ${verdict.rule.id}: ${say}` };
  },

  /** @param signal what withdrew the question, where something did */
  person(verdict: Verdict, denied: Denied, signal: AbortSignal): Refusal {
    const rule = verdict.rule.id;
    const by = denied.by ? personLabel(denied.by) : 'a person';
    switch (denied.why) {
      case 'person':
        return denied.note === undefined || denied.note === ''
          ? { code: 'denied-by-person', rule, sentence: `Denied by ${by}. Do not retry it unchanged.` }
          : { code: 'denied-by-person', rule, note: denied.note, sentence: `Denied by ${by}: ${denied.note}` };
      case 'deadline':
        return {
          code: 'no-answer',
          rule,
          sentence: `Denied: nobody answered within the time that rule ${rule} allows. Ask the person to open the Approvals view, then try again.`,
        };
      case 'withdrawn':
        return refusalOf.cancelled(signal);
      case 'nobody':
        return { code: 'nobody-to-ask', rule, sentence: `Denied: rule ${rule} asks a person, and no editor with Countersign is open to ask in.` };
      case 'limit':
        return { code: 'too-many-asks', rule, sentence: 'Denied: too many requests wait for a person already. Wait until they are answered.' };
      case 'alike':
        return {
          code: 'too-many-asks',
          rule,
          sentence: 'Denied: a person has been asked the same kind of thing too often in a few minutes. Do less at once, or ask them to allow it for a while.',
        };
      case 'too-large':
        return { code: 'too-many-asks', rule, sentence: `Denied: rule ${rule} asks a person, and this request is too large to show one whole. Split it.` };
      case 'shutdown':
        return { code: 'session-closed', rule, sentence: 'Denied: Countersign is shutting down. Connect again and retry.' };
      case 'out-of-reach':
        return {
          code: 'nobody-to-ask',
          rule,
          sentence: `Denied: rule ${rule} asks a person, and the gateway’s store does not answer, so nobody can be asked. Try again in a moment.`,
        };
      case 'not-asked':
        return {
          code: 'nobody-to-ask',
          rule,
          sentence: `Denied: rule ${rule} wants others to approve this at the gateway, or a sign-in for it, and that cannot be asked for: ${denied.note ?? 'it cannot be reached'}`,
        };
      case 'policy-changed':
        return refusalOf.policyKeepsChanging();
    }
  },

  notReadOnly(operation: Operation): Refusal {
    return {
      code: 'not-read-only',
      sentence: `Refused: this tool only reads, and ${mergeFacts(operation.parts).headline} does not. Use the execute tool, which asks a person where policy says so.`,
    };
  },

  unclaimed(): Refusal {
    return { code: 'no-answer', sentence: 'Approved, but the client did not call again in time, so nothing was done.' };
  },

  policyKeepsChanging(): Refusal {
    return { code: 'no-answer', sentence: 'Denied: the policy changed while this waited for an answer. Try again.' };
  },

  /** It is not always the client who ends it: where the signal's reason is a sentence of ours, that is said. */
  cancelled(signal: AbortSignal): Refusal {
    const reason: unknown = signal.reason;
    const why = typeof reason === 'string' && reason !== '' ? reason.replace(/\.$/, '').slice(0, 300) : 'the client took it back';
    return { code: 'cancelled', sentence: `Cancelled before it was answered: ${why}.` };
  },

  closed(): Refusal {
    return { code: 'session-closed', sentence: 'Denied: this session has ended. Connect again.' };
  },

  notRecorded(why: string): Refusal {
    return { code: 'not-recorded', sentence: `Denied: Countersign cannot write its record, so nothing is forwarded. ${why}` };
  },
};
