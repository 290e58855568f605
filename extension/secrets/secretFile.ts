/** A file of secrets, read once: for set-ups that cannot type. Needs no editor. */
import { constants } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import { code } from '../proxyLink/locate.ts';

/** Largest file of secrets, in bytes. */
export const MAX_SECRET_FILE_BYTES = 65_536;
const SecretFile = z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/), z.string().min(1).max(16_384));

/**
 * Name → value. A file that others could read or have planted is refused: not owned by the person, open to group or
 * others (POSIX), a link, or anything but a plain file.
 *
 * @throws Problem `secret-file`
 */
export async function readSecretFile(path: string): Promise<Record<string, string>> {
  const refuse = (why: string, cause?: unknown): Problem => new Problem('secret-file', `Countersign does not read the secrets in ${path}: ${why}`, { cause });
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0));
  } catch (cause) {
    const why = code(cause) === 'ELOOP' ? 'it is a link. Give the file itself.' : `it cannot be opened (${code(cause)}).`;
    throw refuse(why, cause);
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw refuse('it is not a plain file.');
    if (process.platform !== 'win32') {
      if (stat.uid !== process.getuid?.()) throw refuse('it belongs to someone else.');
      if ((stat.mode & 0o077) !== 0) throw refuse('others on this machine can read it. Run chmod 600 on it, and change the secrets if it lay open for long.');
    }
    if (stat.size > MAX_SECRET_FILE_BYTES) throw refuse(`it is larger than ${MAX_SECRET_FILE_BYTES} bytes.`);
    const buffer = Buffer.alloc(MAX_SECRET_FILE_BYTES + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    if (bytesRead > MAX_SECRET_FILE_BYTES) throw refuse(`it is larger than ${MAX_SECRET_FILE_BYTES} bytes.`);
    // Neither error below may quote the text: it holds secrets.
    let parsed: unknown;
    try {
      parsed = JSON.parse(buffer.toString('utf8', 0, bytesRead));
    } catch {
      throw refuse('it is not JSON.');
    }
    const secrets = SecretFile.safeParse(parsed);
    if (!secrets.success) throw refuse('it must be one JSON object of names and text values, such as {"orders": "…"}.');
    return secrets.data;
  } finally {
    await handle.close();
  }
}

export async function deleteSecretFile(path: string): Promise<void> {
  await rm(path, { force: true });
}
