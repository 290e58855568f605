/** Where the proxy keeps what it keeps, and who may look there. */
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Machine, stateFolder } from '../../contract/daemon.ts';
import { Problem } from '../../contract/problem.ts';
import { PROXY_FILE } from '../../contract/proxyFile.ts';

/** Longest path of a Unix socket in bytes, without its closing zero: 104 on macOS and the BSDs, 108 on Linux. */
const MAX_SOCKET_PATH_BYTES = { darwin: 103, linux: 107 } as const;
const PRIVATE_FOLDER = 0o700;
const PRIVATE_FILE = 0o600;

export interface Paths {
  /** Everything that is kept. */
  readonly state: string;
  /** The user's own policy. */
  readonly userPolicy: string;
  /** Folder of the control socket; undefined on Windows, where a pipe needs none. */
  readonly runtime: string | undefined;
  /** Path of the control socket, or name of the pipe. */
  readonly socket: string;
  /** The same for the socket where agents' bridges ask for a login. */
  readonly agents: string;
  readonly proxyFile: string;
  readonly portsFile: string;
  readonly lockFile: string;
  readonly keyFile: string;
  readonly log: string;
  readonly recordings: string;
}

function thisMachine(): Machine {
  return { platform: process.platform, env: process.env, home: homedir() };
}

/**
 * Names every path and creates the folders, private to the user.
 * @throws `Problem` `state-folder` or `runtime-folder`, with a sentence, where a folder cannot be had or is not private.
 */
export function preparePaths(machine: Machine = thisMachine()): Paths {
  const state = stateFolder(machine);
  privateFolder(state, 'state-folder');
  const runtime = runtimeFolder(machine, state);
  const pipe = runtime === undefined ? pipeName(state) : '';
  if (runtime !== undefined) privateFolder(runtime, 'runtime-folder');
  return {
    state,
    userPolicy: userPolicyFile(machine, state),
    runtime,
    socket: runtime === undefined ? pipe : join(runtime, 'control.sock'),
    agents: runtime === undefined ? `${pipe}-agents` : join(runtime, 'agents.sock'),
    proxyFile: join(state, PROXY_FILE),
    portsFile: join(state, 'ports.json'),
    lockFile: join(state, 'proxy.lock'),
    keyFile: join(state, 'installation.key'),
    log: join(state, 'log', 'proxy.log'),
    recordings: join(state, 'recordings'),
  };
}

/** The user's policy file: in the configuration folder, or in `COUNTERSIGN_HOME` where that replaces it. */
export function userPolicyFile({ env, home, platform }: Machine, state: string): string {
  if (env.COUNTERSIGN_HOME) return join(state, 'countersign.yaml');
  if (platform === 'win32') return `${env.APPDATA || `${home}\\AppData\\Roaming`}\\Countersign\\countersign.yaml`;
  return join(env.XDG_CONFIG_HOME || join(home, '.config'), 'countersign', 'countersign.yaml');
}

/** Where the socket lives. Its path must fit into `sockaddr_un`, so a deep state folder falls back to a short one. */
export function runtimeFolder({ env, platform }: Machine, state: string): string | undefined {
  if (platform === 'win32') return undefined;
  const limit = platform === 'linux' ? MAX_SOCKET_PATH_BYTES.linux : MAX_SOCKET_PATH_BYTES.darwin;
  const fits = (folder: string): boolean => Buffer.byteLength(join(folder, 'control.sock')) <= limit;
  const preferred = env.XDG_RUNTIME_DIR && !env.COUNTERSIGN_HOME ? join(env.XDG_RUNTIME_DIR, 'countersign') : join(state, 'run');
  if (fits(preferred)) return preferred;
  // Named after the state folder, so that two installations of one user do not meet; owner and mode are checked.
  const name = `countersign-${process.getuid?.() ?? 0}-${createHash('sha256').update(state).digest('hex').slice(0, 12)}`;
  const short = join(tmpdir(), name);
  return fits(short) ? short : join('/tmp', name);
}

/** A pipe's name is visible to all, so it is not predictable: made once, kept where only the user reads. */
function pipeName(state: string): string {
  const file = join(state, 'pipe-name');
  try {
    writeFileSync(file, randomBytes(16).toString('hex'), { flag: 'wx', mode: PRIVATE_FILE });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw folderProblem('state-folder', state, cause);
  }
  const name = readFileSync(file, 'utf8').trim();
  if (!/^[0-9a-f]{32}$/.test(name)) throw new Problem('state-folder', `The file ${file} is damaged. Delete it, then start Countersign again.`);
  return `\\\\.\\pipe\\countersign-${name}`;
}

/** Creates a folder that only its owner can enter, or checks that the one there is such a folder and no link to another. */
function privateFolder(folder: string, code: 'state-folder' | 'runtime-folder'): void {
  try {
    makeFolder(folder);
    const stat = lstatSync(folder);
    if (!stat.isDirectory()) throw new Problem(code, `${folder} is not a folder (a link is not followed). Move it away, then start Countersign again.`);
    if (process.platform === 'win32') return; // The profile folder's access list keeps others out.
    if (stat.uid !== process.getuid?.()) {
      throw new Problem(
        code,
        `${folder} belongs to another user, who could read what Countersign keeps there. Remove it, or set COUNTERSIGN_HOME to another folder.`,
      );
    }
    if ((stat.mode & 0o077) !== 0) {
      throw new Problem(code, `${folder} can be opened by other users of this machine. Run "chmod 700 ${folder}", then start Countersign again.`);
    }
  } catch (cause) {
    throw cause instanceof Problem ? cause : folderProblem(code, folder, cause);
  }
}

/** Makes a folder and those above it. Not with `recursive`: where a file system makes no folders, that one never returns. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: PRIVATE_FOLDER });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    if (code !== 'ENOENT' || dirname(folder) === folder || existsSync(dirname(folder))) throw cause;
    makeFolder(dirname(folder));
    mkdirSync(folder, { mode: PRIVATE_FOLDER });
  }
}

function folderProblem(code: string, folder: string, cause: unknown): Problem {
  const reason = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
  return new Problem(
    code,
    `Countersign cannot write to ${folder} (${reason}), so it could keep no record and forwards nothing. Make the folder writable, or set COUNTERSIGN_HOME to another one.`,
    { cause },
  );
}
