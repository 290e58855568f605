import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { ActsVerification } from '../proxy/recording/acts.ts';
import { exportedFolders, missingFrom } from '../proxy/recording/exported.ts';
import { type Verification, verifyRecord } from '../proxy/recording/verify.ts';
import { type Command, type ExitCode, type Io, UsageError } from './command.ts';
import { plain, RECORD_HELP, RECORD_OPTIONS, recordFolder } from './record.ts';

export const verify: Command = {
  name: 'verify',
  usage: '[SESSION]',
  about: 'read the record again and say whether it holds',
  help: `Checks every session's chain, the audit over all sessions, and the signed checkpoint; of what a gateway exported also what people
did there, and whether anyone's is missing. Safe while the proxy runs.

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
    const exported = await exportedFolders(directory);
    if (exported.size > 0) {
      if (session !== undefined || since) throw new UsageError('That is for the record of one person: name the folder of theirs in it.');
      return await verifyExported(exported, io);
    }
    const report = await verifyRecord(directory, { ...(session !== undefined && { session }), ...(since && { since }) });
    tell(report, io);
    return report.ok ? 0 : 1;
  },
};

/** Everyone's folder in what a gateway exported, and whether all are there. */
async function verifyExported(folders: ReadonlyMap<string, string>, io: Io): Promise<ExitCode> {
  let ok = true;
  const reports = new Map<string, Verification>();
  for (const [name, folder] of folders) {
    io.out(plain(name));
    const report = await verifyRecord(folder);
    tell(report, io);
    reports.set(name, report);
    ok &&= report.ok;
  }
  for (const problem of missingFrom(reports)) {
    io.error(plain(problem));
    ok = false;
  }
  io.out(ok ? 'All of it holds, and nobody’s is missing.' : 'It does not hold.');
  return ok ? 0 : 1;
}

function tell({ acts, audit, entries, key, ok, problems, sessions }: Verification, io: Io): void {
  for (const problem of problems) io.error(plain(problem));
  for (const note of acts?.notes ?? []) io.out(plain(note));
  const what = [...(sessions > 0 || !acts ? [count(sessions, 'session'), count(entries, 'entry', 'entries')] : []), ...done(acts)];
  io.out(`${ok ? 'The record holds' : 'The record does not hold'}: ${what.join(', ')}.`);
  const keys = new Set([key, acts?.key].filter((one) => one !== undefined));
  for (const one of keys) io.out(`signed with key  ${one}`);
  if (audit.entries > 0) io.out(`audit is at      ${audit.entries}:${audit.head}`);
  if (acts && acts.entries > 0) io.out(`acts are at      ${acts.entries}:${acts.head}`);
}

function done(acts: ActsVerification | undefined): string[] {
  return acts ? [`${count(acts.entries, 'line', 'lines')} of what was done`] : [];
}

function parsePlace(text: string): { entries: number; head: string } {
  const match = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text);
  if (!match) throw new UsageError('--since takes what an earlier `countersign verify` printed after “audit is at” or “acts are at”, such as 12:3f….');
  return { entries: Number(match[1]), head: match[2] ?? '' };
}

function count(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}
