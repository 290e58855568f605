/** Whether the gateway can work, and whether its record holds. */
import { html, nothing, type TemplateResult } from 'lit';
import { z } from 'zod';
import { GatewayInfo } from '../../../contract/gateway/api.ts';
import type { AddedEdge, EdgeView } from '../../../contract/gateway/edges.ts';
import type { AuditReport, StorageHealth } from '../../../contract/gateway/sessions.ts';
import { icon } from '../../parts/icon.ts';
import { safeText } from '../../parts/safeText.ts';
import type { Question } from '../confirm.ts';
import { ConsolePage } from '../page.ts';
import { archivePart } from './archive.ts';
import { edgesPart } from './edges.ts';

const Ready = z.object({ ok: z.boolean(), sentence: z.string().max(2000).optional() });

export class HealthPage extends ConsolePage {
  static override properties = {
    ...ConsolePage.properties,
    ready: { state: true },
    info: { state: true },
    report: { state: true },
    edges: { state: true },
    added: { state: true },
    storage: { state: true },
  };
  declare ready: z.infer<typeof Ready> | undefined;
  declare info: GatewayInfo | undefined;
  declare report: AuditReport | undefined;
  declare edges: readonly EdgeView[] | undefined;
  declare storage: StorageHealth | undefined;
  /** The join token that was made last: shown once. */
  declare added: AddedEdge | undefined;
  readonly heading = 'Health';
  readonly follows: readonly string[] = ['edge', 'policy'];

  protected async load(): Promise<void> {
    const ask = async (path: string): Promise<unknown> => (await fetch(path, { headers: { Accept: 'application/json' } })).json();
    this.ready = Ready.safeParse(await ask('/readyz').catch(() => ({ ok: false, sentence: 'The gateway does not answer.' }))).data;
    this.info = GatewayInfo.safeParse(await ask('/.well-known/countersign-gateway').catch(() => undefined)).data;
    if (!this.roles.includes('admin') && !this.roles.includes('auditor')) return;
    this.edges = (await this.api.call('edges')).edges;
    this.storage = await this.api.call('storage');
  }

  protected content(): TemplateResult {
    const { ready, info, report } = this;
    return html`<h1>Health</h1>
      <p class="lead ${ready?.ok ? 'good' : 'bad'}">${icon(ready?.ok ? 'check' : 'error')} ${ready?.ok ? 'This gateway takes new work.' : safeText(ready?.sentence ?? 'This gateway does not say how it is.')}</p>
      ${info === undefined ? nothing : html`<p class="quiet">Version ${safeText(info.version)} at ${safeText(info.issuer)}; people sign in with ${info.providers.map(({ title }) => title).join(', ') || 'nobody yet'}.</p>`}
      ${
        this.edges === undefined
          ? nothing
          : edgesPart(this.edges, {
              busy: this.busy,
              added: this.added,
              ...(this.roles.includes('admin') && {
                change: {
                  add: (name) => void this.#addEdge(name),
                  remove: (edge) => void this.#removeEdge(edge),
                  revoke: (key, host) => void this.#revokeKey(key, host),
                },
              }),
            })
      }
      ${
        this.roles.includes('auditor')
          ? html`<h2>The record</h2>
              ${archivePart(this.storage)}
              <p class="lead quiet">Every session is a chain of hashes, every person’s sessions are chained, and so is what people do here; the end of each chain is signed. Reading all of it again can take a while.</p>
              <vscode-button secondary ?disabled=${this.busy} @click=${() => void this.#verify()}>Verify everything</vscode-button>
              ${
                report === undefined
                  ? nothing
                  : html`<p class=${report.ok ? 'good' : 'bad'} role="status">${icon(report.ok ? 'verified' : 'broken')} ${report.ok ? `It holds: ${report.entries.toLocaleString()} entries of ${report.sessions.toLocaleString()} sessions in ${report.chains.toLocaleString()} chains.` : 'It does not hold.'}</p>
                      ${report.problems.length === 0 ? nothing : html`<ul>${report.problems.map((problem) => html`<li class="bad">${safeText(problem)}</li>`)}</ul>`}
                      ${report.notes === undefined || report.notes.length === 0 ? nothing : html`<ul>${report.notes.map((note) => html`<li class="quiet">${safeText(note)}</li>`)}</ul>`}`
              }`
          : nothing
      }
      ${
        this.roles.includes('admin')
          ? html`<h2>Signing keys</h2>
              <p class="lead quiet">They sign the gateway’s tokens and the policy that laptops hold.</p>
              <vscode-button secondary ?disabled=${this.busy} @click=${() => void this.#rotate()}>Rotate keys</vscode-button>`
          : nothing
      }`;
  }

  #rotate(): Promise<void> {
    return this.actIfSure(
      {
        title: 'Rotate the signing keys?',
        what: 'New ones are made and used at once; what the ones before signed is believed for eight more days. Nobody is signed out.',
        button: 'Rotate',
      },
      async () => {
        await this.api.call('rotateKeys', { body: {} });
        return 'New keys sign from now on.';
      },
    );
  }

  #addEdge(name: string): Promise<void> {
    return this.act(async () => {
      this.added = await this.api.call('newEdge', { body: { name } });
      return undefined;
    });
  }

  #removeEdge(edge: string): Promise<void> {
    return this.#revoke(edge, {
      title: `Remove the edge ${edge}?`,
      what: 'What goes through it is cut off at once, all its keys stop counting, and its machines can join again only with a new token.',
      button: 'Remove',
    });
  }

  #revokeKey(key: string, host: string): Promise<void> {
    return this.#revoke(key, {
      title: `Revoke the key of ${host}?`,
      what: `What goes through ${host} is cut off at once, and it can join again only with a new token.`,
      button: 'Revoke',
    });
  }

  #revoke(id: string, question: Question): Promise<void> {
    return this.actIfSure(question, async () => {
      await this.api.call('revokeEdge', { id, body: {} });
      return 'It is not let in any more, and what went through it has ended.';
    });
  }

  #verify(): Promise<void> {
    return this.act(async () => {
      this.report = await this.api.call('verifyAudit');
      return undefined;
    });
  }
}
customElements.define('cs-health-page', HealthPage);
