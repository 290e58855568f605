/** One proxy per user: whoever holds the lock is it. */
import { DatabaseSync } from 'node:sqlite';
import { Problem } from '../../contract/problem.ts';

/** SQLite's result code for a lock that another process holds. */
const SQLITE_BUSY = 5;
/** Two that take the lock in the same moment can block each other for an instant: then one of them tries again. */
const LOCK_TIMEOUT_MS = 250;

export interface Lock {
  release(): void;
}

/**
 * Takes the user's lock for the life of this process; undefined where another live process has it.
 *
 * A file lock of the operating system, taken through SQLite since Node offers none: unlike a file that holds a process id
 * it is freed by the kernel when its owner dies, however that happens, so there is no stale lock to judge and two that
 * start at once cannot both win.
 * @throws `Problem` `state-folder` where the file system cannot lock.
 */
export function takeLock(file: string): Lock | undefined {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { timeout: LOCK_TIMEOUT_MS });
    database.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    database?.close();
    if ((cause as { errcode?: number }).errcode === SQLITE_BUSY) return undefined;
    throw new Problem(
      'state-folder',
      `Countersign cannot lock ${file}, so it cannot tell whether another proxy runs. Make its folder writable and put it on a local disk, or set COUNTERSIGN_HOME to another one.`,
      { cause },
    );
  }
  const held = database;
  return { release: () => held.close() };
}
