/** Runs the official conformance suite against a URL and reads what each scenario said. */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** How long a whole run may take, in milliseconds. */
const RUN_MS = 180_000;
/** How long one client may take, in milliseconds: on a machine with much else to do. */
const SCENARIO_MS = 120_000;

export interface Check {
  readonly id: string;
  readonly name: string;
  readonly status: string;
  readonly errorMessage?: string;
}

export type Results = ReadonlyMap<string, readonly Check[]>;

/** @param program the suite's entry; @param version a revision of the specification */
export function runSuite(program: string, url: string, version: string | undefined): Promise<Results> {
  return results([program, 'server', '--url', url, '--suite', 'all', ...(version === undefined ? [] : ['--spec-version', version])]);
}

/** One scenario, also of an extension. */
export function runScenario(program: string, url: string, version: string, scenario: string): Promise<Results> {
  return results([program, 'server', '--url', url, '--scenario', scenario, '--spec-version', version, '--force']);
}

/** One scenario of the client mode. @param client a program and its words; the address of the suite's server comes after them */
export function runClient(program: string, client: readonly string[], scenario: string, version: string): Promise<Results> {
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', ...client].join(' ');
  return results([program, 'client', '--command', command, '--scenario', scenario, '--spec-version', version, '--timeout', String(SCENARIO_MS)]);
}

async function results(command: readonly string[]): Promise<Results> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-conformance-'));
  try {
    const words = [...command, '-o', folder];
    const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'], timeout: RUN_MS });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-10_000);
      });
    }
    await new Promise((resolve) => child.once('close', resolve));
    const found = new Map<string, readonly Check[]>();
    // A scenario with a slash in its name is a folder in a folder.
    for (const file of (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('checks.json')).sort()) {
      const scenario = dirname(file)
        .replace(/^server-/, '')
        .replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '');
      found.set(scenario, JSON.parse(await readFile(join(folder, file), 'utf8')) as Check[]);
    }
    if (found.size === 0) throw new Error(`the conformance suite has run nothing: ${said}`);
    return found;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** One line for a scenario: how many of its checks passed, failed, and were something else. */
export function inShort(checks: readonly Check[] | undefined): string {
  if (!checks) return 'not run';
  const count = (status: string): number => checks.filter((check) => check.status === status).length;
  const passed = count('SUCCESS');
  const failed = count('FAILURE');
  const rest = checks.length - passed - failed;
  return [`${passed} passed`, ...(failed > 0 ? [`${failed} FAILED`] : []), ...(rest > 0 ? [`${rest} other`] : [])].join(', ');
}

/** What a check said, without what differs from run to run. */
export function verdicts(checks: readonly Check[] | undefined): string[] {
  return (checks ?? []).map(({ id, name, status, errorMessage }) => `${id}/${name}: ${status}${status === 'SUCCESS' ? '' : ` ${steady(errorMessage ?? '')}`}`);
}

function steady(message: string): string {
  return message
    .replaceAll(/127\.0\.0\.1:\d+/g, 'HOST')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'T')
    .slice(0, 400);
}
