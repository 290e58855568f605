/** The console's frame: who is signed in, where one is, and the page for it. The address says which, so that a link leads there. */
import '@vscode-elements/elements/dist/vscode-button/index.js';
import { css, html, LitElement, nothing, type TemplateResult } from 'lit';
import type { Me, Role } from '../../contract/gateway/identity.ts';
import { type IconName, icon } from '../parts/icon.ts';
import { personName } from '../parts/names.ts';
import { safeText } from '../parts/safeText.ts';
import { shared } from '../parts/theme.ts';
import { Api, ApiFailure, sentenceOf } from './api.ts';
import type { ConsolePage, PageContext } from './page.ts';
import { ApprovalsPage } from './pages/approvals.ts';
import { ConnectionsPage } from './pages/connections.ts';
import { HealthPage } from './pages/health.ts';
import { PeoplePage } from './pages/people.ts';
import { PolicyPage } from './pages/policy.ts';
import { SessionPage } from './pages/session.ts';
import { SessionsPage } from './pages/sessions.ts';
import { nextTheme, type Theme, theme } from './theme.ts';

interface Place {
  readonly path: string;
  readonly title: string;
  readonly icon: IconName;
  /** Who has something to see there; absent: everyone. */
  readonly roles?: readonly Role[];
  readonly page: new (context: PageContext) => ConsolePage;
}

const PLACES: readonly Place[] = [
  { path: 'approvals', title: 'Approvals', icon: 'shield', roles: ['developer', 'approver', 'auditor'], page: ApprovalsPage },
  { path: 'sessions', title: 'Sessions', icon: 'history', page: SessionsPage },
  { path: 'connections', title: 'Connections', icon: 'database', page: ConnectionsPage },
  { path: 'policy', title: 'Policy', icon: 'lock', page: PolicyPage },
  { path: 'people', title: 'People', icon: 'account', roles: ['admin', 'auditor'], page: PeoplePage },
  { path: 'health', title: 'Health', icon: 'info', page: HealthPage },
];

/** How often what waits is counted again where no event came, in milliseconds. */
const COUNT_MS = 30_000;

export class Console extends LitElement {
  static override properties = {
    me: { state: true },
    problem: { state: true },
    signedOut: { state: true },
    waiting: { state: true },
    look: { state: true },
    hash: { state: true },
  };
  declare me: Me | undefined;
  declare problem: string | undefined;
  declare signedOut: boolean;
  /** Questions that wait for this person. */
  declare waiting: number;
  declare look: Theme;
  declare hash: string;
  readonly #api = new Api();
  #page: { readonly hash: string; readonly element: ConsolePage } | undefined;

  static override styles = [
    shared,
    css`
      :host {
        display: grid;
        grid-template-columns: 208px minmax(0, 1fr);
        min-height: 100vh;
      }
      nav {
        display: flex;
        flex-direction: column;
        gap: 2px;
        padding: 16px 10px;
        background: var(--vscode-sideBar-background);
        border-inline-end: 1px solid var(--edge);
        position: sticky;
        top: 0;
        height: 100vh;
      }
      .name {
        display: flex;
        align-items: center;
        gap: 8px;
        padding: 0 8px 14px;
        font-weight: 600;
        font-size: 1.05rem;
      }
      nav a {
        display: flex;
        align-items: center;
        gap: 8px;
        padding: 7px 8px;
        border-radius: 5px;
        color: inherit;
        text-decoration: none;
      }
      nav a:hover {
        background: var(--vscode-list-hoverBackground);
      }
      nav a[aria-current='page'] {
        background: var(--vscode-list-activeSelectionBackground);
        font-weight: 600;
      }
      @media (forced-colors: active) {
        nav a[aria-current='page'] {
          outline: 2px solid Highlight;
          outline-offset: -2px;
        }
      }
      .badge {
        margin-inline-start: auto;
        min-width: 18px;
        padding: 0 5px;
        border-radius: 9px;
        font-size: 0.85em;
        text-align: center;
        background: var(--vscode-badge-background);
        color: var(--vscode-badge-foreground);
      }
      .who {
        margin-top: auto;
        padding: 8px;
        font-size: 0.92em;
        overflow-wrap: anywhere;
      }
      .who .link + .link {
        margin-inline-start: 10px;
      }
      main {
        padding: 24px 32px 48px;
        min-width: 0;
        max-width: 1280px;
      }
      main:focus {
        outline: none;
      }
      .foot {
        display: none;
        margin-top: 32px;
      }
      .out {
        grid-column: 1 / -1;
        max-width: 26rem;
        margin: 18vh auto 0;
        padding: 0 16px;
        text-align: center;
      }
      .out .icon {
        font-size: 40px;
        color: var(--vscode-textLink-foreground);
      }
      .out h1 {
        font-size: 1.4rem;
        font-weight: 600;
        margin: 12px 0 6px;
      }
      .out a {
        display: inline-block;
        margin-top: 16px;
        padding: 9px 22px;
        border-radius: 5px;
        text-decoration: none;
        color: var(--vscode-button-foreground);
        background: var(--vscode-button-background);
      }
      @media (max-width: 700px) {
        :host {
          grid-template-columns: minmax(0, 1fr);
          grid-template-rows: 1fr auto;
        }
        nav {
          order: 2;
          position: sticky;
          top: auto;
          bottom: 0;
          height: auto;
          flex-direction: row;
          justify-content: space-around;
          padding: 4px 2px calc(4px + env(safe-area-inset-bottom));
          border: 0;
          border-top: 1px solid var(--edge);
          z-index: 10;
        }
        nav .name,
        nav .who {
          display: none;
        }
        .foot {
          display: block;
        }
        nav a {
          position: relative;
          flex-direction: column;
          gap: 2px;
          padding: 6px 4px;
          min-width: 48px;
          min-height: 44px;
          font-size: 11px;
        }
        .badge {
          position: absolute;
          top: 0;
          inset-inline-end: 4px;
        }
        main {
          order: 1;
          padding: 16px 14px 24px;
        }
      }
    `,
  ];

