/** What to do about the proxy that is (or is not) there. Pure. */
import { CONTROL_VERSION } from '../../contract/control.ts';
import type { ProxyFile } from '../../contract/daemon.ts';

export type Choice =
  | { readonly do: 'start' }
  | { readonly do: 'attach'; readonly file: ProxyFile }
  /** It is older: ask it to leave, then start ours. */
  | { readonly do: 'replace'; readonly file: ProxyFile }
  /** It is newer and speaks another language: only a newer extension can talk to it. */
  | { readonly do: 'reload'; readonly file: ProxyFile };

export function choose(file: ProxyFile | undefined, alive: boolean, ourVersion: string): Choice {
  if (file === undefined || !alive) return { do: 'start' };
  if (file.controlVersion > CONTROL_VERSION) return { do: 'reload', file };
  if (file.controlVersion < CONTROL_VERSION || compareVersions(file.version, ourVersion) < 0) return { do: 'replace', file };
  return { do: 'attach', file };
}

/** Negative when `a` is older. Semantic versions; a pre-release comes before its release; what is not a number counts as 0. */
export function compareVersions(a: string, b: string): number {
  const [coreA, preA] = split(a);
  const [coreB, preB] = split(b);
  for (let i = 0; i < 3; i++) {
    const difference = (coreA[i] ?? 0) - (coreB[i] ?? 0);
    if (difference !== 0) return difference;
  }
  if (preA === preB) return 0;
  if (preA === '') return 1;
  if (preB === '') return -1;
  return comparePre(preA.split('.'), preB.split('.'));
}

function comparePre(a: readonly string[], b: readonly string[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [left, right] = [a[i], b[i]];
    if (left === undefined) return -1;
    if (right === undefined) return 1;
    if (left === right) continue;
    const [numericLeft, numericRight] = [/^\d+$/.test(left), /^\d+$/.test(right)];
    if (numericLeft && numericRight) return Number(left) - Number(right);
    if (numericLeft !== numericRight) return numericLeft ? -1 : 1;
    return left < right ? -1 : 1;
  }
  return 0;
}

function split(version: string): [number[], string] {
  const withoutBuild = version.split('+', 1)[0] ?? '';
  const dash = withoutBuild.indexOf('-');
  const core = dash < 0 ? withoutBuild : withoutBuild.slice(0, dash);
  const numbers = core.split('.').map((part) => (/^\d+$/.test(part) ? Number(part) : 0));
  return [numbers, dash < 0 ? '' : withoutBuild.slice(dash + 1)];
}
