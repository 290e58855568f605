/** The doctor's findings as a page. Pure. */
import type { DoctorCheck } from '../../contract/control.ts';
import type { Translate } from '../translate.ts';

const MARK = { ok: '✓', warning: '⚠', failed: '✗' } as const;
const WORST_FIRST = ['failed', 'warning', 'ok'] as const;

export function doctorReport(checks: readonly DoctorCheck[], version: string, t: Translate): string {
  const count = (state: DoctorCheck['state']): number => checks.filter((check) => check.state === state).length;
  const verdict =
    count('failed') > 0
      ? t('**{0} of {1} checks failed.** What to do stands below each.', count('failed'), checks.length)
      : count('warning') > 0
        ? count('warning') === 1
          ? t('**Protection is on; one thing wants a look.**')
          : t('**Protection is on; {0} things want a look.**', count('warning'))
        : t('**Everything is in order.**');
  const sections = WORST_FIRST.flatMap((state) => checks.filter((check) => check.state === state)).map((check) => {
    const state = { ok: t('ok'), warning: t('warning'), failed: t('failed') }[check.state];
    return `### ${MARK[check.state]} ${plain(check.title)} — ${state}\n\n${plain(check.detail)}\n`;
  });
  return [`# ${t('Countersign Doctor')}`, '', verdict, '', ...sections, '---', '', `Countersign ${version}`, ''].join('\n');
}

/** Names of connections and errors are data: none of it is markup here. */
function plain(text: string): string {
  return text.replace(/[\\`*_{}[\]<>#|~&!]/g, '\\$&').replace(/\s*\n\s*/g, '  \n');
}
