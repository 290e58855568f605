/** What a server's process wrote to its standard error, in an editor tab of its own: fetched when it is shown. */
import * as vscode from 'vscode';
import { ConnectionOutput, METHODS } from '../../contract/control.ts';
import { OUTPUT_SCHEME } from '../ids.ts';
import type { Model } from '../model.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { connectionOf } from './commands.ts';
import { outputText } from './outputText.ts';

export class OutputPages implements vscode.TextDocumentContentProvider, vscode.Disposable {
  readonly #model: Model;
  readonly #link: ProxyLink;
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly #registration = vscode.workspace.registerTextDocumentContentProvider(OUTPUT_SCHEME, this);

  readonly onDidChange = this.#changed.event;

  constructor(model: Model, link: ProxyLink) {
    this.#model = model;
    this.#link = link;
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const connection = uri.query;
    const output = await this.#link.request(METHODS.connectionOutput, { connection }, ConnectionOutput);
    return outputText(connection, output, vscode.l10n.t);
  }

  async show(argument: unknown): Promise<void> {
    const connection = await connectionOf(this.#model, argument, (c) => c.output === true, vscode.l10n.t('Show what which server wrote?'));
    if (connection === undefined) return;
    const uri = vscode.Uri.from({ scheme: OUTPUT_SCHEME, path: `/${connection.name.replaceAll('/', '-')}.log`, query: connection.name });
    // One that is open already shows what was there when it was opened.
    this.#changed.fire(uri);
    await vscode.window.showTextDocument(uri, { preview: true });
  }

  dispose(): void {
    this.#registration.dispose();
    this.#changed.dispose();
  }
}
