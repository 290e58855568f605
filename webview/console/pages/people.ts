/** People and service accounts: who may sign in, what each may do, and their logins. */
import { html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { PersonView, ServiceAccountView } from '../../../contract/gateway/identity.ts';
import { personName } from '../../parts/names.ts';
import { safeText } from '../../parts/safeText.ts';
import type { Question } from '../confirm.ts';
import { ConsolePage, when } from '../page.ts';

export class PeoplePage extends ConsolePage {
  static override properties = {
    ...ConsolePage.properties,
    people: { state: true },
    accounts: { state: true },
    secret: { state: true },
    adding: { state: true },
  };
  declare people: readonly PersonView[];
  declare accounts: readonly ServiceAccountView[];
  /** Of the account that was made last: shown once. */
  declare secret: { readonly name: string; readonly secret: string } | undefined;
  declare adding: boolean;
  readonly heading = 'People';
  readonly follows: readonly string[] = [];

  constructor(...context: ConstructorParameters<typeof ConsolePage>) {
    super(...context);
    this.people = [];
    this.accounts = [];
    this.adding = false;
  }

  get #mayChange(): boolean {
    return this.roles.includes('admin');
  }

  protected async load(): Promise<void> {
    const [{ people }, { accounts }] = await Promise.all([this.api.call('people'), this.api.call('serviceAccounts')]);
    this.people = people;
    this.accounts = accounts;
  }

  protected content(): TemplateResult {
    return html`<h1>People</h1>
      <p class="lead quiet">Whoever has signed in. Roles come from the identity provider’s groups, as the gateway’s configuration maps them.</p>
      <table class="table">
        <thead><tr><th scope="col">Person</th><th scope="col">Groups</th><th scope="col">Roles</th><th scope="col">Seen</th><th scope="col">Logins</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
        <tbody>${repeat(
          this.people,
          ({ id }) => id,
          (person) => this.#person(person),
        )}</tbody>
      </table>
      <h2>Service accounts</h2>
      <p class="lead quiet">For agents that run unattended: they ask, and approve nothing. And for the CI that puts the policy, and does nothing else.</p>
      ${this.secret ? html`<p class="banner good"><span>The secret of ${safeText(this.secret.name)}, shown here and never again: <code class="code">${this.secret.secret}</code></span></p>` : nothing}
      <table class="table" ?hidden=${this.accounts.length === 0}>
        <thead><tr><th scope="col">Account</th><th scope="col">Connections</th><th scope="col">Proves itself by</th><th scope="col">Made</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
        <tbody>${repeat(
          this.accounts,
          ({ id }) => id,
          (account) => this.#account(account),
        )}</tbody>
      </table>
      ${this.#mayChange ? (this.adding ? this.#form() : html`<p><vscode-button secondary @click=${() => (this.adding = true)}>New service account</vscode-button></p>`) : nothing}`;
  }

  #person({ id, person, email, roles, seenAt, disabledAt, logins }: PersonView): TemplateResult {
    const me = person.issuer === this.me.person.issuer && person.subject === this.me.person.subject;
    return html`<tr>
      <td data-name="Person"><strong>${safeText(personName(person))}</strong>${me ? ' (you)' : ''} <span class="quiet">${safeText(email ?? person.subject)}</span>${disabledAt === undefined ? nothing : html` <span class="chip danger">locked out</span>`}</td>
      <td data-name="Groups">${person.groups.map((group) => html`<span class="chip">${safeText(group)}</span>`)}</td>
      <td data-name="Roles">${roles.join(', ')}</td>
      <td class="num" data-name="Seen">${when(seenAt)}</td>
      <td class="num" data-name="Logins">${logins}</td>
      <td class="do">${
        this.#mayChange && !me
          ? html`${logins > 0 ? html`<button class="link" ?disabled=${this.busy} @click=${() => this.#signOut(id, personName(person))}>Sign out</button> ` : nothing}
              ${disabledAt === undefined ? html`<button class="link danger" ?disabled=${this.busy} @click=${() => this.#lockOut(id, personName(person))}>Lock out</button>` : html`<button class="link" ?disabled=${this.busy} @click=${() => void this.act(() => this.#call('enablePerson', id, `${personName(person)} may sign in again.`))}>Let in again</button>`}`
          : nothing
      }</td>
    </tr>`;
  }

  #account({ id, name, connections, proof, publisher, workload, createdAt, disabledAt }: ServiceAccountView): TemplateResult {
    return html`<tr>
      <td data-name="Account"><strong>${safeText(name)}</strong>${disabledAt === undefined ? nothing : html` <span class="chip danger">switched off</span>`}</td>
      <td data-name="Connections">${publisher ? 'puts the policy' : connections.map((connection) => html`<span class="chip">${safeText(connection)}</span>`)}</td>
      <td data-name="Proof">${proof === 'secret' ? 'a secret' : html`a token of ${safeText(workload?.issuer ?? '')}`}</td>
      <td class="num" data-name="Made">${when(createdAt)}</td>
      <td class="do">${this.#mayChange && disabledAt === undefined ? html`<button class="link danger" ?disabled=${this.busy} @click=${() => this.#switchOff(id, name)}>Switch off</button>` : nothing}${this.#mayChange && disabledAt !== undefined ? html`<button class="link" ?disabled=${this.busy} @click=${() => this.#switchOn(id, name, proof)}>Switch on again</button>` : nothing}</td>
    </tr>`;
  }

  #form(): TemplateResult {
    return html`<form @submit=${(e: SubmitEvent) => this.#make(e)}>
      <label>Name <input name="name" required pattern="[a-z][a-z0-9\\-]{0,63}" title="Lower-case letters, digits and -" autocomplete="off" /></label>
      <label>Connections that it may use, separated by blanks <input name="connections" autocomplete="off" /></label>
      <label class="inline"><input type="checkbox" name="publisher" /> It puts the organisation’s policy, from the CI of where that is kept, and uses no connection</label>
      <label>Issuer of its workload’s tokens, as the gateway’s configuration names it; left out, it gets a secret <input name="issuer" autocomplete="off" /></label>
      <label>Claims of those tokens, one a line, such as repository=shop/api <textarea name="claims" class="short" autocomplete="off"></textarea></label>
      <div class="tools">
        <vscode-button ?disabled=${this.busy} @click=${(e: Event) => (e.currentTarget as HTMLElement).closest('form')?.requestSubmit()}>Make it</vscode-button>
        <vscode-button secondary @click=${() => (this.adding = false)}>Cancel</vscode-button>
      </div>
    </form>`;
  }

  #make(event: SubmitEvent): void {
    event.preventDefault();
    const form = new FormData(event.target as HTMLFormElement);
    const [name = '', connections = '', issuer = '', claims = ''] = ['name', 'connections', 'issuer', 'claims'].map((field) => {
      const value = form.get(field);
      return typeof value === 'string' ? value.trim() : '';
    });
    const body = {
      name,
      connections: connections.split(/[\s,]+/).filter((one) => one !== ''),
      publisher: form.has('publisher'),
      ...(issuer !== '' && { workload: { issuer, claims: claimsOf(claims) } }),
    };
    void this.act(async () => {
      const { account, secret } = await this.api.call('newServiceAccount', { body });
      this.adding = false;
      this.secret = secret === undefined ? undefined : { name: account.name, secret };
      return `${account.name} was made.`;
    });
  }

  #lockOut(id: string, name: string): void {
    this.#sure('disablePerson', id, `${name} is locked out, and what was open has ended.`, {
      title: `Lock out ${name}?`,
      what: `${name} is signed out everywhere, every session that ${name} has open is cut off at once, and ${name} cannot sign in until an admin lets them in again.`,
      button: 'Lock out',
    });
  }

  #signOut(id: string, name: string): void {
    this.#sure('signOutPerson', id, `${name} was signed out everywhere.`, {
      title: `Sign ${name} out everywhere?`,
      what: `Every editor, terminal and browser of ${name} has to sign in again, and what is open there is cut off at once.`,
      button: 'Sign out',
    });
  }

  #switchOff(id: string, name: string): void {
    this.#sure('disableServiceAccount', id, `${name} is switched off.`, {
      title: `Switch off ${name}?`,
      what: `What ${name} has open is cut off at once, and it gets in no more until an admin switches it on again.`,
      button: 'Switch off',
    });
  }

  #switchOn(id: string, name: string, proof: ServiceAccountView['proof']): void {
    this.#sure('enableServiceAccount', id, `${name} is switched on again.`, {
      title: `Switch ${name} on again?`,
      what: `It gets in with ${proof === 'secret' ? 'the secret that it had. If it was switched off because somebody else may have that, make a new account instead' : 'the workload’s tokens, as before'}. What it had open stays closed.`,
      button: 'Switch on',
    });
  }

  #sure(
    endpoint: 'disablePerson' | 'signOutPerson' | 'disableServiceAccount' | 'enableServiceAccount',
    id: string,
    sentence: string,
    question: Question,
  ): void {
    void this.actIfSure(question, () => this.#call(endpoint, id, sentence));
  }

  async #call(
    endpoint: 'disablePerson' | 'enablePerson' | 'signOutPerson' | 'disableServiceAccount' | 'enableServiceAccount',
    id: string,
    sentence: string,
  ): Promise<string> {
    await this.api.call(endpoint, { id, body: {} });
    return sentence;
  }
}
/** `name=value`, one a line; the value may hold `=`. */
function claimsOf(text: string): Record<string, string> {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return Object.fromEntries(lines.map((line) => [line.split('=')[0]?.trim() ?? '', line.split('=').slice(1).join('=').trim()]));
}

customElements.define('cs-people-page', PeoplePage);
