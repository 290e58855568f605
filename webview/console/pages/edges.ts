/** The gateway's edges: which there are, how they stand, and the token that lets another join. */
import { html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { AddedEdge, EdgeView } from '../../../contract/gateway/edges.ts';
import { icon } from '../../parts/icon.ts';
import { safeText } from '../../parts/safeText.ts';
import { when } from '../page.ts';

export interface EdgeActions {
  readonly busy: boolean;
  /** Absent: this person may look only. */
  readonly change?: { readonly add: (name: string) => void; readonly remove: (edge: string) => void; readonly revoke: (key: string, host: string) => void };
  /** The token that was made last: shown once. */
  readonly added: AddedEdge | undefined;
}

const GOOD: ReadonlySet<EdgeView['state']> = new Set(['connected']);

export function edgesPart(edges: readonly EdgeView[], { added, busy, change }: EdgeActions): TemplateResult {
  return html`<h2>Edges</h2>
    <p class="lead quiet">They run in networks that let nobody in, and open the way to the connections that name them.</p>
    ${
      added
        ? html`<p class="banner good" role="status"><span>Start the edge ${safeText(added.name)} with this token, shown here and never again. It counts once, until ${when(added.expiresAt)}: <code class="code">${added.token}</code></span></p>`
        : nothing
    }
    ${
      edges.length === 0
        ? html`<p class="quiet">There are none.</p>`
        : html`<table class="table">
            <thead><tr><th scope="col">Edge</th><th scope="col">How it stands</th><th scope="col">Connections</th><th scope="col">Processes</th><th scope="col">Keys</th><th scope="col"><span class="unseen">Actions</span></th></tr></thead>
            <tbody>${repeat(
              edges,
              ({ name }) => name,
              (edge) => row(edge, busy, change),
            )}</tbody>
          </table>`
    }
    ${
      change
        ? html`<form @submit=${(e: SubmitEvent) => add(e, change.add)}>
            <label>Name of an edge <input name="edge" required pattern="[a-z][a-z0-9\\-]{0,39}" title="Lower-case letters, digits and -" autocomplete="off" /></label>
            <div class="tools"><vscode-button secondary ?disabled=${busy} @click=${(e: Event) => (e.currentTarget as HTMLElement).closest('form')?.requestSubmit()}>Make a join token</vscode-button></div>
          </form>`
        : nothing
    }`;
}

function row({ name, state, sentence, connections, processes, keys, replicas }: EdgeView, busy: boolean, change: EdgeActions['change']): TemplateResult {
  const standing = keys.filter(({ revokedAt }) => revokedAt === undefined);
  return html`<tr>
    <td data-name="Edge"><strong>${safeText(name)}</strong></td>
    <td data-name="How it stands" class=${GOOD.has(state) ? 'good' : 'bad'}>${icon(GOOD.has(state) ? 'check' : 'error')} ${safeText(sentence)}</td>
    <td data-name="Connections">${connections.map((connection) => html`<span class="chip">${safeText(connection)}</span>`)}</td>
    <td data-name="Processes">${processes.map((one) => html`<div>${safeText(one.host)} <span class="quiet">${safeText(one.version)}, at ${one.replicas} of ${replicas} replicas${one.draining ? ', shutting down' : ''}</span></div>`)}</td>
    <td data-name="Keys">${standing.map(
      ({ id, host, joinedAt }) =>
        html`<div title=${id}>${safeText(host)} <span class="quiet">${when(joinedAt)}</span>${change ? html` <button class="link danger" ?disabled=${busy} aria-label=${`Revoke the key of ${host}`} @click=${() => change.revoke(id, host)}>Revoke</button>` : nothing}</div>`,
    )}</td>
    <td class="do">${change && state !== 'removed' ? html`<button class="link danger" ?disabled=${busy} @click=${() => change.remove(name)}>Remove</button>` : nothing}</td>
  </tr>`;
}

function add(event: SubmitEvent, make: (name: string) => void): void {
  event.preventDefault();
  const name = new FormData(event.target as HTMLFormElement).get('edge');
  if (typeof name === 'string') make(name.trim());
}
