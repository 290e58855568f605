// Runs test files of node:test, each in a process group and a temporary folder of its own, and ends the one that does not end
// by itself. Node's own runner bounds a test and never a file: a handle that is left open, or a child that keeps a pipe, holds
// it for ever.
import { chmodSync, closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endGroup, family, spawnGroup } from './processGroup.mjs';
import { ROOT } from './setup.mjs';

const WINDOWS = process.platform === 'win32';
/** Longest that Node takes to write down what a process is doing, in milliseconds; and how often it is looked for. */
const REPORT_MS = 5_000;
const SOON_MS = 50;
/** How often a file is looked at, and how long it may go on when all of its tests have ended, in milliseconds. */
const LOOK_MS = 500;
const DONE_MS = 60_000;
/** How long what a file has told to end may take to, in milliseconds, before it counts as left behind. */
const LEAVING_MS = 2_000;
/** How much of what a failed file said is shown, and of a command, in characters. */
const MAX_SAID = 20_000;
const MAX_COMMAND = 200;

/**
 * @param {{ node: string, env: NodeJS.ProcessEnv, files: string[], concurrency: number, fileMs: number, until: number }} options
 *   `fileMs`: longest that one file may take, in milliseconds; `until`: after that no other file is begun, in epoch milliseconds.
 * @returns {Promise<{ passed: number, failed: number, skipped: number }>}
 */
export async function runTestFiles({ node, env, files, concurrency, fileMs, until }) {
  // Short, and others may pass through: sockets and a PostgreSQL of another user lie below it.
  const folder = mkdtempSync(join(tmpdir(), 'cs-'));
  chmodSync(folder, 0o711);
  const running = new Set();
  const cutShort = () => {
    console.log(`\n✗ ended in the middle of ${[...running].join(', ')}`);
    remove(folder);
  };
  process.once('exit', cutShort);
  const total = { passed: 0, failed: 0, skipped: 0 };
  const left = files.map((file, index) => ({ file, place: join(folder, String(index)) }));
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      if (Date.now() > until) {
        console.log(`\n✗ ${next.file}: not begun, the tests before it took too long`);
        total.failed += 1;
        continue;
      }
      running.add(next.file);
      const counts = await runOne({ node, env, fileMs, ...next });
      running.delete(next.file);
      for (const key of Object.keys(total)) total[key] += counts[key];
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  process.removeListener('exit', cutShort);
  remove(folder);
  process.stdout.write('\n');
  return total;
}

async function runOne({ node, env, file, fileMs, place }) {
  const events = `${place}.events`;
  const said = `${place}.said`;
  mkdirSync(place, { mode: 0o711 });
  const flags = [
    '--disable-warning=ExperimentalWarning',
    // Of one test, unless it says how long it may take: the others of its file are still to have their turn.
    `--test-timeout=${Math.round(fileMs * 0.75)}`,
    `--test-reporter=${new URL('./testReporter.mjs', import.meta.url)}`,
    `--test-reporter-destination=${events}`,
    ...(WINDOWS ? [] : ['--report-on-signal', '--report-signal=SIGUSR2', `--report-directory=${place}`, '--report-exclude-env', '--report-exclude-network']),
  ];
  // A file, and not a pipe: what a test leaves running would keep a pipe open.
  const output = openSync(said, 'w');
  const mark = `TMPDIR=${place}`;
  // Whoever runs this in a test of node:test does not mean the files.
  const { NODE_TEST_CONTEXT: _, ...others } = { ...env, TMPDIR: place, TEMP: place, TMP: place };
  const child = spawnGroup(node, [...flags, file], { cwd: ROOT, env: others, stdio: ['ignore', output, output] }, mark);
  closeSync(output);
  const ended = new Promise((resolve) => child.once('error', (error) => resolve(error.message)).once('exit', (code, signal) => resolve(code ?? signal)));
  const begunAt = Date.now();
  let hung;
  let telling = Promise.resolve();
  const look = setInterval(() => {
    const late = Date.now() - begunAt > fileMs || (open(eventsOf(events)) === ALL_ENDED && Date.now() - statSync(events).mtimeMs > DONE_MS);
    if (!late) return;
    clearInterval(look);
    telling = account(child, mark, place).then((text) => {
      hung = text;
      endGroup(child, mark);
    });
  }, LOOK_MS);
  const status = await ended;
  clearInterval(look);
  await telling;
  const behind = await leftBehind(child, mark);
  endGroup(child, mark);

  const parsed = eventsOf(events);
  const failures = parsed.filter((event) => event.type === 'failed');
  const counted = parsed.find((event) => event.type === 'counts');
  const counts = { passed: 0, failed: 0, skipped: 0, ...counted };
  const none = !parsed.some((event) => event.type === 'began');
  // An end that the counts do not explain (a crash, a file that hung or has no tests) is a failure of its own.
  if (counts.failed === 0 && (hung !== undefined || status !== 0 || none || !counted)) counts.failed = Math.max(1, failures.length);
  process.stdout.write('.'.repeat(counts.passed));
  if (counts.failed > 0) {
    const why =
      hung !== undefined ? `had not ended after ${Math.round((Date.now() - begunAt) / 1000)} s` : none ? 'has begun no test' : `${counts.failed} failed`;
    console.log(`\n✗ ${file}: ${why} (exit ${status})`);
    for (const { name, line, seconds: took, account: text } of failures) console.log(`  ✗ ${name} (line ${line}, ${took?.toFixed(1)} s)\n${indent(text)}`);
    if (!counted || hung) console.log(indent([open(parsed), hung].filter(Boolean).join('\n')));
    const text = readFileSync(said, 'utf8');
    if (text) console.log(indent(`it said:\n${text.slice(-MAX_SAID)}`));
  }
  if (behind.length > 0) console.log(`\n! ${file}: left running, and was ended with it:\n${indent(behind.join('\n'))}`);
  for (const one of [place, events, said]) remove(one);
  return counts;
}

