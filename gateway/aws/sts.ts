/** AWS Security Token Service: short-lived keys of a role. https://docs.aws.amazon.com/STS/latest/APIReference/ */
import { Problem } from '../../contract/problem.ts';
import { Secret } from '../../contract/secret.ts';
import type { AwsCredentials, AwsKeys } from './login.ts';
import { type AwsAnswer, awsRequest, networkWords } from './request.ts';

const VERSION = '2011-06-15';
const MAX_ANSWER_BYTES = 256 * 1024;

export interface StsPlace {
  readonly region: string;
  /** Left out: AWS's own of the region. */
  readonly endpoint?: string;
}

export interface RoleSession {
  readonly role: string;
  /** Who it is for, in CloudTrail: `sessionName` makes one. */
  readonly session: string;
  /** A policy document that takes away from what the role may. */
  readonly policy?: string;
  readonly tags?: ReadonlyMap<string, string>;
  readonly externalId?: string;
  readonly seconds?: number;
}

/** @throws Problem `aws-away`, `aws-refused` */
export async function assumeRole(place: StsPlace, credentials: AwsCredentials, session: RoleSession): Promise<AwsKeys> {
  const body = parameters('AssumeRole', session);
  if (session.externalId !== undefined) body.set('ExternalId', session.externalId);
  let i = 0;
  for (const [key, value] of session.tags ?? []) {
    body.set(`Tags.member.${++i}.Key`, key);
    body.set(`Tags.member.${i}.Value`, value);
  }
  return await ask(place, body, await credentials());
}

/** @throws Problem `aws-away`, `aws-refused` */
export async function assumeRoleWithWebIdentity(
  place: StsPlace,
  session: Omit<RoleSession, 'tags' | 'externalId'> & { readonly token: Secret },
): Promise<AwsKeys> {
  const body = parameters('AssumeRoleWithWebIdentity', session);
  body.set('WebIdentityToken', session.token.reveal());
  return await ask(place, body, undefined);
}

/** What STS takes as a session's name: 2 to 64 of `[\w+=,.@-]`. */
export function sessionName(text: string): string {
  return text
    .replaceAll(/[^\w+=,.@-]/g, '-')
    .slice(0, 64)
    .padEnd(2, '-');
}

function parameters(action: string, { policy, role, seconds, session }: RoleSession): URLSearchParams {
  return new URLSearchParams({
    Action: action,
    Version: VERSION,
    RoleArn: role,
    RoleSessionName: session,
    ...(policy !== undefined && { Policy: policy }),
    ...(seconds !== undefined && { DurationSeconds: String(seconds) }),
  });
}

async function ask({ endpoint, region }: StsPlace, body: URLSearchParams, keys: AwsKeys | undefined): Promise<AwsKeys> {
  const url = new URL(endpoint ?? `https://sts.${region}.amazonaws.com/`);
  let answer: AwsAnswer;
  try {
    answer = await awsRequest({
      method: 'POST',
      url,
      headers: { 'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8' },
      body: body.toString(),
      service: 'sts',
      region,
      ...(keys && { keys }),
      maxBytes: MAX_ANSWER_BYTES,
    });
  } catch (cause) {
    throw new Problem(
      'aws-away',
      `AWS STS at ${url.host} is out of reach: ${networkWords(cause)}. Sessions that need keys from it cannot begin until it answers.`,
      {
        cause,
      },
    );
  }
  const role = body.get('RoleArn') ?? '';
  if (answer.status !== 200) {
    const away = answer.status >= 500 || answer.code === 'Throttling';
    throw new Problem(
      away ? 'aws-away' : 'aws-refused',
      away
        ? `AWS STS at ${url.host} cannot answer now (${answer.status}). It is asked again with the next session.`
        : `AWS STS refused the role ${role} (${answer.code || answer.status}). ${WHAT_TO_DO[answer.code] ?? 'Check the role and who may assume it.'}`,
    );
  }
  const text = answer.bytes.toString('utf8');
  const value = (name: string): string | undefined => new RegExp(`<${name}>([^<]{1,20000})</${name}>`).exec(text)?.[1]?.trim();
  const [accessKeyId, secret, token, ends] = [value('AccessKeyId'), value('SecretAccessKey'), value('SessionToken'), value('Expiration')];
  const expiresAt = Date.parse(ends ?? '');
  if (!accessKeyId || !secret || !token || Number.isNaN(expiresAt)) throw new Problem('aws-refused', `AWS STS at ${url.host} answered without keys.`);
  return { accessKeyId, secretAccessKey: new Secret(secret), sessionToken: new Secret(token), expiresAt };
}

const WHAT_TO_DO: Readonly<Record<string, string>> = {
  AccessDenied: 'The role’s trust policy must let the gateway assume it (`sts:AssumeRole`, and `sts:TagSession` with tags).',
  ExpiredToken: 'The gateway’s own keys or its token have expired.',
  ExpiredTokenException: 'The token of the machine’s identity has expired.',
  InvalidIdentityToken: 'AWS does not take the token of the machine’s identity: check the identity provider that IAM knows.',
  InvalidClientTokenId: 'The gateway’s own access key is not known to AWS.',
  SignatureDoesNotMatch: 'The gateway’s own secret access key is wrong.',
  MalformedPolicyDocument: 'The session policy is not one.',
  PackedPolicyTooLarge: 'The session policy and the tags are too large together.',
  RegionDisabledException: 'STS is switched off in that region.',
};
