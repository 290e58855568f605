import * as vscode from 'vscode';
import { badgeText } from '../approvals/attention.ts';
import type { ApprovalsView } from '../approvals/view.ts';
import { VIEWS } from '../ids.ts';
import type { Model } from '../model.ts';
import { type ConnectionNode, connectionTree } from './items.ts';

export class ConnectionsTree implements vscode.TreeDataProvider<ConnectionNode>, vscode.Disposable {
  readonly #model: Model;
  readonly #view: vscode.TreeView<ConnectionNode>;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #subscriptions: vscode.Disposable[];
  #shown = '';

  readonly onDidChangeTreeData = this.#changed.event;

  constructor(model: Model, approvals: ApprovalsView) {
    this.#model = model;
    this.#view = vscode.window.createTreeView(VIEWS.connections, { treeDataProvider: this });
    const badge = (): void => {
      // The editor makes the Approvals view when it is first shown, and only then can it carry the badge.
      const count = approvals.resolved ? 0 : model.waiting.length;
      this.#view.badge = count === 0 ? undefined : { value: count, tooltip: badgeText(count, vscode.l10n.t) };
    };
    this.#subscriptions = [
      this.#view,
      approvals.onDidChangeVisibility(badge),
      model.onDidChange(() => {
        badge();
        const now = JSON.stringify(model.snapshot?.connections ?? null);
        if (now === this.#shown) return;
        this.#shown = now;
        this.#changed.fire();
      }),
    ];
  }

  getChildren(node?: ConnectionNode): ConnectionNode[] {
    if (node === undefined) return connectionTree(this.#model.snapshot?.connections ?? [], vscode.l10n.t);
    return node.kind === 'connection' ? [...node.children] : [];
  }

  getTreeItem(node: ConnectionNode): vscode.TreeItem {
    const item = new vscode.TreeItem(node.label, node.kind === 'connection' ? vscode.TreeItemCollapsibleState.Collapsed : vscode.TreeItemCollapsibleState.None);
    item.id = node.id;
    item.description = node.description;
    if (node.kind === 'fact') {
      item.iconPath = new vscode.ThemeIcon(node.icon);
      item.tooltip = node.label;
      return item;
    }
    item.tooltip = node.tooltip.join('\n');
    item.iconPath = new vscode.ThemeIcon(node.icon.name, node.icon.color === undefined ? undefined : new vscode.ThemeColor(node.icon.color));
    item.contextValue = node.context;
    item.accessibilityInformation = { label: `${node.label}, ${node.description}` };
    return item;
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
    this.#changed.dispose();
  }
}
