/** The real parts of a proxy on this machine. */
import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import type { Secret } from '../../contract/secret.ts';
import { createApprovals } from '../approval/queue.ts';
import { createSessionMasking } from '../masking/sessionMasking.ts';
import type { Clock, Log } from '../pipeline/engine.ts';
import { OrganisationPolicy } from '../policy/organisation.ts';
import { OrganisationFile } from '../policy/organisationFile.ts';
import { protocols } from '../protocols/index.ts';
import { openRecord } from '../recording/record.ts';
import { newId } from './installation.ts';
import type { PartEvents, Parts, PolicyPart } from './parts.ts';
import type { Paths } from './paths.ts';
import { startPolicy } from './policyPart.ts';

/** The organisation's policy as a gateway handed it over, in the state folder. */
const ORGANISATION_FILE = 'organisation-policy.json';

export interface AssembleOptions {
  readonly paths: Paths;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly key: Secret;
  /** What the editor handed over at the start. */
  readonly secret: Secret;
  readonly clock: Clock;
  readonly log: Log;
}

/** Makes the parts and starts those that need it. Rejects with a `Problem` where the environment is wrong. */
export async function assemble({ paths, env, key, secret, clock, log }: AssembleOptions, events: PartEvents): Promise<Parts> {
  const file = new OrganisationFile(join(paths.state, ORGANISATION_FILE), secret);
  let begun: PolicyPart | undefined;
  const gateway = new OrganisationPolicy({ file, clock, log, changed: () => void begun?.signedChanged() });
  gateway.start();
  const policy = await startPolicy({ organisation: env.COUNTERSIGN_POLICY || undefined, user: paths.userPolicy, gateway }, events);
  begun = policy;
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
