/**
 * Somebody's request for access over a time: who, what on what, for how long and why, before the button that grants it. What they wrote is
 * shown as text. It stands below the questions of agents, which wait for minutes, where this waits for a day.
 */
import '@vscode-elements/elements/dist/vscode-button/index.js';
import './armedButton.ts';
import './denyForm.ts';
import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import type { ApprovalAnswer } from '../../contract/approval.ts';
import { minutesInWords } from '../../contract/gateway/accessAsk.ts';
import type { AccessAsk } from '../../contract/gateway/approvals.ts';
import { NARROWEST } from '../../contract/scopes.ts';
import { icon } from '../parts/icon.ts';
import { agentName, personName } from '../parts/names.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { clockTime, timeLeft } from '../parts/timeLeft.ts';
import { plainLine } from '../parts/untrustedText.ts';
import { cardStyles } from './cardStyles.ts';
import { approverWords } from './decided.ts';

/** What has become of an answer: on its way, or why it did not count. */
export type AccessPhase = { readonly kind: 'sending'; readonly answer: 'approve' | 'deny' } | { readonly kind: 'failed'; readonly sentence: string };

/** @fires answer as a CustomEvent with an `ApprovalAnswer` */
export class AccessCard extends LitElement {
  static override properties = {
    ask: { attribute: false },
    phase: { attribute: false },
    linked: { attribute: false },
    notes: { attribute: false },
    now: { attribute: false },
    denying: { state: true },
  };
  declare ask: AccessAsk;
  declare phase: AccessPhase | undefined;
  declare linked: boolean;
  declare notes: readonly string[];
  declare now: number;
  declare denying: boolean;

  static override styles = [
    cardStyles,
    css`
      dl {
        display: grid;
        grid-template-columns: auto 1fr;
        gap: 4px 10px;
        padding: 2px 10px 8px;
      }
      dt {
        color: var(--quiet);
      }
      dd {
        min-width: 0;
        overflow-wrap: anywhere;
      }
      .names {
        display: flex;
        flex-wrap: wrap;
        gap: 4px;
      }
      .names .effect {
        margin: 0;
      }
      .name {
        padding: 0 5px;
        border: 1px solid var(--edge);
        border-radius: 3px;
        font-family: var(--code-font);
        font-size: var(--code-size);
      }
      .any {
        color: var(--soon);
      }
      footer .buttons:first-child {
        margin-top: 0;
      }
    `,
  ];

  constructor() {
    super();
    this.linked = false;
    this.notes = [];
    this.denying = false;
  }

  protected override render(): TemplateResult {
    const { access, agent, approvals, askedAt, deadline, quorum, requester } = this.ask;
    const left = timeLeft(askedAt, deadline, this.now);
    const any = access.targets.includes('*');
    return html`<article class="card" aria-label=${this.#title()}>
      <header>
        <h2 tabindex="-1">
          <span class="agent">${safeText(personName(requester))}</span> <span class="arrow" aria-hidden="true">→</span>
          <strong>${safeText(say('access.headline', { connection: access.connection, time: minutesInWords(access.minutes) }))}</strong>
        </h2>
        <span class="time ${left.state}" role="timer" aria-label=${say('ask.deadline', { time: left.words })} title=${say('ask.deadline', { time: left.words })}>${left.text}</span>
      </header>
      <dl>
        <dt>${say('access.for')}</dt>
        <dd class="names">${access.effects.map((effect) => html`<span class="effect">${effect}</span>`)}</dd>
        <dt>${say('access.on')}</dt>
        <dd class="names">
          ${any ? html`<span class="any">${icon('warning', 'small')} ${say('access.any', { connection: access.connection })}</span>` : access.targets.map((name) => html`<span class="name">${safeText(name)}</span>`)}
        </dd>
        <dt>${say('access.why')}</dt>
        <dd>${safeText(access.reason, { lines: true })}</dd>
        ${agent === undefined ? nothing : html`<dt>${say('access.through')}</dt><dd>${safeText(agentName(agent))}</dd>`}
        ${quorum > 1 ? html`<dt>${say('access.needs')}</dt><dd>${say('access.approvals', { n: approvals, of: quorum })}</dd>` : nothing}
      </dl>
      <footer>${this.#foot()}</footer>
    </article>`;
  }

  #foot(): TemplateResult {
    const { phase } = this;
    const { access, approvers, askedAt, mine } = this.ask;
    if (phase?.kind === 'sending')
      return html`<p class="result wait">${say(mine === 'withdraw' ? 'result.sendingWithdraw' : phase.answer === 'approve' ? 'access.granting' : 'result.sendingDeny')}</p>`;
    const failed = phase === undefined ? nothing : html`<p class="result bad" role="alert">${icon('error')}<span>${safeText(phase.sentence)}</span></p>`;
    if (!this.linked) return html`<p class="result bad">${icon('error')}<span>${say('result.offline')}</span></p>`;
    if (mine !== 'approve') {
      const who = approvers.map(approverWords).join(', ');
      return html`${failed}
        <p class="result wait">${safeText(say('ask.othersLine', { who, time: clockTime(askedAt) }))}</p>
        ${
          mine === 'withdraw'
            ? html`<div class="buttons"><vscode-button class="withdraw" secondary aria-label=${say('do.withdrawFor', { headline: this.#title() })} @click=${() => this.#deny('')}>${say('do.withdraw')}</vscode-button></div>`
            : nothing
        }`;
    }
    if (this.denying)
      return html`${failed}<cs-deny-form .notes=${this.notes} @deny=${(e: CustomEvent<string>) => this.#deny(e.detail)} @cancel=${() => (this.denying = false)}></cs-deny-form>`;
    const grant = say('access.grant', { time: minutesInWords(access.minutes) });
    return html`${failed}
      <p class="quiet">${say('access.means')}</p>
      <div class="buttons">
        <cs-armed-button class="grant" .label=${`${grant}: ${this.#title()}`} @press=${() => this.#approve()}>${grant}</cs-armed-button>
        <vscode-button class="deny" secondary aria-label=${say('do.denyFor', { headline: this.#title() })} @click=${() => (this.denying = true)}>${say('do.deny')}</vscode-button>
      </div>`;
  }

  /** For a screen reader, on one line. */
  #title(): string {
    const { access, requester } = this.ask;
    const headline = say('access.headline', { connection: access.connection, time: minutesInWords(access.minutes) });
    return plainLine(`${personName(requester)} → ${headline}`);
  }

  #approve(): void {
    const { id, digest } = this.ask;
    this.#fire({ answer: 'approve', id, digest, scope: NARROWEST });
  }

  #deny(note: string): void {
    const { id, digest } = this.ask;
    this.denying = false;
    this.#fire({ answer: 'deny', id, digest, ...(note.trim() !== '' && { note }) });
  }

  #fire(detail: ApprovalAnswer): void {
    this.dispatchEvent(new CustomEvent('answer', { detail }));
  }
}
customElements.define('cs-access-card', AccessCard);
