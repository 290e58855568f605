/** What credentials are sealed with, as the configuration says. */
import { awsCredentials } from '../aws/login.ts';
import { awsRegion, stsPlace } from '../aws/place.ts';
import { type Env, type GatewayConfig, readSecret } from '../config/load.ts';
import { masterKey, oldMasterKeys } from '../sealed.ts';
import type { KeyWrapper } from './envelope.ts';
import { kmsKeys } from './kmsKeys.ts';
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
  const local = localKeys([masterKey(config, env), ...oldMasterKeys(config, env)]);
  const outside = outsideKeys(config, env, vault);
  if (!outside) return local;
  return {
    current: () => outside.current(),
    wrap: (key) => outside.wrap(key),
    // What was sealed before the gateway was told of the other opens still, until secrets are rotated.
    unwrap: (kek, wrapped) => (kek.startsWith('local:') ? local : outside).unwrap(kek, wrapped),
  };
}

function outsideKeys(config: GatewayConfig, env: Env, vault: Vault | undefined): KeyWrapper | undefined {
  const { kms } = config.aws;
  if (kms) {
    const { endpoints, login } = config.aws;
    return kmsKeys({
      ...kms,
      region: /^arn:aws[a-z-]*:kms:([a-z0-9-]+):/.exec(kms.key)?.[1] ?? awsRegion(config, env),
      credentials: awsCredentials(login, env, stsPlace(config, env)),
      ...(endpoints.kms !== undefined && { endpoint: endpoints.kms }),
    });
  }
  const transit = config.vault?.transit;
  return vault && transit && transitKeys(vault, transit.mount, transit.key);
}
