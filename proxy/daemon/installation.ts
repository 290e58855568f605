/** What makes this installation itself: its key, and the ids and digests that come of it. */
import { createHmac, createSecretKey, hash, type KeyObject, randomBytes, randomFillSync } from 'node:crypto';
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

const BLOCK_BYTES = 64;
const DIGEST_BYTES = 32;
/** What is digested in one buffer, in bytes; more is digested as a stream. */
const MAX_SCRATCH_BYTES = 16_384;

/**
 * `Engine.digest`: HMAC-SHA-256 over the parts, each behind its length, so that no two lists of parts read the same.
 * Small ones, which almost all are, are put together from two plain hashes (RFC 2104): a `Hmac` costs more than they do.
 */
export function digestWith(key: Secret): Engine['digest'] {
  const bytes = Buffer.from(key.reveal(), 'hex');
  // Imported once: for every digest anew it would cost more than the digest.
  const imported = createSecretKey(bytes);
  const inner = Buffer.alloc(BLOCK_BYTES + MAX_SCRATCH_BYTES);
  const outer = Buffer.alloc(BLOCK_BYTES + DIGEST_BYTES);
  if (bytes.length > BLOCK_BYTES) throw new Error('the key is longer than a block');
  for (let i = 0; i < BLOCK_BYTES; i++) {
    inner[i] = (bytes[i] ?? 0) ^ 0x36;
    outer[i] = (bytes[i] ?? 0) ^ 0x5c;
  }
  return (parts) => {
    let at = BLOCK_BYTES;
    for (const part of parts) {
      // UTF-8 takes at most three bytes for a UTF-16 unit.
      if (at + 4 + (part === null ? 0 : part.length * 3) > inner.length) return streamed(imported, parts);
      const from = at + 4;
      if (part === null) at = from;
      else if (typeof part === 'string') at = from + inner.write(part, from, 'utf8');
      else {
        inner.set(part, from);
        at = from + part.length;
      }
      inner.writeUInt32BE(part === null ? NULL_LENGTH : at - from, from - 4);
    }
    outer.write(hash('sha256', inner.subarray(0, at), 'hex'), BLOCK_BYTES, 'hex');
    return hash('sha256', outer, 'hex') as Digest;
  };
}

function streamed(key: KeyObject, parts: Parameters<Engine['digest']>[0]): Digest {
  const hmac = createHmac('sha256', key);
  const length = Buffer.alloc(4);
  for (const part of parts) {
    const data = part === null ? null : typeof part === 'string' ? Buffer.from(part, 'utf8') : part;
    length.writeUInt32BE(data === null ? NULL_LENGTH : data.byteLength);
    hmac.update(length);
    if (data) hmac.update(data);
  }
  return hmac.digest('hex') as Digest;
}

/** Random bytes for ids that are to come: asking the generator for each costs more than everything else about an id. */
const pool = Buffer.alloc(256 * ID_BYTES);
let used = pool.length;

export function newId(prefix: Parameters<Engine['newId']>[0]): string {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  used += ID_BYTES;
  return `${prefix}_${pool.toString('base64url', used - ID_BYTES, used)}`;
}
