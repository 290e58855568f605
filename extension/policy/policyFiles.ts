/** Policy files in the editor: open them, and say loudly when one is broken and an older policy is in force. */
import { mkdir, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import * as vscode from 'vscode';
import type { PolicyProblem } from '../../contract/control.ts';
import { userPolicyFile } from '../../contract/daemon.ts';
import { COMMANDS, ORGANISATION_SCHEME } from '../ids.ts';
import type { Model } from '../model.ts';
import { notify } from '../notify.ts';
import { openAt } from '../panelActions.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { code } from '../proxyLink/locate.ts';
import { policyProblemText } from '../statusText.ts';
import { organisationText, organisationUri } from './organisationText.ts';

const FILE_NAME = 'countersign.yaml';
const STARTER = `# What agents may do. Without this file: reads are allowed and masked, changes are asked about.
# This editor completes and checks what you write here.
version: 1
defaults: { read: allow, write: ask, unknown: ask }

connections: {}
#  shop:
#    protocol: postgres
#    upstream: postgres://app@127.0.0.1:5432/shop
#    password: secret:shop
#    sensitive: { customers.email: partial }

rules: []
`;

export class PolicyFiles implements vscode.Disposable {
  readonly #link: ProxyLink;
  readonly #model: Model;
  readonly #diagnostics = vscode.languages.createDiagnosticCollection('countersign');
  readonly #subscription: vscode.Disposable;
  /** The problem a person was last told about: told once, not at every snapshot. */
  #told = '';

  constructor(link: ProxyLink, model: Model) {
    this.#link = link;
    this.#model = model;
    this.#subscription = vscode.Disposable.from(
      model.onDidChange(() => this.#publish()),
      vscode.workspace.registerTextDocumentContentProvider(ORGANISATION_SCHEME, { provideTextDocumentContent: (uri) => organisationText(link, uri) }),
      vscode.workspace.onDidOpenTextDocument(() => this.#publish()),
      vscode.workspace.onDidCloseTextDocument(() => this.#publish()),
    );
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#diagnostics.dispose();
  }

  #publish(): void {
    const problems = this.#model.snapshot?.policy.problems ?? [];
    const open = new Set(vscode.workspace.textDocuments.map((document) => document.uri.toString()));
    const byFile = Map.groupBy(problems, (problem) => problem.file);
    this.#diagnostics.clear();
    for (const [file, list] of byFile) {
      const uri = vscode.Uri.file(file);
      // An open file is checked as it is typed, by the proxy's language server.
      if (this.#link.speaksPolicy && open.has(uri.toString())) continue;
      this.#diagnostics.set(uri, list.map(diagnostic));
    }
    void this.#tell(problems);
  }

  async #tell(problems: readonly PolicyProblem[]): Promise<void> {
    const [first] = problems;
    const key = first === undefined ? '' : JSON.stringify(problems);
    if (key === this.#told) return;
    this.#told = key;
    if (first === undefined) return;
    const open = vscode.l10n.t('Open Policy');
    const picked = await notify.warning(policyProblemText(problems.length, first, vscode.l10n.t), open);
    if (picked === open) await vscode.commands.executeCommand(COMMANDS.openPolicy);
  }
}

function diagnostic(problem: PolicyProblem): vscode.Diagnostic {
  const at = new vscode.Position(problem.line - 1, problem.column - 1);
  const result = new vscode.Diagnostic(
    new vscode.Range(at, at.translate(0, 1)),
    vscode.l10n.t('{0} The last good policy is in force.', problem.message),
    vscode.DiagnosticSeverity.Error,
  );
  result.source = 'Countersign';
  return result;
}

/** Opens the policy: at its first problem, else the one file there is, else a choice; offers to make one where none is. */
export async function openPolicy(model: Model): Promise<void> {
  const policy = model.snapshot?.policy;
  const [problem] = policy?.problems ?? [];
  if (problem !== undefined) {
    await openAt(vscode.Uri.file(problem.file), problem.line, problem.column);
    return;
  }
  const mine = userPolicyFile({ platform: process.platform, env: process.env, home: homedir() });
  const organisation = policy?.organisation?.file === undefined ? undefined : policy.organisation;
  const choices = new Map<string, string>((policy?.files ?? []).map((file) => [file, vscode.l10n.t('in force')]));
  if (!choices.has(mine)) choices.set(mine, vscode.l10n.t('yours, for every workspace (new)'));
  for (const folder of vscode.workspace.workspaceFolders ?? []) {
    const file = path.join(folder.uri.fsPath, FILE_NAME);
    if (folder.uri.scheme === 'file' && !choices.has(file)) choices.set(file, vscode.l10n.t('for this workspace: may only tighten (new)'));
  }
  const [only] = policy?.files ?? [];
  if (only !== undefined && policy?.files.length === 1 && organisation === undefined) {
    await openAt(vscode.Uri.file(only), 1, 1);
    return;
  }
  const picked = await vscode.window.showQuickPick(
    [
      ...(organisation ? [{ label: organisation.file ?? '', description: vscode.l10n.t('in force: your organisation’s, to read'), organisation }] : []),
      ...[...choices].map(([file, description]) => ({ label: file, description, organisation: undefined })),
    ],
    { placeHolder: vscode.l10n.t('Open which policy file?') },
  );
  if (picked === undefined) return;
  if (picked.organisation) return await openAt(organisationUri(picked.organisation), 1, 1);
  await createIfMissing(picked.label);
  await openAt(vscode.Uri.file(picked.label), 1, 1);
}

async function createIfMissing(file: string): Promise<void> {
  try {
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    await writeFile(file, STARTER, { flag: 'wx', mode: 0o600 });
  } catch (error) {
    if (code(error) !== 'EEXIST') throw error;
  }
}
