/** The archive in a bucket of Amazon S3, or of what speaks like it. https://docs.aws.amazon.com/AmazonS3/latest/API/ */
import { createHash, randomBytes } from 'node:crypto';
import { Problem } from '../../../contract/problem.ts';
import type { AwsCredentials } from '../../aws/login.ts';
import { type AwsAnswer, type AwsRequest, awsRequest, networkWords } from '../../aws/request.ts';
import type { S3Place } from '../../config/recordings.ts';
import { type Finding, type ObjectStore, PROBE } from './objectStore.ts';

const DAY_MS = 86_400_000;
/** Largest answer besides an object, in bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
const TIMEOUT_MS = 30_000;

export interface S3Options {
  readonly place: S3Place;
  readonly region: string;
  readonly credentials: AwsCredentials;
  readonly now?: () => number;
  readonly timeoutMs?: number;
}

export function s3Objects({ place, region, credentials, now = Date.now, timeoutMs = TIMEOUT_MS }: S3Options): ObjectStore {
  const { bucket, encryption, lock, prefix } = place;
  const endpoint = new URL(place.endpoint ?? `https://s3.${region}.amazonaws.com`);
  const inPath = place.pathStyle ?? place.endpoint !== undefined;
  const title = `the bucket ${bucket} at ${endpoint.host}`;
  const base = new URL(endpoint);
  if (!inPath) base.host = `${bucket}.${endpoint.host}`;
  const root = `${endpoint.pathname.replace(/\/$/, '')}${inPath ? `/${bucket}` : ''}`;
  // Some servers do not know the condition: then it goes without, and what was read back decides.
  let conditional = true;

  const ask = async (method: AwsRequest['method'], path: string, more: Partial<AwsRequest> = {}): Promise<AwsAnswer> => {
    const keys = await credentials();
    const url = new URL(base);
    const [pathname = '', search = ''] = path.split('?');
    url.pathname = `${root}${pathname}`;
    url.search = search;
    try {
      return await awsRequest({ method, url, service: 's3', region, keys, maxBytes: MAX_ANSWER_BYTES, timeoutMs, ...more });
    } catch (cause) {
      throw new Problem('archive-away', `The archive of records, ${title}, is out of reach: ${networkWords(cause)}. ${STAYS}`, { cause });
    }
  };
  const versionOf = (version: string | undefined): string => (version === undefined ? '' : `?versionId=${encodeURIComponent(version)}`);

  const put = async (key: string, bytes: Buffer, sha256: Buffer, locked: boolean): Promise<string | undefined> => {
    const headers = {
      'Content-Type': 'application/x-ndjson',
      'X-Amz-Content-Sha256': sha256.toString('hex'),
      // What arrives broken is refused by the server; Object Lock insists on one of them.
      'X-Amz-Checksum-Sha256': sha256.toString('base64'),
      'Content-MD5': createHash('md5').update(bytes).digest('base64'),
      ...(encryption && { 'X-Amz-Server-Side-Encryption': encryption.algorithm }),
      ...(encryption?.key !== undefined && { 'X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id': encryption.key }),
      ...(lock &&
        locked && {
          'X-Amz-Object-Lock-Mode': lock.mode.toUpperCase(),
          'X-Amz-Object-Lock-Retain-Until-Date': new Date(now() + lock.days * DAY_MS).toISOString(),
        }),
    };
    const body = new Uint8Array(bytes);
    let answer = await ask('PUT', `/${prefix}${key}`, { headers: { ...headers, ...(conditional && { 'If-None-Match': '*' }) }, body });
    if (conditional && answer.status === 501) {
      conditional = false;
      answer = await ask('PUT', `/${prefix}${key}`, { headers, body });
    }
    // It is there already: another replica, or this one before it was ended.
    if (answer.status === 412 || answer.status === 409) {
      const there = await ask('HEAD', `/${prefix}${key}`);
      if (there.status === 200) return there.headers.get('x-amz-version-id') ?? undefined;
    }
    if (answer.status !== 200) throw refusal(answer, title);
    return answer.headers.get('x-amz-version-id') ?? undefined;
  };

  const get = async (key: string, version: string | undefined, maxBytes: number): Promise<Buffer | undefined> => {
    const answer = await ask('GET', `/${prefix}${key}${versionOf(version)}`, { maxBytes: Math.max(maxBytes, MAX_ANSWER_BYTES) });
    if (answer.status === 200) return answer.bytes;
    // 405: its latest version is a mark that it was deleted. A version that never was is a bad request to some.
    if (answer.code === 'NoSuchKey' || answer.code === 'NoSuchVersion' || answer.status === 405) return undefined;
    throw refusal(answer, title);
  };

  const remove = async (key: string, version: string | undefined): Promise<void> => {
    const answer = await ask('DELETE', `/${prefix}${key}${versionOf(version)}`);
    if (answer.status !== 204 && answer.status !== 200 && answer.code !== 'NoSuchKey' && answer.code !== 'NoSuchVersion') throw refusal(answer, title);
  };

  const checkLock = async (): Promise<Finding | undefined> => {
    const answer = await ask('GET', '/?object-lock=');
    const enabled = answer.status === 200 && /<ObjectLockEnabled>Enabled<\/ObjectLockEnabled>/.test(answer.bytes.toString('utf8'));
    if (enabled && lock) return undefined;
    if (enabled && /<DefaultRetention>/.test(answer.bytes.toString('utf8'))) return undefined;
    const unknown = answer.code === 'AccessDenied' ? ' (or the gateway’s keys may not ask: `s3:GetBucketObjectLockConfiguration`)' : '';
    if (lock)
      return { good: false, sentence: `\`lock\` is set, and ${title} has no Object Lock${unknown}. Make a bucket with Object Lock, or remove \`lock\`.` };
    return {
      good: true,
      sentence: `Nothing locks what lies in ${title}: whoever has its keys can delete records, which a check then finds. With Object Lock, and \`lock: { mode, days }\` here, nobody can.`,
    };
  };

  return {
    id: `s3:${endpoint.host}/${bucket}/${prefix}`,
    title,
    put: (key, bytes, sha256) => put(key, bytes, sha256, true),
    get,
    remove,
    check: async () => {
      const findings: Finding[] = [];
      try {
        const bytes = randomBytes(16);
        const key = `${PROBE}-${randomBytes(6).toString('hex')}`;
        // Without a lock: what only tries is not to be kept for years.
        const version = await put(key, bytes, createHash('sha256').update(bytes).digest(), false);
        const back = await get(key, version, 1_000);
        if (!back?.equals(bytes)) findings.push({ good: false, sentence: `What was written into ${title} could not be read back.` });
        await remove(key, version).catch((cause: unknown) => {
          findings.push({
            good: true,
            sentence: `The check’s own object ${prefix}${key} could not be removed: ${cause instanceof Problem ? cause.message : String(cause)}`,
          });
        });
        const finding = await checkLock();
        if (finding) findings.push(finding);
      } catch (cause) {
        findings.push({ good: false, sentence: cause instanceof Problem ? cause.message : String(cause) });
      }
      return findings;
    },
  };
}

const STAYS = 'Records stay in the database until it answers.';

const WHAT_TO_DO: Readonly<Record<string, string>> = {
  AccessDenied:
    'its keys may not do that. They need `s3:PutObject`, `s3:GetObject` and `s3:DeleteObject` (and `s3:PutObjectRetention` with `lock`) below the prefix',
  InvalidAccessKeyId: 'it does not know the access key. Check `login`',
  SignatureDoesNotMatch: 'the secret access key is wrong. Check `login`',
  ExpiredToken: 'the keys have expired. Check where `login` gets them from',
  InvalidToken: 'the session token is not good. Check `login`',
  RequestTimeTooSkewed: 'the clock of this machine is wrong. Set it',
  NoSuchBucket: 'there is no such bucket. Make it, or check `bucket`, `region` and `endpoint`',
  PermanentRedirect: 'the bucket is in another region. Check `region`',
  AuthorizationHeaderMalformed: 'the bucket is in another region. Check `region`',
  QuotaExceeded: 'it is full. Make room',
  XMinioStorageFull: 'it is full. Make room',
  SlowDown: 'it is too busy',
  InvalidRequest: 'it does not take the request; with `lock`, the bucket must have Object Lock',
};

/** Its own text stays out: some servers repeat in it what they were sent. */
function refusal({ code, status }: AwsAnswer, title: string): Problem {
  const why =
    WHAT_TO_DO[code] ?? (status === 301 || status === 307 ? WHAT_TO_DO.PermanentRedirect : status === 507 ? 'it is full. Make room' : 'see its own log');
  return new Problem('archive-away', `The archive of records, ${title}, refused (${code || status}): ${why}. ${STAYS}`);
}
