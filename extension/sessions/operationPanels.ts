/** Operations in editor tabs: request, response, decision, timing, and what the agent saw. One tab an operation. */
import * as vscode from 'vscode';
import { METHODS, OperationDetail, OperationPage } from '../../contract/control.ts';
import { MAX_ID_LENGTH } from '../../contract/ids.ts';
import { assertNever, Problem } from '../../contract/problem.ts';
import { MAX_STEPS, stepsOf } from '../../contract/timeline.ts';
import { FromOperation, type MaskReport, type ToOperation } from '../../contract/webview.ts';
import type { TeamSessions } from '../gateway/teamSessions.ts';
import { COMMANDS, OPERATION_PANEL } from '../ids.ts';
import type { Model } from '../model.ts';
import { runPanelAction } from '../panelActions.ts';
import { showPanel } from '../panelPage.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { keepMaskReport } from './maskReports.ts';

const Reply = OperationDetail.nullable();

export class OperationPanels implements vscode.Disposable {
  readonly #extensionUri: vscode.Uri;
  readonly #link: ProxyLink;
  readonly #model: Model;
  readonly #team: TeamSessions;
  readonly #log: vscode.LogOutputChannel;
  /** The file that reports of wrong masks go to. */
  readonly #reports: string;
  readonly #open = new Map<string, OperationTab>();
  readonly #subscription: vscode.Disposable;

