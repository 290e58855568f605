/** The proxy's engine, put together over the store: the same pipeline, with a team's policy, approvals and record. */
import { Secret } from '../contract/secret.ts';
import { digestWith, newId } from '../proxy/daemon/installation.ts';
import { createSessionMasking } from '../proxy/masking/sessionMasking.ts';
import type { Clock, Engine, Log } from '../proxy/pipeline/engine.ts';
import type { MaskPlan, Policy } from '../proxy/policy/policy.ts';
import type { Notices } from './approval/notices.ts';
import { StoreApprovals } from './approval/storeApprovals.ts';
import { Conversations } from './conversations.ts';
import { StoreRecorder } from './recording/recorder.ts';
import { type RecordKey, recordKeyOf } from './recording/recordKey.ts';
import { closeSessionsOf } from './recording/recovery.ts';
import type { Sealer } from './sealed.ts';
import { OpenSessions } from './sessions.ts';
import type { Bus } from './store/bus.ts';
import type { Database, Queryable } from './store/database.ts';
import type { Replica } from './store/replica.ts';

export interface GatewayEngineOptions {
  readonly db: Database;
  readonly bus: Bus;
  readonly replica: Replica;
  readonly sealer: Sealer;
  readonly notices: Notices;
  readonly policy: () => Policy;
  readonly log: Log;
  /** Whether a login or a service account stands. */
  readonly stands: (basis: string) => Promise<boolean>;
}

const systemClock: Clock = { now: () => Date.now() };
/** How long a stop waits for the store to take the ends of sessions, in milliseconds. */
const STOP_MS = 3_000;
/** How often what open sessions stand on is looked at, besides being told, in milliseconds. */
const RECONCILE_MS = 5_000;

export class GatewayEngine {
  readonly engine: Engine;
  readonly conversations = new Conversations();
  readonly sessions: OpenSessions;
  readonly approvals: StoreApprovals;
  readonly recordKey: RecordKey;
  readonly #recorder: StoreRecorder;
  readonly #options: GatewayEngineOptions;
  readonly #maskPlans = new Map<string, string>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: GatewayEngineOptions) {
    const { db, bus, replica, sealer, notices, policy, log } = options;
    this.#options = options;
    this.sessions = new OpenSessions(log, (session) => this.conversations.ownerOf(session.request.conversation.id).basis);
    this.approvals = new StoreApprovals({
      db,
      bus,
      replica,
      sealer,
      notices,
      log,
      newId,
      policyVersion: () => policy().version,
      requesterOf: (question) => this.conversations.ownerOf(question.conversation).person,
    });
    this.recordKey = recordKeyOf(sealer);
    const recorder = new StoreRecorder({
      db,
      key: this.recordKey,
      replica,
      log,
      clock: systemClock,
      ownerOf: (header) => this.conversations.ownerOf(header.conversation),
      onHalt: (sentence) => {
        if (sentence !== undefined) void this.sessions.end(sentence);
      },
      onFenced: (session) => void this.sessions.end('the gateway lost touch with its store; connect again', [session]),
    });
    this.#recorder = recorder;
    const hashKey = sealer.derive('hash masks');
    this.engine = {
      policy,
      approvals: this.approvals,
      recorder,
      masking: (connection, vault) => createSessionMasking({ plan: policy().maskPlan(connection), hashKey, vault, connection }),
      // The same in every replica: an approval is for what was asked, wherever it is looked at.
      digest: digestWith(new Secret(sealer.derive('digests').toString('hex'))),
      newId,
      clock: systemClock,
      log,
      sessions: this.sessions,
    };
    const ended = (basis: string): void => void this.sessions.end('the sign-in that this session stood on has ended', this.sessions.on(basis));
    bus.on('login', ({ subject }) => ended(subject));
    bus.on('account', ({ subject }) => ended(subject));
    bus.on('session', ({ subject }) => {
      if (subject.startsWith('end ')) void this.sessions.end('a person ended this session', [subject.slice(4)]);
    });
    bus.on('grant', ({ subject }) => void this.#grantChanged(subject).catch((cause: unknown) => log.warn('grant.not-read', { cause })));
    this.#timer = setInterval(() => void this.#reconcile().catch((cause: unknown) => log.warn('sessions.not-reconciled', { cause })), RECONCILE_MS);
    this.#timer.unref();
  }

  /** Another policy is in force: what was asked under the last is asked again, and sessions that would mask otherwise begin again. */
  policyChanged(policy: Policy): void {
    this.approvals.policyChanged(policy.version);
    for (const connection of new Set([...this.#maskPlans.keys(), ...policy.connections.keys()])) {
      const plan = policy.connections.has(connection) ? planText(policy.maskPlan(connection)) : undefined;
      const before = this.#maskPlans.get(connection);
      if (plan === undefined) this.#maskPlans.delete(connection);
      else this.#maskPlans.set(connection, plan);
      if (before !== undefined && before !== plan)
        void this.sessions.end('what is masked on this connection has changed', this.sessions.onConnection(connection));
    }
  }

  /** The lease is lost: nothing here is ours any more. */
  fenced(): void {
    this.approvals.fenced();
    void this.sessions.end('the gateway lost touch with its store; connect again');
  }

  /** Closes what a dead replica left open, in the transaction that ends it. */
  async closeSessionsOf(tx: Queryable, replica: string): Promise<void> {
    for (const chain of await closeSessionsOf(tx, this.recordKey, replica, systemClock.now())) this.#recorder.signSoon(chain);
  }

  /** Someone's chain has grown by something else than a session. */
  signSoon(chain: string): void {
    this.#recorder.signSoon(chain);
  }

  async stop(reason: string): Promise<void> {
    clearInterval(this.#timer);
    await this.approvals.shutdown();
    await this.sessions.end(reason);
    await this.#recorder.stop(reason, STOP_MS);
  }

  /** Ends the sessions that an ended grant has let through. */
  async #grantChanged(grant: string): Promise<void> {
    if (this.sessions.size === 0) return;
    const rows = await this.#options.db.query<{ session: string }>(
      'SELECT s.session FROM grant_sessions s JOIN grants g ON g.id = s.grant_id WHERE g.id = $1 AND g.ended_at IS NOT NULL AND g.ended_by IS NOT NULL',
      [grant],
    );
    await this.sessions.end(
      'a person ended the grant that it used, and what the grant covered is asked again',
      rows.map(({ session }) => session),
    );
  }

  /** A login whose time is over tells nobody; and a notification can be missed. */
  async #reconcile(): Promise<void> {
    for (const basis of this.sessions.bases) {
      if (!(await this.#options.stands(basis))) await this.sessions.end('the sign-in that this session stood on has ended', this.sessions.on(basis));
    }
  }
}

function planText({ columns, detectors, otherwise }: MaskPlan): string {
  return JSON.stringify([[...columns].sort(), [...detectors].sort(), otherwise]);
}
