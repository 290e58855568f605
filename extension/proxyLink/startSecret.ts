import { randomBytes } from 'node:crypto';
import type { SecretStorage } from 'vscode';
import { SECRET_KEYS } from '../ids.ts';

const SECRET_BYTES = 32;
const SECRET = /^[0-9a-f]{64}$/;

/**
 * What opens the control channel: made once, kept in the editor's secret storage, handed to the proxy on its standard
 * input. Two windows that make it at once agree, because each uses what it reads back.
 */
export async function startSecret(secrets: SecretStorage): Promise<string> {
  const kept = await secrets.get(SECRET_KEYS.start);
  if (kept !== undefined && SECRET.test(kept)) return kept;
  const made = randomBytes(SECRET_BYTES).toString('hex');
  await secrets.store(SECRET_KEYS.start, made);
  return (await secrets.get(SECRET_KEYS.start)) ?? made;
}
