/** What a child process is started with: a small environment, and on Windows a command line that survives `cmd.exe`. */
import { existsSync } from 'node:fs';
import { delimiter, extname, join } from 'node:path';

/** Variables that programs need to run at all. Everything else, secrets of the proxy's among it, stays here. */
const INHERITED =
  process.platform === 'win32'
    ? [
        'APPDATA',
        'COMSPEC',
        'HOMEDRIVE',
        'HOMEPATH',
        'LOCALAPPDATA',
        'PATH',
        'PATHEXT',
        'PROCESSOR_ARCHITECTURE',
        'PROGRAMDATA',
        'PROGRAMFILES',
        'SYSTEMDRIVE',
        'SYSTEMROOT',
        'TEMP',
        'TMP',
        'USERNAME',
        'USERPROFILE',
      ]
    : [
        'HOME',
        'LANG',
        'LC_ALL',
        'LC_CTYPE',
        'LOGNAME',
        'PATH',
        'SHELL',
        'TERM',
        'TMPDIR',
        'TZ',
        'USER',
        'XDG_CACHE_HOME',
        'XDG_CONFIG_HOME',
        'XDG_DATA_HOME',
        'XDG_RUNTIME_DIR',
      ];

export function inheritedEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const out: Record<string, string> = {};
  for (const [name, value] of Object.entries(env))
    if (value !== undefined && INHERITED.includes(process.platform === 'win32' ? name.toUpperCase() : name)) out[name] = value;
  return out;
}

export interface Launchable {
  readonly file: string;
  readonly args: readonly string[];
  /** The arguments are a command line already and must not be quoted again. */
  readonly verbatim: boolean;
}

export function launchable(
  command: readonly string[],
  platform: NodeJS.Platform = process.platform,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Launchable {
  const [file = '', ...args] = command;
  if (platform !== 'win32') return { file, args, verbatim: false };
  const found = findOnWindows(file, env) ?? file;
  if (!/\.(?:cmd|bat)$/i.test(found)) return { file: found, args, verbatim: false };
  // A batch file runs in cmd.exe, which reads its line twice: each argument is quoted for the program, then for cmd.exe.
  const line = [escapeForCmd(found.replaceAll('/', '\\')), ...args.map((arg) => escapeForCmd(escapeForCmd(quoteArgument(arg))))].join(' ');
  return { file: env.COMSPEC ?? 'cmd.exe', args: ['/d', '/s', '/c', `"${line}"`], verbatim: true };
}

function findOnWindows(file: string, env: Readonly<Record<string, string | undefined>>): string | undefined {
  const endings = extname(file) === '' ? (env.PATHEXT ?? '.EXE;.CMD;.BAT').split(';') : [''];
  const folders = /[\\/]/.test(file) ? [''] : (env.PATH ?? env.Path ?? '').split(delimiter);
  for (const folder of folders) {
    for (const ending of endings) {
      const path = folder === '' ? file + ending : join(folder, file + ending);
      if (existsSync(path)) return path;
    }
  }
  return undefined;
}

/** One argument by the rules of the C runtime. */
function quoteArgument(argument: string): string {
  return `"${argument.replace(/(\\*)"/g, '$1$1\\"').replace(/(\\*)$/, '$1$1')}"`;
}

/** Nothing in it means anything to cmd.exe. */
function escapeForCmd(text: string): string {
  return text.replace(/[()\][%!^"`<>&|;, *?]/g, '^$&');
}
