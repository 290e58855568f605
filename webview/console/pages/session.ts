/** One session: its operations as they come, each opened as in the editor, and the chain checked here. */
import { css, html, nothing, type TemplateResult } from 'lit';
import type { OperationDetail } from '../../../contract/control.ts';
import { ChainCheck } from '../../../contract/gateway/chainCheck.ts';
import { SessionRecord, windowOf } from '../../../contract/gateway/sessionRecord.ts';
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

/** Lines asked for at once. */
const PAGE = 500;
/** Of a session with more lines than this, so many of the newest are read, and so many more each time earlier ones are wanted. */
const MAX_LINES = 5_000;
const NEWEST = 2_000;
/** A live session is asked again this often, in milliseconds: entries have no event of their own. */
const WATCH_MS = 2_000;

export class SessionPage extends ConsolePage {
  static override properties = {
    ...ConsolePage.properties,
    session: { state: true },
    operations: { state: true },
    chosen: { state: true },
    checked: { state: true },
  };
  declare session: GatewaySession | undefined;
  declare operations: readonly OperationDetail[];
  declare chosen: string | undefined;
  readonly heading = 'Session';
  readonly follows = ['session', 'approval'];
  readonly #id: string;
  #record = new SessionRecord();
  /** Lines of a check of the whole chain that have been gone through. */
  declare checked: number | undefined;
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
    this.checked = undefined;
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
    if (this.#record.entries === 0) this.#record = new SessionRecord(windowOf(this.#lines, MAX_LINES, NEWEST));
    await this.#readOn(this.#record);
    this.operations = this.#record.operations();
    this.chosen ??= this.operations.at(-1)?.summary.operation;
    this.#show();
  }

  get #lines(): number {
    return this.session?.entries ?? this.session?.lines ?? 0;
  }

  async #readOn(record: SessionRecord): Promise<void> {
    if (record.from > 0 && !record.begun) record.begin((await this.#page(0, 1)).lines[0]);
    for (let more = true; more; ) {
      const page = await this.#page(record.entries, PAGE);
      await record.add(page.lines);
      more = page.more && page.lines.length > 0;
    }
  }

  #page(after: number, limit: number): Promise<{ lines: string[]; more: boolean }> {
    return this.api.call('sessionEntries', { id: this.#id, query: { after, limit } });
  }

  /** What comes before what is shown, too. */
  #earlier(): Promise<void> {
    return this.act(async () => {
      const record = new SessionRecord(Math.max(0, this.#record.from - NEWEST));
      await this.#readOn(record);
      this.#record = record;
      this.operations = record.operations();
      this.#show();
      return undefined;
    });
  }

  /** All of the chain, of which nothing is kept; what is shown must be a part of it. */
  #check(): Promise<void> {
    return this.act(async () => {
      const record = this.#record;
      const { head, places } = record;
      const check = new ChainCheck(places);
      for (let more = true; more; this.checked = check.entries) {
        const page = await this.#page(check.entries, PAGE);
        await check.add(page.lines);
        more = page.more && page.lines.length > 0;
      }
      record.confirm(check, places, head);
      this.checked = undefined;
      this.operations = record.operations();
      this.#show();
      return undefined;
    });
  }

  protected content(): TemplateResult {
    const { session } = this;
    if (!session) return html``;
    const { verified } = this.#record;
    return html`<p><a class="link" href="#/sessions">All sessions</a></p>
      <h1>${safeText(session.connection)} <span class="quiet">· ${safeText(personName(session.actor.person))} · ${safeText(agentName(session.actor.agent))}</span></h1>
      <p class="lead">
        ${session.closedAt === undefined ? html`<span class="chip live">live</span> since ${when(session.openedAt)} ${mayEnd(this.me, session) ? html`<button class="link danger" ?disabled=${this.busy} @click=${() => void this.#end(session)}>End it</button>` : nothing}` : html`<span class="quiet">${when(session.openedAt)} to ${when(session.closedAt)}${session.closeReason === undefined ? nothing : html`: ${safeText(session.closeReason)}`}</span>`}
        ${
          verified === undefined
            ? this.#part()
            : html`<span class=${verified.ok ? 'quiet' : 'bad'}>${icon(verified.ok ? 'verified' : 'broken')} ${verified.ok ? html`${verified.entries.toLocaleString()} entries, chain checked in this browser` : safeText(`The record does not hold: ${verified.problem ?? ''}`)}</span>`
        }
      </p>
      ${this.#record.from === 0 ? nothing : html`<p class="quiet">Shown are the newest ${(this.#record.entries - this.#record.from).toLocaleString()} of ${this.#record.entries.toLocaleString()} entries. <button class="link" ?disabled=${this.busy} @click=${() => void this.#earlier()}>Show earlier ones</button></p>`}
      ${
        this.operations.length === 0
          ? html`<p class="quiet">Nothing was asked for yet.</p>`
          : html`<div class="split">
              <nav class="ops" aria-label="Operations">${this.operations.map((operation) => this.#row(operation))}</nav>
              <div>${this.#panel}</div>
            </div>`
      }`;
  }

  /** What is shown follows from each other; that it follows from the beginning was not looked at. */
  #part(): TemplateResult {
    return html`<span class="quiet">${icon('watch')} ${
      this.checked === undefined
        ? html`What is shown holds together; the whole chain was not checked. <button class="link" ?disabled=${this.busy} @click=${() => void this.#check()}>Check all of it</button>`
        : html`Checking the chain: ${this.checked.toLocaleString()} of ${this.#lines.toLocaleString()} entries`
    }</span>`;
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
      this.#tell?.({
        type: 'missing',
        operation: this.chosen,
        sentence:
          this.#record.from === 0 ? 'This session has no such operation.' : 'This operation is not among the entries that are shown. Show earlier ones.',
      });
  }

  #host(): Host<FromOperation, ToOperation> {
    return {
      post: (message) => {
        if (message.type === 'ready') this.#show();
        else if (message.type === 'verify') void (this.#record.verified === undefined ? this.#check() : this.#show());
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
