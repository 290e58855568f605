/** One page of the console: loads, reloads when something changes, says what went wrong, and never throws away what was shown. */
import './confirm.ts';
import { html, LitElement, nothing, type TemplateResult } from 'lit';
import type { Me } from '../../contract/gateway/identity.ts';
import { icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { type Api, sentenceOf } from './api.ts';
import type { Confirm, Question } from './confirm.ts';
import { pageStyles } from './styles.ts';

export interface PageContext {
  readonly api: Api;
  readonly me: Me;
}

export abstract class ConsolePage extends LitElement {
  static override properties = { problem: { state: true }, done: { state: true }, busy: { state: true }, loaded: { state: true }, stale: { state: true } };
  /** What went wrong last, in a sentence. */
  declare problem: string | undefined;
  /** What was done last, in a sentence. */
  declare done: string | undefined;
  declare busy: boolean;
  declare loaded: boolean;
  /** The last load failed: what is shown, if anything, may be out of date. */
  declare stale: boolean;
  readonly api: Api;
  readonly me: Me;
  #loading: Promise<void> | undefined;
  #again = false;

  static override styles = pageStyles;

  constructor({ api, me }: PageContext) {
    super();
    this.api = api;
    this.me = me;
    this.busy = false;
    this.loaded = false;
    this.stale = false;
  }

  /** What the page is called, for as long as there is nothing else to show. */
  abstract readonly heading: string;
  /** Kinds of changes that this page shows. */
  abstract readonly follows: readonly string[];
  /** Asks for what the page shows. */
  protected abstract load(): Promise<void>;
  protected abstract content(): TemplateResult;

  override connectedCallback(): void {
    super.connectedCallback();
    void this.reload();
  }

  changed(kind: string): void {
    if (kind === 'ready' || this.follows.includes(kind)) void this.reload();
  }

  /** One load at a time; a change that comes meanwhile is looked at after it. */
  reload(): Promise<void> {
    if (this.#loading) {
      this.#again = true;
      return this.#loading;
    }
    this.#loading = this.#load().finally(() => {
      this.#loading = undefined;
      if (this.#again) {
        this.#again = false;
        void this.reload();
      }
    });
    return this.#loading;
  }

  async #load(): Promise<void> {
    try {
      await this.load();
      this.loaded = true;
      // What went wrong with something that was asked for stays said: a load of its own accord has not mended it.
      if (this.stale) this.problem = undefined;
      this.stale = false;
    } catch (cause) {
      this.problem = sentenceOf(cause);
      this.stale = true;
    }
  }

  /** Does what a person asked for, once at a time, and says what came of it. */
  protected async act(what: () => Promise<string | undefined>): Promise<void> {
    if (this.busy) return;
    const backTo = this.#focusNow();
    this.busy = true;
    this.done = undefined;
    this.problem = undefined;
    this.stale = false;
    try {
      this.done = await what();
      await this.reload();
    } catch (cause) {
      this.problem = sentenceOf(cause);
    } finally {
      this.busy = false;
    }
    await this.updateComplete;
    backTo();
  }

  /** The same for what cannot be taken back: asked about first, in a dialog. */
  protected async actIfSure(question: Question, what: () => Promise<string | undefined>): Promise<void> {
    if (this.busy) return;
    if (await this.shadowRoot?.querySelector<Confirm>('cs-confirm')?.ask(question)) await this.act(what);
  }

  /** @returns what puts the keyboard back where it is now, or on the heading above where that has gone, if it got lost meanwhile */
  #focusNow(): () => void {
    const focused = this.shadowRoot?.activeElement;
    if (!(focused instanceof HTMLElement)) return () => undefined;
    const headings = [...(this.shadowRoot?.querySelectorAll<HTMLElement>('h1, h2') ?? [])];
    const above = headings.findLast((heading) => heading.compareDocumentPosition(focused) & Node.DOCUMENT_POSITION_FOLLOWING);
    return () => {
      if (this.shadowRoot?.activeElement) return;
      const to = focused.isConnected && !focused.matches(':disabled, [disabled]') ? focused : above;
      if (to === above) above?.setAttribute('tabindex', '-1');
      to?.focus({ preventScroll: true });
    };
  }

  protected get roles(): Me['roles'] {
    return this.me.roles;
  }

  protected override render(): TemplateResult {
    const { done, problem } = this;
    const again = html`<button class="link" @click=${() => void this.reload()}>Try again</button>`;
    return html`<div class="said">
        <div role="alert">${problem === undefined ? nothing : html`<p class="banner error">${icon('error')}<span>${safeText(problem)} ${this.stale ? again : nothing}</span></p>`}</div>
        <div role="status">${done === undefined ? nothing : html`<p class="banner good">${icon('check')}<span>${safeText(done)}</span></p>`}</div>
      </div>
      <cs-confirm></cs-confirm>
      ${this.loaded ? this.content() : html`<h1>${this.heading}</h1>${problem === undefined ? html`<p class="quiet">Loading…</p>` : nothing}`}`;
  }
}

/** How long ago or when, short. */
export function when(at: number): TemplateResult {
  const date = new Date(at);
  const today = new Date().toDateString() === date.toDateString();
  return html`<time datetime=${date.toISOString()} title=${date.toLocaleString()}>${today ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }) : date.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })}</time>`;
}
