import * as vscode from 'vscode';
import type { ConnectionView } from '../../contract/control.ts';
import type { Model } from '../model.ts';
import { notify } from '../notify.ts';
import type { SecretStore } from '../secrets/store.ts';

/** The connection that a tree item, a name or the person's pick stands for. */
export async function connectionOf(
  model: Model,
  argument: unknown,
  wanted: (c: ConnectionView) => boolean,
  placeHolder: string,
): Promise<ConnectionView | undefined> {
  const name = nameOf(argument);
  const connections = model.snapshot?.connections ?? [];
  if (name !== undefined) return connections.find((c) => c.name === name);
  const picked = await vscode.window.showQuickPick(
    connections.filter(wanted).map((connection) => ({ label: connection.name, description: connection.address ?? connection.problem ?? '', connection })),
    { placeHolder },
  );
  return picked?.connection;
}

function nameOf(argument: unknown): string | undefined {
  if (typeof argument === 'string') return argument;
  if (typeof argument !== 'object' || argument === null || !('connection' in argument)) return undefined;
  const { connection } = argument;
  return typeof connection === 'object' && connection !== null && 'name' in connection && typeof connection.name === 'string' ? connection.name : undefined;
}

export async function copyAddress(model: Model, argument: unknown): Promise<void> {
  const connection = await connectionOf(model, argument, (c) => c.address !== undefined, vscode.l10n.t('Copy the address of which connection?'));
  if (connection?.address === undefined) return;
  await vscode.env.clipboard.writeText(connection.address);
  vscode.window.setStatusBarMessage(vscode.l10n.t('Copied {0}. It holds no secret.', connection.address), 4_000);
}

export async function enterSecret(model: Model, store: SecretStore, argument: unknown): Promise<void> {
  const connection = await connectionOf(model, argument, (c) => c.secret !== undefined, vscode.l10n.t('Enter the secret of which connection?'));
  if (connection === undefined) return;
  if (connection.secret === undefined) {
    await notify.information(vscode.l10n.t('{0} needs no secret.', connection.name));
    return;
  }
  const value = await vscode.window.showInputBox({
    title: vscode.l10n.t('Secret "{0}" for {1}', connection.secret, connection.name),
    prompt: vscode.l10n.t("Kept in the editor's secret storage and given to the proxy's memory. No file, agent or log gets it."),
    password: true,
    ignoreFocusOut: true,
    validateInput: (text) => (text === '' ? vscode.l10n.t('Type the secret, or press Escape to leave it as it is.') : undefined),
  });
  if (value !== undefined) await store.put(connection.secret, value);
}

export async function forgetSecret(store: SecretStore): Promise<void> {
  const names = await store.names();
  const name = await vscode.window.showQuickPick(names, { placeHolder: vscode.l10n.t('Forget which secret?') });
  if (name === undefined) return;
  const forget = vscode.l10n.t('Forget');
  const sure = await vscode.window.showWarningMessage(
    vscode.l10n.t('Forget the secret "{0}"? Its connections stop working until it is entered again.', name),
    { modal: true },
    forget,
  );
  if (sure === forget) await store.forget(name);
}