  constructor() {
    super();
    this.waiting = 0;
    this.signedOut = false;
    this.look = theme();
    this.hash = location.hash;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener('hashchange', () => {
      this.hash = location.hash;
      void this.updateComplete.then(() => this.shadowRoot?.querySelector<HTMLElement>('main')?.focus());
    });
    void this.#start();
  }

  async #start(): Promise<void> {
    try {
      this.me = await this.#api.me();
      this.#api.listen((kind) => {
        this.#page?.element.changed(kind);
        if (kind === 'ready' || kind === 'approval') void this.#count();
      });
      setInterval(() => void this.#count(), COUNT_MS);
    } catch (cause) {
      if (cause instanceof ApiFailure && (cause.code === 'not-signed-in' || cause.code === 'bad-token')) this.signedOut = true;
      else this.problem = sentenceOf(cause);
    }
  }

  async #count(): Promise<void> {
    if (!this.#places.some(({ path }) => path === 'approvals')) return;
    try {
      const { pending } = await this.#api.call('approvals');
      this.waiting = pending.filter(({ mine }) => mine.mayApprove).length;
    } catch (cause) {
      if (cause instanceof ApiFailure && cause.code === 'not-signed-in') {
        this.me = undefined;
        this.signedOut = true;
      }
    }
  }

  protected override updated(): void {
    const where = this.me ? `${this.#place?.title ?? ''} · ` : '';
    document.title = `${this.waiting > 0 ? `(${this.waiting}) ` : ''}${where}Countersign`;
  }

  get #place(): Place | undefined {
    const [path] = this.#path;
    return this.#places.find((p) => p.path === path) ?? this.#places[0];
  }

  get #path(): readonly string[] {
    return this.hash.replace(/^#\/?/, '').split('/').map(decoded);
  }

  get #places(): readonly Place[] {
    const roles = this.me?.roles ?? [];
    return PLACES.filter((place) => !place.roles || place.roles.some((role) => roles.includes(role)));
  }

  protected override render(): TemplateResult {
    const { me } = this;
    if (this.signedOut)
      return html`<div class="out">
        ${icon('shield')}
        <h1>Countersign</h1>
        <p class="quiet">The team’s gateway: who asked for what, and who said yes.</p>
        <a href=${`/login?return=${encodeURIComponent(`/${location.hash}`)}`}>Sign in</a>
      </div>`;
    if (!me)
      return html`<div class="out">${this.problem === undefined ? html`<p class="quiet">Loading…</p>` : html`<p class="bad" role="alert">${safeText(this.problem)}</p>`}</div>`;
    const [, ...rest] = this.#path;
    const place = this.#place;
    return html`<nav aria-label="Console">
        <div class="name">${icon('shield')} Countersign</div>
        ${this.#places.map(
          (p) =>
            html`<a href=${`#/${p.path}`} aria-current=${p === place ? 'page' : 'false'}>${icon(p.icon)}<span>${p.title}</span>${p.path === 'approvals' && this.waiting > 0 ? html`<span class="badge" aria-label=${`${this.waiting} waiting for you`}>${this.waiting}</span>` : nothing}</a>`,
        )}
        <div class="who">${this.#who(me)}</div>
      </nav>
      <main tabindex="-1">
        ${place ? this.#show(place, rest, me) : nothing}
        <footer class="foot who">${this.#who(me)}</footer>
      </main>`;
  }

  #who(me: Me): TemplateResult {
    return html`<p>${safeText(personName(me.person))}</p>
      <p class="quiet">${me.roles.join(', ')}</p>
      <p><button class="link" @click=${() => (this.look = nextTheme())}>Theme: ${this.look}</button><button class="link" @click=${() => void this.#signOut()}>Sign out</button></p>`;
  }

  /** The page of an address, kept for as long as the address stands. */
  #show(place: Place, rest: readonly string[], me: Me): ConsolePage {
    const [id, operation] = rest;
    // Another operation of the same session is the page's own business.
    const hash = `${place.path}/${id ?? ''}`;
    if (this.#page?.hash !== hash) {
      const context = { api: this.#api, me };
      const session = place.path === 'sessions' && id !== undefined && id !== '';
      this.#page = { hash, element: session ? new SessionPage(context, id, operation) : new place.page(context) };
    }
    return this.#page.element;
  }

  async #signOut(): Promise<void> {
    try {
      await this.#api.call('signOut', { body: {} });
    } catch (cause) {
      this.problem = sentenceOf(cause);
    }
    location.reload();
  }
}
customElements.define('cs-console', Console);

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return '';
  }
}
