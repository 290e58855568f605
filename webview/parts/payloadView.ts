import { css, html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import { icon } from './icon.ts';
import { type Payload, payloadOf } from './payload.ts';
import { safeText, shownPiece } from './safeText.ts';
import { say } from './strings.ts';
import { shared } from './theme.ts';
import { HIDDEN_KINDS } from './untrustedText.ts';

/**
 * The whole request, wrapped and highlighted, with hidden characters visible. Long ones are folded, and the fold says so.
 *
 * @fires unfolded when a person opens the fold
 */
export class PayloadView extends LitElement {
  static override properties = { text: {}, language: {}, params: { attribute: false }, unfolded: { type: Boolean } };
  declare text: string;
  declare language: string;
  declare params: readonly (string | null)[];
  declare unfolded: boolean;
  #payload: Payload | undefined;

  static override styles = [
    shared,
    css`
      .code {
        margin: 0;
        padding: 6px 8px;
        border: 1px solid var(--edge);
        border-radius: 3px;
        background: var(--vscode-textCodeBlock-background, var(--vscode-editor-background));
        color: var(--vscode-editor-foreground);
        font-family: var(--code-font);
        font-size: var(--code-size);
        line-height: 1.5;
        white-space: pre-wrap;
        overflow-wrap: anywhere;
        tab-size: 4;
        direction: ltr;
        unicode-bidi: isolate;
        user-select: text;
        cursor: text;
      }
      .keyword {
        color: var(--vscode-debugTokenExpression-boolean, inherit);
        font-weight: 600;
      }
      .literal {
        color: var(--vscode-debugTokenExpression-boolean, inherit);
      }
      .name {
        color: var(--vscode-symbolIcon-fieldForeground, var(--vscode-debugTokenExpression-name, inherit));
      }
      .string {
        color: var(--vscode-debugTokenExpression-string, inherit);
      }
      .number {
        color: var(--vscode-debugTokenExpression-number, inherit);
      }
      .parameter {
        color: var(--vscode-debugTokenExpression-name, inherit);
        font-weight: 600;
      }
      .comment {
        color: var(--vscode-descriptionForeground);
        font-style: italic;
      }
      .warning {
        display: flex;
        gap: 4px;
        margin-bottom: 4px;
      }
      .warning .icon {
        color: var(--soon);
      }
      .fold {
        display: flex;
        flex-wrap: wrap;
        gap: 2px 8px;
        margin-top: 4px;
      }
      .params {
        margin-top: 6px;
        font-family: var(--code-font);
        font-size: var(--code-size);
        overflow-wrap: anywhere;
      }
      .params li span:last-child {
        white-space: pre-wrap;
      }
      .params li {
        display: flex;
        gap: 6px;
      }
      .params .index {
        flex: none;
        min-width: 2.5em;
        font-weight: 600;
        color: var(--vscode-debugTokenExpression-name, inherit);
      }
    `,
  ];

  constructor() {
    super();
    this.text = '';
    this.language = 'text';
    this.params = [];
    this.unfolded = false;
  }

  /** Whether a part of the request has not been on screen. */
  get partly(): boolean {
    const { linesLeft, charactersLeft } = this.#current();
    return linesLeft > 0 || charactersLeft > 0;
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has('text') || changed.has('language') || changed.has('unfolded')) this.#payload = undefined;
  }

  protected override render(): TemplateResult {
    const { spans, hidden, linesLeft, lines, charactersLeft } = this.#current();
    const found = HIDDEN_KINDS.flatMap((kind) => (hidden.has(kind) ? [say(`hidden.${kind}`, { n: hidden.get(kind) ?? 0 })] : []));
    return html`
      ${found.length > 0 ? html`<p class="warning">${icon('warning')}<span>${say('payload.hidden', { what: found.join(', ') })}</span></p>` : nothing}
      <pre class="code" role="region" aria-label=${say('ask.request')} dir="ltr">${
        this.text === ''
          ? html`<span class="comment">${say('payload.empty')}</span>`
          : spans.map((s) => shownPiece(s, s.token === 'text' || s.token === 'operator' ? '' : s.token))
      }</pre>
      ${
        linesLeft > 0
          ? html`<p class="fold"><span class="quiet">${say('payload.rest', { n: linesLeft })}</span>
              <button class="link" @click=${() => this.#unfold()}>${say('payload.showAll', { n: lines })}</button></p>`
          : nothing
      }
      ${charactersLeft > 0 ? html`<p class="warning">${icon('warning')}<span>${say('payload.cut', { shown: this.text.length - charactersLeft, n: this.text.length })}</span></p>` : nothing}
      ${
        this.params.length > 0
          ? html`<ol class="params" aria-label=${say('ask.parameters')}>
              ${this.params.map(
                (value, i) =>
                  html`<li>
                    <span class="index">$${i + 1}</span><span>${value === null ? html`<span class="literal">null</span>` : safeText(value, { lines: true })}</span>
                  </li>`,
              )}
            </ol>`
          : nothing
      }
    `;
  }

  #current(): Payload {
    this.#payload ??= payloadOf(this.text, this.language, !this.unfolded);
    return this.#payload;
  }

  #unfold(): void {
    this.unfolded = true;
    this.dispatchEvent(new Event('unfolded'));
  }
}
customElements.define('cs-payload', PayloadView);
