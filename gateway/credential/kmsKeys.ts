/** An outer key that never leaves AWS Key Management Service. https://docs.aws.amazon.com/kms/latest/APIReference/ */
import { z } from 'zod';
import { Problem } from '../../contract/problem.ts';
import type { AwsCredentials } from '../aws/login.ts';
import { type AwsAnswer, awsRequest, networkWords } from '../aws/request.ts';
import type { KeyWrapper } from './envelope.ts';

const MAX_ANSWER_BYTES = 64 * 1024;
const TIMEOUT_MS = 10_000;
/** Bound to what is wrapped, and shown in CloudTrail: a key of a secret is not opened as anything else. */
const CONTEXT = { use: 'countersign credential key' } as const;
const PREFIX = 'kms:';

const Encrypted = z.object({ CiphertextBlob: z.string().max(20_000), KeyId: z.string().max(2_048) });
const Decrypted = z.object({ Plaintext: z.string().max(20_000), KeyId: z.string().max(2_048) });

export interface KmsOptions {
  /** Id, ARN or `alias/NAME`. */
  readonly key: string;
  /** ARNs that still open what they wrapped. */
  readonly oldKeys: readonly string[];
  readonly region: string;
  readonly endpoint?: string;
  readonly credentials: AwsCredentials;
}

/** KMS changes the material of a key by itself and keeps the old: what is to be wrapped anew is what another key wrapped. */
export function kmsKeys({ credentials, endpoint, key, oldKeys, region }: KmsOptions): KeyWrapper {
  const url = new URL(endpoint ?? `https://kms.${region}.amazonaws.com/`);
  let arn: string | undefined;

  const ask = async (action: 'Encrypt' | 'Decrypt', body: object): Promise<unknown> => {
    const keys = await credentials();
    let answer: AwsAnswer;
    try {
      answer = await awsRequest({
        method: 'POST',
        url,
        headers: { 'Content-Type': 'application/x-amz-json-1.1', 'X-Amz-Target': `TrentService.${action}` },
        body: JSON.stringify({ ...body, EncryptionContext: CONTEXT }),
        service: 'kms',
        region,
        keys,
        maxBytes: MAX_ANSWER_BYTES,
        timeoutMs: TIMEOUT_MS,
      });
    } catch (cause) {
      throw new Problem(
        'kms-away',
        `AWS KMS at ${url.host} is out of reach: ${networkWords(cause)}. Secrets that are not open yet stay closed until it answers.`,
        {
          cause,
        },
      );
    }
    if (answer.status === 200) return JSON.parse(answer.bytes.toString('utf8'));
    const away = answer.status >= 500 || /Throttl|LimitExceeded|Unavailable/.test(answer.code);
    throw new Problem(
      away ? 'kms-away' : 'kms-refused',
      away
        ? `AWS KMS at ${url.host} cannot answer now (${answer.code || answer.status}). It is asked again.`
        : `AWS KMS refused (${answer.code || answer.status}): ${WHAT_TO_DO[answer.code] ?? 'check the key and the rights of the gateway’s keys'}.`,
    );
  };
  const encrypt = async (plain: Buffer): Promise<{ kek: string; wrapped: string }> => {
    const answer = Encrypted.safeParse(await ask('Encrypt', { KeyId: key, Plaintext: plain.toString('base64') }));
    if (!answer.success) throw new Problem('kms-refused', 'AWS KMS answered without a ciphertext.');
    arn = answer.data.KeyId;
    return { kek: PREFIX + arn, wrapped: answer.data.CiphertextBlob };
  };
  const current = async (): Promise<string> => PREFIX + (arn ?? (await encrypt(Buffer.alloc(1)).then(() => arn)));

  return {
    current,
    wrap: encrypt,
    unwrap: async (kek, wrapped) => {
      // Named by the store, which must not choose the key: only ours open anything.
      const named = kek.slice(PREFIX.length);
      if (!kek.startsWith(PREFIX) || (!oldKeys.includes(named) && kek !== (await current())))
        throw new Problem(
          'not-opened',
          `A secret in the store was sealed with another key (${kek}) than the gateway is told to use. Name it in \`aws.kms.oldKeys\`.`,
        );
      const answer = Decrypted.safeParse(await ask('Decrypt', { KeyId: named, CiphertextBlob: wrapped }));
      if (!answer.success || answer.data.KeyId !== named) throw new Problem('kms-refused', 'AWS KMS answered without a plaintext.');
      return Buffer.from(answer.data.Plaintext, 'base64');
    },
  };
}

const WHAT_TO_DO: Readonly<Record<string, string>> = {
  AccessDeniedException: 'the gateway’s keys need `kms:Encrypt` and `kms:Decrypt` on the key',
  NotFoundException: 'there is no such key in that region. Check `aws.kms.key` and `aws.region`',
  DisabledException: 'the key is disabled. Enable it, or restore what was sealed with it',
  KMSInvalidStateException: 'the key is to be deleted. Cancel that, or what is sealed with it is lost',
  IncorrectKeyException: 'it was wrapped with another key',
  InvalidCiphertextException: 'what lies in the store was changed, or wrapped with another key',
  UnrecognizedClientException: 'AWS does not know the access key. Check `aws.login`',
  InvalidSignatureException: 'the secret access key is wrong. Check `aws.login`',
  ExpiredTokenException: 'the keys have expired. Check where `aws.login` gets them from',
};
