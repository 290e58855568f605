/** One recorder a folder. The lock is the operating system's, through SQLite, so a process that dies lets go of it. */
import { DatabaseSync } from 'node:sqlite';
import { Problem } from '../../contract/problem.ts';
import { makeFile } from './layout.ts';

/** @param path a file of its own, empty for ever. @throws Problem `recorder-in-use`. */
export function takeOwnership(path: string): { release(): void } {
  makeFile(path);
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    // SQLITE_BUSY
    if ((cause as { errcode?: number }).errcode === 5) {
      throw new Problem('recorder-in-use', `Another Countersign proxy is writing records to the same folder. Close it, then restart Countersign.`, { cause });
    }
    throw cause;
  }
  return { release: () => database.close() };
}
