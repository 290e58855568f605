/**
 * Asks once more before something that cannot be taken back: what will happen in one sentence, and a button that names it.
 * Escape, the dialog's Cancel and leaving the page are a no.
 */
import '../approvals/armedButton.ts';
import '@vscode-elements/elements/dist/vscode-button/index.js';
import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import { safeText } from '../parts/safeText.ts';
import { shared } from '../parts/theme.ts';

export interface Question {
  readonly title: string;
  /** What will happen, in one sentence. */
  readonly what: string;
  readonly button: string;
}

export class Confirm extends LitElement {
  static override properties = { question: { state: true } };
  declare question: Question | undefined;
  #answer: ((yes: boolean) => void) | undefined;

  static override styles = [
    shared,
    css`
      dialog {
        width: min(440px, calc(100vw - 32px));
        padding: 16px 18px;
        color: var(--vscode-foreground);
        background: var(--vscode-editorWidget-background, var(--vscode-editor-background));
        border: 1px solid var(--vscode-contrastBorder, var(--edge));
        border-radius: 6px;
        box-shadow: 0 8px 24px rgb(0 0 0 / 36%);
      }
      dialog::backdrop {
        background: rgb(0 0 0 / 36%);
      }
      h2 {
        margin: 0 0 6px;
        font-size: 1.05rem;
        font-weight: 600;
        overflow-wrap: anywhere;
      }
      p {
        overflow-wrap: anywhere;
      }
      .buttons {
        display: flex;
        flex-wrap: wrap;
        justify-content: flex-end;
        gap: 8px;
        margin-top: 16px;
      }
    `,
  ];

  /** @returns whether a person said yes. One question at a time: another one is a no to this. */
  async ask(question: Question): Promise<boolean> {
    this.#close(false);
    this.question = question;
    await this.updateComplete;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#answer = resolve;
    this.#dialog?.showModal();
    return await promise;
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.#close(false);
  }

  protected override render(): TemplateResult | typeof nothing {
    const { question } = this;
    // The least that can happen has the keyboard at first: a second Enter of an impatient hand changes nothing.
    return html`<dialog role="alertdialog" aria-labelledby="title" aria-describedby="what" @close=${() => this.#close(false)}>
      <h2 id="title">${safeText(question?.title ?? '')}</h2>
      <p id="what">${safeText(question?.what ?? '')}</p>
      <div class="buttons">
        <cs-armed-button @press=${() => this.#close(true)}>${question?.button ?? ''}</cs-armed-button>
        <vscode-button secondary autofocus @click=${() => this.#close(false)}>Cancel</vscode-button>
      </div>
    </dialog>`;
  }

  get #dialog(): HTMLDialogElement | null {
    return this.shadowRoot?.querySelector('dialog') ?? null;
  }

  #close(yes: boolean): void {
    const answer = this.#answer;
    this.#answer = undefined;
    // The keyboard goes back to where it was with this, before anything that was asked for is done.
    if (this.#dialog?.open) this.#dialog.close();
    answer?.(yes);
  }
}
customElements.define('cs-confirm', Confirm);
