/** The one status bar item, from the state. Pure. */
import type { Snapshot } from '../contract/control.ts';
import type { LinkState } from './proxyLink/linkState.ts';
import type { Translate } from './translate.ts';

export interface Status {
  readonly text: string;
  /** Lines of the tooltip, plain text. */
  readonly lines: readonly string[];
  readonly level: 'normal' | 'warning' | 'error';
  /** What a click does. */
  readonly click: 'showApprovals' | 'start' | 'takeOver' | 'doctor' | 'openPolicy';
  /** For a screen reader: no icons. */
  readonly label: string;
}

export function statusOf(link: LinkState, snapshot: Snapshot | undefined, waiting: number, t: Translate): Status {
  if (link.kind === 'off') {
    return status('$(shield) off', 'error', 'start', t('Countersign is off'), [
      t('Countersign is off: agents in this editor are not checked. Click to turn it on.'),
    ]);
  }
  if (link.kind === 'failed') {
    return status('$(shield) off', 'error', link.takeOver ? 'takeOver' : 'doctor', t('Countersign is not running'), [link.sentence]);
  }
  if (link.kind === 'starting')
    return status('$(shield) $(sync~spin)', 'normal', 'doctor', t('Countersign is starting'), [t('Countersign is starting its proxy.')]);
  if (snapshot?.halted) return status('$(shield) off', 'error', 'doctor', t('Countersign forwards nothing'), [snapshot.halted]);

  const lines = summary(snapshot, t);
  if (waiting > 0) {
    const text = waiting === 1 ? t('1 ask') : t('{0} asks', waiting);
    return status(`$(shield) ${text}`, 'warning', 'showApprovals', t('Countersign: {0} waiting for you', text), [t('Click to decide.'), ...lines]);
  }
  const organisation = snapshot?.policy.organisation;
  if (organisation && organisation.state !== 'in-force' && organisation.state !== 'none')
    return status('$(shield) $(error)', 'warning', 'doctor', t('Countersign denies everything: the organisation’s policy is missing'), lines);
  const problems = snapshot?.policy.problems.length ?? 0;
  if (problems > 0) return status('$(shield) Countersign $(warning)', 'normal', 'openPolicy', t('Countersign: the policy has problems'), lines);
  return status('$(shield) Countersign', 'normal', 'showApprovals', t('Countersign is on'), lines);
}

function summary(snapshot: Snapshot | undefined, t: Translate): string[] {
  if (snapshot === undefined) return [];
  const ready = snapshot.connections.filter((c) => c.state === 'ready').length;
  const lines = [t('{0} of {1} connections ready, {2} rules in force.', ready, snapshot.connections.length, snapshot.policy.rules)];
  const { organisation } = snapshot.policy;
  if (organisation?.version !== undefined && organisation.state === 'in-force')
    lines.push(t('Organisation policy version {0}, from {1}.', organisation.version, hostOf(organisation.gateway)));
  if (organisation?.problem !== undefined) lines.push(organisation.problem);
  for (const connection of snapshot.connections) if (connection.problem) lines.push(`${connection.name}: ${connection.problem}`);
  const [problem] = snapshot.policy.problems;
  if (problem) lines.push(policyProblemText(snapshot.policy.problems.length, problem, t));
  if (snapshot.grants.length > 0) lines.push(snapshot.grants.length === 1 ? t('1 standing approval.') : t('{0} standing approvals.', snapshot.grants.length));
  return lines;
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url;
}

export function policyProblemText(count: number, first: { file: string; line: number; message: string }, t: Translate): string {
  const where = t('{0}, line {1}: {2}', first.file, first.line, first.message);
  return count === 1
    ? t('The policy has a problem, so the last good one is in force. {0}', where)
    : t('The policy has {0} problems, so the last good one is in force. The first: {1}', count, where);
}

function status(text: string, level: Status['level'], click: Status['click'], label: string, lines: readonly string[]): Status {
  return { text, level, click, label, lines };
}
