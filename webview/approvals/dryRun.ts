import { html, nothing, type TemplateResult } from 'lit';
import type { DryRun, PendingApproval } from '../../contract/approval.ts';
import { type ChangedRow, dryRunRows } from '../parts/dryRunRows.ts';
import { icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';

/** Shown of a dry run before "and n more". */
const SHOWN_ROWS = 8;

/** @param open whether the rows are shown; a run that ends while a person points at the card stays folded, so that nothing moves */
export function dryRunSection(dryRun: PendingApproval['dryRun'], open: boolean, toggled: (open: boolean) => void): TemplateResult | typeof nothing {
  switch (dryRun.state) {
    case 'none':
      return dryRun.why === undefined ? nothing : html`<p class="note">${icon('info', 'small')}<span>${say('dry.no')}: ${safeText(dryRun.why)}</span></p>`;
    case 'running':
      return html`<p class="note">${icon('play', 'small')}<span>${say('dry.title')}: <span class="quiet">${say('dry.running')}</span></span></p>`;
    case 'done':
      return html`<details ?open=${open} @toggle=${(e: Event) => toggled((e.currentTarget as HTMLDetailsElement).open)}>
        <summary>
          ${icon('chevron')}<span>${say('dry.title')}: <strong>${say('dry.rows', { n: dryRun.result.rows })}</strong> <span class="quiet">${say('dry.done')}</span></span>
        </summary>
        <div class="inside">${rows(dryRun.result)}</div>
      </details>`;
  }
}

function rows(result: DryRun): TemplateResult {
  if (result.rows === 0) return html`<p class="quiet">${say('dry.none')}</p>`;
  const all = dryRunRows(result);
  const more = result.rows - Math.min(all.length, SHOWN_ROWS);
  return html`<ul class="dry">${all.slice(0, SHOWN_ROWS).map(row)}</ul>
    ${more > 0 ? html`<p class="quiet">${say('dry.more', { n: more })}</p>` : nothing}`;
}

function row({ kind, key, changes }: ChangedRow): TemplateResult {
  return html`<li>
    ${kind === 'changed' ? nothing : html`<span class="kind">${kind === 'added' ? '+ ' : '− '}${say(`dry.${kind}`)}</span>`}
    ${key.map((c) => html`<span class="cell"><span class="quiet">${safeText(c.column)}</span> ${value(c.value)}</span>`)}
    ${changes.length === 0 ? html`<span class="quiet">${say('dry.unchanged')}</span>` : nothing}
    ${changes.map(
      ({ column, before, after }) =>
        html`<span class="cell"
          ><span class="quiet">${safeText(column)}</span>
          ${before === undefined ? nothing : html`<del>${value(before)}</del>`}${
            before !== undefined && after !== undefined ? html` <span aria-hidden="true">→</span><span class="unseen">${say('dry.becomes')}</span> ` : nothing
          }${after === undefined ? nothing : html`<ins>${value(after)}</ins>`}</span
        >`,
    )}
  </li>`;
}

function value(text: string | null): TemplateResult {
  return text === null ? html`<em>${say('dry.null')}</em>` : html`${safeText(text)}`;
}
