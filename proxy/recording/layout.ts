/** Names in the recorder's folder; docs/recording.md says what is in each. */
import { mkdir, open } from 'node:fs/promises';
import { FOLDER_MODE } from './chainFile.ts';

export const AUDIT_FILE = 'audit.jsonl';
export const SESSIONS_FOLDER = 'sessions';
export const LOCK_FILE = 'recorder.lock';
export const INDEX_FILE = 'index.sqlite';

/** Makes a folder that only its owner can look into. */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true, mode: FOLDER_MODE });
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
