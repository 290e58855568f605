/** Outer keys that the gateway itself is given: the newest wraps, older ones still open what they wrapped. */
import { createHash, hkdfSync } from 'node:crypto';
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import { gcmOpen, gcmSeal, type KeyWrapper } from './envelope.ts';

const CONTEXT = 'countersign credential key';

/** @param keys 32 bytes each as 64 hex digits or in base64, newest first. @throws Problem `key` */
export function localKeys(keys: readonly Secret[]): KeyWrapper {
  const known = new Map<string, Buffer>();
  for (const key of keys) {
    const bytes = decode(key.reveal());
    // Not the key itself: whoever sees both uses in one store must not be able to relate them.
    const derived = Buffer.from(hkdfSync('sha256', bytes, 'countersign gateway 1', CONTEXT, 32));
    known.set(`local:${createHash('sha256').update(derived).digest('hex').slice(0, 16)}`, derived);
  }
  const [newest] = known;
  if (!newest) throw new Problem('key', 'The gateway has no key to seal credentials with.');
  const [name, outer] = newest;
  return {
    current: () => Promise.resolve(name),
    wrap: (key) => Promise.resolve({ kek: name, wrapped: gcmSeal(outer, `${CONTEXT} ${name}`, key) }),
    unwrap: async (kek, wrapped) => {
      const with_ = known.get(kek);
      if (!with_)
        throw new Problem(
          'not-opened',
          `A secret in the store was sealed with a key (${kek}) that this gateway does not have. Give it as an older key until secrets are rotated.`,
        );
      return gcmOpen(with_, `${CONTEXT} ${kek}`, wrapped);
    },
  };
}

function decode(text: string): Buffer {
  const bytes = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64');
  if (bytes.length !== 32) throw new Problem('key', 'A key for credentials must be 32 bytes as 64 hex digits or in base64: `openssl rand -hex 32` makes one.');
  return bytes;
}
