/**
 * After the same yes for the third time: a rule of the person's own that would spare them the next ones. It says in words what it
 * would let through and what it would have matched lately, before anything is written; and it stands below what waits, where it
 * moves nothing.
 */
import '@vscode-elements/elements/dist/vscode-button/index.js';
import './armedButton.ts';
import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
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
  /** Asked for from here: the keyboard is in here then. */
  #looked = false;

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
        border: 1px solid var(--edge);
        border-radius: 4px;
        background: var(--vscode-editorWidget-background, transparent);
        /* Not "hidden", which would keep the footer from sticking to the view's lower edge. */
        overflow: clip;
        container-type: inline-size;
        scroll-margin: 6px;
      }
      .body {
        display: grid;
        gap: 6px;
        padding: 8px 10px;
      }
      h2 {
        display: flex;
        gap: 6px;
        font-weight: 600;
        overflow-wrap: anywhere;
      }
      h2 .icon {
        flex: none;
        margin-top: 2px;
      }
      /* What was approved can have a long name; what a rule would let through is said below, whole. */
      h2 .clipped {
        display: -webkit-box;
        overflow: hidden;
        -webkit-box-orient: vertical;
        -webkit-line-clamp: 3;
      }
      p,
      li {
        overflow-wrap: anywhere;
      }
      /* What is decided begins above, and the answer is in reach, however long the rest is. */
      footer {
        position: sticky;
        bottom: 0;
        z-index: 1;
        padding: 6px 10px 10px;
        border-top: 1px solid var(--rule);
        background: var(--vscode-editorWidget-background, var(--vscode-sideBar-background));
      }
      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        margin-top: 4px;
      }
      @container (max-width: 330px) {
        .buttons > * {
          flex: 1 1 auto;
        }
      }
      summary {
        display: flex;
        gap: 4px;
        cursor: pointer;
      }
      details[open] > summary .icon {
        transform: rotate(90deg);
      }
      summary .icon {
        flex: none;
        margin-top: 2px;
      }
      details pre,
      details ul {
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
      <div class="body">
        <h2 tabindex="-1" title=${title}>${icon('info', 'small')}<span class="clipped">${safeText(title)}</span></h2>
        ${proposal === undefined ? this.#question() : proposal.helps ? this.#preview(proposal) : html`<p class="quiet" role="status">${safeText(proposal.why)}</p>`}
      </div>
      <footer>
        ${proposal?.helps ? html`<p class="quiet">${say('offer.how')}</p>` : nothing}
        <div class="buttons">
          ${
            proposal?.helps
              ? html`<cs-armed-button .label=${say('offer.addFor', { headline: plainLine(offer.headline) })} @press=${() => this.#fire('add', proposal.rule)}>${say('offer.add')}</cs-armed-button>`
              : nothing
          }
          ${proposal === undefined && !this.asked ? html`<vscode-button class="look" @click=${() => this.#look()}>${say('offer.look')}</vscode-button>` : nothing}
          <vscode-button class="dismiss" secondary @click=${() => this.#fire('dismiss')}>${say(proposal === undefined ? 'offer.notNow' : 'offer.keepAsking')}</vscode-button>
        </div>
      </footer>
    </section>`;
  }

  /** What was asked for has come: it begins where the person looks, also where it has no room below. */
  protected override updated(changed: PropertyValues<this>): void {
    if (!changed.has('proposal') || this.proposal === undefined) return;
    this.shadowRoot?.querySelector('section')?.scrollIntoView({ block: 'nearest' });
    // The button that had the focus is gone: the keyboard goes on with what it has brought.
    if (this.#looked && (this.getRootNode() as ShadowRoot).activeElement === null) this.shadowRoot?.querySelector('h2')?.focus({ preventScroll: true });
    this.#looked = false;
  }

  #question(): TemplateResult {
    return html`<p class="quiet" role="status">${say(this.asked ? 'offer.looking' : 'offer.text')}</p>`;
  }

  #preview({ covers, history, rule }: Extract<ProposalView, { helps: true }>): TemplateResult {
    return html`<div role="status">
        <p>${safeText(covers)}</p>
        ${history.latest.length === 0 ? html`<p class="quiet">${historyWords(history)}</p>` : nothing}
      </div>
      ${history.latest.length === 0 ? nothing : this.#history(history)}
      <details>
        <summary>${icon('chevron', 'small')}<span>${say('offer.rule')}</span></summary>
        <pre tabindex="0" aria-label=${say('offer.rule')}>${safeText(rule, { lines: true })}</pre>
      </details>
      <p class="quiet">${say('offer.rest')}</p>`;
  }

  /** Folded, where nobody has said no to any of it. */
  #history(history: RuleHistory): TemplateResult {
    return html`<details ?open=${history.denied > 0}>
      <summary class=${history.denied > 0 ? 'soon' : 'quiet'}>
        ${icon('chevron', 'small')}${history.denied > 0 ? icon('warning', 'small') : nothing}<span>${historyWords(history)}</span>
      </summary>
      <ul aria-label=${say('offer.history')}>
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
      </ul>
    </details>`;
  }

  #look(): void {
    this.#looked = this.matches(':focus-within');
    this.#fire('look');
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