  constructor(
    extensionUri: vscode.Uri,
    link: ProxyLink,
    model: Model,
    team: TeamSessions,
    log: vscode.LogOutputChannel,
    reports: string,
    onDidRecord: vscode.Event<void>,
  ) {
    this.#reports = reports;
    this.#extensionUri = extensionUri;
    this.#link = link;
    this.#team = team;
    this.#model = model;
    this.#log = log;
    this.#subscription = onDidRecord(() => {
      for (const tab of this.#open.values()) tab.refreshIfUnfinished();
    });
  }

  /** Takes what a command got: anybody can call one with anything. */
  open(operation: unknown): void {
    const id = typeof operation === 'object' && operation !== null && 'operation' in operation ? operation.operation : operation;
    if (typeof id === 'string' && id.length > 0 && id.length <= MAX_ID_LENGTH) this.#show(id);
  }

  #show(operation: string): void {
    const open = this.#open.get(operation);
    if (open) {
      // It may have been led to another one of its session since.
      open.go(operation);
      open.panel.reveal();
      return;
    }
    const panel = vscode.window.createWebviewPanel(OPERATION_PANEL, vscode.l10n.t('Operation'), { viewColumn: vscode.ViewColumn.Active, preserveFocus: false });
    panel.iconPath = {
      light: vscode.Uri.joinPath(this.#extensionUri, 'media', 'tab-light.svg'),
      dark: vscode.Uri.joinPath(this.#extensionUri, 'media', 'tab-dark.svg'),
    };
    const tab = new OperationTab(operation, panel, this.#link, this.#model, this.#team, this.#log, this.#reports);
    this.#open.set(operation, tab);
    panel.onDidDispose(() => {
      tab.dispose();
      this.#open.delete(operation);
    });
    showPanel(panel.webview, this.#extensionUri, 'operation', vscode.l10n.t('Operation'));
  }

  dispose(): void {
    this.#subscription.dispose();
    for (const tab of this.#open.values()) tab.panel.dispose();
  }
}

/** How long an operation is looked at before its session is read again, in milliseconds. */
const CHECK_AFTER_MS = 400;

class OperationTab {
  readonly panel: vscode.WebviewPanel;
  /** The one that is shown: its session can be gone through in the same tab. */
  #operation: string;
  #timeline: { readonly conversation: string; readonly revision: number } | undefined;
  readonly #link: ProxyLink;
  readonly #model: Model;
  readonly #team: TeamSessions;
  readonly #log: vscode.LogOutputChannel;
  /** The file that reports of wrong masks go to. */
  readonly #reports: string;
  readonly #subscriptions: vscode.Disposable[];
  #detail: OperationDetail | undefined;
  /** Until its session is read again, whole: whoever steps through it does not wait for that at each step. */
  #rests: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(operation: string, panel: vscode.WebviewPanel, link: ProxyLink, model: Model, team: TeamSessions, log: vscode.LogOutputChannel, reports: string) {
    this.#reports = reports;
    this.#operation = operation;
    this.panel = panel;
    this.#link = link;
    this.#model = model;
    this.#team = team;
    this.#log = log;
    this.#subscriptions = [panel.webview.onDidReceiveMessage((raw: unknown) => this.#run(this.#receive(raw))), link.onDidAttach(() => this.#run(this.#load()))];
  }

  /** Shows another operation here. */
  go(operation: string): void {
    if (operation === this.#operation) return;
    this.#operation = operation;
    this.#run(this.#load());
  }

  refreshIfUnfinished(): void {
    if (this.#detail !== undefined && this.#detail.summary.outcome === undefined) this.#run(this.#load());
  }

  dispose(): void {
    this.#closed = true;
    clearTimeout(this.#rests);
    for (const subscription of this.#subscriptions) subscription.dispose();
  }

  #run(work: Promise<void>): void {
    work.catch((error: unknown) => this.#log.error(error instanceof Error ? error : String(error)));
  }

  /** Its own lines at once, and whether its record holds once it is looked at for a moment. */
  async #load(): Promise<void> {
    const operation = this.#operation;
    clearTimeout(this.#rests);
    let detail: OperationDetail | null;
    try {
      detail = await this.#link.request(METHODS.operation, { operation, quick: true }, Reply);
      const own = detail !== null;
      // What is not this machine's may be the gateway's.
      detail ??= (await this.#team.operation(operation)) ?? null;
      if (own && detail?.verified === undefined && operation === this.#operation && !this.#closed)
        this.#rests = setTimeout(() => this.#run(this.#check(operation)), CHECK_AFTER_MS);
    } catch (error) {
      this.#log.warn(`operation ${this.#operation}: ${String(error)}`);
      this.#post({
        type: 'missing',
        operation: this.#operation,
        sentence: vscode.l10n.t('Countersign could not get this operation from its proxy. It is asked again when the connection is back.'),
      });
      return;
    }
    if (this.#closed || operation !== this.#operation) return;
    if (detail === null) {
      this.#post({
        type: 'missing',
        operation: this.#operation,
        sentence: vscode.l10n.t('This operation is not in the record. It may have been removed with its session.'),
      });
      return;
    }
    this.#detail = detail;
    this.panel.title = detail.summary.headline.slice(0, 60);
    this.#post({ type: 'operation', detail });
    await this.#loadTimeline(detail.summary.conversation);
  }

  /** The same once more, from its session read again: what is shown then is what was checked. */
  async #check(operation: string): Promise<void> {
    let detail: OperationDetail | null | undefined;
    try {
      detail = await this.#link.request(METHODS.operation, { operation }, Reply);
    } catch (error) {
      this.#log.warn(`operation ${operation}: ${String(error)}`);
      // It stands there as not checked, and can be checked again.
      detail = this.#detail;
    }
    if (this.#closed || operation !== this.#operation || !detail) return;
    this.#detail = detail;
    this.#post({ type: 'operation', detail });
  }

  /** Of the whole conversation: an agent's tools may take a session each. Again only where there is more of it than was shown. */
  async #loadTimeline(conversation: string): Promise<void> {
    const revision = this.#model.snapshot?.recordRevision ?? 0;
    if (this.#timeline?.conversation === conversation && this.#timeline.revision === revision) return;
    const { operations } = await this.#link.request(METHODS.operations, { filter: `conversation:${conversation}`, limit: MAX_STEPS }, OperationPage);
    if (this.#closed) return;
    // One agent may use what is this machine's and what the gateway shares.
    const steps = stepsOf([...operations, ...this.#team.operations(`conversation:${conversation}`)]);
    this.#timeline = { conversation, revision };
    this.#post({ type: 'timeline', of: conversation, steps });
  }

  #post(message: ToOperation): void {
    if (!this.#closed) void this.panel.webview.postMessage(message);
  }

  /** Copies the line first: a note that could not be kept costs nobody the line. */
  async #report(operation: string, report: MaskReport): Promise<void> {
    if (operation !== this.#operation || this.#detail === undefined) return;
    if (report.line !== undefined) await vscode.env.clipboard.writeText(report.line);
    let sentence: string;
    try {
      await keepMaskReport(this.#reports, operation, this.#detail.summary.connection, report, new Date());
      sentence =
        report.line === undefined
          ? vscode.l10n.t('Noted in {0}.', this.#reports)
          : vscode.l10n.t('Noted in {0}; the line for countersign.yaml is on the clipboard.', this.#reports);
    } catch (error) {
      this.#log.warn(`a report of a wrong mask: ${String(error)}`);
      sentence = error instanceof Problem ? error.message : vscode.l10n.t('The note could not be written to {0}. Check the disk.', this.#reports);
    }
    this.#post({ type: 'maskReported', operation, sentence });
  }

  async #receive(raw: unknown): Promise<void> {
    const decoded = FromOperation.safeParse(raw);
    if (!decoded.success) {
      this.#log.warn('an operation tab sent something that is not a message of ours; ignored');
      return;
    }
    const message = decoded.data;
    switch (message.type) {
      case 'ready':
        // A page that was thrown away and made anew knows nothing.
        this.#timeline = undefined;
        await this.#load();
        return;
      case 'verify':
        await vscode.commands.executeCommand(COMMANDS.verify, message.session);
        if (this.#team.has(message.session)) await this.#load();
        else await this.#check(this.#operation);
        return;
      case 'step':
        this.go(message.operation);
        return;
      case 'reportMask':
        await this.#report(message.operation, message.report);
        return;
      case 'open':
      case 'copy':
      case 'openRule':
      case 'run':
        await runPanelAction(message, this.#model);
        return;
      default:
        assertNever(message);
    }
  }
}
