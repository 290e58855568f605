/** The organisation's policy: what is in force, how it came to be, and a draft that is checked before it counts. */
import { html, nothing, type TemplateResult } from 'lit';
import type { PersonView } from '../../../contract/gateway/identity.ts';
import type { PolicyCheck, PolicyVersion, PolicyVersionDetail, SharedConnection, SignedPolicy } from '../../../contract/gateway/policy.ts';
import { icon } from '../../parts/icon.ts';
import { personName } from '../../parts/names.ts';
import { safeText } from '../../parts/safeText.ts';
import { ConsolePage, when } from '../page.ts';
import './policyTester.ts';

/** The draft is checked this long after the last key, in milliseconds. */
const CHECK_MS = 400;
const DRAFT = 'countersign.policy.draft';

export class PolicyPage extends ConsolePage {
  static override properties = {
    ...ConsolePage.properties,
    signed: { state: true },
    people: { state: true },
    connections: { state: true },
    whole: { state: true },
    versions: { state: true },
    more: { state: true },
    detail: { state: true },
    draft: { state: true },
    check: { state: true },
    comment: { state: true },
  };
  /** Cut for whoever looks. */
  declare signed: SignedPolicy | undefined;
  /** The whole text in force, for those who may see it. */
  declare whole: PolicyVersionDetail | undefined;
  /** For trying an operation: as whom, and where. */
  declare people: readonly PersonView[];
  declare connections: readonly SharedConnection[];
  declare versions: readonly PolicyVersion[];
  declare more: boolean;
  declare detail: PolicyVersionDetail | undefined;
  /** Not in force: what someone is writing. Kept over a reload, so that nothing typed is lost. */
  declare draft: string | undefined;
  declare check: PolicyCheck | undefined;
  declare comment: string;
  readonly heading = 'Policy';
  readonly follows = ['policy'];
  #checking: ReturnType<typeof setTimeout> | undefined;

  constructor(...context: ConstructorParameters<typeof ConsolePage>) {
    super(...context);
    this.versions = [];
    this.people = [];
    this.connections = [];
    this.more = false;
    this.comment = '';
    this.draft = sessionStorage.getItem(DRAFT) ?? undefined;
  }

