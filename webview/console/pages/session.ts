/** One session: its operations as they come, each opened as in the editor, and the chain checked here. */
import { css, html, nothing, type TemplateResult } from 'lit';
import type { OperationDetail } from '../../../contract/control.ts';
import { SessionRecord } from '../../../contract/gateway/sessionRecord.ts';
import type { GatewaySession } from '../../../contract/gateway/sessions.ts';
import { stepsOf } from '../../../contract/timeline.ts';
import type { FromOperation, ToOperation } from '../../../contract/webview.ts';
import { OperationPanel } from '../../operation/operationPanel.ts';
import { standingOf } from '../../operation/standing.ts';
import type { Host } from '../../parts/host.ts';
import { icon } from '../../parts/icon.ts';
import { agentName, personName } from '../../parts/names.ts';
import { safeText } from '../../parts/safeText.ts';
import { duration } from '../../parts/timeLeft.ts';
import { ConsolePage, type PageContext, when } from '../page.ts';
import { pageStyles } from '../styles.ts';
import { endQuestion, mayEnd } from './ending.ts';

/** Lines asked for at once, and lines after which a person is told to export instead of scrolling. */
const PAGE = 500;
const MAX_LINES = 20_000;
/** A live session is asked again this often, in milliseconds: entries have no event of their own. */
const WATCH_MS = 2_000;

export class SessionPage extends ConsolePage {
  static override properties = { ...ConsolePage.properties, session: { state: true }, operations: { state: true }, chosen: { state: true } };
  declare session: GatewaySession | undefined;
  declare operations: readonly OperationDetail[];
  declare chosen: string | undefined;
  readonly heading = 'Session';
  readonly follows = ['session', 'approval'];
  readonly #id: string;
  readonly #record = new SessionRecord();
  readonly #panel: OperationPanel;
  #tell: ((message: ToOperation) => void) | undefined;
  #watching: ReturnType<typeof setInterval> | undefined;

  static override styles = [
    ...pageStyles,
    css`
      .split {
        display: grid;
        grid-template-columns: minmax(240px, 1fr) 2fr;
        gap: 16px;
        align-items: start;
      }
      .ops {
        border: 1px solid var(--edge);
        border-radius: 4px;
        max-height: 75vh;
        overflow: auto;
      }
      .op {
        display: flex;
        gap: 6px;
        width: 100%;
        padding: 6px 8px;
        font: inherit;
        color: inherit;
        text-align: start;
        background: none;
        border: 0;
        border-bottom: 1px solid var(--edge);
        cursor: pointer;
      }
      .op:hover {
        background: var(--vscode-list-hoverBackground);
      }
      .op[aria-current='true'] {
        background: var(--vscode-list-activeSelectionBackground);
      }
      @media (forced-colors: active) {
        .op[aria-current='true'] {
          outline: 2px solid Highlight;
          outline-offset: -2px;
        }
      }
      .op .headline {
        flex: 1;
        min-width: 0;
        overflow-wrap: anywhere;
      }
      @media (max-width: 900px) {
        .split {
          grid-template-columns: 1fr;
        }
        .ops {
          max-height: 40vh;
        }
      }
    `,
  ];

