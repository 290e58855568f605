// Runs test files of node:test, each in a process group of its own, and ends the one that does not end by itself.
// Node's own runner bounds a test and never a file: a handle that is left open, or a child that keeps a pipe, holds it for ever.
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endGroup, spawnGroup } from './processGroup.mjs';
import { ROOT } from './setup.mjs';

const WINDOWS = process.platform === 'win32';
/** Longest that Node takes to write down what a process is doing, in milliseconds. */
const REPORT_MS = 5_000;
/** How much of what a failed file said is shown, in characters. */
const MAX_SAID = 20_000;

/**
 * @param {{ node: string, env: NodeJS.ProcessEnv, files: string[], concurrency: number, fileMs: number, allMs: number }} options
 *   `fileMs`: longest that one file may take; `allMs`: after that no other file is begun. Both in milliseconds.
 * @returns {Promise<{ passed: number, failed: number, skipped: number }>}
 */
export async function runTestFiles({ node, env, files, concurrency, fileMs, allMs }) {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-test-'));
  const total = { passed: 0, failed: 0, skipped: 0 };
  const until = Date.now() + allMs;
  const left = [...files];
  const worker = async (name) => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) {
      if (Date.now() > until) {
        console.log(`\n✗ ${file}: not begun, the tests before it took more than ${seconds(allMs)}`);
        total.failed += 1;
        continue;
      }
      const counts = await runOne({ node, env, file, fileMs, folder: mkdtempSync(join(folder, name)) });
      for (const key of Object.keys(total)) total[key] += counts[key];
    }
  };
  await Promise.all(Array.from({ length: concurrency }, (_, index) => worker(`${index}-`)));
  rmSync(folder, { recursive: true, force: true });
  process.stdout.write('\n');
  return total;
}

async function runOne({ node, env, file, fileMs, folder }) {
  const events = join(folder, 'events');
  const said = join(folder, 'said');
  const flags = [
    '--disable-warning=ExperimentalWarning',
    `--test-timeout=${fileMs}`,
    `--test-reporter=${new URL('./testReporter.mjs', import.meta.url)}`,
    `--test-reporter-destination=${events}`,
    ...(WINDOWS ? [] : ['--report-on-signal', '--report-signal=SIGUSR2', `--report-directory=${folder}`, '--report-exclude-env', '--report-exclude-network']),
  ];
  // A file, and not a pipe: what a test leaves running would keep a pipe open.
  const output = openSync(said, 'w');
  const child = spawnGroup(node, [...flags, file], { cwd: ROOT, env, stdio: ['ignore', output, output] });
  closeSync(output);
  const ended = new Promise((resolve) => child.once('error', (error) => resolve(error.message)).once('exit', (code, signal) => resolve(code ?? signal)));
  let hung;
  const timer = setTimeout(async () => {
    hung = await account(child, folder);
    endGroup(child);
  }, fileMs);
  const status = await ended;
  clearTimeout(timer);
  // What the file started and left behind is in its group.
  endGroup(child);

  // The last line is empty, or cut off where the process was ended.
  const lines = existsSync(events) ? readFileSync(events, 'utf8').split('\n').slice(0, -1) : [];
  const parsed = lines.map((text) => JSON.parse(text));
  const failures = parsed.filter((event) => event.type === 'failed');
  const counts = { passed: 0, failed: 0, skipped: 0, ...parsed.find((event) => event.type === 'counts') };
  // An end that the counts do not explain (a crash, a file that hung) is a failure of its own.
  if (counts.failed === 0 && (status !== 0 || hung)) counts.failed = Math.max(1, failures.length);
  process.stdout.write('.'.repeat(counts.passed));
  if (counts.failed > 0) {
    console.log(`\n✗ ${file}: ${hung ? `had not ended after ${seconds(fileMs)}` : `${counts.failed} failed (exit ${status})`}`);
    for (const { name, line, seconds: took, account: text } of failures) console.log(`  ✗ ${name} (line ${line}, ${took.toFixed(1)} s)\n${indent(text)}`);
    if (hung) console.log(indent([open(parsed), hung].join('\n')));
    const text = readFileSync(said, 'utf8');
    if (text) console.log(indent(`it said:\n${text.slice(-MAX_SAID)}`));
  }
  rmSync(folder, { recursive: true, force: true });
  return counts;
}

const seconds = (ms) => `${Math.round(ms / 1000)} s`;
const indent = (text) => text.replace(/^/gm, '    ');

/** Which tests had begun and not ended, or that all had. */
function open(events) {
  const names = new Set();
  for (const { type, name } of events) {
    if (type === 'began') names.add(name);
    if (type === 'ended') names.delete(name);
  }
  return names.size > 0 ? `not ended: ${[...names].at(-1)}` : 'each test that was begun has ended; something keeps the process alive';
}

/** What a process that hangs is doing, as Node itself tells it, and what runs beside it. */
async function account(child, folder) {
  if (WINDOWS) return '';
  const listed = spawnSync('ps', ['-eo', 'pgid,pid,etime,args'], { encoding: 'utf8' }).stdout ?? '';
  const group = listed.split('\n').filter((text) => text.trim().startsWith(`${child.pid} `));
  child.kill('SIGUSR2');
  await new Promise((resolve) => setTimeout(resolve, REPORT_MS));
  const name = readdirSync(folder).find((entry) => entry.startsWith('report.'));
  if (name === undefined) return ['it runs:', ...group.map((text) => text.slice(0, 200)), 'and does not say what it is doing'].join('\n');
  try {
    const { javascriptStack, libuv } = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    const handles = libuv.filter(({ is_active, is_referenced }) => is_active && is_referenced).map((handle) => JSON.stringify(handle));
    return ['it runs:', ...group.map((text) => text.slice(0, 200)), 'stack:', ...(javascriptStack?.stack ?? []), 'open handles:', ...handles].join('\n');
  } catch (error) {
    return `its report cannot be read (${error.message})`;
  }
}
