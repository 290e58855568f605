/**
 * After the same yes for the third time: a rule of the person's own that would spare them the next ones. It says in words what it
 * would let through and what it would have matched lately, before anything is written; and it stands below what waits, where it
 * moves nothing.
 */
import '@vscode-elements/elements/dist/vscode-button/index.js';
import './armedButton.ts';
import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import type { RuleHistory } from '../../contract/control.ts';
import type { ProposalView } from '../../contract/webview.ts';
import { codeBlock, lines } from '../parts/blocks.ts';
import { type IconName, icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { shared } from '../parts/theme.ts';
import { clockTime } from '../parts/timeLeft.ts';
import { plainLine } from '../parts/untrustedText.ts';
import type { Offer } from './sameYes.ts';

const BECAME: Readonly<Record<RuleHistory['latest'][number]['became'], IconName>> = { approved: 'allow', allowed: 'check', denied: 'deny' };

/**
 * @fires look when a person wants to see the rule
 * @fires add as a CustomEvent with the rule's text, as it was on the screen
 * @fires dismiss when they do not want to be offered it again
 * @fires open as a CustomEvent with an operation's id
 */
export class RuleOffer extends LitElement {
  static override properties = { offer: { attribute: false }, proposal: { attribute: false }, asked: { attribute: false } };
  declare offer: Offer;
  /** Absent: not asked for, or on its way. */
  declare proposal: ProposalView | undefined;
  declare asked: boolean;

  static override styles = [
    shared,
    lines,
    codeBlock,
    css`
      :host {
        display: block;
        margin: 14px 0 2px;
      }
      section {
        display: grid;
        gap: 6px;
        padding: 8px 10px;
        border: 1px solid var(--edge);
        border-radius: 4px;
        background: var(--vscode-editorWidget-background, transparent);
      }
      h2 {
        display: flex;
        gap: 6px;
        font-weight: 600;
        overflow-wrap: anywhere;
      }
      h2 .icon {
        margin-top: 2px;
      }
      p,
      li {
        overflow-wrap: anywhere;
      }
      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        margin-top: 2px;
      }
      summary {
        display: flex;
        gap: 4px;
        cursor: pointer;
      }
      details[open] > summary .icon {
        transform: rotate(90deg);
      }
      details pre {
        margin-top: 4px;
      }
    `,
  ];

  constructor() {
    super();
    this.asked = false;
  }

  protected override render(): TemplateResult {
    const { offer, proposal } = this;
    const title = say('offer.title', { headline: plainLine(offer.headline), connection: plainLine(offer.connection), n: offer.approved });
    return html`<section aria-label=${title}>
      <h2 tabindex="-1">${icon('info', 'small')}<span>${safeText(title)}</span></h2>
      ${proposal === undefined ? this.#question() : proposal.helps ? this.#preview(proposal) : html`<p class="quiet" role="status">${safeText(proposal.why)}</p>`}
      <div class="buttons">
        ${
          proposal?.helps
            ? html`<cs-armed-button .label=${say('offer.addFor', { headline: plainLine(offer.headline) })} @press=${() => this.#fire('add', proposal.rule)}>${say('offer.add')}</cs-armed-button>`
            : nothing
        }
        ${proposal === undefined && !this.asked ? html`<vscode-button class="look" @click=${() => this.#fire('look')}>${say('offer.look')}</vscode-button>` : nothing}
        <vscode-button class="dismiss" secondary @click=${() => this.#fire('dismiss')}>${say(proposal === undefined ? 'offer.notNow' : 'offer.keepAsking')}</vscode-button>
      </div>
    </section>`;
  }

  #question(): TemplateResult {
    return html`<p class="quiet" role="status">${say(this.asked ? 'offer.looking' : 'offer.text')}</p>`;
  }

  #preview({ covers, history, rule }: Extract<ProposalView, { helps: true }>): TemplateResult {
    return html`<div role="status">
        <p>${safeText(covers)}</p>
        <p class=${history.denied > 0 ? 'soon' : 'quiet'}>${history.denied > 0 ? icon('warning', 'small') : nothing} ${historyWords(history)}</p>
      </div>
      ${
        history.latest.length === 0
          ? nothing
          : html`<ul aria-label=${say('offer.history')}>
              ${history.latest.map(
                (one) =>
                  html`<li>
                    <button
                      class="line"
                      aria-label=${say('decided.open', { headline: plainLine(one.headline), outcome: say(`offer.became.${one.became}`) })}
                      @click=${() => this.#fire('open', one.operation)}
                    >
                      ${icon(BECAME[one.became], `small ${one.became === 'denied' ? 'bad' : 'good'}`)}
                      <span class="text">${safeText(one.headline)} <span class="quiet">${say(`offer.became.${one.became}`)}, ${safeText(one.agent)}</span></span>
                      <span class="when quiet">${clockTime(one.at)}</span>
                    </button>
                  </li>`,
              )}
            </ul>`
      }
      <details>
        <summary>${icon('chevron', 'small')}<span>${say('offer.rule')}</span></summary>
        <pre tabindex="0" aria-label=${say('offer.rule')}>${safeText(rule, { lines: true })}</pre>
      </details>
      <p class="quiet">${say('offer.how')}</p>`;
  }

  #fire(name: string, detail?: string): void {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
customElements.define('cs-rule-offer', RuleOffer);

/** `In the last 30 days it would have matched 7: 5 that you approved, 2 that were denied.` */
function historyWords({ allowed, approved, days, denied, whole }: RuleHistory): string {
  const n = approved + denied + allowed;
  if (n === 0) return say('offer.matched.none', { days });
  const parts = [
    approved > 0 ? say('offer.matched.approved', { n: approved }) : '',
    denied > 0 ? say('offer.matched.denied', { n: denied }) : '',
    allowed > 0 ? say('offer.matched.allowed', { n: allowed }) : '',
  ].filter(Boolean);
  return `${say(whole ? 'offer.matched' : 'offer.matchedAtLeast', { n, days })} ${parts.join(', ')}.`;
}
