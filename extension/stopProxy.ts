import * as vscode from 'vscode';
import type { Model } from './model.ts';
import type { ProxyLink } from './proxyLink/link.ts';

/** Turning protection off is a person's choice: the editor's own dialog asks, whoever ran the command. */
export async function stopProxy(link: ProxyLink, model: Model): Promise<void> {
  const waiting = model.snapshot?.pending.length ?? 0;
  const detail = [
    vscode.l10n.t('Its connections close in every window, and agents in this editor are not checked until you start it again.'),
    ...(waiting > 0 ? [vscode.l10n.t('{0} waiting requests are denied.', waiting)] : []),
  ];
  const stop = vscode.l10n.t('Turn Off');
  const picked = await vscode.window.showWarningMessage(vscode.l10n.t('Turn Countersign off?'), { modal: true, detail: detail.join('\n') }, stop);
  if (picked === stop) await link.turnOff('turned off by the person');
}
