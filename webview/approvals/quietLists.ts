import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import type { DecidedApproval, GrantView } from '../../contract/approval.ts';
import { icon } from '../parts/icon.ts';
import { personName } from '../parts/names.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { shared } from '../parts/theme.ts';
import { clockTime } from '../parts/timeLeft.ts';
import { plainLine } from '../parts/untrustedText.ts';
import { decidedWord } from './decided.ts';

const lists = css`
  :host {
    display: block;
  }
  h2 {
    padding: 14px 2px 4px;
    font-size: 11px;
    font-weight: 700;
    color: var(--vscode-sideBarSectionHeader-foreground, var(--vscode-foreground));
  }
  li {
    border-radius: 3px;
  }
  .line {
    display: flex;
    align-items: baseline;
    gap: 6px;
    width: 100%;
    padding: 2px;
    font: inherit;
    color: inherit;
    text-align: start;
    background: none;
    border: 0;
    border-radius: 3px;
  }
  button.line {
    cursor: pointer;
  }
  button.line:hover {
    background: var(--vscode-list-hoverBackground);
    color: var(--vscode-list-hoverForeground, inherit);
    outline: 1px dashed var(--vscode-contrastActiveBorder, transparent);
    outline-offset: -1px;
  }
  .line .icon {
    align-self: flex-start;
    margin-top: 2px;
  }
  .text {
    flex: 1;
    min-width: 0;
    overflow-wrap: anywhere;
  }
  .when {
    flex: none;
    font-variant-numeric: tabular-nums;
    font-size: 0.92em;
  }
`;

/** Decisions shown, newest first. */
const SHOWN_DECISIONS = 5;

/** @fires open as a CustomEvent with an operation's id */
export class DecidedList extends LitElement {
  static override properties = { decided: { attribute: false } };
  declare decided: readonly DecidedApproval[];
  static override styles = [shared, lists];

  constructor() {
    super();
    this.decided = [];
  }

  protected override render(): TemplateResult | typeof nothing {
    const last = [...this.decided].sort((a, b) => b.decidedAt - a.decidedAt).slice(0, SHOWN_DECISIONS);
    if (last.length === 0) return nothing;
    return html`<h2>${say('decided.title')}</h2>
      <ul>
        ${last.map((d) => {
          const word = decidedWord(d);
          return html`<li>
            <button
              class="line"
              aria-label=${say('decided.open', { headline: plainLine(d.headline), outcome: plainLine(word) })}
              @click=${() => this.dispatchEvent(new CustomEvent('open', { detail: d.operation }))}
            >
              ${icon(d.answer === 'approved' ? 'allow' : 'deny', `small ${d.answer === 'approved' ? 'good' : 'quiet'}`)}
              <span class="text"
                ><span>${safeText(d.headline)}</span> <span class="quiet">${safeText(word)}${d.note === undefined ? nothing : html`, ${safeText(say('decided.note', { note: d.note }))}`}</span></span
              >
              <span class="when quiet">${clockTime(d.decidedAt)}</span>
            </button>
          </li>`;
        })}
      </ul>`;
  }
}
customElements.define('cs-decided', DecidedList);

/** @fires end as a CustomEvent with a grant's id */
export class GrantList extends LitElement {
  static override properties = { grants: { attribute: false }, ending: { attribute: false } };
  declare grants: readonly GrantView[];
  declare ending: ReadonlySet<string>;
  static override styles = [shared, lists];

  constructor() {
    super();
    this.grants = [];
    this.ending = new Set();
  }

  protected override render(): TemplateResult | typeof nothing {
    if (this.grants.length === 0) return nothing;
    return html`<h2>${say('grants.title')}</h2>
      <ul>
        ${this.grants.map(
          (g) =>
            html`<li class="line">
              ${icon('key', 'small')}
              <span class="text"
                ><span>${safeText(g.covers)}</span>
                <span class="quiet"
                  >${safeText(g.connection)} · ${g.until === undefined ? say('grants.session') : say('grants.until', { time: clockTime(g.until) })} ·
                  ${g.used === 0 ? say('grants.unused') : say('grants.used', { n: g.used })} · ${safeText(personName(g.by))}</span
                ></span
              >
              ${
                this.ending.has(g.id)
                  ? html`<span class="when quiet">${say('grants.ending')}</span>`
                  : html`<button class="link when" aria-label=${say('grants.endFor', { covers: plainLine(g.covers) })} @click=${() => this.#end(g.id)}>${say('grants.end')}</button>`
              }
            </li>`,
        )}
      </ul>`;
  }

  #end(id: string): void {
    this.dispatchEvent(new CustomEvent('end', { detail: id }));
  }
}
customElements.define('cs-grants', GrantList);
