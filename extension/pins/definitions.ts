/** The editor's side of a review: two virtual documents in its own diff editor, a pick list, a modal dialog, one notification. */
import * as vscode from 'vscode';
import type { Quarantined } from '../../contract/pins.ts';
import { COMMANDS, DEFINITION_SCHEME } from '../ids.ts';
import type { Model } from '../model.ts';
import { notify } from '../notify.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { answer, type ReviewUi, review, type Shown } from './review.ts';
import { kindName, noticeOf, oneLine } from './texts.ts';

/** Comparisons that are kept at once; the oldest is forgotten. */
const MAX_SHOWN = 50;

export class Definitions implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #model: Model;
  readonly #link: ProxyLink;
  readonly #registration: vscode.Disposable;
  readonly #subscription: vscode.Disposable;
  readonly #shown = new Map<string, Shown>();
  #seen = new Set<string>();
  #count = 0;
  #noticed = false;

  constructor(model: Model, link: ProxyLink) {
    this.#model = model;
    this.#link = link;
    this.#registration = vscode.workspace.registerTextDocumentContentProvider(DEFINITION_SCHEME, this);
    this.#subscription = model.onDidChange(() => void this.#notice());
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    const shown = this.#shown.get(idOf(uri));
    return (uri.query === 'before' ? shown?.before : shown?.after) ?? '';
  }

  /** Takes what a command got: anybody can call one with anything. */
  async review(argument: unknown): Promise<void> {
    const { connection, item } = targetOf(argument);
    const connections = (this.#model.snapshot?.connections ?? []).filter((one) => (one.pins?.quarantined.length ?? 0) > 0);
    const name = connection ?? (connections.length === 1 ? connections[0]?.name : await vscode.window.showQuickPick(connections.map((one) => one.name)));
    if (name === undefined) return;
    const pins = this.#model.snapshot?.connections.find((one) => one.name === name)?.pins;
    await review(this.#deps(), name, pins, item);
  }

  async answer(argument: unknown, yes: boolean): Promise<void> {
    const uri = argument instanceof vscode.Uri ? argument : activeUri();
    await answer(this.#deps(), uri?.scheme === DEFINITION_SCHEME ? this.#shown.get(idOf(uri)) : undefined, yes);
  }

  dispose(): void {
    this.#registration.dispose();
    this.#subscription.dispose();
  }

  #deps() {
    return { ui: this.#ui, link: this.#link, t: vscode.l10n.t };
  }

  readonly #ui: ReviewUi = {
    pick: async (connection, items) => {
      if (items.length < 2) return items;
      const all = { label: vscode.l10n.t('All {0} together', items.length), description: '', items };
      const each = items.map((item) => ({
        label: oneLine(item.name, 80),
        description: `${kindName(item.kind, vscode.l10n.t)} · ${item.reasons[0] ?? ''}`,
        items: [item] as readonly Quarantined[],
      }));
      const picked = await vscode.window.showQuickPick([...each, all], { placeHolder: vscode.l10n.t('Look at what of {0}?', connection) });
      return picked?.items;
    },
    compare: async (shown) => {
      const id = String(++this.#count);
      this.#shown.set(id, shown);
      for (const oldest of this.#shown.keys()) {
        if (this.#shown.size <= MAX_SHOWN) break;
        this.#shown.delete(oldest);
      }
      const uri = (side: string): vscode.Uri => vscode.Uri.from({ scheme: DEFINITION_SCHEME, path: `/${id}/definition.${DEFINITION_SCHEME}`, query: side });
      await vscode.commands.executeCommand('vscode.diff', uri('before'), uri('after'), shown.title, { preview: false });
    },
    confirm: async (question, detail, button) => (await vscode.window.showWarningMessage(question, { modal: true, detail }, button)) === button,
    tell: (sentence) => void notify.information(sentence),
  };

  /** Points to what is new; one notification at a time, and the tree has the rest. */
  async #notice(): Promise<void> {
    const now = new Set<string>();
    let first: { connection: string; items: Quarantined[] } | undefined;
    for (const { name, pins } of this.#model.snapshot?.connections ?? []) {
      const items = (pins?.quarantined ?? []).filter((one) => !one.rejected);
      for (const { kind, name: what, hash } of items) now.add(`${name}\0${kind}\0${what}\0${hash}`);
      const fresh = items.filter(({ kind, name: what, hash }) => !this.#seen.has(`${name}\0${kind}\0${what}\0${hash}`));
      if (fresh.length > 0) first ??= { connection: name, items: fresh };
    }
    if (this.#model.snapshot) this.#seen = now;
    if (!first || this.#noticed) return;
    this.#noticed = true;
    try {
      const look = vscode.l10n.t('Look at It');
      const picked = await notify.warning(noticeOf(first.connection, first.items, vscode.l10n.t), look);
      if (picked === look) await vscode.commands.executeCommand(COMMANDS.reviewDefinitions, first.connection);
    } finally {
      this.#noticed = false;
    }
  }
}

function idOf(uri: vscode.Uri): string {
  return uri.path.split('/')[1] ?? '';
}

function activeUri(): vscode.Uri | undefined {
  const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
  return input instanceof vscode.TabInputTextDiff ? input.modified : vscode.window.activeTextEditor?.document.uri;
}

function targetOf(argument: unknown): { readonly connection?: string; readonly item?: Pick<Quarantined, 'kind' | 'name' | 'hash'> } {
  if (typeof argument === 'string') return { connection: argument };
  if (typeof argument !== 'object' || argument === null) return {};
  const node = argument as { kind?: unknown; connection?: { name?: unknown }; connectionName?: unknown; item?: Quarantined };
  if (node.kind === 'quarantined' && typeof node.connectionName === 'string' && node.item) return { connection: node.connectionName, item: node.item };
  return typeof node.connection?.name === 'string' ? { connection: node.connection.name } : {};
}
