/** An outer key that never leaves Vault or OpenBao: their transit engine wraps and unwraps. */
import { Problem } from '../../contract/problem.ts';
import type { KeyWrapper } from './envelope.ts';
import type { Vault } from './vault.ts';

/** @param mount where the engine is, usually `transit`. @param key its name there */
export function transitKeys(vault: Vault, mount: string, key: string): KeyWrapper {
  const name = (version: string): string => `transit:${mount}/${key}:${version}`;
  return {
    current: async () => {
      const { data } = await vault.request('GET', `${mount}/keys/${encodeURIComponent(key)}`);
      return name(`v${Number(data?.latest_version)}`);
    },
    wrap: async (plain) => {
      const { data } = await vault.request('POST', `${mount}/encrypt/${encodeURIComponent(key)}`, { plaintext: plain.toString('base64') });
      const ciphertext = data?.ciphertext;
      // `vault:v3:…`: the version that wrapped it.
      const version = typeof ciphertext === 'string' ? /^vault:(v\d+):/.exec(ciphertext)?.[1] : undefined;
      if (typeof ciphertext !== 'string' || version === undefined) throw new Problem('vault-refused', 'Vault’s transit engine answered without a ciphertext.');
      return { kek: name(version), wrapped: ciphertext };
    },
    unwrap: async (kek, wrapped) => {
      if (!kek.startsWith(`transit:${mount}/${key}:`))
        throw new Problem('not-opened', `A secret in the store was sealed with another key (${kek}) than the gateway is told to use.`);
      const { data } = await vault.request('POST', `${mount}/decrypt/${encodeURIComponent(key)}`, { ciphertext: wrapped });
      if (typeof data?.plaintext !== 'string') throw new Problem('vault-refused', 'Vault’s transit engine answered without a plaintext.');
      return Buffer.from(data.plaintext, 'base64');
    },
  };
}
