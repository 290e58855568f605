/**
 * Logins of Amazon RDS and Aurora: keys of a role, assumed for one person and for nothing but this login, and a token signed
 * with them. Keys cannot be given back; they and the token end by themselves, and a session is ended when the role is no
 * longer to be had.
 */
import type { Actor } from '../../contract/actor.ts';
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import type { Clock, Log } from '../../proxy/pipeline/engine.ts';
import type { AwsRdsCredential } from '../../proxy/policy/policy.ts';
import type { LeasedLogin } from '../../proxy/protocols/protocol.ts';
import type { AwsCredentials, AwsKeys } from '../aws/login.ts';
import { rdsToken } from '../aws/rdsToken.ts';
import { assumeRole, type StsPlace, sessionName } from '../aws/sts.ts';

/** Keys are asked for anew when this part of their time has passed, and again after a tenth where that failed. */
const RENEW_AT = 0.5;
const RETRY_AT = 0.1;
/** Whoever uses keys that are not to be had again must stop so long before they end, in milliseconds. */
const MARGIN_MS = 2_000;
/** What AWS takes in a tag. */
const NO_TAG = /[^\p{L}\p{Z}\p{N}_.:/=+\-@]/gu;
const MAX_TAG_CHARS = 256;

export interface RdsLoginsOptions {
  readonly sts: StsPlace;
  readonly credentials: AwsCredentials;
  readonly clock: Clock;
  readonly log: Log;
}

export class RdsLogins {
  readonly #options: RdsLoginsOptions;
  readonly #out = new Set<LeasedLogin>();

  constructor(options: RdsLoginsOptions) {
    this.#options = options;
  }

  /** Logins that are out. */
  get size(): number {
    return this.#out.size;
  }

  /** @param actor whose session it is; absent: the gateway's own look at the catalog. @throws Problem `aws-away`, `aws-refused`, `secret-missing` */
  async issue(credential: AwsRdsCredential, actor: Actor | undefined): Promise<LeasedLogin> {
    const { clock, log } = this.#options;
    let keys = await this.#assume(credential, actor);
    let password = await rdsToken(credential, keys, clock.now());
    const lost = new AbortController();
    let over = false;
    let timer: NodeJS.Timeout | undefined;
    const left = (): number => (keys.expiresAt ?? 0) - clock.now();
    const wait = (ms: number): void => {
      if (over) return;
      timer = setTimeout(() => void renew(), Math.max(ms, 0));
      timer.unref();
    };
    const end = (cause: unknown): void => {
      log.warn('aws.login-lost', { role: credential.role, cause });
      lost.abort();
    };
    const renew = async (): Promise<void> => {
      if (over) return;
      try {
        keys = await this.#assume(credential, actor);
        password = await rdsToken(credential, keys, clock.now());
        wait(left() * RENEW_AT);
      } catch (cause) {
        // Somebody has taken the role away: what stands on it ends now, not when the keys do.
        if (over) return;
        if ((cause instanceof Problem && cause.code === 'aws-refused') || left() <= MARGIN_MS) return end(cause);
        log.warn('aws.not-renewed', { role: credential.role, cause });
        wait(Math.min(left() * RETRY_AT, left() - MARGIN_MS));
      }
    };
    wait(left() * RENEW_AT);
    const login: LeasedLogin = {
      user: credential.user,
      // A second connection of a long session needs a token that is still good.
      get password(): Secret {
        return password;
      },
      lost: lost.signal,
      release: async () => {
        over = true;
        clearTimeout(timer);
        this.#out.delete(login);
      },
    };
    this.#out.add(login);
    return login;
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#out].map((login) => login.release()));
  }

  #assume({ connection, externalId, region, role, tags, ttlMs, user }: AwsRdsCredential, actor: Actor | undefined): Promise<AwsKeys> {
    const { credentials, sts } = this.#options;
    const tag = (text: string): string => text.replaceAll(NO_TAG, '_').slice(0, MAX_TAG_CHARS);
    return assumeRole(sts, credentials, {
      role,
      session: sessionName(actor?.person.subject ?? 'countersign-gateway'),
      // Whatever else the role may do, these keys may not.
      policy: JSON.stringify({
        Version: '2012-10-17',
        Statement: [{ Effect: 'Allow', Action: 'rds-db:connect', Resource: `arn:${role.split(':')[1]}:rds-db:${region}:*:dbuser:*/${user}` }],
      }),
      seconds: ttlMs / 1000,
      ...(externalId !== undefined && { externalId }),
      ...(tags &&
        actor && {
          tags: new Map([
            ['countersign:person', tag(actor.person.subject)],
            ['countersign:agent', tag(actor.agent.name)],
            ['countersign:connection', tag(connection)],
          ]),
        }),
    });
  }
}
