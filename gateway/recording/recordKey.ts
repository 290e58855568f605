/** The key that signs how far a chain of the audit had come: derived from the gateway's own, so that every replica has it. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { canonical } from '../../proxy/recording/canonical.ts';
import type { ChainHead } from '../../proxy/recording/chainFile.ts';
import { CHECKPOINT_DOMAIN, checkpointOf } from '../../proxy/recording/checkpoint.ts';
import type { Sealer } from '../sealed.ts';

/** PKCS #8 of an Ed25519 key (RFC 8410), up to its 32 bytes. */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** Signatures that are known again without a look at them, because they were made here: the ends of so many chains. */
const MAX_MADE = 1_000;

export interface RecordKey {
  /** The public key of that fingerprint, this one's or of one that it took the place of; this one's where neither is. */
  publicPem(fingerprint?: string): string;
  /** SHA-256 (hex) of the public key's SPKI form. */
  readonly fingerprint: string;
  /** The text of a checkpoint file over this place. */
  checkpoint(at: string, place: ChainHead): string;
  /** Fingerprint of the key that signed that text, where it is one of these. */
  signerOf(text: string): string | undefined;
  /** What place that text was signed over, by this key or one that it took the place of; undefined where neither did. */
  signedPlace(text: string): ChainHead | undefined;
}

/** The gateway's own. */
export function recordKeyOf(sealer: Sealer): RecordKey {
  return recordKey(sealer.derive('record signing'), sealer.derivedBefore('record signing'));
}

/** @param seed 32 bytes @param before seeds of the keys that it takes the place of */
export function recordKey(seed: Buffer, before: readonly Buffer[] = []): RecordKey {
  const older = before.map((one) => recordKey(one));
  const privateKey: KeyObject = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey);
  const fingerprint = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }) as Buffer)
    .digest('hex');
  const made = new Map<string, ChainHead>();
  const reading = (text: string): ChainHead | undefined => {
    const known = made.get(text);
    if (known) return known;
    const found = checkpointOf(text, publicKey);
    return found.state === 'good' ? found.checkpoint : undefined;
  };
  return {
    publicPem: (wanted) => older.find((one) => one.fingerprint === wanted)?.publicPem() ?? (publicKey.export({ type: 'spki', format: 'pem' }) as string),
    fingerprint,
    checkpoint: (at, { entries, head }) => {
      const said = { v: 1, at, entries, head, key: fingerprint } as const;
      const text = canonical({ ...said, signature: sign(null, Buffer.from(CHECKPOINT_DOMAIN + canonical(said)), privateKey).toString('base64') });
      made.set(text, { entries, head });
      for (const oldest of made.keys()) {
        if (made.size <= MAX_MADE) break;
        made.delete(oldest);
      }
      return text;
    },
    signerOf: (text) => (reading(text) ? fingerprint : older.map((one) => one.signerOf(text)).find((found) => found !== undefined)),
    signedPlace: (text) => reading(text) ?? older.map((one) => one.signedPlace(text)).find((place) => place !== undefined),
  };
}
