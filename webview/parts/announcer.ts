import { css, html, LitElement, type TemplateResult } from 'lit';
import { shared } from './theme.ts';

/** Says things to a screen reader: politely, and at once only where someone has to act. */
export class Announcer extends LitElement {
  static override properties = { polite: { state: true }, urgent: { state: true } };
  declare polite: string;
  declare urgent: string;

  static override styles = [
    shared,
    css`
      :host {
        position: absolute;
      }
    `,
  ];

  constructor() {
    super();
    this.polite = '';
    this.urgent = '';
  }

  say(text: string, how: 'polite' | 'urgent' = 'polite'): void {
    // The same words twice are not news to a live region: a no-break space at the end makes them so.
    if (how === 'urgent') this.urgent = this.urgent === text ? `${text}\u00a0` : text;
    else this.polite = this.polite === text ? `${text}\u00a0` : text;
  }

  protected override render(): TemplateResult {
    return html`<div class="unseen" role="status" aria-live="polite">${this.polite}</div>
      <div class="unseen" role="alert" aria-live="assertive">${this.urgent}</div>`;
  }
}
customElements.define('cs-announcer', Announcer);
