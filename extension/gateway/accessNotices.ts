/** Notifications of what became of a request for access: each leads to its line in the Approvals view, and nothing is done in one. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as vscode from 'vscode';
import type { GatewayApproval } from '../../contract/gateway/approvals.ts';
import { COMMANDS, SETTINGS } from '../ids.ts';
import { notify } from '../notify.ts';
import { answerTexts } from './accessAnswers.ts';

/** How long a window that nobody looks at lets the others be first, in milliseconds. */
const OTHERS_FIRST_MS = 1500;

export async function turn(): Promise<void> {
  if (!vscode.window.state.focused) await sleep(OTHERS_FIRST_MS);
}

/** A person who wants no notifications finds it among the last decisions. */
export function tell(ended: readonly GatewayApproval[]): void {
  if (!vscode.workspace.getConfiguration().get(SETTINGS.notify, true)) return;
  const show = vscode.l10n.t('Show Approvals');
  for (const [i, text] of answerTexts(ended, Date.now(), vscode.env.language, vscode.l10n.t).entries()) {
    const one = ended[i];
    const say = one?.state === 'denied' ? notify.warning : notify.information;
    void say(text, show).then((picked) => picked === show && vscode.commands.executeCommand(COMMANDS.showApprovals, one?.id));
  }
}
