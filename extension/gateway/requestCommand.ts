/** The editor's side of a request for access: quick picks and input boxes, and where the answer will be seen. */
import * as vscode from 'vscode';
import type { AccessRequest } from '../../contract/gateway/approvals.ts';
import { COMMANDS } from '../ids.ts';
import type { Model } from '../model.ts';
import { notify } from '../notify.ts';
import type { GatewayLink } from './gatewayLink.ts';
import { type AccessStart, type AccessUi, askForAccess } from './requestAccess.ts';

const ui: AccessUi = {
  one: async (title, choices) => {
    const picked = await vscode.window.showQuickPick([...choices], { title, ignoreFocusOut: true });
    return picked?.value;
  },
  several: async (title, choices) => {
    const picked = await vscode.window.showQuickPick([...choices], { title, canPickMany: true, ignoreFocusOut: true });
    return picked?.map(({ value }) => value);
  },
  text: async (title, prompt, value, wrong) => await vscode.window.showInputBox({ title, prompt, value, ignoreFocusOut: true, validateInput: wrong }),
};

/** From a connection of the tree, from a question that waits, or from the palette. */
export async function requestAccess(model: Model, gateway: GatewayLink, argument: unknown): Promise<void> {
  const shared = (model.snapshot?.connections ?? []).filter(({ via }) => via === 'gateway').map(({ name }) => name);
  const start = startOf(model, argument);
  const named = start.connection ?? start.question?.connection;
  if (shared.length === 0 || (named !== undefined && !shared.includes(named))) {
    await notify.information(
      vscode.l10n.t('Access is asked for at a gateway, for a connection that it shares. What is this machine’s own is asked about here.'),
    );
    return;
  }
  const request = await askForAccess(ui, shared, start, vscode.l10n.t);
  if (request === undefined) return;
  if (!(await send(gateway, request))) return;
  const look = vscode.l10n.t('Show Approvals');
  const picked = await notify.information(
    vscode.l10n.t(
      'Asked for access to {0}. Whoever may grant it sees it in their editor and in the gateway’s console; once granted, what it covers is not asked about.',
      request.connection,
    ),
    look,
  );
  if (picked === look) await vscode.commands.executeCommand(COMMANDS.showApprovals);
}

/** What was filled in is not lost with a gateway that is out of reach, or a login that has just ended. @returns whether it arrived */
async function send(gateway: GatewayLink, request: AccessRequest): Promise<boolean> {
  const again = vscode.l10n.t('Try Again');
  for (;;) {
    try {
      await gateway.team.requestAccess(request);
      return true;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const picked = await notify.error(vscode.l10n.t('Access to {0} was not asked for. {1}', request.connection, why), again);
      if (picked !== again) return false;
    }
  }
}

/** What an argument says of itself is not believed: only names are taken from it. */
function startOf(model: Model, argument: unknown): AccessStart {
  if (typeof argument === 'string') {
    const question = model.pending.find(({ id }) => id === argument);
    return question ? { question } : {};
  }
  const connection = typeof argument === 'object' && argument !== null && 'connection' in argument ? argument.connection : undefined;
  const name = typeof connection === 'object' && connection !== null && 'name' in connection ? connection.name : undefined;
  return typeof name === 'string' ? { connection: name } : {};
}
