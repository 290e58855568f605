/** The Approvals view. The one place of the extension where an answer leaves, for the proxy or the gateway: a person's act in the view. */
import * as vscode from 'vscode';
import { z } from 'zod';
import { ANSWER_RESULTS, type AnswerResult } from '../../contract/approval.ts';
import { METHODS } from '../../contract/control.ts';
import { assertNever, Problem } from '../../contract/problem.ts';
import { FromApprovals, type ToApprovals } from '../../contract/webview.ts';
import type { TeamApprovals } from '../gateway/team.ts';
import { COMMANDS, VIEWS } from '../ids.ts';
import type { Model } from '../model.ts';
import { runPanelAction } from '../panelActions.ts';
import { showPanel } from '../panelPage.ts';
import type { Proposals } from '../policy/proposals.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { linkView } from '../proxyLink/linkState.ts';
import { badgeText } from './attention.ts';

const AnswerReply = z.object({ result: z.enum(ANSWER_RESULTS) });
const EndReply = z.object({ ended: z.boolean() });

export class ApprovalsView implements vscode.WebviewViewProvider, vscode.Disposable {
  readonly #extensionUri: vscode.Uri;
  readonly #link: ProxyLink;
  readonly #model: Model;
  readonly #log: vscode.LogOutputChannel;
  readonly #subscription: vscode.Disposable;
  readonly #visibility = new vscode.EventEmitter<void>();
  readonly #team: TeamApprovals;
  readonly #proposals: Proposals;
  #view: vscode.WebviewView | undefined;
  /** The page listens. Before that a message would be lost. */
  #ready = false;
  #reveal: string | undefined;

  readonly onDidChangeVisibility = this.#visibility.event;

  constructor(extensionUri: vscode.Uri, link: ProxyLink, model: Model, team: TeamApprovals, proposals: Proposals, log: vscode.LogOutputChannel) {
    this.#proposals = proposals;
    this.#extensionUri = extensionUri;
    this.#team = team;
    this.#link = link;
    this.#model = model;
    this.#log = log;
    this.#subscription = model.onDidChange(() => this.#publish());
  }

  get visible(): boolean {
    return this.#view?.visible ?? false;
  }

