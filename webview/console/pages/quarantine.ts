/** What shared MCP servers say that nobody has accepted: held back from every agent until an admin has seen the difference. */
import '../../approvals/armedButton.ts';
import '@vscode-elements/elements/dist/vscode-button/index.js';
import { css, html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { PinTexts } from '../../../contract/pins.ts';
import { textDiff } from '../../operation/textDiff.ts';
import { icon } from '../../parts/icon.ts';
import { safeText } from '../../parts/safeText.ts';

export type Waiting = PinTexts['items'][number] & {
  readonly connection: string;
  readonly rejected: boolean;
  /** What this person answered since the page was opened: it stays where it stood, so that nothing moves under the pointer. */
  readonly outcome?: string;
};

export interface QuarantineActions {
  readonly busy: boolean;
  /** Absent: this person may look only. */
  readonly answer?: (one: Waiting, answer: 'accept' | 'reject') => void;
}

const KINDS = { tool: 'Tool', prompt: 'Prompt', template: 'Resource template', instructions: 'Instructions' } as const;

export const quarantineStyles = css`
  .held {
    margin: 16px 0 0;
    padding: 12px 14px 14px;
    border: 1px solid var(--edge);
    border-radius: 4px;
    background: var(--vscode-editorWidget-background);
  }
  .held h3 {
    font-weight: 600;
    overflow-wrap: anywhere;
  }
  .held h3 .quiet,
  .held h3 .chip {
    font-weight: normal;
  }
  .held ul {
    margin: 4px 0 10px;
  }
  .held li {
    display: flex;
    gap: 6px;
    overflow-wrap: anywhere;
  }
  .held li .icon {
    margin-top: 3px;
  }
  /* What is accepted must be on the screen: a long line that runs out of sight could say anything. */
  .held pre {
    white-space: pre-wrap;
    overflow-wrap: anywhere;
  }
  .held ins {
    text-decoration: underline;
    text-underline-offset: 3px;
  }
  .held .foot {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
    align-items: center;
    min-height: 28px;
    margin-top: 12px;
  }
  @media (forced-colors: active) {
    .held ins {
      background: Mark;
      color: MarkText;
      forced-color-adjust: none;
    }
  }
`;

export function keyOf({ connection, hash, kind, name }: Waiting): string {
  return JSON.stringify([connection, kind, name, hash]);
}

/** How it is called: a server has one text of instructions, and no name for it. */
export function titleOf({ connection, kind, name }: Pick<Waiting, 'connection' | 'kind' | 'name'>): string {
  return kind === 'instructions' ? `${KINDS.instructions} of ${connection}` : `${KINDS[kind]} ${name} of ${connection}`;
}

export function quarantinePart(waiting: readonly Waiting[], actions: QuarantineActions): TemplateResult {
  return html`<h2 id="quarantined" tabindex="-1">Quarantined definitions</h2>
    <p class="lead quiet">An MCP server is held to what it said of its tools when that was accepted. What is new or has changed since is quarantined: no agent sees it or can call it until an admin has accepted exactly the text shown here. Struck through is what was accepted before, underlined is what is new.</p>
    ${waiting.length === 0 ? html`<p class="quiet">Nothing is quarantined.</p>` : repeat(waiting, keyOf, (one) => part(one, actions))}`;
}

function part(one: Waiting, { answer, busy }: QuarantineActions): TemplateResult {
  const { after, before, connection, kind, name, outcome, reasons, rejected } = one;
  const title = titleOf(one);
  return html`<section class="held" aria-label=${title}>
    <h3>${KINDS[kind]} ${kind === 'instructions' ? nothing : safeText(name)} <span class="quiet">of ${safeText(connection)}</span> ${rejected ? html`<span class="chip">rejected</span>` : nothing}</h3>
    <ul>${reasons.map((reason) => html`<li class="soon">${icon('warning', 'small')}<span>${safeText(sentence(reason))}</span></li>`)}</ul>
    <pre tabindex="0" aria-label=${`What it says now: ${title}`}>${difference(before, after)}</pre>
    ${
      outcome === undefined && !answer
        ? nothing
        : html`<div class="foot">${
            outcome !== undefined
              ? html`<p class="outcome" tabindex="-1">${icon('check')} ${safeText(outcome)}</p>`
              : html`<cs-armed-button .label=${`Accept this text: ${title}`} @press=${() => busy || answer?.(one, 'accept')}>Accept this text</cs-armed-button>
                  ${rejected ? nothing : html`<vscode-button secondary aria-label=${`Reject: ${title}`} @click=${() => busy || answer?.(one, 'reject')}>Reject</vscode-button>`}`
          }</div>`
    }
  </section>`;
}

/** Reasons come as clauses. */
function sentence(reason: string): string {
  return `${reason.charAt(0).toLocaleUpperCase('en')}${reason.slice(1)}.`;
}

function difference(before: string | undefined, after: string): TemplateResult {
  // Where there was nothing, all of it is new: a mark on every word would say no more.
  if (before === undefined) return safeText(after, { lines: true });
  const parts = textDiff(before, after);
  // Too large to compare.
  if (!parts) return html`${was(before)}\n${is(after)}`;
  return html`${parts.map(({ kind, text }) => (kind === 'same' ? safeText(text, { lines: true }) : kind === 'before' ? was(text) : is(text)))}`;
}

function was(text: string): TemplateResult {
  return html`<del class="removed"><span class="unseen">accepted before: </span>${safeText(text, { lines: true })}</del>`;
}

function is(text: string): TemplateResult {
  return html`<ins class="added"><span class="unseen">new: </span>${safeText(text, { lines: true })}</ins>`;
}
