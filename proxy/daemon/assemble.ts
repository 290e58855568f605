/** The real parts of a proxy on this machine. */
import { createHmac } from 'node:crypto';
import { isAbsolute } from 'node:path';
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import { createApprovals } from '../approval/queue.ts';
import { createSessionMasking } from '../masking/sessionMasking.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import { PolicyStore } from '../policy/watch.ts';
import { openRecord } from '../recording/record.ts';
import { newId } from './installation.ts';
import type { PartEvents, Parts } from './parts.ts';
import type { Paths } from './paths.ts';

export interface AssembleOptions {
  readonly paths: Paths;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly key: Secret;
  readonly clock: Clock;
  readonly log: Log;
}

/** Makes the parts and starts those that need it. Rejects with a `Problem` where the environment is wrong. */
export async function assemble({ paths, env, key, clock, log }: AssembleOptions, events: PartEvents): Promise<Parts> {
  const organisation = env.COUNTERSIGN_POLICY;
  if (organisation && !isAbsolute(organisation)) {
    throw new Problem('policy-path', `COUNTERSIGN_POLICY is "${organisation.slice(0, 200)}". Write the file's absolute path.`);
  }
  const store = new PolicyStore({ ...(organisation && { organisation }), user: paths.userPolicy });
  store.onChange(({ policy }) => (policy ? events.policyChanged() : events.changed()));
  await store.start();
  // Hashes of masked values agree between sessions, and nobody without the key can guess them back.
  const hashKey = createHmac('sha256', Buffer.from(key.reveal(), 'hex')).update('countersign hash masks 1').digest();
  return {
    policy: {
      current: () => store.current(),
      view: () => store.view(),
      workspace: (window, workspace) => store.workspace(window, workspace),
      stop: () => store.stop(),
    },
    record: await openRecord({ directory: paths.recordings, clock, log, onHalt: events.halted, onChange: events.changed }),
    approvals: createApprovals({ clock, newId, onChange: events.changed, onGrantEnded: ({ sessions }) => events.grantEnded(sessions) }),
    masking: (connection) => createSessionMasking({ plan: store.current().maskPlan(connection), hashKey }),
    protocols: [],
    language: { capabilities: {}, diagnostics: () => [], completion: () => [], hover: () => null },
  };
}
