/** What can be reached through the gateway, what is masked there, and a request for access over a time. */
import { html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { AccessRequest } from '../../../contract/gateway/approvals.ts';
import type { SharedConnection } from '../../../contract/gateway/policy.ts';
import { protocolName } from '../../../contract/protocolName.ts';
import { icon } from '../../parts/icon.ts';
import { safeText } from '../../parts/safeText.ts';
import { ConsolePage } from '../page.ts';
import { keyOf, quarantinePart, quarantineStyles, titleOf, type Waiting } from './quarantine.ts';

const EFFECTS = ['read', 'write', 'delete', 'schema', 'send', 'execute', 'admin'] as const;
const MINUTES = [15, 30, 60, 120, 240, 480] as const;

export class ConnectionsPage extends ConsolePage {
  static override properties = { ...ConsolePage.properties, connections: { state: true }, asking: { state: true }, waiting: { state: true } };
  declare connections: readonly SharedConnection[];
  /** The connection that access is being asked for. */
  declare asking: string | undefined;
  declare waiting: readonly Waiting[];
  /** What was answered from this page, by key. */
  readonly #outcomes = new Map<string, string>();
  readonly heading = 'Connections';
  readonly follows = ['policy', 'pin'];

  static override styles = [...ConsolePage.styles, quarantineStyles];

  constructor(...context: ConstructorParameters<typeof ConsolePage>) {
    super(...context);
    this.connections = [];
    this.waiting = [];
  }

  get #maySeeWaiting(): boolean {
    return this.roles.includes('admin') || this.roles.includes('auditor');
  }

  protected async load(): Promise<void> {
    this.connections = (await this.api.call('connections')).connections;
    if (!this.#maySeeWaiting) return;
    const views = (await this.api.call('pins')).connections.filter(({ quarantined }) => quarantined.length > 0);
    const waiting = views.map(async ({ connection, quarantined }) => {
      const rejected = new Set(quarantined.filter((one) => one.rejected).map(({ hash }) => hash));
      const { items } = await this.api.call('pinTexts', { id: connection });
      return items.map((one): Waiting => ({ ...one, connection, rejected: rejected.has(one.hash) }));
    });
    this.#show((await Promise.all(waiting)).flat());
  }

  /** What was answered here stays where it stood; what has come since stands after it. */
  #show(now: readonly Waiting[]): void {
    const fresh = new Map(now.map((one) => [keyOf(one), one]));
    const kept = this.waiting.flatMap((one) => {
      const key = keyOf(one);
      const outcome = this.#outcomes.get(key);
      const shown = fresh.get(key) ?? (outcome === undefined ? undefined : one);
      fresh.delete(key);
      return shown === undefined ? [] : [outcome === undefined ? shown : { ...shown, outcome }];
    });
    this.waiting = [...kept, ...fresh.values()];
  }

  /** For exactly the text that is on the screen. */
  #answer(one: Waiting, answer: 'accept' | 'reject'): void {
    const { connection, hash, kind, name } = one;
    void this.act(async () => {
      const { done } = await this.api.call('answerPins', { id: connection, body: { items: [{ kind, name, hash }], answer } });
      if (done === 0) return 'The server has changed it again since. Look at what it says now.';
      this.#outcomes.set(
        keyOf(one),
        answer === 'accept' ? 'Accepted. Agents can use it from now on.' : 'Rejected. Agents still do not see it; it can be accepted later.',
      );
      return undefined;
    }).then(() => this.#toOutcome(one));
  }

  /** The buttons have gone with the answer: the keyboard goes to what became of it, which is read out with that. */
  async #toOutcome(one: Waiting): Promise<void> {
    await this.updateComplete;
    const sections = [...(this.shadowRoot?.querySelectorAll('section.held') ?? [])];
    const section = sections.find((element) => element.getAttribute('aria-label') === titleOf(one) && element.querySelector('.outcome'));
    section?.querySelector<HTMLElement>('.outcome')?.focus();
  }

  protected content(): TemplateResult {
    const waiting = this.waiting.filter(({ outcome, rejected }) => outcome === undefined && !rejected).length;
    return html`<h1>Connections</h1>
      ${
        waiting === 0
          ? nothing
          : html`<p class="banner warning">${icon('warning')}<span>${waiting === 1 ? 'One definition of an MCP server is quarantined.' : `${waiting} definitions of MCP servers are quarantined.`} <button class="link" @click=${() => this.#toQuarantine()}>Look at ${waiting === 1 ? 'it' : 'them'}</button></span></p>`
      }
      <p class="lead quiet">Shared connections: the gateway holds their logins, and nobody’s laptop ever does. Reach one from the editor’s Connections view, or with <span class="code">countersign connect NAME</span>.</p>
      ${
        this.connections.length === 0
          ? html`<p class="quiet">None yet. An admin adds one to the policy, with <span class="code">via: gateway</span>.</p>`
          : html`<table class="table">
              <thead><tr><th scope="col">Name</th><th scope="col">Protocol</th><th scope="col">Masked</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
              <tbody>${repeat(
                this.connections,
                ({ name }) => name,
                (connection) => this.#row(connection),
              )}</tbody>
            </table>`
      }
      ${
        this.#maySeeWaiting
          ? quarantinePart(this.waiting, { busy: this.busy, ...(this.roles.includes('admin') && { answer: (one, answer) => this.#answer(one, answer) }) })
          : nothing
      }`;
  }

  #toQuarantine(): void {
    const heading = this.shadowRoot?.querySelector<HTMLElement>('#quarantined');
    heading?.scrollIntoView();
    heading?.focus();
  }

  #row({ name, protocol, database, sensitive }: SharedConnection): TemplateResult {
    const masked = Object.entries(sensitive);
    return html`<tr>
        <td data-name="Name"><strong>${safeText(name)}</strong></td>
        <td data-name="Protocol">${safeText(protocolName(protocol))}${database === undefined ? nothing : html` <span class="quiet">database ${safeText(database)}</span>`}</td>
        <td data-name="Masked">${masked.length === 0 ? html`<span class="quiet">by detectors only</span>` : masked.map(([column, mask]) => html`<span class="chip">${safeText(column)} · ${safeText(mask)}</span>`)}</td>
        <td class="do">${this.roles.includes('developer') ? html`<button class="link" aria-expanded=${this.asking === name} @click=${() => (this.asking = this.asking === name ? undefined : name)}>Request access</button>` : nothing}</td>
      </tr>
      ${this.asking === name ? html`<tr class="wide"><td colspan="4">${this.#form(name)}</td></tr>` : nothing}`;
  }

  #form(connection: string): TemplateResult {
    return html`<form @submit=${(e: SubmitEvent) => this.#request(e, connection)}>
      <fieldset><legend>What for</legend>${EFFECTS.map((effect) => html`<label class="inline"><input type="checkbox" name="effect" value=${effect} />${effect}</label>`)}</fieldset>
      <label><span>Tables, tools or other targets, one a line; <span class="code">*</span> for any</span>
        <textarea class="short" name="targets" required spellcheck="false"></textarea></label>
      <label>Why <input name="reason" required maxlength="2000" autocomplete="off" /></label>
      <label>For how long <select name="minutes">${MINUTES.map((minutes) => html`<option value=${minutes}>${minutes < 60 ? `${minutes} minutes` : `${minutes / 60} hours`}</option>`)}</select></label>
      <div><vscode-button ?disabled=${this.busy} @click=${(e: Event) => (e.currentTarget as HTMLElement).closest('form')?.requestSubmit()}>Ask for it</vscode-button></div>
    </form>`;
  }

  #request(event: SubmitEvent, connection: string): void {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const text = (name: string): string => {
      const value = form.get(name);
      return typeof value === 'string' ? value.trim() : '';
    };
    const effects = EFFECTS.filter((effect) => form.getAll('effect').includes(effect)) as AccessRequest['effects'];
    if (effects.length === 0) {
      this.problem = 'Choose what the access is for: read, write, …';
      return;
    }
    const targets = text('targets')
      .split('\n')
      .map((target) => target.trim())
      .filter((target) => target !== '');
    void this.act(async () => {
      await this.api.call('requestAccess', { body: { connection, effects, targets, minutes: Number(text('minutes')), reason: text('reason') } });
      this.asking = undefined;
      return 'Asked. Approvals shows when somebody has answered.';
    });
  }
}
customElements.define('cs-connections-page', ConnectionsPage);
