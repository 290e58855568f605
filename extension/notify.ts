/**
 * Notifications of the editor. It makes `[words](command:…)` in one a link that runs that command, and what ours say often holds words of
 * others: names from a workspace's files, of a server's tools, of agents, a colleague's reason. So none of ours has links.
 */
import * as vscode from 'vscode';
import { unlinked } from './plainLine.ts';

type Say = (text: string, ...buttons: string[]) => Thenable<string | undefined>;

export const notify: { readonly information: Say; readonly warning: Say; readonly error: Say } = {
  information: (text, ...buttons) => vscode.window.showInformationMessage(unlinked(text), ...buttons),
  warning: (text, ...buttons) => vscode.window.showWarningMessage(unlinked(text), ...buttons),
  error: (text, ...buttons) => vscode.window.showErrorMessage(unlinked(text), ...buttons),
};
