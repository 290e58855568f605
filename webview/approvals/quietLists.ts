import '@vscode-elements/elements/dist/vscode-button/index.js';
import './armedButton.ts';
import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import type { DecidedApproval, GrantView } from '../../contract/approval.ts';
import { lines } from '../parts/blocks.ts';
import { icon } from '../parts/icon.ts';
import { personName } from '../parts/names.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { shared } from '../parts/theme.ts';
import { clockTime, dayTime } from '../parts/timeLeft.ts';
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
  .sure {
    display: grid;
    gap: 6px;
    margin: 2px 2px 8px 24px;
    padding-inline-start: 8px;
    border-inline-start: 2px solid var(--soon);
  }
  .sure .buttons {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
  }
`;

/** Decisions shown, newest first. */
const SHOWN_DECISIONS = 5;

/** @fires open as a CustomEvent with an operation's id */
export class DecidedList extends LitElement {
  static override properties = { decided: { attribute: false }, sought: { state: true } };
  declare decided: readonly DecidedApproval[];
  /** One that a person was led to: shown even where it is not among the last. */
  declare sought: string | undefined;
  static override styles = [shared, lines, lists];

  constructor() {
    super();
    this.decided = [];
  }

  protected override render(): TemplateResult | typeof nothing {
    const last = [...this.decided].sort((a, b) => b.decidedAt - a.decidedAt).filter(({ id }, i) => i < SHOWN_DECISIONS || id === this.sought);
    if (last.length === 0) return nothing;
    return html`<h2>${say('decided.title')}</h2>
      <ul>
        ${last.map((d) => {
          const word = decidedWord(d);
          const line = html`${icon(d.answer === 'approved' ? 'allow' : 'deny', `small ${d.answer === 'approved' ? 'good' : 'quiet'}`)}
            <span class="text"
              ><span>${safeText(d.headline)}</span> <span class="quiet">${safeText(word)}${d.note === undefined ? nothing : html`, ${safeText(say('decided.note', { note: d.note }))}`}${d.until === undefined ? nothing : html` · ${say(d.until > Date.now() ? 'grants.until' : 'decided.ended', { time: dayTime(d.until) })}`}</span></span
            >
            <span class="when quiet">${clockTime(d.decidedAt)}</span>`;
          // Access over a time is no operation: there is nothing to open.
          if (d.operation === '') return html`<li class="line" id=${d.id} tabindex="-1">${line}</li>`;
          return html`<li>
            <button
              class="line"
              id=${d.id}
              aria-label=${say('decided.open', { headline: plainLine(d.headline), outcome: plainLine(word) })}
              @click=${() => this.dispatchEvent(new CustomEvent('open', { detail: d.operation }))}
            >
              ${line}
            </button>
          </li>`;
        })}
      </ul>`;
  }

  /** Brings one into view, with the keyboard on it. */
  async reveal(id: string): Promise<void> {
    this.sought = id;
    await this.updateComplete;
    const line = this.shadowRoot?.querySelector<HTMLElement>(`#${CSS.escape(id)}`);
    line?.scrollIntoView({ block: 'nearest' });
    line?.focus();
  }
}
customElements.define('cs-decided', DecidedList);

/** @fires end as a CustomEvent with a grant's id */
export class GrantList extends LitElement {
  static override properties = { grants: { attribute: false }, ending: { attribute: false }, sure: { state: true } };
  declare grants: readonly GrantView[];
  declare ending: ReadonlySet<string>;
  /** The grant that a person is asked about once more. */
  declare sure: string | undefined;
  static override styles = [shared, lines, lists];

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
                  : this.sure === g.id || g.mayEnd === false
                    ? nothing
                    : html`<button class="link when" id=${g.id} aria-label=${say('grants.endFor', { covers: plainLine(g.covers) })} @click=${() => void this.#ask(g.id)}>${say('grants.end')}</button>`
              }
            </li>
            ${this.sure === g.id && !this.ending.has(g.id) ? this.#question(g) : nothing}`,
        )}
      </ul>`;
  }

  /** The second press: it cannot be taken back, and what runs on the grant is cut off with it. */
  #question({ id, covers }: GrantView): TemplateResult {
    return html`<li
      class="sure"
      role="group"
      aria-label=${say('grants.endFor', { covers: plainLine(covers) })}
      @keydown=${(e: KeyboardEvent) => {
        if (e.key !== 'Escape') return;
        e.stopPropagation();
        void this.#keep(id);
      }}
    >
      <span>${say('grants.sure')}</span>
      <span class="buttons">
        <cs-armed-button .label=${say('grants.endNowFor', { covers: plainLine(covers) })} @press=${() => this.#end(id)}>${say('grants.endNow')}</cs-armed-button>
        <vscode-button secondary class="keep" @click=${() => void this.#keep(id)}>${say('grants.keep')}</vscode-button>
      </span>
    </li>`;
  }

  async #ask(id: string): Promise<void> {
    this.sure = id;
    await this.updateComplete;
    this.shadowRoot?.querySelector<HTMLElement>('.keep')?.focus();
  }

  async #keep(id: string): Promise<void> {
    this.sure = undefined;
    await this.updateComplete;
    // In the next frame: the rest of the key press that chose to keep it would press the button that gets the keyboard.
    await new Promise(requestAnimationFrame);
    this.shadowRoot?.querySelector<HTMLElement>(`#${CSS.escape(id)}`)?.focus();
  }

  #end(id: string): void {
    this.sure = undefined;
    this.dispatchEvent(new CustomEvent('end', { detail: id }));
  }
}
customElements.define('cs-grants', GrantList);
