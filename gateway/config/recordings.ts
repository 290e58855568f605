/** Where the records of sessions go once they have ended, and how the gateway proves itself to AWS and what speaks like it. */
import { z } from 'zod';
import { httpsUrl, SecretPlace, text } from './words.ts';

const DAYS = z.number().int().positive().max(36_500);
const Region = z.string().regex(/^[a-z0-9-]{2,40}$/, 'Write a region, such as `eu-central-1`.');
const RoleArn = z.string().regex(/^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/, 'Write the role’s ARN: `arn:aws:iam::123456789012:role/NAME`.');

/** Left out: what AWS’s own tools read from the environment (AWS_ACCESS_KEY_ID …, or AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE). */
export const AwsLogin = z
  .strictObject({
    accessKeyId: SecretPlace.optional(),
    secretAccessKey: SecretPlace.optional(),
    sessionToken: SecretPlace.optional(),
    role: RoleArn.optional(),
    /** A token of the machine’s own identity provider, exchanged at STS for keys of `role`. */
    webIdentity: z
      .string()
      .regex(/^file:\/.{1,1000}$/, 'Write `file:/absolute/path` of the token.')
      .optional(),
  })
  .refine(
    ({ accessKeyId, role, secretAccessKey, sessionToken, webIdentity }) =>
      accessKeyId !== undefined
        ? secretAccessKey !== undefined && role === undefined && webIdentity === undefined
        : role !== undefined && webIdentity !== undefined && secretAccessKey === undefined && sessionToken === undefined,
    'Write `accessKeyId` and `secretAccessKey`, or `role` and `webIdentity`.',
  );
export type AwsLogin = z.infer<typeof AwsLogin>;

export const Aws = z.strictObject({
  region: Region.optional(),
  login: AwsLogin.optional(),
  /** Credentials are sealed with this key, which never leaves AWS, instead of the gateway’s. */
  kms: z
    .strictObject({
      key: z.string().regex(/^(arn:aws[a-z-]*:kms:[\w:/-]{1,200}|alias\/[\w/-]{1,250}|[\w-]{1,100})$/, 'Write the key’s ARN, its id, or `alias/NAME`.'),
      /** ARNs of keys that still open what they sealed. */
      oldKeys: z
        .array(z.string().regex(/^arn:aws[a-z-]*:kms:[\w:/-]{1,200}$/, 'Write the key’s ARN.'))
        .max(10)
        .default([]),
    })
    .optional(),
  /** Other addresses than AWS’s own: of a VPC endpoint, say. */
  endpoints: z.strictObject({ sts: httpsUrl.optional(), kms: httpsUrl.optional() }).prefault({}),
});
export type Aws = z.infer<typeof Aws>;

export const S3Place = z.strictObject({
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'Write the bucket’s name alone: lower-case letters, digits, `.` and `-`.'),
  region: Region.optional(),
  /** Of a server that is not AWS’s. */
  endpoint: httpsUrl.optional(),
  prefix: z
    .string()
    .regex(/^([\w.-]+\/)*$/, 'Write folders that end in `/`: `countersign/`.')
    .default(''),
  /** Bucket in the path instead of in the host’s name. Left out: with `endpoint`, yes. */
  pathStyle: z.boolean().optional(),
  login: AwsLogin.optional(),
  encryption: z.strictObject({ algorithm: z.enum(['AES256', 'aws:kms']), key: text.optional() }).optional(),
  /** Object Lock: until then nobody (`compliance`), or nobody without a right to it (`governance`), can delete or replace an object. */
  lock: z.strictObject({ mode: z.enum(['governance', 'compliance']), days: DAYS }).optional(),
});
export type S3Place = z.infer<typeof S3Place>;

const Folder = z.string().regex(/^(\/|[A-Za-z]:[\\/]).{1,1000}$/, 'Write the folder’s whole path.');
const Place = z.strictObject({ s3: S3Place.optional(), folder: Folder.optional() });
export type Place = z.infer<typeof Place>;

export const Recordings = Place.extend({
  /** How long after its end a session stays in the database, in seconds. */
  after: z
    .number()
    .int()
    .nonnegative()
    .max(365 * 86_400)
    .default(3_600),
  /** How long after its end a record is kept. Left out: for ever. */
  keepDays: DAYS.optional(),
  /** Places of before: they are read, and nothing is written there. */
  before: z.array(Place).max(10).default([]),
});
export type Recordings = z.infer<typeof Recordings>;
