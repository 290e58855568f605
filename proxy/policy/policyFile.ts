/** Reads one policy file, whole and checked, or says why not. */
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { MAX_POLICY_CHARS } from './yamlText.ts';

/** UTF-8 takes at most three bytes a UTF-16 unit. */
const MAX_POLICY_BYTES = 3 * MAX_POLICY_CHARS;
// Opening a named pipe must not wait for a writer. Windows has neither.
const FLAGS = constants.O_RDONLY | (process.platform === 'win32' ? 0 : constants.O_NONBLOCK);

export type PolicyFileRead =
  | { readonly state: 'read'; readonly text: string; readonly stamp: string }
  | { readonly state: 'missing'; readonly stamp: string }
  /** `why` is a sentence: what happened and what to do. */
  | { readonly state: 'failed'; readonly why: string; readonly stamp: string };

const MISSING = new Set(['ENOENT', 'ENOTDIR']);

export async function readPolicyFile(path: string): Promise<PolicyFileRead> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, FLAGS);
    const stats = await file.stat();
    const stamp = stampOf(stats);
    if (!stats.isFile()) return { state: 'failed', stamp, why: 'This is not a file. Put the policy there, or remove what is there.' };
    if (stats.size > MAX_POLICY_BYTES) {
      return { state: 'failed', stamp, why: `This policy file is larger than ${MAX_POLICY_BYTES / 1024} KiB, so it was not read. Shorten it.` };
    }
    // The file may grow while it is read: never more than one byte past the cap.
    const buffer = Buffer.alloc(Math.min(stats.size, MAX_POLICY_BYTES) + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
      length += bytesRead;
      if (bytesRead === 0 || length === buffer.length) break;
    }
    // It changed under the reader: its new stamp brings it back.
    if (length > stats.size) return { state: 'failed', stamp: '', why: 'This policy file is being written. It is read again by itself.' };
    try {
      return { state: 'read', stamp, text: new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length)) };
    } catch {
      return { state: 'failed', stamp, why: 'This policy file is not UTF-8 text. Save it as UTF-8.' };
    }
  } catch (cause) {
    const code = typeof cause === 'object' && cause !== null && 'code' in cause ? String(cause.code) : 'unknown';
    if (MISSING.has(code)) return { state: 'missing', stamp: 'missing' };
    const why =
      code === 'EACCES' || code === 'EPERM'
        ? 'This policy file may not be read. Give yourself permission to read it.'
        : `This policy file could not be read (${code}). Check the file and its disk.`;
    return { state: 'failed', why, stamp: code };
  } finally {
    await file?.close().catch(() => undefined);
  }
}

/** Differs whenever a file was written or replaced. */
function stampOf({ ino, size, mtimeMs, ctimeMs, mode }: Stats): string {
  return `${ino}:${size}:${mtimeMs}:${ctimeMs}:${mode}`;
}
