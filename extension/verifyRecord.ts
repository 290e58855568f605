import * as vscode from 'vscode';
import { METHODS, VerifyReport } from '../contract/control.ts';
import type { TeamSessions } from './gateway/teamSessions.ts';
import { COMMANDS } from './ids.ts';
import { notify } from './notify.ts';
import type { ProxyLink } from './proxyLink/link.ts';

/** Reads the chain again, of one session or of all, and says whether it holds. */
export async function verifyRecord(link: ProxyLink, team: TeamSessions, argument: unknown, log: vscode.LogOutputChannel): Promise<VerifyReport> {
  const session = sessionOf(argument);
  const report = await vscode.window.withProgress({ location: vscode.ProgressLocation.Notification, title: vscode.l10n.t('Verifying the record') }, () =>
    verify(link, team, session),
  );
  for (const problem of report.problems) log.error(`record: ${problem}`);
  void announce(report);
  return report;
}

/** A session of the gateway's is read there; this machine's, and all of them, by the proxy. */
async function verify(link: ProxyLink, team: TeamSessions, session: string | undefined): Promise<VerifyReport> {
  const theirs = session === undefined ? undefined : await team.verify(session);
  if (!theirs) return await link.request(METHODS.verify, session === undefined ? {} : { session }, VerifyReport);
  return { ok: theirs.ok, sessions: 1, entries: theirs.entries, problems: theirs.problem === undefined ? [] : [theirs.problem] };
}

async function announce(report: VerifyReport): Promise<void> {
  if (report.ok) {
    await notify.information(
      vscode.l10n.t('The record holds: {0} entries in {1} sessions, nothing added, changed or taken out.', report.entries, report.sessions),
    );
    return;
  }
  const show = vscode.l10n.t('Show Log');
  const picked = await notify.error(
    vscode.l10n.t(
      'The record does not hold. It was changed outside Countersign, or the disk lost a part. The first problem: {0}',
      report.problems[0] ?? vscode.l10n.t('not named'),
    ),
    show,
  );
  if (picked === show) await vscode.commands.executeCommand(COMMANDS.showLog);
}

function sessionOf(argument: unknown): string | undefined {
  if (typeof argument === 'string') return argument;
  if (typeof argument !== 'object' || argument === null || !('session' in argument)) return undefined;
  return typeof argument.session === 'string' ? argument.session : undefined;
}
