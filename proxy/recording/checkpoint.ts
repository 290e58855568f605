/** Signed statements of how far the audit had come: who rewrites the audit must also hold the installation's key. */
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { RECORDING_VERSION } from '../../contract/recording.ts';
import { canonical } from './canonical.ts';
import { type ChainHead, FILE_MODE } from './chainFile.ts';

const KEY_FILE = 'signing-key.pem';
export const PUBLIC_KEY_FILE = 'signing-key.pub.pem';
export const CHECKPOINT_FILE = 'checkpoint.json';
/** Largest checkpoint or key that is read, in bytes. */
const MAX_FILE_BYTES = 16_384;
/** Keeps a signature from meaning anything elsewhere. */
export const CHECKPOINT_DOMAIN = 'countersign checkpoint 1\n';

const Checkpoint = z.object({
  v: z.literal(RECORDING_VERSION),
  at: z.string().max(40),
  /** Lines of the audit that it covers, and the hash of the last of them. */
  entries: z.number().int().nonnegative(),
  head: z.string().regex(/^[0-9a-f]{64}$/),
  /** Fingerprint of the key: SHA-256 (hex) of its SPKI form. */
  key: z.string().regex(/^[0-9a-f]{64}$/),
  signature: z.base64().max(200),
});
type Checkpoint = z.infer<typeof Checkpoint>;

export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly fingerprint: string;
}

/** The installation's Ed25519 key; made at the first start. */
export async function loadSigningKey(directory: string): Promise<SigningKey> {
  const pem = await readIfThere(join(directory, KEY_FILE));
  let privateKey: KeyObject;
  if (pem === undefined) {
    privateKey = generateKeyPairSync('ed25519').privateKey;
    await writeWhole(join(directory, KEY_FILE), privateKey.export({ type: 'pkcs8', format: 'pem' }) as string);
  } else privateKey = createPrivateKey(pem);
  const publicKey = createPublicKey(privateKey);
  await writeWhole(join(directory, PUBLIC_KEY_FILE), publicKey.export({ type: 'spki', format: 'pem' }) as string);
  return { privateKey, fingerprint: fingerprintOf(publicKey) };
}

export async function writeCheckpoint(directory: string, key: SigningKey, at: string, audit: ChainHead): Promise<void> {
  const said = { v: RECORDING_VERSION, at, entries: audit.entries, head: audit.head, key: key.fingerprint } as const;
  const signature = sign(null, Buffer.from(CHECKPOINT_DOMAIN + canonical(said)), key.privateKey).toString('base64');
  await writeWhole(join(directory, CHECKPOINT_FILE), canonical({ ...said, signature }));
}

/** How many lines of the audit a checkpoint covers, where it can be trusted. */
export function placeOf(reading: CheckpointReading): number | undefined {
  return reading.state === 'good' ? reading.checkpoint.entries : undefined;
}

export type CheckpointReading =
  | { readonly state: 'none' }
  | { readonly state: 'good'; readonly checkpoint: Checkpoint }
  | { readonly state: 'bad'; readonly why: string };

export async function readCheckpoint(directory: string, file = CHECKPOINT_FILE, keyFile = PUBLIC_KEY_FILE): Promise<CheckpointReading> {
  const text = await readIfThere(join(directory, file));
  if (text === undefined) return { state: 'none' };
  const pem = await readIfThere(join(directory, keyFile));
  if (pem === undefined) return { state: 'bad', why: `its public key, ${keyFile}, is missing` };
  return checkpointOf(text, pem);
}

/** @param key as PEM, or as it was read */
export function checkpointOf(text: string, key: string | KeyObject): CheckpointReading {
  try {
    const { signature, ...said } = Checkpoint.parse(JSON.parse(text));
    const publicKey = typeof key === 'string' ? createPublicKey(key) : key;
    if (said.key !== fingerprintOf(publicKey)) return { state: 'bad', why: 'it was signed with another key than this installation’s' };
    if (!verify(null, Buffer.from(CHECKPOINT_DOMAIN + canonical(said)), publicKey, Buffer.from(signature, 'base64')))
      return { state: 'bad', why: 'its signature does not hold' };
    return { state: 'good', checkpoint: { ...said, signature } };
  } catch {
    return { state: 'bad', why: 'it is not a checkpoint' };
  }
}

function fingerprintOf(publicKey: KeyObject): string {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }) as Buffer)
    .digest('hex');
}

/** All or nothing, on disk when it resolves. */
async function writeWhole(path: string, text: string): Promise<void> {
  const next = `${path}.next`;
  const file = await open(next, 'w', FILE_MODE);
  try {
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(next, path);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > MAX_FILE_BYTES) throw new Error(`${path} is larger than ${MAX_FILE_BYTES} bytes`);
    return bytes.toString('utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}