/** Also what a killed process was writing; something mounted there, by a test that was ended, stays. */
function remove(path) {
  try {
    rmSync(path, { recursive: true, force: true, maxRetries: 5 });
  } catch (error) {
    console.log(`\n! ${path} could not be removed: ${error.message}`);
  }
}

const indent = (text) => text.replace(/^/gm, '    ');
const commands = (child, mark) => family(child, mark).map(({ command }) => command.slice(0, MAX_COMMAND));

/** What still runs of what a file has started, once it has had the time to end. */
async function leftBehind(child, mark) {
  for (const end = Date.now() + LEAVING_MS; ; await sleep(SOON_MS)) {
    const behind = commands(child, mark);
    if (behind.length === 0 || Date.now() > end) return behind;
  }
}

/**
 * What the reporter has written so far. The last line is empty, or cut off where the process was ended; a child that was given
 * its parent's flags has opened the file anew, and left a hole where others were.
 */
function eventsOf(file) {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  return lines.flatMap((text) => {
    try {
      return [JSON.parse(text)];
    } catch {
      return [];
    }
  });
}

const ALL_ENDED = 'each test that was begun has ended; something keeps the process alive, or has ended it';
/** Which tests had begun and not ended, or that all had. */
function open(events) {
  if (events.length === 0) return 'no test was begun';
  const names = new Set();
  for (const { type, name } of events) {
    if (type === 'began') names.add(name);
    if (type === 'ended') names.delete(name);
  }
  return names.size > 0 ? `not ended: ${[...names].at(-1)}` : ALL_ENDED;
}

/** What a process that hangs is doing, as Node itself tells it, and what runs beside it. */
async function account(child, mark, folder) {
  const runs = ['it runs:', ...commands(child, mark)];
  if (!WINDOWS) child.kill('SIGUSR2');
  for (const end = Date.now() + (WINDOWS ? 0 : REPORT_MS); Date.now() < end; await sleep(SOON_MS)) {
    try {
      const name = readdirSync(folder).find((entry) => entry.startsWith('report.')) ?? '';
      const { javascriptStack, libuv } = JSON.parse(readFileSync(join(folder, name), 'utf8'));
      const handles = libuv.filter(({ is_active, is_referenced }) => is_active && is_referenced).map((handle) => JSON.stringify(handle));
      return [...runs, 'stack:', ...(javascriptStack?.stack ?? []), 'open handles:', ...handles].join('\n');
    } catch {
      // Not there yet, or not whole.
    }
  }
  return [...runs, 'and does not say what it is doing'].join('\n');
}
