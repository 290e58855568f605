/** What both panels may ask of the editor. Nothing here decides anything. */
import * as vscode from 'vscode';
import type { FromApprovals, FromOperation } from '../contract/webview.ts';
import { COMMANDS, VIEWS } from './ids.ts';
import type { Model } from './model.ts';

import { organisationUri } from './policy/organisationText.ts';

type Shared = Extract<FromApprovals & FromOperation, { type: 'ready' | 'open' | 'copy' | 'openRule' | 'run' }>;
type RunCommand = Extract<Shared, { type: 'run' }>['command'];

const RUN: Record<RunCommand, string> = {
  start: COMMANDS.start,
  doctor: COMMANDS.doctor,
  showLog: COMMANDS.showLog,
  openPolicy: COMMANDS.openPolicy,
  openSessions: `${VIEWS.sessions}.focus`,
  openConnections: `${VIEWS.connections}.focus`,
};

export async function runPanelAction(message: Exclude<Shared, { type: 'ready' }>, model: Model): Promise<void> {
  switch (message.type) {
    case 'open':
      await vscode.commands.executeCommand(COMMANDS.openOperation, message.operation);
      return;
    case 'copy':
      await vscode.env.clipboard.writeText(message.text);
      return;
    case 'openRule': {
      // Only files that the proxy named as policy: a panel cannot have any other file opened.
      const organisation = model.snapshot?.policy.organisation;
      if (organisation && organisation.file === message.file) return await openAt(organisationUri(organisation), message.line, 1);
      const known = model.snapshot?.policy.files.includes(message.file) ?? false;
      if (known) await openAt(vscode.Uri.file(message.file), message.line, 1);
      return;
    }
    case 'run':
      await vscode.commands.executeCommand(RUN[message.command]);
      return;
  }
}

/** Shows a file at a 1-based line and column. */
export async function openAt(uri: vscode.Uri, line: number, column: number): Promise<void> {
  const position = new vscode.Position(Math.max(0, line - 1), Math.max(0, column - 1));
  await vscode.window.showTextDocument(uri, { selection: new vscode.Range(position, position) });
}
