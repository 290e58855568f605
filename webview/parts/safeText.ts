import { html, nothing, type TemplateResult } from 'lit';
import { type Piece, pieces } from './untrustedText.ts';

/** Text from outside, on one line or several, with whatever hides in it made visible. Always set as text, never as markup. */
export function safeText(text: string, options: { readonly lines?: boolean } = {}): TemplateResult {
  return html`${pieces(text, { oneLine: !options.lines }).map((p) => shownPiece(p))}`;
}

export function shownPiece({ kind, text, title }: Pick<Piece, 'kind' | 'text' | 'title'>, token = ''): TemplateResult | string {
  if (kind === 'plain') return token === '' ? text : html`<span class=${token}>${text}</span>`;
  if (kind === 'rtl') return html`<span class="rtl ${token}">${text}</span>`;
  return html`<span class="${kind === 'lookalike' ? `alike ${token}` : 'mark'}" title=${title ?? nothing}>${text}</span>`;
}
