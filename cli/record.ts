/** What the commands that read the record share. */
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { stateFolder } from '../contract/daemon.ts';

export const RECORD_OPTIONS = { record: { type: 'string' } } as const;
export const RECORD_HELP = '--record FOLDER  read another folder than this user’s own record';

/** The proxy's folder of recordings, or the one that was asked for. */
export function recordFolder(asked: string | undefined, cwd: string): string {
  if (asked !== undefined) return resolve(cwd, asked);
  return join(stateFolder({ platform: process.platform, env: process.env, home: homedir() }), 'recordings');
}

/** A record holds what an agent sent: nothing in it may steer the terminal or pass for another line. */
export function plain(text: string): string {
  // Control characters, and the ones that turn the direction of writing or cannot be seen.
  return text.replaceAll(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\ufffd');
}
