/** Brings a new ask to a person's attention, and never decides: opens the view without focus, else one notification. */
import * as vscode from 'vscode';
import { COMMANDS, SETTINGS } from '../ids.ts';
import type { Model } from '../model.ts';
import { fresh, noticeText } from './attention.ts';
import type { ApprovalsView } from './view.ts';

export class Notices implements vscode.Disposable {
  readonly #model: Model;
  readonly #view: ApprovalsView;
  readonly #subscription: vscode.Disposable;
  #seen: ReadonlySet<string> = new Set();
  /** One notification at a time: what comes meanwhile is in the count. */
  #open = false;

  constructor(model: Model, view: ApprovalsView) {
    this.#model = model;
    this.#view = view;
    this.#subscription = model.onDidChange(() => void this.#look());
  }

  dispose(): void {
    this.#subscription.dispose();
  }

  async #look(): Promise<void> {
    const waiting = this.#model.waiting;
    const added = fresh(this.#seen, waiting);
    this.#seen = new Set(waiting.map((ask) => ask.id));
    const [first] = added;
    if (first === undefined || this.#view.visible) return;
    const settings = vscode.workspace.getConfiguration();
    if (settings.get(SETTINGS.reveal, true)) await this.#view.show({ focus: false });
    if (this.#view.visible || this.#open || !settings.get(SETTINGS.notify, true)) return;
    this.#open = true;
    try {
      const show = vscode.l10n.t('Show Approvals');
      const picked = await vscode.window.showInformationMessage(noticeText(added, vscode.l10n.t), show);
      if (picked === show) await vscode.commands.executeCommand(COMMANDS.showApprovals, first.id);
    } finally {
      this.#open = false;
    }
  }
}
