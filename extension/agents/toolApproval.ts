/**
 * Where the editor asks before a tool call and Countersign asks again, a person may let Countersign do the asking for its
 * own server. The editor keeps that choice in a list of its own; this opens the list and changes nothing by itself.
 */
import * as vscode from 'vscode';
import { COMMANDS, CONTEXT } from '../ids.ts';
import { notify } from '../notify.ts';
import type { Access } from './access.ts';

/** VS Code's "Chat: Manage Tool Approval"; the argument is where a choice is kept: every workspace of this profile. */
const EDITOR_COMMAND = 'workbench.action.chat.editToolApproval';
const SCOPE = 'profile';
const START_SERVERS = 'workbench.mcp.startServer';

export async function watchToolApproval(): Promise<void> {
  const there = (await vscode.commands.getCommands(true)).includes(EDITOR_COMMAND);
  await vscode.commands.executeCommand('setContext', CONTEXT.toolApproval, there);
}

export async function reviewToolApproval(access: Access): Promise<void> {
  const labels = (access.current?.mcp ?? []).map((server) => server.label);
  const commands = await vscode.commands.getCommands(true);
  if (labels.length === 0) {
    const doctor = vscode.l10n.t('Run Doctor');
    const picked = await notify.warning(
      vscode.l10n.t('Countersign offers no tools to the agent right now, so there is nothing to approve in advance.'),
      doctor,
    );
    if (picked === doctor) await vscode.commands.executeCommand(COMMANDS.doctor);
    return;
  }
  if (!commands.includes(EDITOR_COMMAND)) {
    await notify.information(
      vscode.l10n.t(
        'This editor has no list of approved tools. Where it asks about a tool of "{0}", choose "always allow" for that server: Countersign still asks before anything risky.',
        labels.join('", "'),
      ),
    );
    return;
  }
  const open = vscode.l10n.t("Open the Editor's List");
  const picked = await vscode.window.showInformationMessage(
    vscode.l10n.t('Let Countersign do the asking for its own tools'),
    {
      modal: true,
      detail: vscode.l10n.t(
        'The editor opens its list of tools. Tick "{0}" and nothing else: then the editor no longer asks before those calls, and Countersign still asks before anything risky. Other servers are asked about as before. To undo it, untick it there.',
        labels.join('", "'),
      ),
    },
    open,
  );
  if (picked !== open) return;
  // The list shows only tools that the editor knows, and it knows them once the server runs.
  if (commands.includes(START_SERVERS))
    await Promise.resolve(vscode.commands.executeCommand(START_SERVERS, '*', { waitForLiveTools: true })).catch(() => undefined);
  await vscode.commands.executeCommand(EDITOR_COMMAND, SCOPE);
}
