/**
 * Rules that the proxy proposes: shown in the Approvals view, and put into the person's policy file when they press there. What is put in is
 * exactly what was on the screen, and it stands in an editor, unsaved, for the person to look at: saving it puts it in force.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import * as vscode from 'vscode';
import { METHODS, RuleProposal } from '../../contract/control.ts';
import type { ToApprovals } from '../../contract/webview.ts';
import type { ProxyLink } from '../proxyLink/link.ts';

type Shown = Extract<ToApprovals, { type: 'proposal' }>;

export class Proposals {
  readonly #link: ProxyLink;
  #last: Extract<RuleProposal, { helps: true }> | undefined;

  constructor(link: ProxyLink) {
    this.#link = link;
  }

  /** Changes nothing. */
  async look(operation: string): Promise<Shown> {
    let proposal: RuleProposal | null;
    try {
      proposal = await this.#link.request(METHODS.proposeRule, { operation }, RuleProposal.nullable());
    } catch {
      return shownWhy(operation, vscode.l10n.t('The proxy could not try this rule on your policy. Show the log to see why.'));
    }
    if (proposal === null) return shownWhy(operation, vscode.l10n.t('This operation is not in the record. It may have been removed with its session.'));
    if (!proposal.helps) return shownWhy(operation, proposal.why);
    this.#last = proposal;
    const { covers, history, rule } = proposal;
    return { type: 'proposal', operation, proposal: { helps: true, rule, covers, history } };
  }

  /** @returns whether it was put in; otherwise the person was told why not */
  async add(operation: string, rule: string): Promise<boolean> {
    const proposal = this.#last;
    if (proposal?.operation !== operation || proposal.rule !== rule) return false;
    const file = vscode.Uri.file(proposal.file);
    const isNew = !existsSync(proposal.file);
    if (isNew) await mkdir(path.dirname(proposal.file), { recursive: true, mode: 0o700 });
    // A file that is made empty would be a broken policy: it is made when it is saved.
    const document = await vscode.workspace.openTextDocument(isNew ? file.with({ scheme: 'untitled' }) : file);
    if (document.getText() !== proposal.before) {
      void vscode.window.showWarningMessage(
        vscode.l10n.t('Your policy file has changed since the rule was made, or has changes that are not saved. Save it, and look at the rule again.'),
      );
      return false;
    }
    const edit = new vscode.WorkspaceEdit();
    edit.replace(document.uri, new vscode.Range(new vscode.Position(0, 0), document.lineAt(document.lineCount - 1).range.end), proposal.after);
    if (!(await vscode.workspace.applyEdit(edit))) return false;
    const from = new vscode.Position(proposal.line - 1, 0);
    const to = from.translate(rule.trimEnd().split('\n').length);
    await vscode.window.showTextDocument(document, { selection: new vscode.Range(from, document.validatePosition(to)), preview: false });
    vscode.window.setStatusBarMessage(vscode.l10n.t('Save the file to put the rule in force.'), 10_000);
    return true;
  }
}

function shownWhy(operation: string, why: string): Shown {
  return { type: 'proposal', operation, proposal: { helps: false, why } };
}
