/**
 * Reads and replaces an agent's configuration file. The file is what a person (or an agent) put there, so nothing about
 * it is taken on trust: no links, no way out of the folder it belongs to, no huge or foreign file; and it is replaced as a
 * whole, only if it still holds what was read.
 */
import { createHash, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { Problem } from '../../contract/problem.ts';
import { code } from '../proxyLink/locate.ts';

/** Largest configuration file, in bytes. Claude Code keeps its history in `~/.claude.json`. */
const MAX_BYTES = 16 * 1024 * 1024;
const BOM = '\uFEFF';

export interface ConfigText {
  readonly bytes: Buffer;
  /** Without the byte-order mark. */
  readonly text: string;
}

/** @param root the folder that the file must stay in, links resolved; undefined for files of the person's own.
 * @returns undefined where there is none. @throws Problem `config-file`, with a sentence */
export async function readConfig(path: string, root: string | undefined): Promise<ConfigText | undefined> {
  if (root !== undefined && !(await isInside(path, root))) throw refuse(path, 'it leads out of the workspace.');
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes(code(cause))) return undefined;
    throw refuse(path, code(cause) === 'ELOOP' ? 'it is a link. Protect the file that it leads to by hand.' : `it cannot be opened (${code(cause)}).`, cause);
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw refuse(path, 'it is not a plain file.');
    if (process.platform !== 'win32' && stat.uid !== process.getuid?.()) throw refuse(path, 'it belongs to someone else.');
    if (stat.size > MAX_BYTES) throw refuse(path, `it is larger than ${MAX_BYTES / 1024 / 1024} MB.`);
    const bytes = await handle.readFile();
    if (bytes.length > MAX_BYTES) throw refuse(path, `it is larger than ${MAX_BYTES / 1024 / 1024} MB.`);
    return { bytes, text: decodeText(bytes, path) };
  } finally {
    await handle.close();
  }
}

export function encodeText(text: string, like: ConfigText): Buffer {
  return Buffer.from((like.bytes.subarray(0, 3).toString('utf8') === BOM ? BOM : '') + text, 'utf8');
}

/** Replaces the file, if it still is what was read. @throws Problem `config-changed`, `config-file` */
export async function replaceConfig(path: string, root: string | undefined, read: ConfigText, bytes: Buffer): Promise<void> {
  const stat = await lstat(path).catch((cause: unknown) => {
    throw refuse(path, `it cannot be read any more (${code(cause)}).`, cause);
  });
  if (!stat.isFile()) throw refuse(path, 'it is a link now.');
  // Another name of the same file would keep what is to be taken out of it.
  if (stat.nlink > 1) throw refuse(path, 'it has a second name (a hard link).');
  const next = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    const handle = await open(next, 'wx', stat.mode & 0o777);
    try {
      await handle.writeFile(bytes);
      await handle.chmod(stat.mode & 0o777);
      await handle.sync();
    } finally {
      await handle.close();
    }
    const now = await readConfig(path, root);
    if (now === undefined || !now.bytes.equals(read.bytes)) throw new Problem('config-changed', `${path} was changed by something else just now.`);
    await rename(next, path);
  } catch (cause) {
    await rm(next, { force: true });
    throw cause instanceof Problem ? cause : refuse(path, `it cannot be written (${code(cause)}).`, cause);
  }
}

export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function isInside(path: string, root: string): Promise<boolean> {
  try {
    const [folder, top] = await Promise.all([realpath(dirname(path)), realpath(root)]);
    const way = relative(top, folder);
    return way === '' || (way !== '..' && !way.startsWith(`..${sep}`) && !/^([A-Za-z]:|[\\/])/.test(way));
  } catch (cause) {
    // A folder that is not there holds no file: reading it says so.
    return ['ENOENT', 'ENOTDIR'].includes(code(cause));
  }
}

function decodeText(bytes: Buffer, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw refuse(path, 'it is not UTF-8 text.');
  }
}

function refuse(path: string, why: string, cause?: unknown): Problem {
  return new Problem('config-file', `Countersign does not touch ${path}: ${why}`, { cause });
}
