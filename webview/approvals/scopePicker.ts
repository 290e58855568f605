import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import type { PendingApproval, Scope } from '../../contract/approval.ts';
import { NARROWEST } from '../../contract/scopes.ts';
import { icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { shared } from '../parts/theme.ts';
import { type Choice, scopeChoices, scopeSentence, withWhat } from './scope.ts';

/**
 * What an approval covers and for how long; the narrowest to begin with. Native selects: their list is not cut off at the
 * edge of a sidebar, and keys and screen readers know them.
 *
 * @fires change
 */
export class ScopePicker extends LitElement {
  static override properties = { ask: { attribute: false }, now: { attribute: false }, scope: { attribute: false } };
  declare ask: PendingApproval;
  /** Epoch milliseconds, to name the time until which a choice holds. */
  declare now: number;
  declare scope: Scope;

  static override styles = [
    shared,
    css`
      :host {
        display: block;
      }
      .line {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 4px 6px;
      }
      .select {
        position: relative;
        flex: 1 1 90px;
        min-width: 0;
        max-width: 240px;
      }
      .select:has([name='what']) {
        flex-grow: 1.35;
      }
      .select .icon {
        position: absolute;
        right: 5px;
        top: 5px;
        pointer-events: none;
      }
      select {
        appearance: none;
        width: 100%;
        height: 24px;
        padding: 0 20px 0 6px;
        cursor: pointer;
        font: inherit;
        text-overflow: ellipsis;
        color: var(--vscode-dropdown-foreground, var(--vscode-foreground));
        background: var(--vscode-dropdown-background, var(--vscode-input-background));
        border: 1px solid var(--vscode-dropdown-border, var(--edge));
        border-radius: 3px;
      }
      select:focus {
        outline: 1px solid var(--vscode-focusBorder, currentColor);
        outline-offset: -1px;
      }
      option {
        color: var(--vscode-dropdown-foreground, var(--vscode-foreground));
        background: var(--vscode-dropdown-listBackground, var(--vscode-dropdown-background, var(--vscode-editor-background)));
      }
      option:disabled {
        color: var(--vscode-disabledForeground, var(--quiet));
      }
      .covers {
        margin-top: 4px;
      }
      .broad .icon {
        color: var(--soon);
      }
      .note {
        display: flex;
        gap: 4px;
      }
    `,
  ];

  constructor() {
    super();
    this.scope = NARROWEST;
    this.now = Date.now();
  }

  protected override render(): TemplateResult {
    const { whats, howLongs, locked, several } = scopeChoices(this.ask, this.scope);
    const broad = this.scope.howLong !== 'once';
    return html`
      ${
        several
          ? html`<div class="line">
              <span>${say('scope.allow')}</span>
              ${this.#select('what', say('scope.what'), whats, (what) => withWhat(this.ask, this.scope, what))}
              ${this.#select('howLong', say('scope.howLong'), howLongs, (howLong) => ({ ...this.scope, howLong }))}
            </div>`
          : html`<p>${say('scope.allow')}: ${say('scope.onlyThis')}</p>`
      }
      ${several ? html`<p class="covers note ${broad ? 'broad' : 'quiet'}" aria-live="polite">${broad ? icon('warning', 'small') : nothing}<span>${safeText(scopeSentence(this.ask, this.scope, this.now))}</span></p>` : nothing}
      ${locked === undefined ? nothing : html`<p class="note quiet">${icon('lock', 'small')}<span>${say('scope.onlyWhy', { why: '' })}${safeText(locked)}</span></p>`}
    `;
  }

  #select<Value extends string>(
    name: 'what' | 'howLong',
    label: string,
    choices: readonly Choice<Value>[],
    scopeWith: (value: Value) => Scope,
  ): TemplateResult {
    return html`<span class="select"><select
      name=${name}
      aria-label=${label}
      @change=${(e: Event) => {
        const chosen = choices.find((c) => c.value === (e.currentTarget as HTMLSelectElement).value && c.allowed);
        if (!chosen) return;
        this.scope = scopeWith(chosen.value);
        this.dispatchEvent(new Event('change'));
      }}
    >
      ${choices.map(
        ({ value, label, allowed }) =>
          html`<option value=${value} ?disabled=${!allowed} .selected=${this.scope[name] === value}>${allowed ? label : say('scope.locked', { choice: label })}</option>`,
      )}
    </select>${icon('down', 'small')}</span>`;
  }
}
customElements.define('cs-scope-picker', ScopePicker);
