/** Opens the person's browser to sign in upstream. The proxy holds the code, the tokens and every check; this opens a page. */
import * as vscode from 'vscode';
import { z } from 'zod';
import { METHODS, SignInBegun, SignInPage } from '../../contract/control.ts';
import { Problem } from '../../contract/problem.ts';
import type { Model } from '../model.ts';
import type { ProxyLink } from '../proxyLink/link.ts';
import { connectionOf } from './commands.ts';

export async function signIn(model: Model, link: ProxyLink, argument: unknown): Promise<void> {
  const connection = await connectionOf(
    model,
    argument,
    (c) => c.state === 'needs-sign-in' || c.signedIn === true,
    vscode.l10n.t('Sign in to which connection?'),
  );
  if (connection === undefined) return;
  await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: vscode.l10n.t('Signing in to {0}', connection.name) }, async () => {
    const { listen } = await link.request(METHODS.signIn, { connection: connection.name }, SignInBegun);
    // In a remote window the browser is on another machine: the editor forwards the way back.
    const back = await vscode.env.asExternalUri(vscode.Uri.parse(listen, true));
    const { url } = await link.request(METHODS.signInPage, { connection: connection.name, redirect: back.toString(true) }, SignInPage);
    await vscode.env.openExternal(pageUri(url));
  });
}

export async function signOut(model: Model, link: ProxyLink, argument: unknown): Promise<void> {
  const connection = await connectionOf(model, argument, (c) => c.signedIn === true, vscode.l10n.t('Sign out of which connection?'));
  if (connection === undefined) return;
  const confirm = vscode.l10n.t('Sign Out');
  const picked = await vscode.window.showWarningMessage(
    vscode.l10n.t('Sign out of {0}? Agents cannot use it until you sign in again.', connection.name),
    { modal: true },
    confirm,
  );
  if (picked === confirm) await link.request(METHODS.signOut, { connection: connection.name }, z.unknown());
}

/** A web page and nothing else is opened: the proxy has checked the address, and this is the last look at it. */
function pageUri(text: string): vscode.Uri {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const loopback = url !== undefined && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  if (url === undefined || !(url.protocol === 'https:' || (url.protocol === 'http:' && loopback))) {
    throw new Problem('oauth-address', vscode.l10n.t('The page to sign in at is not a web page, so it was not opened.'));
  }
  return vscode.Uri.parse(url.href, true);
}
