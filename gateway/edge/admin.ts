/** The store's edges, for the command line: beside gateways that run, or before the first. */
import { Problem } from '../../contract/problem.ts';
import { loadPolicy } from '../../proxy/policy/load.ts';
import { type Env, loadConfig } from '../config/load.ts';
import { openStore } from '../gateway.ts';
import { Acts } from '../recording/chains.ts';
import { recordKeyOf } from '../recording/recordKey.ts';
import { masterKey, oldMasterKeys, sealerWith } from '../sealed.ts';
import { one } from '../store/database.ts';
import { listEdges } from './edgePresence.ts';
import { EdgeStore } from './edgeStore.ts';

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

export interface EdgesAdmin {
  readonly add: EdgeStore['add'];
  readonly revoke: EdgeStore['revoke'];
  readonly list: () => ReturnType<typeof listEdges>;
  readonly publicUrl: string;
  readonly close: () => Promise<void>;
}

/** @throws Problem */
export async function openEdges(file: string | undefined, env: Env): Promise<EdgesAdmin> {
  const result = loadConfig(file, env);
  if (!result.ok) throw new Problem('config', result.problems.map((problem) => `${problem.file}:${problem.line}: ${problem.message}`).join('\n'));
  const { config } = result;
  const db = await openStore(config, quiet);
  const acts = new Acts(recordKeyOf(sealerWith(masterKey(config, env), oldMasterKeys(config, env))));
  const store = new EdgeStore({ db, acts, publicUrl: config.publicUrl, clockSkew: config.identity.clockSkew, log: quiet });
  return {
    add: async (wanted, by) => await store.add(wanted, by),
    revoke: async (what, by) => await store.revoke(what, by),
    list: async () => {
      const row = await one<{ text: string }>(db, 'SELECT text FROM policies ORDER BY version DESC LIMIT 1');
      const loaded = row && loadPolicy([{ layer: 'organisation', file: 'policy', text: row.text }], { gateway: true });
      return await listEdges(db, loaded?.ok === true ? loaded.policy.connections.values() : []);
    },
    publicUrl: config.publicUrl,
    close: () => db.close(),
  };
}
