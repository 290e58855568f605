import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { verifyRecord } from '../proxy/recording/verify.ts';
import { type Command, UsageError } from './command.ts';
import { plain, RECORD_HELP, RECORD_OPTIONS, recordFolder } from './record.ts';

export const verify: Command = {
  name: 'verify',
  usage: '[SESSION]',
  about: 'read the record again and say whether it holds',
  help: `Checks every session's chain, the audit over all sessions, and the signed checkpoint. Safe while the proxy runs.

${RECORD_HELP}
--since PLACE    a place that an earlier run printed (ENTRIES:HASH) and you kept elsewhere: also finds a record that
                 was rolled back or rewritten as a whole, signature and all

Exits with 0 if the record holds, 1 if not. docs/recording.md says what this can show and what it cannot.`,
  async run(args, io) {
    const { values, positionals } = parseArgs({ args: [...args], options: { ...RECORD_OPTIONS, since: { type: 'string' } }, allowPositionals: true });
    const [session, ...more] = positionals;
    if (more.length > 0) throw new UsageError('Say one session at most.');
    const since = values.since === undefined ? undefined : parsePlace(values.since);
    const directory = recordFolder(values.record, io.cwd);
    if (!existsSync(directory)) {
      io.error(`There is no record in ${directory}.`);
      return 1;
    }
    const report = await verifyRecord(directory, { ...(session !== undefined && { session }), ...(since && { since }) });
    for (const problem of report.problems) io.error(plain(problem));
    const { sessions, entries, audit, key } = report;
    io.out(`${report.ok ? 'The record holds' : 'The record does not hold'}: ${count(sessions, 'session')}, ${count(entries, 'entry', 'entries')}.`);
    if (key !== undefined) io.out(`signed with key  ${key}`);
    if (audit.entries > 0) io.out(`audit is at      ${audit.entries}:${audit.head}`);
    return report.ok ? 0 : 1;
  },
};

function parsePlace(text: string): { entries: number; head: string } {
  const match = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text);
  if (!match) throw new UsageError('--since takes what an earlier `countersign verify` printed after “audit is at”, such as 12:3f….');
  return { entries: Number(match[1]), head: match[2] ?? '' };
}

function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}
