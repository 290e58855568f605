/**
 * The organisation's policy on disk, with the keys that it is believed by: one file in the state folder, under a MAC whose key
 * comes of the start-up secret. Whoever writes to the folder without that secret can spoil it, not forge it.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { rmSync } from 'node:fs';
import { z } from 'zod';
import { MAX_LAPTOP_POLICY_BYTES, PolicyKeys, SignedPolicy } from '../../contract/gateway/policy.ts';
import type { Secret } from '../../contract/secret.ts';
import { readSmallFile, writePrivateFile } from '../daemon/privateFile.ts';

const KeptPolicy = z.object({
  v: z.literal(1),
  /** The gateway, as the editor names it. */
  url: z.string(),
  /** The sign-in under which the keys were believed last. */
  basis: z.string(),
  keys: PolicyKeys.shape.keys,
  /** The highest version that was ever in force under these keys. */
  seen: z.number().int().nonnegative(),
  policy: SignedPolicy.nullable(),
});
export type KeptPolicy = z.infer<typeof KeptPolicy>;

export class OrganisationFile {
  readonly path: string;
  readonly #key: Buffer;

  constructor(path: string, secret: Secret) {
    this.path = path;
    this.#key = createHmac('sha256', secret.reveal()).update('countersign organisation policy file 1').digest();
  }

  load(): { readonly state: 'read'; readonly kept: KeptPolicy } | { readonly state: 'missing' | 'spoilt' } {
    try {
      const text = readSmallFile(this.path, MAX_LAPTOP_POLICY_BYTES);
      if (text === undefined) return { state: 'missing' };
      const cut = text.indexOf('\n');
      const mac = Buffer.from(text.slice(0, Math.max(cut, 0)), 'hex');
      const wanted = this.#mac(text.slice(cut + 1));
      if (mac.length !== wanted.length || !timingSafeEqual(mac, wanted)) return { state: 'spoilt' };
      return { state: 'read', kept: KeptPolicy.parse(JSON.parse(text.slice(cut + 1))) };
    } catch {
      return { state: 'spoilt' };
    }
  }

  /** @throws where it cannot be written */
  save(kept: KeptPolicy): void {
    const body = JSON.stringify(kept);
    writePrivateFile(this.path, `${this.#mac(body).toString('hex')}\n${body}`);
  }

  forget(): void {
    rmSync(this.path, { force: true });
  }

  #mac(body: string): Buffer {
    return createHmac('sha256', this.#key).update(body).digest();
  }
}
