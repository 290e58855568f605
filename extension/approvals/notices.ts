/** Brings a new ask to a person's attention, and never decides: opens the view without focus, else one notification. */
import * as vscode from 'vscode';
import { COMMANDS, SETTINGS } from '../ids.ts';
import type { Model } from '../model.ts';
import { notify } from '../notify.ts';
import { fresh, noticeText } from './attention.ts';
import type { ApprovalsView } from './view.ts';

/** How long the editor may take to bring a view up, in milliseconds, before a notification points to it. */
const SHOWN_WITHIN_MS = 2000;

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
    if (settings.get(SETTINGS.reveal, true)) {
      await this.#view.show({ focus: false });
      await this.#shown();
      // Answered meanwhile: nothing to point to.
      if (!this.#model.waiting.some((ask) => ask.id === first.id)) return;
    }
    if (this.#view.visible || this.#open || !settings.get(SETTINGS.notify, true)) return;
    this.#open = true;
    try {
      const show = vscode.l10n.t('Show Approvals');
      const picked = await notify.information(noticeText(added, vscode.l10n.t), show);
      if (picked === show) await vscode.commands.executeCommand(COMMANDS.showApprovals, first.id);
    } finally {
      this.#open = false;
    }
  }

  /** Waits until the view can be seen, or has had its time. */
  async #shown(): Promise<void> {
    if (this.#view.visible) return;
    await new Promise<void>((done) => {
      const finish = (): void => {
        clearTimeout(timer);
        subscription.dispose();
        done();
      };
      const timer = setTimeout(finish, SHOWN_WITHIN_MS);
      const subscription = this.#view.onDidChangeVisibility(() => this.#view.visible && finish());
    });
  }
}
