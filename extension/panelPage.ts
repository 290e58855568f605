import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import * as vscode from 'vscode';
import type { Panel } from '../contract/webview.ts';
import { webviewHtml } from './webviewHtml.ts';

/** Gives a webview its page. It can load our bundles and nothing else. */
export function showPanel(webview: vscode.Webview, extensionUri: vscode.Uri, panel: Panel, title: string): void {
  const root = vscode.Uri.joinPath(extensionUri, 'dist', 'webview');
  webview.options = { enableScripts: true, localResourceRoots: [root], enableForms: false, enableCommandUris: false };
  const address = (name: string): string => webview.asWebviewUri(vscode.Uri.joinPath(root, name)).toString();
  const own = existsSync(vscode.Uri.joinPath(root, `${panel}.css`).fsPath) ? [address(`${panel}.css`)] : [];
  webview.html = webviewHtml({
    panel,
    title,
    language: vscode.env.language,
    source: webview.cspSource,
    nonce: randomBytes(24).toString('base64'),
    script: address(`${panel}.js`),
    styles: [address('codicon.css'), ...own],
  });
}
