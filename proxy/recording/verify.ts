/**
 * Reads the whole record again and says what does not hold. Safe beside a recorder that is writing: the checkpoint is
 * read before the audit and the audit before the files, so what is read later can only have grown.
 */
import { join } from 'node:path';
import type { VerifyReport } from '../../contract/control.ts';
import { type ActsVerification, verifyActs } from './acts.ts';
import type { AuditedSession } from './audit.ts';
import { checkpointProblems, orMissing, readAudit } from './auditReader.ts';
import { type ChainReading, type OnLine, readChain } from './chainReader.ts';
import { placeOf, readCheckpoint } from './checkpoint.ts';
import { AUDIT_FILE, SESSIONS_FOLDER } from './layout.ts';
import { sessionFiles } from './recovery.ts';

/** Problems that are told; more say no more. */
const MAX_PROBLEMS = 200;

export interface VerifyOptions {
  /** One session alone; the audit is read whole all the same. */
  readonly session?: string;
  /** Each line of that session, as it is read. */
  readonly onLine?: OnLine;
  /** An audit position noted down earlier, elsewhere: the record must still contain it. */
  readonly since?: { readonly entries: number; readonly head: string };
}

export interface Verification extends VerifyReport {
  /** The audit's own place: note it down elsewhere, and a later rewriting of everything is seen too. */
  readonly audit: { readonly entries: number; readonly head: string };
  /** Fingerprint of the key that signed the last checkpoint. */
  readonly key: string | undefined;
  /** What its person did beside that, where a gateway wrote the record. */
  readonly acts: ActsVerification | undefined;
  /** The one session that was asked for. */
  readonly reading: ChainReading | undefined;
}

/** @param directory the recorder's. @throws errors of the file system other than that something is missing. */
export async function verifyRecord(directory: string, options: VerifyOptions = {}): Promise<Verification> {
  const problems: string[] = [];
  const sessionsFolder = join(directory, SESSIONS_FOLDER);
  const files = await orMissing(sessionFiles(sessionsFolder));
  let checkpoint = await readCheckpoint(directory);
  let found = await readAudit(directory, placeOf(checkpoint), options.since?.entries);
  if (checkpoint.state === 'none' && found.reading) {
    // A recorder's first start, in this very moment: the checkpoint comes before the first line.
    checkpoint = await readCheckpoint(directory);
    found = await readAudit(directory, placeOf(checkpoint), options.since?.entries);
  }
  const { view, reading: audit, seen } = found;

  if (!audit && files && files.size > 0) problems.push(`The audit, ${AUDIT_FILE}, is missing: whether sessions were removed cannot be told.`);
  if (audit?.problem !== undefined) problems.push(`The audit does not hold: ${audit.problem}.`);
  const acts = await verifyActs(directory, options.since?.entries);
  problems.push(...view.problems, ...checkpointProblems(checkpoint, found), ...(acts?.problems ?? []));
  // A place of either chain: whoever noted it down need not know which.
  if (acts?.at === undefined || acts.at !== options.since?.head) problems.push(...sinceProblems(options.since, audit ?? acts, seen));

  let entries = 0;
  let read = 0;
  let last: ChainReading | undefined;
  const check = async (session: string, known: AuditedSession | undefined, file: string): Promise<void> => {
    read++;
    const { reading, problem } = await checkSession(sessionsFolder, session, known, file, options.session === undefined ? undefined : options.onLine);
    entries += reading?.entries ?? 0;
    last = reading;
    if (problem !== undefined) problems.push(`Session ${session}: ${problem}.`);
  };
  for (const [session, known] of view.sessions) {
    if (options.session === undefined || options.session === session) await check(session, known, known.file);
  }
  const strays = [...(files ?? [])].filter(([session]) => !view.sessions.has(session) && (options.session ?? session) === session);
  // A session's file comes before its line in the audit: one that was opened just now is no finding.
  const now = strays.length > 0 ? (await readAudit(directory)).view : view;
  for (const [session, file] of strays) {
    await check(session, undefined, file);
    if (!now.sessions.has(session)) problems.push(`Session ${session}: the audit does not know it: it was added by another program, or the audit was cut.`);
  }
  if (options.session !== undefined && read === 0) problems.push(`Session ${options.session}: there is no record of it.`);

  return {
    ok: problems.length === 0,
    sessions: read,
    entries,
    problems: problems.slice(0, MAX_PROBLEMS),
    audit: { entries: audit?.entries ?? 0, head: audit?.head ?? '' },
    key: checkpoint.state === 'good' ? checkpoint.checkpoint.key : undefined,
    acts,
    reading: options.session === undefined ? undefined : last,
  };
}

function sinceProblems(since: VerifyOptions['since'], audit: { readonly entries: number } | undefined, seen: ReadonlyMap<number, string>): string[] {
  if (!since || since.entries === 0) return [];
  if ((audit?.entries ?? 0) < since.entries) return [`The record was rolled back: the audit has ${audit?.entries ?? 0} entries, and had ${since.entries}.`];
  return seen.get(since.entries) === since.head ? [] : ['The record was rewritten: the audit does not contain the place that you noted down.'];
}

async function checkSession(
  folder: string,
  session: string,
  known: AuditedSession | undefined,
  file: string,
  onLine: OnLine | undefined,
): Promise<{ readonly reading: ChainReading | undefined; readonly problem?: string }> {
  const mark = known?.mark;
  const closed = known?.closed;
  let atMark: string | undefined;
  let atClose: string | undefined;
  const reading = await orMissing(
    readChain(join(folder, file), {
      session,
      onLine: (text, seq, offset, head) => {
        if (mark?.entries === seq + 1) atMark = head;
        if (closed?.entries === seq + 1) atClose = head;
        onLine?.(text, seq, offset, head);
      },
    }),
  );
  return { reading, ...problemOf() };

  function problemOf(): { problem?: string } {
    if (!reading) return known?.expired ? {} : { problem: 'its file was removed' };
    if (known?.expired) return { problem: 'it is there, and the audit says that it was removed' };
    if (reading.problem !== undefined) return { problem: reading.problem };
    if (mark && reading.entries < mark.entries) return { problem: `its end was removed: it has ${reading.entries} entries, and had ${mark.entries}` };
    if (mark && mark.entries > 0 && atMark !== mark.head) return { problem: 'it was rewritten: it does not contain what the audit noted while it was open' };
    if (!closed) return {};
    if (reading.entries < closed.entries) return { problem: `its end was removed: it has ${reading.entries} entries, and closed with ${closed.entries}` };
    if (reading.entries > closed.entries || reading.torn > 0) return { problem: 'something was added after it was closed' };
    if (closed.entries > 0 && atClose !== closed.head) return { problem: 'it was rewritten: its last entry is not the one that the audit closed it with' };
    return closed.problem === undefined ? {} : { problem: `when it was recovered, ${closed.problem}` };
  }
}
