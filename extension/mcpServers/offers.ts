/**
 * Says once that a server does not go through us, and at once when one no longer does. A notification only points; protecting
 * is a click on it, and nothing is protected by itself.
 */
import { createHash } from 'node:crypto';
import * as vscode from 'vscode';
import { COMMANDS, VIEWS } from '../ids.ts';
import { notify } from '../notify.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { serverId, shortPath } from './commands.ts';
import type { FoundServer } from './scan.ts';
import type { McpServers } from './servers.ts';

const OFFERED_KEY = 'countersign.mcpOffered';
/** How many servers are remembered as offered. */
const MAX_OFFERED = 2_000;

export class Offers implements vscode.Disposable {
  readonly #servers: McpServers;
  readonly #link: ProxyLink;
  readonly #memory: vscode.Memento;
  readonly #subscription: vscode.Disposable;
  #open = false;

  constructor(servers: McpServers, link: ProxyLink, memory: vscode.Memento) {
    this.#servers = servers;
    this.#link = link;
    this.#memory = memory;
    this.#subscription = vscode.Disposable.from(
      servers.onDidChange(() => void this.#look()),
      link.onDidAttach(() => void this.#look()),
    );
  }

  dispose(): void {
    this.#subscription.dispose();
  }

  async #look(): Promise<void> {
    if (this.#open || this.#link.state.kind !== 'on') return;
    const offered = this.#memory.get<string[]>(OFFERED_KEY, []);
    const known = new Set(offered);
    const fresh = this.#servers.servers.filter((server) => wantsTelling(server) && !known.has(key(server)));
    const [first, ...more] = fresh;
    if (first === undefined) return;
    this.#open = true;
    try {
      await this.#memory.update(OFFERED_KEY, [...offered, ...fresh.map(key)].slice(-MAX_OFFERED));
      const changed = fresh.filter(({ status }) => status.kind !== 'protected' && status.changed);
      const [lost] = changed;
      if (lost) await this.#tell(notify.warning, lostText(lost), changed);
      else await this.#tell(notify.information, newText(first, more.length), fresh);
    } finally {
      this.#open = false;
    }
    await this.#look();
  }

  async #tell(say: typeof notify.information, text: string, these: readonly FoundServer[]): Promise<void> {
    const protect = these.length > 1 ? vscode.l10n.t('Protect All') : vscode.l10n.t('Protect');
    const show = vscode.l10n.t('Show');
    const mayProtect = these.some(({ status }) => status.kind === 'unprotected');
    const picked = await say(text, ...(mayProtect ? [protect] : []), show);
    if (picked === show) await vscode.commands.executeCommand(`${VIEWS.connections}.focus`);
    else if (picked === protect)
      await vscode.commands.executeCommand(
        these.length > 1 ? COMMANDS.protectAll : COMMANDS.protectServer,
        these.length > 1 ? undefined : { id: these[0] && serverId(these[0]) },
      );
  }
}

function wantsTelling({ source, status }: FoundServer): boolean {
  return source.folder?.trusted !== false && (status.kind === 'unprotected' || (status.kind === 'unclear' && status.changed));
}

/** A server is offered once; one that went through us and no longer does is told of for each thing it became. */
function key(server: FoundServer): string {
  const changed = server.status.kind !== 'protected' && server.status.changed;
  const what = changed ? JSON.stringify(server.entry.definition, (_key, value: unknown) => (value instanceof Map ? [...value] : value)) : '';
  return createHash('sha256')
    .update(`${serverId(server)}\n${what}`)
    .digest('hex')
    .slice(0, 16);
}

function newText({ entry, source }: FoundServer, more: number): string {
  return more === 0
    ? vscode.l10n.t(
        'The MCP server "{0}" in {1} does not go through Countersign: nothing it does is asked about, masked or recorded.',
        entry.name,
        shortPath(source.file),
      )
    : vscode.l10n.t('{0} MCP servers do not go through Countersign: nothing they do is asked about, masked or recorded.', more + 1);
}

function lostText({ entry, source }: FoundServer): string {
  return vscode.l10n.t(
    'The MCP server "{0}" in {1} no longer goes through Countersign: something has rewritten its entry. If it was not you, look at it before you protect it again.',
    entry.name,
    shortPath(source.file),
  );
}
