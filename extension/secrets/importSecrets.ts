import * as vscode from 'vscode';
import { Problem } from '../../contract/problem.ts';
import { notify } from '../notify.ts';
import { deleteSecretFile, readSecretFile } from './secretFile.ts';
import type { SecretStore } from './store.ts';

/** Names a file that is read once, stored and deleted. */
const ENVIRONMENT = 'COUNTERSIGN_SECRETS_FILE';

/** Takes in the file that the environment names, where there is one. It is deleted only when every secret is stored. */
export async function importFromEnvironment(store: SecretStore, log: vscode.LogOutputChannel): Promise<void> {
  const path = process.env[ENVIRONMENT];
  delete process.env[ENVIRONMENT];
  if (!path) return;
  try {
    const names = await importFile(path, store);
    log.info(`took ${names.length} secrets from ${path} into the editor's secret storage and deleted the file`);
  } catch (error) {
    // Another window was quicker: the file is gone because the secrets are stored.
    if (error instanceof Problem && isMissing(error.cause)) return;
    log.error(error instanceof Error ? error.message : String(error));
    void notify.error(error instanceof Problem ? error.message : vscode.l10n.t('Countersign could not take in the secrets of {0}. See the log.', path));
  }
}

export async function importByPicker(store: SecretStore, log: vscode.LogOutputChannel): Promise<void> {
  const [uri] =
    (await vscode.window.showOpenDialog({
      canSelectMany: false,
      openLabel: vscode.l10n.t('Import and Delete'),
      title: vscode.l10n.t('A JSON file of secrets: name and value'),
    })) ?? [];
  if (uri === undefined) return;
  try {
    const names = await importFile(uri.fsPath, store);
    log.info(`took ${names.length} secrets from ${uri.fsPath} into the editor's secret storage and deleted the file`);
    void notify.information(vscode.l10n.t('Imported {0}. The file was deleted.', names.join(', ')));
  } catch (error) {
    log.error(error instanceof Error ? error.message : String(error));
    void notify.error(error instanceof Problem ? error.message : vscode.l10n.t('Countersign could not take in the secrets of {0}. See the log.', uri.fsPath));
  }
}

async function importFile(path: string, store: SecretStore): Promise<string[]> {
  const secrets = await readSecretFile(path);
  for (const [name, value] of Object.entries(secrets)) await store.put(name, value);
  await deleteSecretFile(path);
  return Object.keys(secrets);
}

function isMissing(cause: unknown): boolean {
  return typeof cause === 'object' && cause !== null && 'code' in cause && cause.code === 'ENOENT';
}