  constructor(context: PageContext, id: string, operation?: string) {
    super(context);
    this.#id = id;
    this.operations = [];
    this.chosen = operation;
    this.#panel = new OperationPanel(this.#host(), { reports: false });
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.#watching = setInterval(() => {
      if (this.session?.closedAt === undefined && !document.hidden) void this.reload();
    }, WATCH_MS);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    clearInterval(this.#watching);
  }

  protected async load(): Promise<void> {
    this.session = await this.api.call('session', { id: this.#id });
    for (let more = true; more && this.#record.entries < MAX_LINES; ) {
      const page = await this.api.call('sessionEntries', { id: this.#id, query: { after: this.#record.entries, limit: PAGE } });
      await this.#record.add(page.lines);
      more = page.more && page.lines.length > 0;
    }
    this.operations = this.#record.operations();
    this.chosen ??= this.operations.at(-1)?.summary.operation;
    this.#show();
  }

  protected content(): TemplateResult {
    const { session } = this;
    if (!session) return html``;
    const { verified } = this.#record;
    return html`<p><a class="link" href="#/sessions">All sessions</a></p>
      <h1>${safeText(session.connection)} <span class="quiet">· ${safeText(personName(session.actor.person))} · ${safeText(agentName(session.actor.agent))}</span></h1>
      <p class="lead">
        ${session.closedAt === undefined ? html`<span class="chip live">live</span> since ${when(session.openedAt)} ${mayEnd(this.me, session) ? html`<button class="link danger" ?disabled=${this.busy} @click=${() => void this.#end(session)}>End it</button>` : nothing}` : html`<span class="quiet">${when(session.openedAt)} to ${when(session.closedAt)}${session.closeReason === undefined ? nothing : html`: ${safeText(session.closeReason)}`}</span>`}
        <span class=${verified.ok ? 'quiet' : 'bad'}>${icon(verified.ok ? 'verified' : 'broken')} ${verified.ok ? html`${verified.entries} entries, chain checked in this browser` : safeText(`The record does not hold: ${verified.problem ?? ''}`)}</span>
      </p>
      ${
        this.operations.length === 0
          ? html`<p class="quiet">Nothing was asked for yet.</p>`
          : html`<div class="split">
              <nav class="ops" aria-label="Operations">${this.operations.map((operation) => this.#row(operation))}</nav>
              <div>${this.#panel}</div>
            </div>`
      }`;
  }

  #row(detail: OperationDetail): TemplateResult {
    const { operation, headline, at, tookMs } = detail.summary;
    const standing = standingOf(detail);
    return html`<button class="op" aria-current=${operation === this.chosen ? 'true' : 'false'} @click=${() => this.#choose(operation)}>
      ${icon(standing.tone === 'good' ? 'allow' : standing.tone === 'bad' ? 'deny' : 'watch', standing.tone === 'wait' ? 'soon' : standing.tone)}
      <span class="headline">${safeText(headline)}<br /><span class="quiet">${safeText(standing.text)}</span></span>
      <span class="quiet num">${when(at)}<br />${tookMs === undefined ? nothing : duration(tookMs)}</span>
    </button>`;
  }

  #choose(operation: string): void {
    this.chosen = operation;
    history.replaceState(null, '', `#/sessions/${encodeURIComponent(this.#id)}/${encodeURIComponent(operation)}`);
    this.#show();
  }

  #show(): void {
    const detail = this.chosen === undefined ? undefined : this.#record.operation(this.chosen);
    if (detail) {
      this.#tell?.({ type: 'operation', detail });
      this.#tell?.({ type: 'timeline', of: this.#id, steps: stepsOf(this.operations.map(({ summary }) => summary)) });
    } else if (this.chosen !== undefined && this.operations.length > 0)
      this.#tell?.({ type: 'missing', operation: this.chosen, sentence: 'This session has no such operation.' });
  }

  #host(): Host<FromOperation, ToOperation> {
    return {
      post: (message) => {
        if (message.type === 'ready' || message.type === 'verify') this.#show();
        else if (message.type === 'copy') void navigator.clipboard.writeText(message.text);
        else if (message.type === 'step') this.#choose(message.operation);
        else if (message.type === 'openRule') location.hash = '#/policy';
      },
      listen: (take) => {
        this.#tell = take;
        return () => {
          this.#tell = undefined;
        };
      },
      kept: undefined,
      keep: () => undefined,
    };
  }

  #end(session: GatewaySession): Promise<void> {
    return this.actIfSure(endQuestion(session), async () => {
      const { ended } = await this.api.call('endSession', { id: this.#id });
      return ended ? 'The session was ended.' : 'It had ended already.';
    });
  }
}
customElements.define('cs-session-page', SessionPage);
