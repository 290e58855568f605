/** The real parts of a proxy on this machine. */
import { createHmac } from 'node:crypto';
import type { Secret } from '../../contract/secret.ts';
import { createApprovals } from '../approval/queue.ts';
import { createSessionMasking } from '../masking/sessionMasking.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import { protocols } from '../protocols/index.ts';
import { openRecord } from '../recording/record.ts';
import { newId } from './installation.ts';
import type { PartEvents, Parts } from './parts.ts';
import type { Paths } from './paths.ts';
import { startPolicy } from './policyPart.ts';

export interface AssembleOptions {
  readonly paths: Paths;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly key: Secret;
  readonly clock: Clock;
  readonly log: Log;
}

/** Makes the parts and starts those that need it. Rejects with a `Problem` where the environment is wrong. */
export async function assemble({ paths, env, key, clock, log }: AssembleOptions, events: PartEvents): Promise<Parts> {
  const policy = await startPolicy({ organisation: env.COUNTERSIGN_POLICY || undefined, user: paths.userPolicy }, events);
  // Hashes of masked values agree between sessions, and nobody without the key can guess them back.
  const hashKey = createHmac('sha256', Buffer.from(key.reveal(), 'hex')).update('countersign hash masks 1').digest();
  return {
    policy,
    record: await openRecord({ directory: paths.recordings, clock, log, onHalt: events.halted, onChange: events.changed }),
    approvals: createApprovals({ clock, newId, onChange: events.changed, onGrantEnded: ({ sessions }) => events.grantEnded(sessions) }),
    masking: (connection, vault) => createSessionMasking({ plan: policy.current().maskPlan(connection), hashKey, vault, connection }),
    protocols,
    language: policy.language,
  };
}
