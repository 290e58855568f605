import '@vscode-elements/elements/dist/vscode-button/index.js';
import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { codeBlock } from '../parts/blocks.ts';
import { icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { shared } from '../parts/theme.ts';
import type { WrongMask } from './wrongMask.ts';

/** Longest note, in characters. */
const MAX_NOTE = 1000;

export interface MaskReportWish {
  readonly wrong: WrongMask;
  readonly note: string;
}

/**
 * "Report a wrong mask": what is wrong, in the person's words, and the line of policy that would put it right.
 *
 * @fires report as a CustomEvent with a `MaskReportWish`
 */
export class WrongMaskForm extends LitElement {
  static override properties = { choices: { attribute: false }, said: { attribute: false }, chosen: { state: true } };
  declare choices: readonly WrongMask[];
  /** What came of the last report, in a sentence. */
  declare said: string | undefined;
  declare chosen: number;

  static override styles = [
    shared,
    codeBlock,
    css`
      :host {
        display: block;
        margin-top: 12px;
      }
      summary {
        display: flex;
        gap: 4px;
        cursor: pointer;
      }
      details[open] > summary .icon {
        transform: rotate(90deg);
      }
      .inside {
        display: grid;
        gap: 8px;
        max-width: 640px;
        margin: 6px 0 0 20px;
      }
      label {
        display: grid;
        gap: 3px;
      }
      select,
      input,
      pre {
        box-sizing: border-box;
      }
      select,
      input {
        width: 100%;
        height: 26px;
        padding: 0 6px;
        font: inherit;
        color: var(--vscode-input-foreground, var(--vscode-foreground));
        background: var(--vscode-input-background);
        border: 1px solid var(--vscode-input-border, var(--vscode-dropdown-border, var(--edge)));
        border-radius: 3px;
      }
      select {
        color: var(--vscode-dropdown-foreground, var(--vscode-foreground));
        background: var(--vscode-dropdown-background, var(--vscode-input-background));
      }
      select:focus,
      input:focus {
        outline: 1px solid var(--vscode-focusBorder, currentColor);
        outline-offset: -1px;
      }
    `,
  ];

  constructor() {
    super();
    this.choices = [];
    this.chosen = 0;
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has('choices') && this.chosen >= this.choices.length) this.chosen = 0;
  }

  protected override render(): TemplateResult | typeof nothing {
    const wrong = this.choices[this.chosen];
    if (!wrong) return nothing;
    return html`<details>
      <summary>${icon('chevron', 'small')}<span>${say('wrong.title')}</span></summary>
      <form class="inside" @submit=${(e: Event) => this.#report(e)}>
        <label
          >${say('wrong.what')}
          <select name="what" @change=${(e: Event) => (this.chosen = (e.currentTarget as HTMLSelectElement).selectedIndex)}>
            ${this.choices.map(({ text }, i) => html`<option value=${i} .selected=${i === this.chosen}>${text}</option>`)}
          </select></label
        >
        ${wrong.line === undefined ? html`<p class="quiet">${say('wrong.noLine')}</p>` : html`<pre tabindex="0" aria-label=${say('wrong.line')}>${safeText(wrong.line, { lines: true })}</pre>`}
        <label>${say('wrong.note')} <input name="note" maxlength=${MAX_NOTE} autocomplete="off" /></label>
        <p class="quiet">${say('wrong.how')}</p>
        <div><vscode-button @click=${(e: Event) => (e.currentTarget as HTMLElement).closest('form')?.requestSubmit()}>${say(wrong.line === undefined ? 'wrong.report' : 'wrong.reportAndCopy')}</vscode-button></div>
        <p role="status">${this.said === undefined ? nothing : html`${icon('check', 'small good')} ${safeText(this.said)}`}</p>
      </form>
    </details>`;
  }

  #report(event: Event): void {
    event.preventDefault();
    const wrong = this.choices[this.chosen];
    const note = this.shadowRoot?.querySelector<HTMLInputElement>('input[name=note]')?.value.trim() ?? '';
    if (wrong) this.dispatchEvent(new CustomEvent<MaskReportWish>('report', { detail: { wrong, note } }));
  }
}
customElements.define('cs-wrong-mask', WrongMaskForm);
