import * as vscode from 'vscode';
import { METHODS, OperationPage, type OperationSummary } from '../../contract/control.ts';
import type { GatewayLink } from '../gateway/gatewayLink.ts';
import { COMMANDS, CONTEXT, ITEM, VIEWS } from '../ids.ts';
import type { Model } from '../model.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { type SessionNode, sessionTree } from './items.ts';

/** Operations fetched at once, and the most that the tree holds. */
const PAGE = 200;
const MAX_SHOWN = 2_000;
/** Records come in bursts: the tree follows at most this often, in milliseconds. */
const REFRESH_MS = 300;

export class SessionsTree implements vscode.TreeDataProvider<SessionNode>, vscode.Disposable {
  readonly #link: ProxyLink;
  readonly #model: Model;
  readonly #gateway: GatewayLink;
  readonly #log: vscode.LogOutputChannel;
  readonly #view: vscode.TreeView<SessionNode>;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #records = new vscode.EventEmitter<void>();
  readonly #subscriptions: vscode.Disposable[];
  #operations: readonly OperationSummary[] = [];
  #more = false;
  #filter = '';
  #revision = -1;
  #wanted = PAGE;
  #timer: NodeJS.Timeout | undefined;
  /** Only the latest answer counts: a slow one for an older filter must not replace it. */
  #turn = 0;

  readonly onDidChangeTreeData = this.#changed.event;
  /** Records were added: open details may be out of date. */
  readonly onDidRecord = this.#records.event;

  constructor(link: ProxyLink, model: Model, gateway: GatewayLink, log: vscode.LogOutputChannel) {
    this.#link = link;
    this.#model = model;
    this.#gateway = gateway;
    this.#log = log;
    this.#view = vscode.window.createTreeView(VIEWS.sessions, { treeDataProvider: this, showCollapseAll: true });
    this.#subscriptions = [
      this.#view,
      this.#view.onDidChangeVisibility(({ visible }) => {
        gateway.sessions.watch(visible);
        this.#schedule();
      }),
      gateway.onDidRecord(() => {
        this.#records.fire();
        this.#changed.fire();
      }),
      model.onDidChange(() => this.#follow()),
      link.onDidAttach(() => {
        this.#revision = -1;
        this.#schedule();
      }),
    ];
  }

  get filter(): string {
    return this.#filter;
  }

  setFilter(filter: string): void {
    this.#filter = filter.trim();
    this.#wanted = PAGE;
    this.#view.message = this.#filter === '' ? '' : vscode.l10n.t('Filter: {0}', this.#filter);
    void vscode.commands.executeCommand('setContext', CONTEXT.filtered, this.#filter !== '');
    this.refresh();
  }

  showMore(): void {
    this.#wanted = Math.min(this.#wanted + PAGE, MAX_SHOWN);
    this.refresh();
  }

  refresh(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#load().catch((error: unknown) => this.#log.warn(`sessions: ${String(error)}`));
  }

  getChildren(node?: SessionNode): SessionNode[] {
    if (node === undefined)
      return sessionTree(
        [...this.#operations, ...this.#gateway.sessions.operations(this.#filter)],
        this.#more && this.#wanted < MAX_SHOWN,
        Date.now(),
        vscode.env.language,
        vscode.l10n.t,
      );
    return node.kind === 'day' || node.kind === 'conversation' ? [...node.children] : [];
  }

  getTreeItem(node: SessionNode): vscode.TreeItem {
    const state = node.kind === 'day' || node.kind === 'conversation' ? vscode.TreeItemCollapsibleState.Expanded : vscode.TreeItemCollapsibleState.None;
    const item = new vscode.TreeItem(node.label, state);
    item.id = node.id;
    switch (node.kind) {
      case 'day':
        break;
      case 'conversation':
        item.description = node.description;
        item.iconPath = new vscode.ThemeIcon(node.icon);
        break;
      case 'operation':
        item.description = node.description;
        item.tooltip = node.tooltip.join('\n');
        item.iconPath = new vscode.ThemeIcon(node.icon.name, node.icon.color === undefined ? undefined : new vscode.ThemeColor(node.icon.color));
        item.contextValue = ITEM.operation;
        item.accessibilityInformation = { label: node.spoken };
        item.command = { command: COMMANDS.openOperation, title: vscode.l10n.t('Open'), arguments: [node.operation] };
        break;
      case 'more':
        item.iconPath = new vscode.ThemeIcon('ellipsis');
        item.command = { command: COMMANDS.moreSessions, title: node.label };
        break;
    }
    return item;
  }

  dispose(): void {
    clearTimeout(this.#timer);
    for (const subscription of this.#subscriptions) subscription.dispose();
    this.#changed.dispose();
    this.#records.dispose();
  }

  #follow(): void {
    const { link, snapshot } = this.#model;
    if (link.kind !== 'on' || snapshot === undefined || snapshot.recordRevision === this.#revision) return;
    this.#revision = snapshot.recordRevision;
    this.#records.fire();
    this.#schedule();
  }

  #schedule(): void {
    if (!this.#view.visible) return;
    this.#timer ??= setTimeout(() => this.refresh(), REFRESH_MS);
  }

  async #load(): Promise<void> {
    if (this.#model.link.kind !== 'on') return;
    const turn = ++this.#turn;
    const operations: OperationSummary[] = [];
    let more = true;
    while (more && operations.length < this.#wanted) {
      const before = operations.at(-1)?.at;
      const page = await this.#link.request(METHODS.operations, { filter: this.#filter, limit: PAGE, ...(before !== undefined && { before }) }, OperationPage);
      operations.push(...page.operations);
      more = page.more && page.operations.length > 0;
    }
    if (turn !== this.#turn) return;
    this.#operations = operations;
    this.#more = more;
    this.#changed.fire();
  }
}
