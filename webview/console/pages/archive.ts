/** Where records of ended sessions go, and whether they get there. */
import { html, nothing, type TemplateResult } from 'lit';
import type { StorageHealth } from '../../../contract/gateway/sessions.ts';
import { icon } from '../../parts/icon.ts';
import { safeText } from '../../parts/safeText.ts';

export function archivePart(storage: StorageHealth | undefined): TemplateResult | typeof nothing {
  if (!storage) return nothing;
  const { archive } = storage;
  if (!archive) return html`<p class="quiet">Records of ended sessions stay in the gateway’s database.</p>`;
  const { broken, place, problem, waiting } = archive;
  return html`<p class=${problem === undefined ? 'quiet' : 'bad'}>${problem === undefined ? nothing : icon('error')} ${safeText(problem ?? `Records of ended sessions go to ${place}.`)} ${waiting === 0 ? nothing : html`${waiting.toLocaleString()} wait.`}</p>
    ${broken === 0 ? nothing : html`<p class="bad">${icon('broken')} ${broken.toLocaleString()} ended sessions were not archived, because their record does not hold. Verify everything to see which.</p>`}`;
}
