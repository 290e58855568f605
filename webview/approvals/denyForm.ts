import '@vscode-elements/elements/dist/vscode-button/index.js';
import '@vscode-elements/elements/dist/vscode-textarea/index.js';
import type { VscodeTextarea } from '@vscode-elements/elements/dist/vscode-textarea/vscode-textarea.js';
import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { shared } from '../parts/theme.ts';

/** Longest note that the contract carries, in characters. */
const MAX_NOTE = 2000;

/**
 * The note that goes with a denial. Enter denies, Shift+Enter starts a line, Escape goes back.
 *
 * @fires deny as a CustomEvent with the note, `''` for none
 * @fires cancel
 */
export class DenyForm extends LitElement {
  static override properties = { notes: { attribute: false } };
  /** Notes used last, newest first. */
  declare notes: readonly string[];

  static override styles = [
    shared,
    css`
      :host {
        display: block;
      }
      vscode-textarea {
        width: 100%;
        display: block;
      }
      .hint {
        margin: 2px 0 6px;
      }
      .recent {
        margin-bottom: 8px;
      }
      .recent button {
        display: block;
        max-width: 100%;
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
        line-height: 1.6;
      }
      .buttons {
        display: flex;
        flex-wrap: wrap;
        gap: 6px;
      }
      vscode-button::part(base) {
        border-color: var(--vscode-button-border, var(--vscode-contrastBorder, transparent));
      }
    `,
  ];

  constructor() {
    super();
    this.notes = [];
  }

  /** The person has just asked for it, so that they can type at once. */
  protected override firstUpdated(): void {
    const field = this.#field;
    void field?.updateComplete.then(() => field.focus());
  }

  protected override render(): TemplateResult {
    return html`
      <vscode-textarea
        rows="2"
        maxlength=${MAX_NOTE}
        .label=${say('deny.note')}
        placeholder=${say('deny.placeholder')}
        @keydown=${(e: KeyboardEvent) => this.#key(e)}
      ></vscode-textarea>
      <p class="hint quiet">${say('deny.hint')}</p>
      ${
        this.notes.length > 0
          ? html`<div class="recent" role="group" aria-label=${say('deny.recent')}>
              <span class="quiet">${say('deny.recent')}</span>
              ${this.notes.map((note) => html`<button class="link" @click=${() => this.#use(note)}>${safeText(note)}</button>`)}
            </div>`
          : nothing
      }
      <div class="buttons">
        <vscode-button class="deny" @click=${() => this.#deny()}>${say('do.denyNow')}</vscode-button>
        <vscode-button secondary @click=${() => this.#cancel()}>${say('do.cancel')}</vscode-button>
      </div>
    `;
  }

  get #field(): VscodeTextarea | null {
    return this.shadowRoot?.querySelector('vscode-textarea') ?? null;
  }

  #key(event: KeyboardEvent): void {
    if (event.isComposing || event.repeat) return;
    if (event.key === 'Escape') {
      event.preventDefault();
      this.#cancel();
    } else if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.#deny();
    }
  }

  #use(note: string): void {
    const field = this.#field;
    if (!field) return;
    field.value = note;
    field.focus();
  }

  #deny(): void {
    this.dispatchEvent(new CustomEvent('deny', { detail: this.#field?.value ?? '' }));
  }

  #cancel(): void {
    this.dispatchEvent(new Event('cancel'));
  }
}
customElements.define('cs-deny-form', DenyForm);
