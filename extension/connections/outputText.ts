/** What a server's process wrote to its standard error, as a page to read. Pure. */
import type { ConnectionOutput } from '../../contract/control.ts';
import type { Translate } from '../translate.ts';

export function outputText(connection: string, { lines }: ConnectionOutput, t: Translate): string {
  const head = `${t('# The last lines that {0} wrote.', connection)}\n${t('# Secrets in them are masked.')}`;
  if (lines.length === 0) return `${head}\n\n${t('It has written nothing since it was last started.')}\n`;
  const shown = lines.map(({ at, by, process, text }) => `${new Date(at).toLocaleTimeString()} [${process}] ${by === 'server' ? text : `— ${text}`}`);
  return [head, '', ...shown, ''].join('\n');
}
