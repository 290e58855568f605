/**
 * How an extension finds the user's one proxy: the folder it keeps its state in, and the file there that says where it
 * listens. Pure, so that the proxy and the extension cannot disagree; each hands in what it knows of the machine.
 */
import { z } from 'zod';

/** What the paths depend on: `process.platform`, `process.env`, `os.homedir()`. */
export interface Machine {
  readonly platform: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
}

/** Absolute path of the state folder. `COUNTERSIGN_HOME` replaces it: for tests, and for a second, separate proxy. */
export function stateFolder(machine: Machine): string {
  const { env, home, platform } = machine;
  if (env.COUNTERSIGN_HOME) return env.COUNTERSIGN_HOME;
  if (platform === 'win32') return `${env.LOCALAPPDATA || `${home}\\AppData\\Local`}\\Countersign`;
  if (platform === 'darwin') return `${home}/Library/Application Support/Countersign`;
  return `${env.XDG_STATE_HOME || `${home}/.local/state`}/countersign`;
}

/** The user's own policy file: in the configuration folder, or in `COUNTERSIGN_HOME` where that replaces it. */
export function userPolicyFile(machine: Machine): string {
  const { env, home, platform } = machine;
  const slash = platform === 'win32' ? '\\' : '/';
  if (env.COUNTERSIGN_HOME) return `${env.COUNTERSIGN_HOME}${slash}countersign.yaml`;
  if (platform === 'win32') return `${env.APPDATA || `${home}\\AppData\\Roaming`}\\Countersign\\countersign.yaml`;
  return `${env.XDG_CONFIG_HOME || `${home}/.config`}/countersign/countersign.yaml`;
}

export const ProxyFile = z.object({
  pid: z.number().int().positive(),
  /** Version of the extension that started it. */
  version: z.string().max(60),
  controlVersion: z.number().int(),
  /** Path of the control socket, or name of the pipe on Windows. */
  socket: z.string().min(1).max(1000),
  /** The same for the socket where agents' bridges ask for a login. Nothing can be approved there. */
  agents: z.string().min(1).max(1000).optional(),
  /** Epoch milliseconds. */
  startedAt: z.number(),
});
export type ProxyFile = z.infer<typeof ProxyFile>;

/** What the extension writes on the proxy's standard input: one line of JSON, then it closes it. */
export const StartLine = z.object({ secret: z.string().min(32).max(256), extensionVersion: z.string().max(60) });
export type StartLine = z.infer<typeof StartLine>;
