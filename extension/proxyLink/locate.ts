import { constants } from 'node:fs';
import { lstat, open } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { ProxyFile, stateFolder } from '../../contract/daemon.ts';
import { Problem } from '../../contract/problem.ts';
import { MAX_PROXY_FILE_BYTES, PROXY_FILE } from '../../contract/proxyFile.ts';

export function ourStateFolder(): string {
  return stateFolder({ platform: process.platform, env: process.env, home: homedir() });
}

/**
 * What the running proxy says of itself, or undefined where none has. On POSIX the file and its folder must be ours
 * alone to write: another user who could write here could send us to a socket of theirs.
 *
 * @throws Problem `state-folder` (not ours, or a link), `proxy-file` (unreadable)
 */
export async function readProxyFile(folder: string): Promise<ProxyFile | undefined> {
  const file = path.join(folder, PROXY_FILE);
  if (process.platform !== 'win32') await mustBeOurs(folder);
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
  } catch (cause) {
    if (code(cause) === 'ENOENT') return undefined;
    throw new Problem('proxy-file', `Countersign cannot read ${file} (${code(cause)}), so it cannot find its proxy. Check who owns the file.`, { cause });
  }
  try {
    const stat = await handle.stat();
    if (process.platform !== 'win32' && (stat.uid !== process.getuid?.() || (stat.mode & 0o022) !== 0)) {
      throw new Problem('state-folder', `${file} can be written by someone else, so Countersign does not trust it. Delete it and restart Countersign.`);
    }
    const buffer = Buffer.alloc(MAX_PROXY_FILE_BYTES);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return parse(buffer.toString('utf8', 0, bytesRead));
  } finally {
    await handle.close();
  }
}

/** A torn or foreign file counts as none: starting a proxy writes it anew. */
function parse(text: string): ProxyFile | undefined {
  try {
    const result = ProxyFile.safeParse(JSON.parse(text));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}

async function mustBeOurs(folder: string): Promise<void> {
  let stat: Awaited<ReturnType<typeof lstat>>;
  try {
    stat = await lstat(folder);
  } catch (cause) {
    if (code(cause) === 'ENOENT') return;
    throw new Problem('state-folder', `Countersign cannot look into ${folder} (${code(cause)}). Check its permissions.`, { cause });
  }
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o022) !== 0) {
    throw new Problem('state-folder', `${folder} must be a folder that only you can write. Mend its owner and mode (chmod 700), then restart Countersign.`);
  }
}

export function code(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}
