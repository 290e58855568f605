/** What shared MCP servers say that nobody has accepted: held back from every agent until an admin has seen the difference. */
import { html, nothing, type TemplateResult } from 'lit';
import type { PinTexts } from '../../../contract/pins.ts';
import { textDiff } from '../../operation/textDiff.ts';
import { icon } from '../../parts/icon.ts';
import { safeText } from '../../parts/safeText.ts';

export type Waiting = PinTexts['items'][number] & { readonly connection: string; readonly rejected: boolean };

export interface QuarantineActions {
  readonly busy: boolean;
  /** Absent: this person may look only. */
  readonly answer?: (one: Waiting, answer: 'accept' | 'reject') => void;
}

const KINDS = { tool: 'Tool', prompt: 'Prompt', template: 'Resource template', instructions: 'Instructions' } as const;

export function quarantinePart(waiting: readonly Waiting[], actions: QuarantineActions): TemplateResult {
  return html`<h2>MCP servers: waiting to be seen</h2>
    <p class="lead quiet">What a server says of its tools is held to what it said when it was accepted. What is new or has changed is shown to no agent, and cannot be called, until an admin has accepted exactly what is here.</p>
    ${waiting.length === 0 ? html`<p class="quiet">Nothing is waiting.</p>` : waiting.map((one) => part(one, actions))}`;
}

function part(one: Waiting, { answer, busy }: QuarantineActions): TemplateResult {
  const { after, before, connection, kind, name, reasons, rejected } = one;
  return html`<section aria-label=${`${KINDS[kind]} ${name} of ${connection}`}>
    <h3>${KINDS[kind]} ${safeText(name)} <span class="quiet">of ${safeText(connection)}</span> ${rejected ? html`<span class="chip">rejected</span>` : nothing}</h3>
    <ul>${reasons.map((reason) => html`<li class="soon">${icon('warning', 'small')} ${safeText(reason)}</li>`)}</ul>
    <pre tabindex="0" aria-label="What it says">${difference(before, after)}</pre>
    ${
      answer
        ? html`<div class="tools">
            <vscode-button ?disabled=${busy} @click=${() => answer(one, 'accept')}>Accept this text</vscode-button>
            <vscode-button secondary ?disabled=${busy || rejected} @click=${() => answer(one, 'reject')}>Reject</vscode-button>
          </div>`
        : nothing
    }
  </section>`;
}

function difference(before: string | undefined, after: string): TemplateResult {
  const parts = before === undefined ? undefined : textDiff(before, after);
  // Too large to compare, or nothing to compare it with.
  if (!parts)
    return html`${before === undefined ? nothing : html`<span class="removed">${safeText(before, { lines: true })}</span>`}<span class="added">${safeText(after, { lines: true })}</span>`;
  return html`${parts.map(({ kind, text }) => html`<span class=${kind === 'same' ? nothing : kind === 'after' ? 'added' : 'removed'}>${safeText(text, { lines: true })}</span>`)}`;
}