  /** Whether the editor has made the view: only then does it carry a badge. */
  get resolved(): boolean {
    return this.#view !== undefined;
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    this.#view = view;
    this.#ready = false;
    const subscriptions = [
      view.webview.onDidReceiveMessage((raw: unknown) => {
        this.#receive(raw).catch((error: unknown) => this.#log.error(error instanceof Error ? error : String(error)));
      }),
      view.onDidChangeVisibility(() => {
        // A hidden page is thrown away: it says `ready` again when it is back.
        if (!view.visible) this.#ready = false;
        this.#visibility.fire();
      }),
    ];
    view.onDidDispose(() => {
      for (const subscription of subscriptions) subscription.dispose();
      if (this.#view === view) this.#view = undefined;
      this.#ready = false;
      this.#visibility.fire();
    });
    showPanel(view.webview, this.#extensionUri, 'approvals', vscode.l10n.t('Approvals'));
    this.#visibility.fire();
    this.#publish();
  }

  /** Shows the view, by default without taking the focus from what the person does. */
  async show(options: { focus: boolean; ask?: string }): Promise<void> {
    if (options.ask !== undefined) this.#reveal = options.ask;
    await vscode.commands.executeCommand(`${VIEWS.approvals}.focus`, { preserveFocus: !options.focus });
    this.#publish();
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#visibility.dispose();
  }

  #publish(): void {
    const view = this.#view;
    if (view === undefined) return;
    const count = this.#model.toAnswer;
    view.badge = count === 0 ? undefined : { value: count, tooltip: badgeText(count, vscode.l10n.t) };
    if (!this.#ready) return;
    const { snapshot } = this.#model;
    const organisation = snapshot?.policy.organisation;
    const denied = snapshot?.halted ?? (organisation && /^(waiting|expired|spoilt)$/.test(organisation.state) ? organisation.problem : undefined);
    this.#post({
      type: 'snapshot',
      link: linkView(this.#model.link, vscode.l10n.t),
      ...(snapshot && { me: snapshot.person }),
      pending: this.#model.pending,
      mine: this.#model.waiting.map(({ id }) => id),
      own: [...this.#model.own],
      requestable: [...this.#model.own].filter((one) => this.#team.has(one)),
      access: [...this.#model.access],
      decided: this.#model.decided,
      // Those of the gateway are its policy's business.
      ruleable: (snapshot?.decided ?? []).map(({ id }) => id).slice(0, 50),
      grants: snapshot?.grants ?? [],
      ...(denied !== undefined && { halted: denied }),
      policyProblems: snapshot?.policy.problems.length ?? 0,
      now: Date.now(),
    });
    if (this.#reveal !== undefined) this.#post({ type: 'reveal', id: this.#reveal });
    this.#reveal = undefined;
  }

  #post(message: ToApprovals): void {
    void this.#view?.webview.postMessage(message);
  }

  async #receive(raw: unknown): Promise<void> {
    const decoded = FromApprovals.safeParse(raw);
    if (!decoded.success) {
      this.#log.warn('the approvals view sent something that is not a message of ours; ignored');
      return;
    }
    const message = decoded.data;
    switch (message.type) {
      case 'ready':
        this.#ready = true;
        this.#publish();
        return;
      case 'answer':
        await this.#answer(message.answer);
        return;
      case 'endGrant':
        await this.#link.request(METHODS.endGrant, { id: message.id }, EndReply);
        return;
      case 'requestAccess':
        await vscode.commands.executeCommand(COMMANDS.requestAccess, message.id);
        return;
      case 'proposeRule':
        this.#post(await this.#proposals.look(message.operation));
        return;
      case 'addRule':
        if (await this.#proposals.add(message.operation, message.rule)) this.#post({ type: 'ruleAdded', operation: message.operation });
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

  async #answer(answer: Extract<FromApprovals, { type: 'answer' }>['answer']): Promise<void> {
    try {
      if (this.#team.has(answer.id)) return await this.#answerTeam(answer);
      const { result } = await this.#link.request(METHODS.answer, answer, AnswerReply);
      const sentence = this.#explain(result);
      this.#post({ type: 'answered', id: answer.id, result, ...(sentence !== undefined && { sentence }) });
    } catch (error) {
      this.#log.error(error instanceof Error ? error : String(error));
      const said = error instanceof Problem && this.#team.has(answer.id) ? error.message : undefined;
      this.#post({
        type: 'answered',
        id: answer.id,
        result: 'failed',
        sentence: said ?? vscode.l10n.t('Your answer did not reach the proxy. If the request is still here, answer again; without an answer it is denied.'),
      });
    }
  }

  /** To the gateway, with the digest that was on the screen; it says by itself what came of it. */
  async #answerTeam(answer: Extract<FromApprovals, { type: 'answer' }>['answer']): Promise<void> {
    const { result, sentence } = await this.#team.answer(answer);
    if (result === 'needs-fresh-login') {
      await vscode.env.openExternal(vscode.Uri.parse((await this.#team.freshLogin(answer.id)).href, true));
      const again = vscode.l10n.t('The policy wants you to sign in again for this request. Do that in the browser, then answer here again.');
      this.#post({ type: 'answered', id: answer.id, result: 'failed', sentence: again });
      return;
    }
    const shown = result === 'answered-before' ? 'already-decided' : result;
    this.#post({ type: 'answered', id: answer.id, result: shown, ...(sentence !== undefined && { sentence }) });
  }

  #explain(result: AnswerResult): string | undefined {
    switch (result) {
      case 'accepted':
        return undefined;
      case 'already-decided':
        return vscode.l10n.t('This request was already decided, in another window or by its deadline.');
      case 'stale':
        return vscode.l10n.t('The request changed since it was shown. Look at it again before you answer.');
      case 'unknown':
        return vscode.l10n.t('This request is no longer waiting.');
      case 'not-allowed':
        return vscode.l10n.t('The policy does not let you answer this request, or not with this scope.');
    }
  }
}
