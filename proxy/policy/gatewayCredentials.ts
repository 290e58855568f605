/** Credentials that only a gateway can get: a login of Amazon RDS by a role, and an OAuth token exchanged for each person. */
import { z } from 'zod';
import type { AwsRdsCredential, SecretRef, TokenExchange } from './policy.ts';
import type { Path } from './problems.ts';

type Say = (at: Path, message: string) => void;

/** What STS takes, in milliseconds. */
const MIN_TTL_MS = 15 * 60_000;
const MAX_TTL_MS = 12 * 3_600_000;

export const AwsCredential = z
  .strictObject({
    aws: z.strictObject({
      role: z
        .string()
        .regex(/^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/, 'Write the role’s ARN: `arn:aws:iam::123456789012:role/NAME`.')
        .describe('The role whose keys sign the login: `arn:aws:iam::123456789012:role/NAME`.'),
      region: z
        .string()
        .regex(/^[a-z0-9-]{2,40}$/, 'Write a region, such as `eu-central-1`.')
        .optional()
        .describe('Where the database is; read from its address where that is AWS’s own.'),
      'external-id': z.string().min(2).max(1224).optional().describe('What the role’s trust policy asks for.'),
      tags: z
        .boolean()
        .optional()
        .describe('Say in session tags who it is for: `countersign:person`, `:agent`, `:connection`. The role must allow `sts:TagSession`.'),
      ttl: z.string().max(20).optional().describe('How long keys are good before they are asked for anew: `15m` to `12h`.'),
    }),
  })
  .describe('A login of Amazon RDS or Aurora for each session, by keys of an IAM role. Needs `via: gateway`.');

export const Exchange = z
  .strictObject({
    issuer: z.string().min(1).max(2000).describe('The authorization server that knows the gateway as an issuer.'),
    'client-id': z.string().min(1).max(500),
    'client-secret': z.string().min(1).max(200).optional().describe('`secret:NAME`, `env:NAME` or `file:PATH`.'),
    audience: z.string().min(1).max(2000).optional().describe('For whom the token is, in the authorization server’s words.'),
    resource: z.string().min(1).max(2000).optional().describe('The same as an address.'),
    scopes: z.array(z.string().min(1).max(200)).max(50).optional(),
    as: z.enum(['person', 'gateway']).optional().describe('In whose name: of the person who is signed in (`person`, the default), or of the gateway itself.'),
  })
  .describe('OAuth token exchange (RFC 8693): the gateway vouches for who is signed in, and gets a token of theirs for the server. Needs `via: gateway`.');

export function awsCredential(
  shape: z.infer<typeof AwsCredential>['aws'],
  at: {
    readonly connection: string;
    readonly host: string;
    readonly port: number;
    readonly user: string | undefined;
    readonly isEncrypted: boolean;
    readonly ttlMs: number;
  },
  error: Say,
): AwsRdsCredential | undefined {
  const path: Path = ['credential', 'aws'];
  const region = shape.region ?? /\.([a-z0-9-]+)\.rds\.amazonaws\.com(\.cn)?$/.exec(at.host)?.[1];
  const { ttlMs } = at;
  if (ttlMs < MIN_TTL_MS || ttlMs > MAX_TTL_MS) error([...path, 'ttl'], 'AWS lends keys for `15m` to `12h`.');
  if (region === undefined) error([...path, 'region'], 'Say in which `region` the database is.');
  if (at.user === undefined) error(['credential'], 'Say whom sessions log in as: add `user: NAME` to the connection.');
  if (!at.isEncrypted) error(['tls'], 'Such a login is sent as it is, and must be encrypted on its way: remove `tls: disable`.');
  if (region === undefined || at.user === undefined) return undefined;
  const { connection, host, port, user } = at;
  return {
    lease: 'aws-rds',
    connection,
    host,
    port,
    user,
    region,
    role: shape.role,
    ttlMs,
    tags: shape.tags ?? false,
    ...(shape['external-id'] !== undefined && { externalId: shape['external-id'] }),
  };
}

export function tokenExchange(
  shape: z.infer<typeof Exchange>,
  secretRef: (text: string, error: (message: string) => void) => SecretRef | undefined,
  isLoopback: (host: string) => boolean,
  error: Say,
): TokenExchange {
  const path: Path = ['upstream', 'exchange'];
  const url = URL.canParse(shape.issuer) ? new URL(shape.issuer) : undefined;
  if (!url || (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopback(url.hostname))))
    error([...path, 'issuer'], 'Write the authorization server’s `https://` address.');
  const text = shape['client-secret'];
  if (text !== undefined && !/^(secret|env|file):/.test(text))
    error([...path, 'client-secret'], 'Do not write the secret into this file. Say where it is kept: `secret:NAME`.');
  const secret = text === undefined ? undefined : secretRef(text, (message) => error([...path, 'client-secret'], message));
  return {
    issuer: shape.issuer,
    client: { id: shape['client-id'], ...(secret && { secret }) },
    scopes: shape.scopes ?? [],
    as: shape.as ?? 'person',
    ...(shape.audience !== undefined && { audience: shape.audience }),
    ...(shape.resource !== undefined && { resource: shape.resource }),
  };
}
