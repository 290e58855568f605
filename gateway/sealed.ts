/** What must lie in the store and must not be readable there: sealed with a key that never is in the store. */
import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Problem } from '../contract/problem.ts';
import { Secret } from '../contract/secret.ts';
import { readSmallFile } from '../proxy/daemon/privateFile.ts';
import { type Env, type GatewayConfig, readSecret } from './config/load.ts';

const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const MAX_KEY_FILE_BYTES = 4_096;

export interface Sealer {
  /** @param use what it is for: text sealed for one use cannot be opened as another */
  seal(use: string, text: string): string;
  /** Also what a key of before sealed. @throws `Problem` `not-opened` */
  open(use: string, sealed: string): Secret;
  /** The same under the newest key, where it is under an older one. @throws `Problem` `not-opened` */
  renew(use: string, sealed: string): string | undefined;
  /** 32 bytes for one use, the same in every replica. */
  derive(use: string): Buffer;
  /** What `derive` gave under the keys of before. */
  derivedBefore(use: string): readonly Buffer[];
}

/** Where the key is kept that is made for the embedded store. */
export function keyFile(config: GatewayConfig): string {
  return join(config.data, 'gateway.key');
}

/** The master key: from where the configuration says; on one machine, from a file that is made at the first start. */
export function masterKey(config: GatewayConfig, env: Env): Secret {
  if (config.key !== undefined) {
    const key = readSecret(config.key, env);
    if (decode(key.reveal())) return key;
    throw new Problem('key', 'The gateway’s key must be 32 bytes as 64 hex digits or in base64: `openssl rand -hex 32` makes one.');
  }
  if (config.database.kind !== 'embedded') {
    throw new Problem(
      'key',
      'Gateways that share a store must share a key, which the store does not hold. Say where it is: `key: env:NAME` or `key: file:/path`.',
    );
  }
  mkdirSync(config.data, { recursive: true, mode: 0o700 });
  const file = keyFile(config);
  try {
    writeFileSync(file, `${randomBytes(KEY_BYTES).toString('hex')}\n`, { flag: 'wx', mode: 0o600, flush: true });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
  }
  const text = readSmallFile(file, MAX_KEY_FILE_BYTES)?.trim() ?? '';
  if (!decode(text))
    throw new Problem(
      'key',
      `The file ${file} is damaged: it must hold 64 hex digits. Put it back from a copy; without it what is sealed in the store is lost.`,
    );
  return new Secret(text);
}

/** Keys that the master key took the place of: they open what they sealed, and seal nothing. */
export function oldMasterKeys(config: GatewayConfig, env: Env): Secret[] {
  return config.oldKeys.map((place) => {
    const key = readSecret(place, env);
    if (decode(key.reveal())) return key;
    throw new Problem('key', 'Each of `oldKeys` must be 32 bytes as 64 hex digits or in base64, as `key` was.');
  });
}

/** @param before keys that `key` took the place of */
export function sealerWith(key: Secret, before: readonly Secret[] = []): Sealer {
  const newest = sealerOf(key);
  const older = before.map(sealerOf);
  return {
    derive: (use) => newest.derive(use),
    derivedBefore: (use) => older.map((one) => one.derive(use)),
    seal: (use, text) => newest.seal(use, text),
    open: (use, sealed) => {
      const [opened] = [newest, ...older].flatMap((one) => one.open(use, sealed) ?? []);
      if (opened) return opened;
      throw new Problem(
        'not-opened',
        'Something in the store was sealed with another key than this gateway has. Start it with the key that the others have; where `key` was changed, name the one before in `oldKeys`.',
      );
    },
    renew(use, sealed) {
      return newest.open(use, sealed) ? undefined : newest.seal(use, this.open(use, sealed).reveal());
    },
  };
}

interface OneKey {
  derive(use: string): Buffer;
  seal(use: string, text: string): string;
  open(use: string, sealed: string): Secret | undefined;
}

function sealerOf(key: Secret): OneKey {
  const master = decode(key.reveal());
  if (!master) throw new Problem('key', 'The gateway’s key must be 32 bytes.');
  const derived = new Map<string, Buffer>();
  const derive = (use: string): Buffer => {
    let bytes = derived.get(use);
    if (!bytes) {
      bytes = Buffer.from(hkdfSync('sha256', master, 'countersign gateway 1', use, KEY_BYTES));
      derived.set(use, bytes);
    }
    return bytes;
  };
  return {
    derive,
    seal(use, text) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv('aes-256-gcm', derive(`seal ${use}`), iv).setAAD(Buffer.from(use));
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return `1.${Buffer.concat([iv, body, cipher.getAuthTag()]).toString('base64url')}`;
    },
    open(use, sealed) {
      try {
        if (!sealed.startsWith('1.')) throw new Error('unknown form');
        const bytes = Buffer.from(sealed.slice(2), 'base64url');
        const decipher = createDecipheriv('aes-256-gcm', derive(`seal ${use}`), bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES }).setAAD(
          Buffer.from(use),
        );
        decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
        return new Secret(Buffer.concat([decipher.update(bytes.subarray(IV_BYTES, -TAG_BYTES)), decipher.final()]).toString('utf8'));
      } catch {
        return undefined;
      }
    },
  };
}

function decode(text: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === KEY_BYTES ? bytes : undefined;
}

/** For what is looked up by a secret that someone else holds: the store keeps this, not the secret. */
export function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('base64url');
}

/** An unguessable word: 256 bits. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}
