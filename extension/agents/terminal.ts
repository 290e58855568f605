/** Points the editor's terminals at the proxy: what runs in them connects through it without any setting, and `countersign` is there. */
import { delimiter } from 'node:path';
import * as vscode from 'vscode';
import type { SurfaceAccess } from '../../contract/control.ts';
import { SETTINGS } from '../ids.ts';
import type { Access } from './access.ts';

export class TerminalEnvironment implements vscode.Disposable {
  readonly #collection: vscode.EnvironmentVariableCollection;
  readonly #access: Access;
  readonly #subscription: vscode.Disposable;
  #commandFolder: string | undefined;

  /** @param commandFolder where `countersign` is, once it is there */
  constructor(collection: vscode.EnvironmentVariableCollection, access: Access, commandFolder: Promise<string | undefined>) {
    this.#collection = collection;
    this.#access = access;
    // Never kept across a restart: a terminal must not point at a proxy that is not there, nor hold its old password.
    collection.persistent = false;
    collection.description = new vscode.MarkdownString(
      vscode.l10n.t(
        'Countersign: database clients in this terminal connect through the proxy, which asks before risky statements and masks what is sensitive.',
      ),
    );
    this.#subscription = vscode.Disposable.from(
      access.onDidChange(() => this.#apply()),
      vscode.workspace.onDidChangeConfiguration((event) => {
        if (event.affectsConfiguration(SETTINGS.terminal)) this.#apply();
      }),
    );
    this.#apply();
    void commandFolder.then((folder) => {
      this.#commandFolder = folder;
      this.#apply();
    });
  }

  /** What clients are pointed at the proxy by. */
  get names(): string[] {
    return [...this.#collection].map(([name]) => name).filter((name) => name !== 'PATH');
  }

  dispose(): void {
    this.#subscription.dispose();
    this.#collection.clear();
  }

  #apply(): void {
    const wanted = this.#wanted(this.#access.current);
    // Only what differs is touched: each change marks every open terminal as out of date.
    for (const name of this.names) if (!(name in wanted)) this.#collection.delete(name);
    for (const [name, value] of Object.entries(wanted)) {
      const existing = this.#collection.get(name);
      if (existing?.value !== value) this.#collection.replace(name, value);
    }
    // Behind everything else: it takes no other program's place.
    const path = this.#isOn() && this.#commandFolder !== undefined ? `${delimiter}${this.#commandFolder}` : undefined;
    if (path === undefined) this.#collection.delete('PATH');
    else if (this.#collection.get('PATH')?.value !== path) this.#collection.append('PATH', path);
  }

  #isOn(): boolean {
    return vscode.workspace.getConfiguration().get(SETTINGS.terminal, true);
  }

  #wanted(access: SurfaceAccess | undefined): Readonly<Record<string, string>> {
    return this.#isOn() ? (access?.environment ?? {}) : {};
  }
}
