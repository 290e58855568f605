import type { Digest } from '../../contract/ids.ts';
import type { Approvals } from '../approval/approvals.ts';
import type { SessionMasking, TokenVault } from '../masking/masking.ts';
import type { Policy } from '../policy/policy.ts';
import type { Recorder } from '../recording/recorder.ts';
import type { Session } from './session.ts';

/** Log lines are data: an event name and fields. Values of secret-looking keys and `Secret`s never reach the file. */
export interface Log {
  info(event: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(event: string, fields?: Readonly<Record<string, unknown>>): void;
  error(event: string, fields?: Readonly<Record<string, unknown>>): void;
}

/** Handed in, so that tests replay. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
}

/** What the pipeline stands on; the same in the proxy and in the gateway. */
export interface Engine {
  /** The policy in force now; another object after a reload. */
  readonly policy: () => Policy;
  readonly approvals: Approvals;
  readonly recorder: Recorder;
  /** For a session of a conversation, which keeps the values behind its tokens. */
  readonly masking: (connection: string, vault?: TokenVault) => SessionMasking;
  /** Keyed digest over the parts, each length-prefixed; the key is this installation's, so a digest gives nothing away. */
  readonly digest: (parts: readonly (string | Uint8Array | null)[]) => Digest;
  readonly newId: (prefix: 'ses' | 'op' | 'con' | 'app') => string;
  readonly clock: Clock;
  readonly log: Log;
  /** Told of every session, so that whoever runs the engine can end one: when a grant ends, or nothing can be recorded. */
  readonly sessions?: { opened(session: Session): void; closed(session: Session): void };
}
