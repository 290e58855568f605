/** What a card leaves for a while when it was answered, or is asked no more. */
import { html, type TemplateResult } from 'lit';
import { icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { decidedWord } from './decided.ts';
import type { Entry } from './queue.ts';

export function quietLine({ ask, phase }: Entry): TemplateResult {
  const good = phase.kind === 'decided' ? phase.decided.answer === 'approved' : phase.kind === 'answered' && phase.answer === 'approve';
  const word =
    phase.kind === 'decided'
      ? decidedWord(phase.decided)
      : phase.kind === 'gone'
        ? say(`result.${phase.why}`)
        : good
          ? say('decided.approved')
          : say('decided.denied');
  return html`<p class="quietLine quiet">${icon(good ? 'check' : 'deny', 'small')}<span>${safeText(ask.facts.headline)} · ${safeText(word)}</span></p>`;
}
