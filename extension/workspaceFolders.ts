import * as vscode from 'vscode';
import { z } from 'zod';
import { METHODS, type Workspace } from '../contract/control.ts';
import type { ProxyLink } from './proxyLink/link.ts';

const MAX_FOLDERS = 100;

/** Tells the proxy which folders this window has and whether they are trusted: their policy files may only tighten. */
export class WorkspaceFolders implements vscode.Disposable {
  readonly #link: ProxyLink;
  readonly #log: vscode.LogOutputChannel;
  readonly #subscription: vscode.Disposable;

  constructor(link: ProxyLink, log: vscode.LogOutputChannel) {
    this.#link = link;
    this.#log = log;
    const tell = (): void => void this.#tell();
    this.#subscription = vscode.Disposable.from(
      link.onDidAttach(tell),
      vscode.workspace.onDidChangeWorkspaceFolders(tell),
      vscode.workspace.onDidGrantWorkspaceTrust(tell),
    );
  }

  dispose(): void {
    this.#subscription.dispose();
  }

  async #tell(): Promise<void> {
    if (this.#link.state.kind !== 'on') return;
    const folders = (vscode.workspace.workspaceFolders ?? []).filter((folder) => folder.uri.scheme === 'file').slice(0, MAX_FOLDERS);
    const workspace: Workspace = { folders: folders.map((folder) => ({ path: folder.uri.fsPath, trusted: vscode.workspace.isTrusted })) };
    try {
      await this.#link.request(METHODS.workspace, workspace, z.unknown());
    } catch (error) {
      this.#log.warn(`telling the proxy about the workspace: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
