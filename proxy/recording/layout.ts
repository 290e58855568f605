/** Names in the recorder's folder; docs/recording.md says what is in each. */
import { closeSync, openSync } from 'node:fs';
import { mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FILE_MODE, FOLDER_MODE } from './chainFile.ts';

export const AUDIT_FILE = 'audit.jsonl';
export const SESSIONS_FOLDER = 'sessions';
export const LOCK_FILE = 'recorder.lock';
export const INDEX_FILE = 'index.sqlite';

/** Makes an empty file that only its owner can read, for SQLite, which would let others. */
export function makeFile(path: string): void {
  closeSync(openSync(path, 'a', FILE_MODE));
}

/** Makes a folder that only its owner can look into, and what is missing above it. One by one: the recursive form hides
 *  why it fails (ENOENT for a read-only file system). */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: FOLDER_MODE });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) {
      await makeFolder(dirname(path));
      await mkdir(path, { mode: FOLDER_MODE });
    } else if (code !== 'EEXIST' || !(await stat(path)).isDirectory()) throw cause;
  }
}

/** Puts a folder's names on disk. Windows does this with the file itself and cannot open folders. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
