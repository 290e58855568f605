/**
 * "Report a wrong mask": a note in a file of this machine, for whoever looks after the policy or the detectors. No value that was masked
 * is in it, and it goes nowhere by itself. No editor in here.
 */
import { appendFile, mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { Problem } from '../../contract/problem.ts';
import type { MaskReport } from '../../contract/webview.ts';

/** A file that has grown to this is left alone, in bytes: somebody should read it first. */
const MAX_BYTES = 1024 * 1024;
const HEAD = '# Wrong masks\n\nWritten by "Report a wrong mask". No value is in here, and nothing is sent anywhere.\n';

/** @throws Problem `report-full` */
export async function keepMaskReport(file: string, operation: string, connection: string, report: MaskReport, now: Date): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const size = await stat(file).then(
    ({ size }) => size,
    () => 0,
  );
  if (size > MAX_BYTES) throw new Problem('report-full', `${file} is full. Move it away, then report again.`);
  await appendFile(file, `${size === 0 ? HEAD : ''}\n${entryOf(operation, connection, report, now)}`, { mode: 0o600 });
}

function entryOf(operation: string, connection: string, { by, kind, line, mask, name, note }: MaskReport, now: Date): string {
  const what = kind === 'should-show' ? 'is masked and should be seen' : 'is seen and should be masked';
  const found = by === undefined ? [] : [`- found by: ${code(by)}${mask === undefined ? '' : `, ${code(mask)}`}`];
  return [
    `## ${now.toISOString()}: ${code(name)} of ${code(connection)} ${what}`,
    '',
    `- operation: ${code(operation)}`,
    ...found,
    ...(note === '' ? [] : [`- note: ${oneLine(note)}`]),
    ...(line === undefined ? [] : ['', '```yaml', line.trimEnd().replaceAll('```', "'''"), '```']),
    '',
  ].join('\n');
}

/** Names come from databases and servers: none of them is markup of this file. */
function code(text: string): string {
  return `\`${oneLine(text).replaceAll('`', "'")}\``;
}

function oneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ').trim();
}
