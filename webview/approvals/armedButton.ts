import '@vscode-elements/elements/dist/vscode-button/index.js';
import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import { shared } from '../parts/theme.ts';
import { Arming } from './arming.ts';

/** How often a button looks where it stands, in milliseconds. It looks again at every press. */
const LOOK_MS = 100;

/**
 * A button whose press counts only after it has stood still for a moment.
 *
 * @fires press when a person pressed it and meant it
 */
export class ArmedButton extends LitElement {
  static override properties = { label: {}, secondary: { type: Boolean }, ready: { state: true } };
  /** What it is called where the visible words are not enough. */
  declare label: string;
  declare secondary: boolean;
  declare ready: boolean;
  readonly #arming = new Arming(() => performance.now());
  #timer: ReturnType<typeof setInterval> | undefined;
  /** The pointer went down on it before it was ready: the click that follows does not count. */
  #tooEarly = false;

  static override styles = [
    shared,
    css`
      :host {
        display: inline-block;
      }
      vscode-button {
        display: block;
      }
      vscode-button::part(base) {
        border-color: var(--vscode-button-border, var(--vscode-contrastBorder, transparent));
      }
      .waiting {
        opacity: 0.55;
      }
    `,
  ];

  constructor() {
    super();
    this.label = '';
    this.secondary = false;
    this.ready = false;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    document.addEventListener('visibilitychange', this.#restart);
    window.addEventListener('resize', this.#restart);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#timer);
    document.removeEventListener('visibilitychange', this.#restart);
    window.removeEventListener('resize', this.#restart);
  }

  override focus(): void {
    this.shadowRoot?.querySelector('vscode-button')?.focus();
  }

  protected override firstUpdated(): void {
    this.#look();
  }

  protected override render(): TemplateResult {
    return html`<vscode-button
      ?secondary=${this.secondary}
      aria-label=${this.label === '' ? nothing : this.label}
      class=${this.ready ? '' : 'waiting'}
      @pointerdown=${() => {
        this.#look();
        this.#tooEarly = !this.ready;
      }}
      @click=${(event: Event) => this.#press(event)}
      ><slot></slot
    ></vscode-button>`;
  }

  #press(event: Event): void {
    event.stopPropagation();
    this.#look();
    const early = this.#tooEarly || !this.ready;
    this.#tooEarly = false;
    if (!early) this.dispatchEvent(new Event('press'));
  }

  #look(): void {
    const box = this.getBoundingClientRect();
    if (box.height > 0) this.#arming.at(box.top + window.scrollY);
    this.ready = this.#arming.wait === 0;
  }

  readonly #restart = (): void => {
    this.#arming.restart();
    this.#look();
  };
}
customElements.define('cs-armed-button', ArmedButton);
