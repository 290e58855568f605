/** What makes this installation itself: its key, and the ids and digests that come of it. */
import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { Digest } from '../../contract/ids.ts';
import { Problem } from '../../contract/problem.ts';
import { Secret } from '../../contract/secret.ts';
import type { Engine } from '../pipeline/engine.ts';
import { readSmallFile } from './privateFile.ts';

const KEY_BYTES = 32;
const MAX_KEY_FILE_BYTES = 256;
/** 128 random bits: nobody guesses an id. */
const ID_BYTES = 16;
const NULL_LENGTH = 0xff_ff_ff_ff;

/** Reads the installation's key; makes it on the first start. */
export function installationKey(file: string): Secret {
  try {
    writeFileSync(file, randomBytes(KEY_BYTES).toString('hex'), { flag: 'wx', mode: 0o600, flush: true });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
  }
  const text = readSmallFile(file, MAX_KEY_FILE_BYTES)?.trim() ?? '';
  if (!/^[0-9a-f]{64}$/.test(text)) {
    throw new Problem(
      'installation-key',
      `The file ${file} is damaged. Move it away, then start Countersign again; digests in older records cannot be compared with newer ones then.`,
    );
  }
  return new Secret(text);
}

/** `Engine.digest`: HMAC-SHA-256 over the parts, each behind its length, so that no two lists of parts read the same. */
export function digestWith(key: Secret): Engine['digest'] {
  // Imported once: for every digest anew it would cost more than the digest.
  const imported = createSecretKey(key.reveal(), 'hex');
  return (parts) => {
    const hmac = createHmac('sha256', imported);
    const length = Buffer.alloc(4);
    for (const part of parts) {
      const data = part === null ? null : typeof part === 'string' ? Buffer.from(part, 'utf8') : part;
      length.writeUInt32BE(data === null ? NULL_LENGTH : data.byteLength);
      hmac.update(length);
      if (data) hmac.update(data);
    }
    return hmac.digest('hex') as Digest;
  };
}

export function newId(prefix: Parameters<Engine['newId']>[0]): string {
  return `${prefix}_${randomBytes(ID_BYTES).toString('base64url')}`;
}
