import * as vscode from 'vscode';
import type { SessionsTree } from './tree.ts';

/** How long a person's typing rests before the tree follows, in milliseconds. */
const TYPING_MS = 250;

/** A box that filters as it is typed; Escape brings the old filter back. */
export function filterSessions(tree: SessionsTree): void {
  const before = tree.filter;
  const box = vscode.window.createInputBox();
  let timer: NodeJS.Timeout | undefined;
  let accepted = false;
  box.title = vscode.l10n.t('Filter Sessions');
  box.value = before;
  box.placeholder = 'verdict:denied connection:orders agent:claude refund';
  box.prompt = vscode.l10n.t('Words, and verdict: connection: agent: outcome: terms. Empty shows all.');
  box.onDidChangeValue((value) => {
    clearTimeout(timer);
    timer = setTimeout(() => tree.setFilter(value), TYPING_MS);
  });
  box.onDidAccept(() => {
    accepted = true;
    clearTimeout(timer);
    tree.setFilter(box.value);
    box.hide();
  });
  box.onDidHide(() => {
    clearTimeout(timer);
    if (!accepted && tree.filter !== before) tree.setFilter(before);
    box.dispose();
  });
  box.show();
}
