import { html, nothing, type TemplateResult } from 'lit';
import type { ApprovalsSnapshot, PANEL_COMMANDS } from '../../contract/webview.ts';
import { type IconName, icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { type StringKey, say } from '../parts/strings.ts';

type Command = (typeof PANEL_COMMANDS)[number];

/** What is wrong with the whole, above everything else: worst first. */
export function banners(snapshot: Pick<ApprovalsSnapshot, 'link' | 'halted' | 'policyProblems'>, run: (command: Command) => void): TemplateResult {
  const { link, halted, policyProblems } = snapshot;
  const act = (command: Command, label: StringKey): TemplateResult => html`<button class="link" @click=${() => run(command)}>${say(label)}</button>`;
  return html`
    ${
      link.state === 'on'
        ? nothing
        : banner(
            link.state === 'starting' ? 'info' : 'error',
            link.state === 'starting' ? 'info' : 'disconnected',
            html`${safeText(link.sentence ?? say(`link.${link.state}`))}`,
            link.state === 'starting' ? nothing : html`${act('start', 'link.start')} ${act('doctor', 'link.doctor')} ${act('showLog', 'link.log')}`,
          )
    }
    ${halted === undefined ? nothing : banner('error', 'error', html`<strong>${say('halted.title')}.</strong> ${safeText(halted)}`, act('doctor', 'link.doctor'))}
    ${policyProblems > 0 ? banner('warning', 'warning', html`${say('policy.problems', { n: policyProblems })}`, act('openPolicy', 'policy.open')) : nothing}
  `;
}

function banner(kind: 'info' | 'warning' | 'error', mark: IconName, text: TemplateResult, actions: TemplateResult | typeof nothing): TemplateResult {
  return html`<section class="banner ${kind}" role=${kind === 'info' ? 'status' : 'alert'}>
    ${icon(mark)}
    <div><p>${text}</p>${actions === nothing ? nothing : html`<p class="acts">${actions}</p>`}</div>
  </section>`;
}
