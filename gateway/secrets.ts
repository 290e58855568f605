/** The store's secrets, for the command line: beside gateways that run, or before the first. */
import type { Person } from '../contract/actor.ts';
import { Problem } from '../contract/problem.ts';
import type { Secret } from '../contract/secret.ts';
import { type Env, loadConfig } from './config/load.ts';
import { CredentialStore } from './credential/credentialStore.ts';
import { keysFor, vaultOf } from './credential/keys.ts';
import { openStore } from './gateway.ts';
import { GATEWAY_CHAIN } from './recording/chainRows.ts';
import { Acts } from './recording/chains.ts';
import { recordKeyOf } from './recording/recordKey.ts';
import { masterKey, oldMasterKeys, sealerWith } from './sealed.ts';
import { tell } from './store/bus.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

export interface SecretsAdmin {
  readonly store: CredentialStore;
  readonly put: (name: string, secret: Secret, by: Person) => Promise<void>;
  readonly remove: (name: string, by: Person) => Promise<boolean>;
  readonly close: () => Promise<void>;
}

/** @throws Problem */
export async function openSecrets(file: string | undefined, env: Env): Promise<SecretsAdmin> {
  const result = loadConfig(file, env);
  if (!result.ok) throw new Problem('config', result.problems.map((problem) => `${problem.file}:${problem.line}: ${problem.message}`).join('\n'));
  const { config } = result;
  const acts = new Acts(recordKeyOf(sealerWith(masterKey(config, env), oldMasterKeys(config, env))));
  const db = await openStore(config, quiet);
  const store = new CredentialStore(db, keysFor(config, env, vaultOf(config, env)), quiet);
  return {
    store,
    put: (name, secret, by) =>
      db.transaction(async (tx) => {
        await store.put(tx, name, secret, by);
        await acts.append(tx, GATEWAY_CHAIN, { type: 'secret.put', name, by: { ...by } });
        await tell(tx, 'credential', name);
      }),
    remove: (name, by) =>
      db.transaction(async (tx) => {
        const removed = await store.remove(tx, name);
        if (!removed) return false;
        await acts.append(tx, GATEWAY_CHAIN, { type: 'secret.removed', name, by: { ...by } });
        await tell(tx, 'credential', name);
        return true;
      }),
    close: () => db.close(),
  };
}
