import '@vscode-elements/elements/dist/vscode-button/index.js';
import { html, LitElement, nothing, type PropertyValues, type TemplateResult } from 'lit';
import type { Answer, Finding } from '../../contract/response.ts';
import { icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';
import { shared } from '../parts/theme.ts';
import { plainLine } from '../parts/untrustedText.ts';
import { chipParts, maskedColumns, PAGE_ROWS, type RowsAnswer, type TableCell, type TextAnswer, type TextPart, tableRows, textParts } from './answer.ts';
import { answerStyles } from './answerStyles.ts';
import { describeFinding } from './findingWords.ts';
import { textDiff } from './textDiff.ts';

/**
 * "What the agent saw": the masked answer, each mask a chip, with what stood there before where a person may see it.
 *
 * @fires compare as a CustomEvent with whether the side before masking shall be shown
 */
export class AnswerView extends LitElement {
  static override properties = { answer: { attribute: false }, raw: { attribute: false }, compare: { attribute: false }, from: { state: true } };
  declare answer: Answer;
  declare raw: Answer | undefined;
  declare compare: boolean;
  /** First row of the page shown. */
  declare from: number;

  static override styles = [shared, answerStyles];

  constructor() {
    super();
    this.compare = true;
    this.from = 0;
  }

  protected override willUpdate(changed: PropertyValues<this>): void {
    if (changed.has('answer') && this.answer.kind === 'rows' && this.from >= this.answer.rows.length) this.from = 0;
  }

  protected override render(): TemplateResult {
    const { answer, raw } = this;
    const masked = maskedColumns(answer);
    return html`
      <div class="head">
        <h2>${say('op.sawTitle')}</h2>
        ${
          masked.length === 0
            ? nothing
            : html`<label class="compare"><input type="checkbox" .checked=${this.compare} @change=${(e: Event) => this.#compare((e.currentTarget as HTMLInputElement).checked)} />${say('op.compare')}</label>`
        }
      </div>
      ${masked.length === 0 ? html`<p class="quiet">${say('op.maskedNone')}</p>` : html`<p class="quiet stored">${icon(raw ? 'info' : 'lock', 'small')}<span>${say(raw ? 'op.rawHere' : 'op.rawGone')}</span></p>`}
      ${
        masked.length === 0
          ? nothing
          : html`<ul class="masked" aria-label=${say('op.columnsMasked')}>
              ${masked.map((m) => html`<li><span class="chip">${safeText(m.name)}</span> <span class="quiet">${m.count} × ${safeText(describeFinding(m))}</span></li>`)}
            </ul>`
      }
      ${answer.kind === 'rows' ? this.#rows(answer) : this.#text(answer)}
      ${answer.truncated ? html`<p class="quiet">${answer.kind === 'rows' ? say('op.truncated', { n: answer.rows.length }) : say('op.truncatedText', { n: answer.text.length })}</p>` : nothing}
      <div class="hover" role="tooltip" hidden></div>
    `;
  }

  #rows(answer: RowsAnswer): TemplateResult {
    if (answer.rows.length === 0) return html`<p class="quiet">${say('op.noRows')}</p>`;
    const rows = tableRows(answer, this.raw, this.from, PAGE_ROWS);
    return html`<div class="scroll" tabindex="0" role="region" aria-label=${say('op.sawTitle')}>
        <table>
          <thead>
            <tr>
              <th scope="col" class="n"><span class="unseen">${say('op.row')}</span></th>
              ${answer.columns.map((c) => html`<th scope="col">${safeText(c)}</th>`)}
            </tr>
          </thead>
          <tbody @pointerover=${(e: Event) => this.#point(e)} @pointerleave=${() => this.#hideHover()}>
            ${rows.map(
              (cells, r) =>
                html`<tr>
                  <th scope="row" class="n">${this.from + r + 1}</th>
                  ${cells.map((c) => html`<td>${this.#cell(c)}</td>`)}
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
      ${answer.rows.length > PAGE_ROWS ? this.#pager(answer.rows.length) : nothing}`;
  }

  #pager(all: number): TemplateResult {
    const to = Math.min(all, this.from + PAGE_ROWS);
    return html`<nav class="pager" aria-label=${say('op.sawTitle')}>
      <vscode-button secondary ?disabled=${this.from === 0} @click=${() => (this.from = Math.max(0, this.from - PAGE_ROWS))}>${say('op.previous')}</vscode-button>
      <span class="quiet" role="status">${say('op.showing', { from: this.from + 1, to, n: all })}</span>
      <vscode-button secondary ?disabled=${to >= all} @click=${() => (this.from += PAGE_ROWS)}>${say('op.nextRows')}</vscode-button>
    </nav>`;
  }

  #cell({ value, findings, before }: TableCell): TemplateResult {
    const now = value === null ? html`<em class="quiet">${say('dry.null')}</em>` : this.#parts(chipParts(value, findings));
    if (!before || !this.compare) return now;
    const was = html`<del class=${before.exact ? '' : 'outline'}><span class="unseen">${say('op.before')} </span>${before.text === null ? say('dry.null') : safeText(before.text)}</del>`;
    return html`${was}<ins><span class="unseen">${say('op.after')} </span>${now}</ins>`;
  }

  #text(answer: TextAnswer): TemplateResult {
    const raw = this.compare && this.raw?.kind === 'text' ? this.raw.text : undefined;
    const compared = raw === undefined ? undefined : textDiff(raw, answer.text);
    return html`${raw !== undefined && compared === undefined ? html`<p class="quiet">${say('op.diffTooLarge')}</p>` : nothing}
      <pre class="text" tabindex="0" role="region" aria-label=${say('op.sawTitle')} @pointerover=${(e: Event) => this.#point(e)} @pointerleave=${() => this.#hideHover()}>${
        compared
          ? compared.map((p) =>
              p.kind === 'before'
                ? html`<del><span class="unseen">${say('op.before')} </span>${safeText(p.text, { lines: true })}</del>`
                : p.kind === 'after'
                  ? html`<ins><span class="unseen">${say('op.after')} </span>${this.#parts(chipParts(p.text, []))}</ins>`
                  : safeText(p.text, { lines: true }),
            )
          : this.#parts(textParts(answer))
      }</pre>`;
  }

  #parts(parts: readonly TextPart[]): TemplateResult {
    return html`${parts.map(({ text, finding }) =>
      finding
        ? html`<span class="chip" data-hover=${hoverText(finding)} aria-label=${say('op.chip', { label: plainLine(finding.label), mask: say(`op.mask.${finding.mask}`), by: plainLine(finding.by) })} role="img"
            >${safeText(text)}</span
          >`
        : safeText(text, { lines: true }),
    )}`;
  }

  #compare(compare: boolean): void {
    this.dispatchEvent(new CustomEvent('compare', { detail: compare }));
  }

  #point(event: Event): void {
    const chip = event.target instanceof Element ? event.target.closest<HTMLElement>('.chip') : null;
    const hover = this.shadowRoot?.querySelector<HTMLElement>('.hover');
    if (!hover) return;
    if (!chip?.dataset['hover']) {
      hover.hidden = true;
      return;
    }
    hover.textContent = chip.dataset['hover'];
    hover.hidden = false;
    const at = chip.getBoundingClientRect();
    const own = hover.getBoundingClientRect();
    const below = at.bottom + 4 + own.height < window.innerHeight;
    hover.style.left = `${Math.max(4, Math.min(at.left, window.innerWidth - own.width - 8))}px`;
    hover.style.top = `${below ? at.bottom + 4 : at.top - own.height - 4}px`;
  }

  #hideHover(): void {
    const hover = this.shadowRoot?.querySelector<HTMLElement>('.hover');
    if (hover) hover.hidden = true;
  }
}
customElements.define('cs-answer', AnswerView);

function hoverText(finding: Finding): string {
  return `${plainLine(describeFinding(finding))}\n${say('op.hover.value', { shape: plainLine(finding.shape) })}`;
}
