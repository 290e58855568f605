/** What this could carry out, and where to: both ends of it, beside each other. */
import { html, nothing, type TemplateResult } from 'lit';
import type { PendingApproval } from '../../contract/approval.ts';
import { icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { say } from '../parts/strings.ts';

/** Reads that are shown at once; the rest are counted. */
const MOST = 5;

export function bothEnds(ask: PendingApproval): TemplateResult | typeof nothing {
  const reads = ask.conversationSummary.reads ?? [];
  if (reads.length === 0) return nothing;
  const { facts } = ask;
  const to = facts.targets.map((target) => target.name).join(', ');
  return html`<section class="ends" aria-label=${say('ends.title')}>
    <h3>${icon('warning', 'small')} ${say('ends.title')}</h3>
    <dl>
      <dt>${say('ends.from')}</dt>
      ${reads.slice(0, MOST).map(
        (read) => html`<dd>
          <strong>${safeText(read.connection)}</strong> ${safeText(read.target)}
          <span class="quiet"
            >${safeText(read.what.join(', '))}${read.masked > 0 ? html` · ${say('ends.masked', { n: read.masked })}` : nothing} · ${timeOf(read.at)}</span
          >
        </dd>`,
      )}
      ${reads.length > MOST ? html`<dd class="quiet">${say('ask.and', { n: reads.length - MOST })}</dd>` : nothing}
      <dt>${say('ends.to')}</dt>
      <dd><strong>${safeText(ask.connection)}</strong> ${safeText(to === '' ? facts.headline : to)}</dd>
    </dl>
  </section>`;
}

function timeOf(at: number): string {
  return new Date(at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
}
