/**
 * Accepted definitions on disk: one file in the state folder, under a MAC whose key comes of the start-up secret. Whoever writes
 * to the folder without that secret can spoil the file, not forge it; a spoilt one is trusted in nothing.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { PinKind } from '../../contract/pins.ts';
import type { Secret } from '../../contract/secret.ts';
import { readSmallFile, writePrivateFile } from '../daemon/privateFile.ts';

/** Largest file, in bytes. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

const Pinned = z.object({
  kind: PinKind,
  name: z.string(),
  hash: z.string(),
  text: z.string(),
  /** Epoch milliseconds. */
  at: z.number(),
  by: z.enum(['first-use', 'person']),
});
export type Pinned = z.infer<typeof Pinned>;

const Contents = z.object({
  v: z.literal(1),
  /** Set for good once the file was found spoilt: no server is trusted on first use any more. */
  distrust: z.boolean(),
  connections: z.record(
    z.string(),
    z.object({
      since: z.number(),
      kinds: z.array(PinKind),
      pinned: z.array(Pinned),
      rejected: z.array(z.object({ kind: PinKind, name: z.string(), hash: z.string() })),
    }),
  ),
});
export type Contents = z.infer<typeof Contents>;

export const NOTHING_PINNED: Contents = { v: 1, distrust: false, connections: {} };

export type Loaded = { readonly state: 'read'; readonly contents: Contents } | { readonly state: 'missing' } | { readonly state: 'spoilt' };

export interface PinStorage {
  load(): Loaded;
  /** @throws where it cannot be written */
  save(contents: Contents): void;
}

export class PinFile implements PinStorage {
  readonly #path: string;
  readonly #key: Buffer;

  constructor(path: string, secret: Secret) {
    this.#path = path;
    this.#key = createHmac('sha256', secret.reveal()).update('countersign mcp pins 1').digest();
  }

  load(): Loaded {
    let text: string | undefined;
    try {
      text = readSmallFile(this.#path, MAX_FILE_BYTES);
    } catch {
      return { state: 'spoilt' };
    }
    if (text === undefined) return { state: 'missing' };
    const cut = text.indexOf('\n');
    const mac = Buffer.from(text.slice(0, Math.max(cut, 0)), 'hex');
    const body = text.slice(cut + 1);
    const wanted = this.#mac(body);
    if (mac.length !== wanted.length || !timingSafeEqual(mac, wanted)) return { state: 'spoilt' };
    try {
      return { state: 'read', contents: Contents.parse(JSON.parse(body)) };
    } catch {
      return { state: 'spoilt' };
    }
  }

  save(contents: Contents): void {
    const body = JSON.stringify(contents);
    writePrivateFile(this.#path, `${this.#mac(body).toString('hex')}\n${body}`);
  }

  #mac(body: string): Buffer {
    return createHmac('sha256', this.#key).update(body).digest();
  }
}
