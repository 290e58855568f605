/** Checks each piece of the proxy and says in a sentence what to do about what is wrong. */
import { statfs } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { DoctorCheck, PolicyView, VerifyReport } from '../../contract/control.ts';
import type { Secrets } from '../credential/secrets.ts';
import type { Pins } from '../pinning/pins.ts';
import type { OutputLine } from '../protocols/mcp/upstream/errorOutput.ts';
import { isNewEnough, MIN_NODE } from './nodeVersion.ts';
import type { Serving } from './serving.ts';
import { connectionViewsWithoutWords } from './views.ts';

/** Free space below which the record may soon halt everything, in bytes. */
const LITTLE_SPACE_BYTES = 200 * 1024 * 1024;
/** A clock that is before this build was made cannot be right. Epoch milliseconds. */
const EARLIEST_NOW = Date.UTC(2026, 0, 1);
const VERIFY_TIMEOUT_MS = 20_000;
/** Lines of a server's own that are shown, where it failed and where it did not. */
const LINES_OF_FAILED = 15;
const LINES_OF_READY = 3;

export interface DoctorOptions {
  readonly policy: PolicyView;
  readonly halted: string | undefined;
  readonly verify: () => Promise<VerifyReport>;
  readonly serving: Serving;
  readonly secrets: Secrets;
  readonly pins: Pins;
  readonly http: { readonly port: number | undefined; readonly problem: string | undefined };
  readonly state: string;
  readonly now: number;
}

export async function examine(options: DoctorOptions): Promise<DoctorCheck[]> {
  return [
    policyCheck(options.policy),
    ...organisationCheck(options.policy),
    await recordCheck(options),
    ...connectionChecks(options),
    options.http.port === undefined
      ? check('http', 'Loopback HTTP server', 'failed', options.http.problem ?? 'It has not started yet. Wait a moment, then run the doctor again.')
      : check('http', 'Loopback HTTP server', 'ok', `It listens on 127.0.0.1:${options.http.port} and on no other address.`),
    await loopbackCheck(),
    clockCheck(options.now),
    await spaceCheck(options.state),
    nodeCheck(process.versions.node),
  ];
}

function check(id: string, title: string, state: DoctorCheck['state'], detail: string): DoctorCheck {
  return { id, title, state, detail };
}

function policyCheck({ problems, rules, files, organisation }: PolicyView): DoctorCheck {
  const [first] = problems;
  if (first) {
    const more = problems.length > 1 ? ` and ${problems.length - 1} more` : '';
    return check('policy', 'Policy', 'failed', `The last good policy is in force. Mend ${first.file}, line ${first.line}: ${first.message}${more}.`);
  }
  if (files.length === 0 && organisation === undefined)
    return check('policy', 'Policy', 'warning', 'There is no policy file, so the built-in rules decide and nothing is connected. Write a countersign.yaml.');
  return check(
    'policy',
    'Policy',
    'ok',
    `${rules} rules from ${[...(organisation?.file === undefined ? [] : [organisation.file]), ...files].join(', ') || 'no file'}.`,
  );
}

/** Which version of the organisation's policy holds, since when, from which gateway. */
function organisationCheck({ organisation }: PolicyView): DoctorCheck[] {
  if (!organisation) return [];
  const { expiresAt = 0, gateway, problem, since = 0, state, version } = organisation;
  const said = (standing: DoctorCheck['state'], detail: string): DoctorCheck[] => [check('organisation-policy', 'Organisation policy', standing, detail)];
  switch (state) {
    case 'none':
      return said(problem === undefined ? 'ok' : 'warning', problem ?? `The gateway at ${gateway} has no policy yet; your own files hold.`);
    case 'in-force': {
      const standing = `Version ${version ?? 0} from ${gateway} is in force since ${new Date(since).toISOString()}; without the gateway it holds until ${new Date(expiresAt).toISOString()}.`;
      return problem === undefined ? said('ok', standing) : said('warning', `${standing} ${problem}`);
    }
    case 'waiting':
    case 'expired':
    case 'spoilt':
      return said('failed', problem ?? 'It is not in force, so everything is denied here. Sign in to the gateway.');
  }
}

