/**
 * Rules that the proxy proposes: shown in the Approvals view, and put into the person's policy file when they press there. What is put in is
 * exactly what was on the screen, and it stands in an editor for the person to look at: it is in force once the file is saved.
 */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import * as vscode from 'vscode';
import { METHODS, RuleProposal } from '../../contract/control.ts';
import type { ToApprovals } from '../../contract/webview.ts';
import { notify } from '../notify.ts';
import type { ProxyLink } from '../proxyLink/link.ts';

type Shown = Extract<ToApprovals, { type: 'proposal' }>;

export class Proposals {
  readonly #link: Pick<ProxyLink, 'request'>;
  #last: Extract<RuleProposal, { helps: true }> | undefined;

  constructor(link: Pick<ProxyLink, 'request'>) {
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
    if (proposal?.operation !== operation || proposal.rule !== rule)
      return no(vscode.l10n.t('Another rule was shown since, in this window. Nothing was put into your policy. Show the rule again.'));
    try {
      return await putIn(proposal);
    } catch (cause) {
      return no(
        vscode.l10n.t('{0} could not be opened, so nothing was put into it: {1}', proposal.file, cause instanceof Error ? cause.message : String(cause)),
      );
    }
  }
}

async function putIn({ after, before, file, line, rule }: Extract<RuleProposal, { helps: true }>): Promise<boolean> {
  const onDisk = vscode.Uri.file(file);
  const isNew = !existsSync(file);
  if (isNew) await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  // A file that is made empty would be a broken policy: it is made when it is saved.
  const document = await vscode.workspace.openTextDocument(isNew ? onDisk.with({ scheme: 'untitled' }) : onDisk);
  if (plain(document.getText()) !== plain(before))
    return no(vscode.l10n.t('Your policy file has changed since the rule was made, or has changes that are not saved. Save it, and look at the rule again.'));
  const edit = new vscode.WorkspaceEdit();
  edit.replace(document.uri, new vscode.Range(new vscode.Position(0, 0), document.lineAt(document.lineCount - 1).range.end), after);
  if (!(await vscode.workspace.applyEdit(edit))) return no(vscode.l10n.t('The editor did not let the rule into {0}. Nothing was changed.', file));
  const from = new vscode.Position(line - 1, 0);
  const to = from.translate(rule.trimEnd().split('\n').length);
  await vscode.window.showTextDocument(document, { selection: new vscode.Range(from, document.validatePosition(to)), preview: false });
  const savesItself = vscode.workspace.getConfiguration('files', document).get('autoSave', 'off') !== 'off';
  const next = savesItself
    ? vscode.l10n.t('This editor saves by itself: the rule is in force as soon as it has.')
    : vscode.l10n.t('Save the file to put the rule in force.');
  vscode.window.setStatusBarMessage(next, 10_000);
  return true;
}

/** As an editor holds a text: without a mark of its encoding, its lines ended in one way. */
function plain(text: string): string {
  return text.replace(/^\uFEFF/, '').replaceAll('\r\n', '\n');
}

function no(why: string): false {
  void notify.warning(why);
  return false;
}

function shownWhy(operation: string, why: string): Shown {
  return { type: 'proposal', operation, proposal: { helps: false, why } };
}
