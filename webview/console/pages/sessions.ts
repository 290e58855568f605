/** Sessions on shared connections: live ones first, each with who, which agent, where to. */
import { html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { GatewaySession } from '../../../contract/gateway/sessions.ts';
import { protocolName } from '../../../contract/protocolName.ts';
import { agentName, personName } from '../../parts/names.ts';
import { safeText } from '../../parts/safeText.ts';
import { ConsolePage, when } from '../page.ts';
import { endQuestion, mayEnd } from './ending.ts';

const PAGE = 50;

export class SessionsPage extends ConsolePage {
  static override properties = { ...ConsolePage.properties, sessions: { state: true }, more: { state: true }, filter: { state: true } };
  declare sessions: readonly GatewaySession[];
  declare more: boolean;
  declare filter: { readonly live: boolean; readonly connection: string };
  readonly heading = 'Sessions';
  readonly follows = ['session'];

  constructor(...context: ConstructorParameters<typeof ConsolePage>) {
    super(...context);
    this.sessions = [];
    this.more = false;
    this.filter = { live: false, connection: '' };
  }

  protected async load(): Promise<void> {
    const { sessions, more } = await this.#ask(Math.max(PAGE, Math.min(200, this.sessions.length)));
    this.sessions = sessions;
    this.more = more;
  }

  #ask(limit: number, before?: number): Promise<{ sessions: GatewaySession[]; more: boolean }> {
    const { live, connection } = this.filter;
    return this.api.call('sessions', { query: { limit, before, ...(live && { live: 'true' }), ...(connection !== '' && { connection }) } });
  }

  protected content(): TemplateResult {
    return html`<h1>Sessions</h1>
      <p class="lead quiet">Who was connected to what, through which agent, and what each asked for. ${this.roles.includes('auditor') ? 'You see everyone’s.' : this.roles.includes('admin') ? 'You see who is connected; what was asked is for its people and for auditors.' : 'You see your own.'}</p>
      <div class="tools">
        <label class="inline"><input type="checkbox" .checked=${this.filter.live} @change=${(e: Event) => this.#filtered({ live: (e.target as HTMLInputElement).checked })} />live only</label>
        <input type="search" placeholder="Connection" aria-label="Connection" .value=${this.filter.connection} @change=${(e: Event) => this.#filtered({ connection: (e.target as HTMLInputElement).value.trim() })} />
      </div>
      ${
        this.sessions.length === 0
          ? html`<p class="quiet">No session is like this. A session begins when someone’s client connects to a shared connection.</p>`
          : html`<table class="table">
              <thead><tr><th scope="col">Opened</th><th scope="col">Person</th><th scope="col">Agent</th><th scope="col">Connection</th><th scope="col">State</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
              <tbody>${repeat(
                this.sessions,
                ({ id }) => id,
                (session) => this.#row(session),
              )}</tbody>
            </table>`
      }
      ${this.more ? html`<p><button class="link" ?disabled=${this.busy} @click=${() => void this.#older()}>Show earlier sessions</button></p>` : nothing}`;
  }

  #row({ id, openedAt, closedAt, closeReason, actor, connection, protocol, recovered }: GatewaySession): TemplateResult {
    return html`<tr>
      <td class="num" data-name="Opened"><a class="link" href=${`#/sessions/${encodeURIComponent(id)}`}>${when(openedAt)}</a></td>
      <td data-name="Person">${safeText(personName(actor.person))}</td>
      <td data-name="Agent">${safeText(agentName(actor.agent))}</td>
      <td data-name="Connection">${safeText(connection)} <span class="quiet">${safeText(protocolName(protocol))}</span></td>
      <td data-name="State">${closedAt === undefined ? html`<span class="chip live">live</span>` : html`<span class="quiet">ended ${when(closedAt)}${recovered ? ', sealed after its gateway went away' : ''}${closeReason === undefined ? nothing : html`: ${safeText(closeReason)}`}</span>`}</td>
      <td class="do">${closedAt === undefined && mayEnd(this.me, { actor }) ? html`<button class="link danger" ?disabled=${this.busy} aria-label=${`End the session of ${personName(actor.person)} on ${connection}`} @click=${() => void this.#end(id, actor, connection)}>End</button>` : nothing}</td>
    </tr>`;
  }

  #filtered(change: Partial<SessionsPage['filter']>): void {
    this.filter = { ...this.filter, ...change };
    this.sessions = [];
    void this.reload();
  }

  async #older(): Promise<void> {
    await this.act(async () => {
      const { sessions, more } = await this.#ask(PAGE, this.sessions.at(-1)?.openedAt);
      this.sessions = [...this.sessions, ...sessions];
      this.more = more;
      return undefined;
    });
  }

  #end(id: string, actor: GatewaySession['actor'], connection: string): Promise<void> {
    return this.actIfSure(endQuestion({ actor, connection }), async () => {
      const { ended } = await this.api.call('endSession', { id });
      return ended ? 'The session was ended.' : 'It had ended already.';
    });
  }
}
customElements.define('cs-sessions-page', SessionsPage);