async function recordCheck({ halted, verify }: DoctorOptions): Promise<DoctorCheck> {
  if (halted !== undefined) return check('record', 'Record', 'failed', halted);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), VERIFY_TIMEOUT_MS);
  });
  try {
    const report = await Promise.race([verify(), late]);
    if (!report) return check('record', 'Record', 'warning', 'It is written, and is too long to be read again here. Run "countersign verify" in a terminal.');
    return report.ok
      ? check('record', 'Record', 'ok', `${report.entries} entries of ${report.sessions} sessions hold together.`)
      : check(
          'record',
          'Record',
          'failed',
          `The record was changed or is damaged: ${report.problems[0] ?? 'it does not hold together'}. Keep a copy, and find out who wrote to it.`,
        );
  } catch {
    return check('record', 'Record', 'failed', 'The record cannot be read again. Check its folder and the disk.');
  } finally {
    clearTimeout(timer);
  }
}

function connectionChecks({ serving, secrets, pins: known }: DoctorOptions): DoctorCheck[] {
  const views = connectionViewsWithoutWords(serving, secrets, known);
  if (views.length === 0) return [check('connections', 'Connections', 'warning', 'Nothing is connected. Add a connection to countersign.yaml.')];
  return views.map(({ name, state, problem, address, pins, output }) => {
    const said = output === true ? lastLines(serving.get(name)?.output?.lines(state === 'failed' ? LINES_OF_FAILED : LINES_OF_READY)) : '';
    const id = `connection:${name}`;
    const title = `Connection ${name}`;
    switch (state) {
      case 'ready': {
        const waiting = pins?.quarantined.filter(({ rejected }) => !rejected).length ?? 0;
        if (waiting > 0)
          return check(
            id,
            title,
            'warning',
            `${waiting === 1 ? 'One thing' : `${waiting} things`} that it offers ${waiting === 1 ? 'is' : 'are'} quarantined: no agent can use ${waiting === 1 ? 'it' : 'them'} until you accept ${waiting === 1 ? 'it' : 'them'} in the Connections view.`,
          );
        return check(id, title, 'ok', `It is served at ${address ?? 'the loopback address'}.${said}`);
      }
      case 'starting':
        return check(id, title, 'warning', 'It is starting. Run the doctor again in a moment.');
      case 'needs-secret':
        return check(id, title, 'warning', problem ?? 'Its login is missing.');
      case 'needs-sign-in':
        return check(id, title, 'warning', problem ?? 'It wants a sign-in.');
      case 'failed':
        return check(id, title, 'failed', `${problem ?? 'It failed.'}${said}`);
    }
  });
}

/** What its process wrote last, each line on its own. */
function lastLines(lines: readonly OutputLine[] = []): string {
  return lines.length === 0 ? '' : `\nIts last lines:${lines.map(({ process, text }) => `\n[${process}] ${text}`).join('')}`;
}

/** A machine whose loopback is filtered fails in puzzling ways: say it plainly. */
function loopbackCheck(): Promise<DoctorCheck> {
  return new Promise((resolve) => {
    const probe = createServer();
    const title = 'Loopback address';
    probe.once('error', (cause) =>
      resolve(
        check(
          'loopback',
          title,
          'failed',
          `Nothing can listen on 127.0.0.1 (${(cause as NodeJS.ErrnoException).code ?? 'unknown error'}). Look at the machine's firewall or sandbox.`,
        ),
      ),
    );
    probe.listen({ host: '127.0.0.1', port: 0 }, () => probe.close(() => resolve(check('loopback', title, 'ok', 'Ports can be opened on 127.0.0.1.'))));
  });
}

function clockCheck(now: number): DoctorCheck {
  return now < EARLIEST_NOW
    ? check(
        'clock',
        'Clock',
        'failed',
        `The clock says ${new Date(now).toISOString()}, which cannot be: deadlines, logins and the record depend on it. Set it.`,
      )
    : check('clock', 'Clock', 'ok', new Date(now).toISOString());
}

async function spaceCheck(folder: string): Promise<DoctorCheck> {
  try {
    const { bavail, bsize } = await statfs(folder);
    const free = bavail * bsize;
    const megabytes = `${Math.floor(free / 1024 / 1024)} MB free at ${folder}.`;
    return free < LITTLE_SPACE_BYTES
      ? check('disk', 'Disk space', 'warning', `${megabytes} When nothing can be recorded, nothing is forwarded: free some space.`)
      : check('disk', 'Disk space', 'ok', megabytes);
  } catch {
    return check('disk', 'Disk space', 'warning', `The free space at ${folder} cannot be read.`);
  }
}

function nodeCheck(version: string): DoctorCheck {
  return isNewEnough(version)
    ? check('node', 'Node.js', 'ok', version)
    : check('node', 'Node.js', 'failed', `The proxy runs on Node.js ${version} and needs ${MIN_NODE.join('.')}. Update the editor.`);
}
