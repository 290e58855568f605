/** What makes this installation itself: its key, and the ids and digests that come of it. */
import { createHash, hash, randomBytes, randomFillSync } from 'node:crypto';
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
/** What is digested in one buffer, in bytes; more is digested as a stream. */
const MAX_SCRATCH_BYTES = 16_384;

/**
 * `Engine.digest`: SHA-256 over the key, alone in its block, and the parts, each behind its length and all behind theirs.
 * So no two lists of parts read the same, and none is the beginning of another, which is what a hash that begins with its
 * key needs to be as good as an HMAC (Bellare, Canetti, Krawczyk, "Pseudorandom functions revisited", 1996), at half its cost.
 */
export function digestWith(key: Secret): Engine['digest'] {
  const bytes = Buffer.from(key.reveal(), 'hex');
  if (bytes.length > BLOCK_BYTES) throw new Error('the key is longer than a block');
  const scratch = Buffer.alloc(BLOCK_BYTES + MAX_SCRATCH_BYTES);
  scratch.set(bytes);
  const block = Buffer.from(scratch.subarray(0, BLOCK_BYTES));
  return (parts) => {
    let at = BLOCK_BYTES + 8;
    for (const part of parts) {
      // UTF-8 takes at most three bytes for a UTF-16 unit.
      if (at + 4 + (part === null ? 0 : part.length * 3) > scratch.length) return streamed(block, parts);
      const from = at + 4;
      if (part === null) at = from;
      else if (typeof part === 'string') at = from + scratch.write(part, from, 'utf8');
      else {
        scratch.set(part, from);
        at = from + part.length;
      }
      scratch.writeUInt32BE(part === null ? NULL_LENGTH : at - from, from - 4);
    }
    scratch.writeDoubleBE(at - BLOCK_BYTES - 8, BLOCK_BYTES);
    return hash('sha256', scratch.subarray(0, at), 'hex') as Digest;
  };
}

function streamed(block: Uint8Array, parts: Parameters<Engine['digest']>[0]): Digest {
  const all = parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'utf8') : part));
  const total = Buffer.alloc(8);
  total.writeDoubleBE(all.reduce((sum, part) => sum + 4 + (part?.byteLength ?? 0), 0));
  const hashing = createHash('sha256').update(block).update(total);
  const length = Buffer.alloc(4);
  for (const part of all) {
    length.writeUInt32BE(part === null ? NULL_LENGTH : part.byteLength);
    hashing.update(length);
    if (part) hashing.update(part);
  }
  return hashing.digest('hex') as Digest;
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
