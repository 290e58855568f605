/** The keys that the gateway signs requests to AWS with: from where the configuration says, or where AWS's own tools look for them. */
import { Problem } from '../../contract/problem.ts';
import type { Secret } from '../../contract/secret.ts';
import { type Env, readSecret } from '../config/load.ts';
import type { AwsLogin } from '../config/recordings.ts';
import { assumeRoleWithWebIdentity, type StsPlace } from './sts.ts';

export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken?: Secret;
  /** Epoch milliseconds; absent: they stay. */
  readonly expiresAt?: number;
}

/** The keys that are good now. @throws Problem `secret-missing`, `aws-away`, `aws-refused` */
export type AwsCredentials = () => Promise<AwsKeys>;

/** Keys are exchanged for new ones this long before they end, in milliseconds. */
const EARLY_MS = 5 * 60_000;
const SESSION_NAME = 'countersign-gateway';

/** Read each time: whoever rotates a key writes the file anew. */
export function awsCredentials(login: AwsLogin | undefined, env: Env, sts: StsPlace): AwsCredentials {
  if (login?.accessKeyId !== undefined && login.secretAccessKey !== undefined) {
    const { accessKeyId, secretAccessKey, sessionToken } = login;
    return async () => ({
      accessKeyId: readSecret(accessKeyId, env).reveal(),
      secretAccessKey: readSecret(secretAccessKey, env),
      ...(sessionToken !== undefined && { sessionToken: readSecret(sessionToken, env) }),
    });
  }
  if (login?.role !== undefined && login.webIdentity !== undefined) return webIdentity(login.role, login.webIdentity, env, sts);
  if (env.AWS_ACCESS_KEY_ID && env.AWS_SECRET_ACCESS_KEY) {
    return async () => ({
      accessKeyId: env.AWS_ACCESS_KEY_ID ?? '',
      secretAccessKey: readSecret('env:AWS_SECRET_ACCESS_KEY', env),
      ...(env.AWS_SESSION_TOKEN && { sessionToken: readSecret('env:AWS_SESSION_TOKEN', env) }),
    });
  }
  if (env.AWS_ROLE_ARN && env.AWS_WEB_IDENTITY_TOKEN_FILE) return webIdentity(env.AWS_ROLE_ARN, `file:${env.AWS_WEB_IDENTITY_TOKEN_FILE}`, env, sts);
  return async () => {
    throw new Problem(
      'secret-missing',
      'The gateway has no keys for AWS. Write `login` into its configuration, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE.',
    );
  };
}

function webIdentity(role: string, token: string, env: Env, sts: StsPlace): AwsCredentials {
  return renewed(() => assumeRoleWithWebIdentity(sts, { role, token: readSecret(token, env), session: SESSION_NAME }));
}

/** Asks again when what it got ends soon; many who ask at once are one question. */
export function renewed(ask: () => Promise<AwsKeys>, now: () => number = Date.now): AwsCredentials {
  let kept: AwsKeys | undefined;
  let asking: Promise<AwsKeys> | undefined;
  return async () => {
    const left = (kept?.expiresAt ?? 0) - now();
    if (kept && left > EARLY_MS) return kept;
    asking ??= ask().finally(() => (asking = undefined));
    try {
      kept = await asking;
    } catch (cause) {
      // What is good for another moment is better than nothing.
      if (!kept || left <= 0) throw cause;
    }
    return kept;
  };
}
