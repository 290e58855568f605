/** What Amazon RDS and Aurora take as a password: a signed request that is never sent. https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html */
import { AwsV4Signer } from 'aws4fetch';
import { Secret } from '../../contract/secret.ts';
import type { AwsKeys } from './login.ts';

/** How long it opens a connection, in seconds; one that is open stays. */
const RDS_TOKEN_SECONDS = 900;

export interface RdsLogin {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly region: string;
}

/** @param at epoch milliseconds */
export async function rdsToken({ host, port, region, user }: RdsLogin, keys: AwsKeys, at: number): Promise<Secret> {
  const url = new URL(`https://${host}:${port}/`);
  url.searchParams.set('Action', 'connect');
  url.searchParams.set('DBUser', user);
  url.searchParams.set('X-Amz-Expires', String(RDS_TOKEN_SECONDS));
  const signed = await new AwsV4Signer({
    method: 'GET',
    url: url.href,
    service: 'rds-db',
    region,
    signQuery: true,
    datetime: new Date(at).toISOString().replaceAll(/[:-]|\.\d{3}/g, ''),
    accessKeyId: keys.accessKeyId,
    secretAccessKey: keys.secretAccessKey.reveal(),
    ...(keys.sessionToken && { sessionToken: keys.sessionToken.reveal() }),
  }).sign();
  return new Secret(signed.url.href.slice('https://'.length));
}