  get #mayWrite(): boolean {
    return this.roles.includes('admin');
  }

  get #mayLookBack(): boolean {
    return this.roles.includes('admin') || this.roles.includes('auditor');
  }

  protected async load(): Promise<void> {
    if (!this.#mayLookBack) {
      this.signed = await this.api.call('policy');
      return;
    }
    const { versions, more } = await this.api.call('policyHistory');
    const [newest] = versions;
    this.whole = newest && (await this.api.call('policyVersion', { id: String(newest.version) }));
    this.versions = versions;
    this.more = more;
    this.people = (await this.api.call('people')).people;
    this.connections = (await this.api.call('connections')).connections;
    if (this.draft !== undefined) await this.#checkNow();
  }

  protected content(): TemplateResult {
    const { signed, whole } = this;
    const version = whole?.version ?? signed?.statement.version;
    const since = whole?.createdAt ?? signed?.statement.since ?? 0;
    const text = whole?.text ?? signed?.statement.text ?? '';
    return html`<h1>Policy</h1>
      <p class="lead quiet">
        ${version === undefined ? 'No policy is in force yet: the built-in rules decide.' : html`Version ${version} is in force since ${when(since)}. It is signed, and every proxy has it within a second. People’s own files and workspaces can only tighten it.${whole ? nothing : ' Below is what reaches a laptop of yours: without what the gateway keeps to itself.'}`}
      </p>
      ${this.#mayWrite ? this.#editor(text) : html`<pre tabindex="0" aria-label="The policy in force">${text}</pre>`} ${this.#mayLookBack ? html`<cs-policy-tester .api=${this.api} .draft=${this.draft !== undefined && this.draft !== text ? this.draft : undefined} .people=${this.people} .connections=${this.connections}></cs-policy-tester>${this.#history()}` : nothing}`;
  }

  #editor(inForce: string): TemplateResult {
    const text = this.draft ?? inForce;
    const changed = this.draft !== undefined && this.draft !== inForce;
    const { check } = this;
    return html`<label>
        <span class="unseen">Policy text</span>
        <textarea spellcheck="false" autocomplete="off" .value=${text} @input=${(e: Event) => this.#write((e.target as HTMLTextAreaElement).value)}></textarea>
      </label>
      ${
        check === undefined || !changed
          ? nothing
          : check.ok && check.problems.length === 0
            ? html`<p class="good">${icon('check')} This would be a good policy.</p>`
            : html`<ul aria-label="Problems">${check.problems.map(({ line, message }) => html`<li class="bad">${icon('error', 'small')} line ${line}: ${safeText(message)}</li>`)}</ul>`
      }
      ${check && changed && check.warnings.length > 0 ? html`<ul aria-label="Warnings">${check.warnings.map(({ line, message }) => html`<li class="soon">${icon('warning', 'small')} line ${line}: ${safeText(message)}</li>`)}</ul>` : nothing}
      ${
        changed
          ? html`<div class="tools">
              <input aria-label="What changes, and why" placeholder="What changes, and why" size="40" maxlength="2000" .value=${this.comment} @input=${(e: Event) => (this.comment = (e.target as HTMLInputElement).value)} />
              <vscode-button ?disabled=${this.busy || check?.ok !== true || this.comment.trim() === ''} @click=${() => void this.#put()}>Put in force</vscode-button>
              <vscode-button secondary @click=${() => void this.#discard()}>Discard</vscode-button>
            </div>`
          : nothing
      }`;
  }

  #history(): TemplateResult {
    return html`<h2>History</h2>
      ${this.versions.length === 0 ? html`<p class="quiet">Nothing yet.</p>` : nothing}
      <table class="table" ?hidden=${this.versions.length === 0}>
        <thead><tr><th scope="col">Version</th><th scope="col">When</th><th scope="col">Who</th><th scope="col">Why</th></tr></thead>
        <tbody>${this.versions.map(
          ({ version, createdAt, author, comment, source }) => html`<tr>
            <td class="num" data-name="Version"><button class="link" aria-expanded=${this.detail?.version === version} @click=${() => void this.#look(version)}>${version}</button></td>
            <td class="num" data-name="When">${when(createdAt)}</td>
            <td data-name="Who">${safeText(personName(author))}${source === 'file' ? html` <span class="chip">from the file</span>` : nothing}</td>
            <td data-name="Why">${safeText(comment)}</td>
          </tr>
          ${this.detail?.version === version ? html`<tr class="wide"><td colspan="4">${diffOf(this.detail.diff)}</td></tr>` : nothing}`,
        )}</tbody>
      </table>
      ${this.more ? html`<p><button class="link" @click=${() => void this.#older()}>Show earlier versions</button></p>` : nothing}`;
  }

  #write(text: string | undefined): void {
    this.draft = text;
    if (text === undefined) sessionStorage.removeItem(DRAFT);
    else sessionStorage.setItem(DRAFT, text);
    this.check = undefined;
    clearTimeout(this.#checking);
    if (text !== undefined) this.#checking = setTimeout(() => void this.#checkNow().catch(() => undefined), CHECK_MS);
  }

  async #checkNow(): Promise<void> {
    const text = this.draft;
    if (text === undefined) return;
    const check = await this.api.call('checkPolicy', { body: { text } });
    if (this.draft === text) this.check = check;
  }

  #discard(): Promise<void> {
    return this.actIfSure(
      { title: 'Discard your draft?', what: 'What you wrote is lost; the policy in force stays as it is.', button: 'Discard' },
      async () => {
        this.#write(undefined);
        return undefined;
      },
    );
  }

  #put(): Promise<void> {
    return this.act(async () => {
      const { version } = await this.api.call('putPolicy', {
        body: { text: this.draft ?? '', comment: this.comment.trim(), over: this.whole?.version ?? 0 },
      });
      this.#write(undefined);
      this.comment = '';
      return `Version ${version} is in force.`;
    });
  }

  async #look(version: number): Promise<void> {
    if (this.detail?.version === version) {
      this.detail = undefined;
      return;
    }
    await this.act(async () => {
      this.detail = await this.api.call('policyVersion', { id: String(version) });
      return undefined;
    });
  }

  async #older(): Promise<void> {
    await this.act(async () => {
      const { versions, more } = await this.api.call('policyHistory', { query: { before: this.versions.at(-1)?.version } });
      this.versions = [...this.versions, ...versions];
      this.more = more;
      return undefined;
    });
  }
}
customElements.define('cs-policy-page', PolicyPage);

/** A unified diff, a line a line; told apart by its sign as well as by its colour. */
function diffOf(diff: string): TemplateResult {
  const lines = diff.split('\n');
  return html`<pre tabindex="0" aria-label="What changed">${lines.map((line, i) => {
    const kind = line.startsWith('+') && !line.startsWith('+++') ? 'added' : line.startsWith('-') && !line.startsWith('---') ? 'removed' : '';
    return html`<span class=${kind}>${line}${i < lines.length - 1 ? '\n' : ''}</span>`;
  })}</pre>`;
}
