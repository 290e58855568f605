/**
 * Secrets at rest: each is sealed with a key of its own (AES-256-GCM), and that key is wrapped by one that is not in the
 * store: the gateway's, or one that never leaves Vault or OpenBao. Changing the outer key re-wraps, and touches no secret.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Problem } from '../../contract/problem.ts';
import { Secret } from '../../contract/secret.ts';

const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** What wraps the keys of secrets. */
export interface KeyWrapper {
  /** Wraps under the newest key. `kek` names it, for `unwrap` and for knowing what is to be wrapped anew. */
  wrap(key: Buffer): Promise<{ readonly kek: string; readonly wrapped: string }>;
  /** @throws Problem `not-opened` where it has no such key, `kms-away` where it cannot be asked */
  unwrap(kek: string, wrapped: string): Promise<Buffer>;
  /** Names the newest key. */
  current(): Promise<string>;
}

export interface Envelope {
  readonly kek: string;
  readonly wrapped: string;
  readonly sealed: string;
}

/** @param context what the secret is, such as its name: one that was moved to another name does not open there */
export async function sealEnvelope(wrapper: KeyWrapper, context: string, secret: Secret): Promise<Envelope> {
  const key = randomBytes(KEY_BYTES);
  try {
    return { ...(await wrapper.wrap(key)), sealed: gcmSeal(key, context, Buffer.from(secret.reveal())) };
  } finally {
    key.fill(0);
  }
}

/** @throws Problem as `unwrap` */
export async function openEnvelope(wrapper: KeyWrapper, context: string, { kek, sealed, wrapped }: Envelope): Promise<Secret> {
  const key = await wrapper.unwrap(kek, wrapped);
  try {
    return new Secret(gcmOpen(key, context, sealed).toString('utf8'));
  } finally {
    key.fill(0);
  }
}

/** The same secret under the newest outer key. */
export async function rewrapEnvelope(wrapper: KeyWrapper, envelope: Envelope): Promise<Envelope> {
  const key = await wrapper.unwrap(envelope.kek, envelope.wrapped);
  try {
    return { ...(await wrapper.wrap(key)), sealed: envelope.sealed };
  } finally {
    key.fill(0);
  }
}

export function gcmSeal(key: Buffer, context: string, plain: Buffer): string {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv).setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  return `1.${Buffer.concat([iv, body, cipher.getAuthTag()]).toString('base64url')}`;
}

/** @throws Problem `not-opened` */
export function gcmOpen(key: Buffer, context: string, sealed: string): Buffer {
  try {
    const bytes = Buffer.from(sealed.slice(2), 'base64url');
    if (!sealed.startsWith('1.') || bytes.length < IV_BYTES + TAG_BYTES) throw new Error('unknown form');
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES }).setAAD(Buffer.from(context));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]);
  } catch (cause) {
    throw new Problem('not-opened', 'A secret in the store cannot be opened: it was changed, or sealed with another key than this gateway has.', { cause });
  }
}
