/** One page of the console: loads, reloads when something changes, says what went wrong, and never throws away what was shown. */
import { html, LitElement, nothing, type TemplateResult } from 'lit';
import type { Me } from '../../contract/gateway/identity.ts';
import { icon } from '../parts/icon.ts';
import { safeText } from '../parts/safeText.ts';
import { type Api, sentenceOf } from './api.ts';
import { pageStyles } from './styles.ts';

export interface PageContext {
  readonly api: Api;
  readonly me: Me;
}

export abstract class ConsolePage extends LitElement {
  static override properties = { problem: { state: true }, done: { state: true }, busy: { state: true }, loaded: { state: true } };
  /** What went wrong last, in a sentence. */
  declare problem: string | undefined;
  /** What was done last, in a sentence. */
  declare done: string | undefined;
  declare busy: boolean;
  declare loaded: boolean;
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
  }

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
      this.problem = undefined;
    } catch (cause) {
      this.problem = sentenceOf(cause);
    }
  }

  /** Does what a person asked for, once at a time, and says what came of it. */
  protected async act(what: () => Promise<string | undefined>): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.done = undefined;
    try {
      this.done = await what();
      this.problem = undefined;
      await this.reload();
    } catch (cause) {
      this.problem = sentenceOf(cause);
    } finally {
      this.busy = false;
    }
  }

  protected get roles(): Me['roles'] {
    return this.me.roles;
  }

  protected override render(): TemplateResult {
    return html`<div aria-live="polite">
        ${this.problem === undefined ? nothing : html`<p class="banner error" role="alert">${icon('error')}<span>${safeText(this.problem)}</span></p>`}
        ${this.done === undefined ? nothing : html`<p class="banner good">${icon('check')}<span>${safeText(this.done)}</span></p>`}
      </div>
      ${this.loaded ? this.content() : this.problem === undefined ? html`<p class="quiet">Loading…</p>` : nothing}`;
  }
}

/** How long ago or when, short. */
export function when(at: number): TemplateResult {
  const date = new Date(at);
  const today = new Date().toDateString() === date.toDateString();
  return html`<time datetime=${date.toISOString()} title=${date.toLocaleString()}>${today ? date.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }) : date.toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' })}</time>`;
}
