/** One sign-in by the person's browser, wherever the editor and the browser are: on one machine, over remote, in the web. */
import * as vscode from 'vscode';
import { Problem } from '../../contract/problem.ts';
import { listenForAnswer } from './loopback.ts';
import type { Attempt, Tokens } from './oauth.ts';

/** How long a person may take in the browser, in milliseconds. */
const PERSON_MS = 5 * 60_000;

/**
 * What the editor's own address brings. An address can be opened by any page: it does nothing but end the sign-in that was
 * begun here with the same state, once.
 */
export class SignInUris implements vscode.UriHandler {
  #waiting: { readonly state: string; readonly resolve: (url: URL) => void } | undefined;

  handleUri(uri: vscode.Uri): void {
    const url = new URL(`http://here.invalid/?${uri.query}`);
    if (uri.path !== '/auth' || this.#waiting === undefined || url.searchParams.get('state') !== this.#waiting.state) return;
    this.#waiting.resolve(url);
    this.#waiting = undefined;
  }

  answer(state: string): Promise<URL> {
    const { promise, resolve } = Promise.withResolvers<URL>();
    this.#waiting = { state, resolve };
    return promise;
  }
}

interface WayBack {
  readonly redirect: string;
  answer(state: string): Promise<URL>;
  close(): void;
}

/** @param begin begins one that comes back to an address. @throws Problem with a sentence for a person */
export async function signInByBrowser(gateway: URL, uris: SignInUris, begin: (redirect: string) => Promise<Attempt>): Promise<Tokens> {
  const title = vscode.l10n.t('Signing in to the gateway at {0}. Go on in your browser.', gateway.host);
  return await vscode.window.withProgress({ location: vscode.ProgressLocation.Notification, title, cancellable: true }, async (_progress, cancel) => {
    const back = await wayBack(uris);
    let timer: NodeJS.Timeout | undefined;
    const cancelled = new Promise<never>((_, reject) => {
      cancel.onCancellationRequested(() => reject(new Problem('cancelled', vscode.l10n.t('The sign-in was cancelled.'))));
      timer = setTimeout(() => {
        const words = vscode.l10n.t(
          'Nobody came back from the browser within {0} minutes. If its page says that something is down, try again later.',
          PERSON_MS / 60_000,
        );
        reject(new Problem('too-late', words));
      }, PERSON_MS);
    });
    cancelled.catch(() => undefined);
    try {
      const attempt = await Promise.race([begin(back.redirect), cancelled]);
      const answer = back.answer(attempt.state);
      if (!(await vscode.env.openExternal(vscode.Uri.parse(attempt.page, true)))) {
        throw new Problem('no-browser', vscode.l10n.t('The browser was not opened, so nobody was signed in.'));
      }
      return await attempt.finish(await Promise.race([answer, cancelled]));
    } finally {
      clearTimeout(timer);
      back.close();
    }
  });
}

async function wayBack(uris: SignInUris): Promise<WayBack> {
  if (vscode.env.uiKind === vscode.UIKind.Web) {
    // The editor's own page takes the answer, and hands it to the window that waits for it.
    const page = await vscode.env.asExternalUri(vscode.Uri.from({ scheme: vscode.env.uriScheme, authority: 'countersign.countersign', path: '/auth' }));
    if (page.scheme === 'https') return { redirect: page.toString(true), answer: (state) => uris.answer(state), close: () => undefined };
  }
  const loopback = await listenForAnswer({
    title: 'Countersign',
    done: vscode.l10n.t('You are signed in. Close this page and go back to the editor.'),
    stranger: vscode.l10n.t('This page belongs to no sign-in that was begun in this editor. Close it.'),
  });
  const { address } = loopback;
  const answer = (state: string): Promise<URL> => loopback.answer(state);
  const close = (): void => loopback.close();
  if (vscode.env.uiKind === vscode.UIKind.Web || vscode.env.remoteName === undefined) return { redirect: address, answer, close };
  // The browser is on another machine: the editor forwards a port of it to here.
  const forwarded = await vscode.env.asExternalUri(vscode.Uri.parse(address, true));
  const port = forwarded.authority.split(':')[1];
  const redirect = port === undefined ? forwarded.toString(true) : `http://127.0.0.1:${port}${forwarded.path}`;
  return { redirect, answer, close };
}
