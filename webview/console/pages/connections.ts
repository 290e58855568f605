/** What can be reached through the gateway, what is masked there, and a request for access over a time. */
import { html, nothing, type TemplateResult } from 'lit';
import type { AccessRequest } from '../../../contract/gateway/approvals.ts';
import type { SharedConnection } from '../../../contract/gateway/policy.ts';
import { safeText } from '../../parts/safeText.ts';
import { ConsolePage } from '../page.ts';
import { quarantinePart, type Waiting } from './quarantine.ts';

const EFFECTS = ['read', 'write', 'delete', 'schema', 'send', 'execute', 'admin'] as const;
const MINUTES = [15, 30, 60, 120, 240, 480] as const;

export class ConnectionsPage extends ConsolePage {
  static override properties = { ...ConsolePage.properties, connections: { state: true }, asking: { state: true }, waiting: { state: true } };
  declare connections: readonly SharedConnection[];
  /** The connection that access is being asked for. */
  declare asking: string | undefined;
  declare waiting: readonly Waiting[];
  readonly follows = ['policy', 'pin'];

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
    this.waiting = (await Promise.all(waiting)).flat();
  }

  /** For exactly the text that is on the screen. */
  #answer({ connection, hash, kind, name }: Waiting, answer: 'accept' | 'reject'): void {
    void this.act(async () => {
      const { done } = await this.api.call('answerPins', { id: connection, body: { items: [{ kind, name, hash }], answer } });
      if (done === 0) return 'The server has changed it again since: look at what it says now.';
      return answer === 'accept' ? `${name} can be used by agents again.` : `${name} stays where it is, marked as rejected.`;
    });
  }

  protected content(): TemplateResult {
    return html`<h1>Connections</h1>
      <p class="lead quiet">Shared connections: the gateway holds their logins, and nobody’s laptop ever does. Reach one from the editor’s Connections view, or with <span class="code">countersign connect NAME</span>.</p>
      ${
        this.connections.length === 0
          ? html`<p class="quiet">None yet. An admin adds one to the policy, with <span class="code">via: gateway</span>.</p>`
          : html`<table class="table">
              <thead><tr><th scope="col">Name</th><th scope="col">Protocol</th><th scope="col">Masked</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
              <tbody>${this.connections.map((connection) => this.#row(connection))}</tbody>
            </table>`
      }
      ${
        this.#maySeeWaiting
          ? quarantinePart(this.waiting, { busy: this.busy, ...(this.roles.includes('admin') && { answer: (one, answer) => this.#answer(one, answer) }) })
          : nothing
      }`;
  }

  #row({ name, protocol, database, sensitive }: SharedConnection): TemplateResult {
    const masked = Object.entries(sensitive);
    return html`<tr>
        <td data-name="Name"><strong>${safeText(name)}</strong></td>
        <td data-name="Protocol">${safeText(protocol)}${database === undefined ? nothing : html` <span class="quiet">database ${safeText(database)}</span>`}</td>
        <td data-name="Masked">${masked.length === 0 ? html`<span class="quiet">by detectors only</span>` : masked.map(([column, mask]) => html`<span class="chip">${safeText(column)} · ${safeText(mask)}</span>`)}</td>
        <td>${this.roles.includes('developer') ? html`<button class="link" aria-expanded=${this.asking === name} @click=${() => (this.asking = this.asking === name ? undefined : name)}>Request access</button>` : nothing}</td>
      </tr>
      ${this.asking === name ? html`<tr><td colspan="4">${this.#form(name)}</td></tr>` : nothing}`;
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
