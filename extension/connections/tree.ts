import * as vscode from 'vscode';
import { badgeText } from '../approvals/attention.ts';
import type { ApprovalsView } from '../approvals/view.ts';
import { COMMANDS, ITEM, VIEWS } from '../ids.ts';
import { serverId, shortPath } from '../mcpServers/commands.ts';
import type { McpServers } from '../mcpServers/servers.ts';
import type { Model } from '../model.ts';
import { groupedTree, type TreeNode } from './groups.ts';

export class ConnectionsTree implements vscode.TreeDataProvider<TreeNode>, vscode.Disposable {
  readonly #model: Model;
  readonly #servers: McpServers;
  readonly #view: vscode.TreeView<TreeNode>;
  readonly #changed = new vscode.EventEmitter<void>();
  readonly #subscriptions: vscode.Disposable[];
  #shown = '';

  readonly onDidChangeTreeData = this.#changed.event;

  constructor(model: Model, approvals: ApprovalsView, servers: McpServers) {
    this.#model = model;
    this.#servers = servers;
    this.#view = vscode.window.createTreeView(VIEWS.connections, { treeDataProvider: this });
    const badge = (): void => {
      // The editor makes the Approvals view when it is first shown, and only then can it carry the badge.
      const count = approvals.resolved ? 0 : model.waiting.length;
      this.#view.badge = count === 0 ? undefined : { value: count, tooltip: badgeText(count, vscode.l10n.t) };
    };
    this.#subscriptions = [
      this.#view,
      approvals.onDidChangeVisibility(badge),
      servers.onDidChange(() => this.#changed.fire()),
      model.onDidChange(() => {
        badge();
        const now = JSON.stringify(model.snapshot?.connections ?? null);
        if (now === this.#shown) return;
        this.#shown = now;
        this.#changed.fire();
      }),
    ];
  }

  getChildren(node?: TreeNode): TreeNode[] {
    if (node === undefined) {
      const connections = this.#model.snapshot?.connections;
      // Without the proxy the view says so, and how to mend it.
      if (connections === undefined) return [];
      return groupedTree({ connections, files: this.#servers.files, shortPath, idOf: serverId }, vscode.l10n.t);
    }
    return node.kind === 'connection' || node.kind === 'group' ? [...node.children] : [];
  }

  getTreeItem(node: TreeNode): vscode.TreeItem {
    const { Collapsed, Expanded, None } = vscode.TreeItemCollapsibleState;
    const item = new vscode.TreeItem(node.label, node.kind === 'connection' ? Collapsed : node.kind === 'group' ? Expanded : None);
    item.id = node.id;
    item.description = node.description;
    if (node.kind === 'quarantined') {
      item.iconPath = new vscode.ThemeIcon('shield', new vscode.ThemeColor('charts.yellow'));
      item.tooltip = node.tooltip.join('\n');
      item.contextValue = ITEM.quarantined;
      item.command = { command: COMMANDS.reviewDefinitions, title: vscode.l10n.t('Look at It'), arguments: [node] };
      item.accessibilityInformation = { label: `${node.label}, ${node.description}` };
      return item;
    }
    if (node.kind === 'output') {
      item.iconPath = new vscode.ThemeIcon('output');
      item.tooltip = node.tooltip;
      item.command = { command: COMMANDS.showOutput, title: vscode.l10n.t('Show What the Server Wrote'), arguments: [node] };
      return item;
    }
    if (node.kind === 'fact') {
      item.iconPath = new vscode.ThemeIcon(node.icon);
      item.tooltip = node.label;
      return item;
    }
    item.contextValue = node.context;
    item.accessibilityInformation = { label: `${node.label}, ${node.description}` };
    if (node.kind === 'group') return item;
    item.tooltip = node.tooltip.join('\n');
    item.iconPath = new vscode.ThemeIcon(node.icon.name, node.icon.color === undefined ? undefined : new vscode.ThemeColor(node.icon.color));
    if (node.kind === 'server') item.command = { command: COMMANDS.openConfig, title: vscode.l10n.t('Open Configuration'), arguments: [{ id: node.id }] };
    return item;
  }

  dispose(): void {
    for (const subscription of this.#subscriptions) subscription.dispose();
    this.#changed.dispose();
  }
}
