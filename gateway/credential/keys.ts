/** What credentials are sealed with, as the configuration says. */
import { type Env, type GatewayConfig, readSecret } from '../config/load.ts';
import { masterKey } from '../sealed.ts';
import type { KeyWrapper } from './envelope.ts';
import { localKeys } from './localKeys.ts';
import { transitKeys } from './transitKeys.ts';
import { Vault } from './vault.ts';

export function vaultOf({ vault }: GatewayConfig, env: Env): Vault | undefined {
  if (!vault) return undefined;
  const { address, namespace, token } = vault;
  // Read each time: an agent beside the gateway renews it in its file.
  return new Vault({ address: new URL(address), token: () => readSecret(token, env), ...(namespace !== undefined && { namespace }) });
}

export function keysFor(config: GatewayConfig, env: Env, vault: Vault | undefined): KeyWrapper {
  const transit = config.vault?.transit;
  if (vault && transit) return transitKeys(vault, transit.mount, transit.key);
  return localKeys([masterKey(config, env), ...config.oldKeys.map((place) => readSecret(place, env))]);
}
