import * as vscode from 'vscode';
import { COMMANDS, STATUS_ITEM } from './ids.ts';
import type { Model } from './model.ts';
import { statusOf } from './statusText.ts';

const BACKGROUND = { normal: undefined, warning: 'statusBarItem.warningBackground', error: 'statusBarItem.errorBackground' } as const;

export class StatusBar implements vscode.Disposable {
  readonly #item = vscode.window.createStatusBarItem(STATUS_ITEM, vscode.StatusBarAlignment.Left, 100);
  readonly #model: Model;
  readonly #subscription: vscode.Disposable;

  constructor(model: Model) {
    this.#model = model;
    this.#item.name = 'Countersign';
    this.#subscription = model.onDidChange(() => this.#show());
    this.#show();
    this.#item.show();
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#item.dispose();
  }

  #show(): void {
    const { link, snapshot, toAnswer } = this.#model;
    const status = statusOf(link, snapshot, toAnswer, vscode.l10n.t);
    const background = BACKGROUND[status.level];
    this.#item.text = status.text;
    this.#item.tooltip = status.lines.join('\n');
    this.#item.backgroundColor = background === undefined ? undefined : new vscode.ThemeColor(background);
    this.#item.command = COMMANDS[status.click];
    this.#item.accessibilityInformation = { label: status.label };
  }
}
