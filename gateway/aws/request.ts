/** A request to AWS, or to what speaks like it, signed with Signature Version 4. What comes back is capped, and no text of it becomes a sentence. */
import { AwsV4Signer } from 'aws4fetch';
import type { AwsKeys } from './login.ts';

const TIMEOUT_MS = 20_000;

export interface AwsRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly url: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer> | string;
  readonly service: 's3' | 'sts' | 'kms';
  readonly region: string;
  /** Absent: it goes out unsigned. */
  readonly keys?: AwsKeys;
  /** Largest answer that is read, in bytes. */
  readonly maxBytes: number;
  readonly timeoutMs?: number;
}

export interface AwsAnswer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  /** Of an answer that says no: `AccessDenied`. Empty where there is none. */
  readonly code: string;
}

/** @throws what `fetch` throws where nothing answers, and where an answer is too large */
export async function awsRequest({ keys, maxBytes, region, service, timeoutMs = TIMEOUT_MS, ...request }: AwsRequest): Promise<AwsAnswer> {
  const { body, headers, method, url } = keys
    ? await new AwsV4Signer({
        method: request.method,
        url: request.url.href,
        headers: { ...request.headers },
        ...(request.body !== undefined && { body: request.body }),
        accessKeyId: keys.accessKeyId,
        secretAccessKey: keys.secretAccessKey.reveal(),
        ...(keys.sessionToken && { sessionToken: keys.sessionToken.reveal() }),
        service,
        region,
      }).sign()
    : { ...request, body: request.body, headers: new Headers({ ...request.headers }) };
  const response = await fetch(url, {
    method,
    headers,
    ...(body !== undefined && { body: body as BodyInit }),
    // A signed request goes nowhere else than where it was signed for.
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  });
  const bytes = await limited(response, maxBytes);
  return { status: response.status, headers: response.headers, bytes, code: response.ok ? '' : codeOf(bytes) };
}

async function limited(response: Response, maxBytes: number): Promise<Buffer> {
  if (!response.body) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > maxBytes) throw new Error('the answer is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** XML of S3 and STS, JSON of KMS. */
function codeOf(bytes: Buffer): string {
  const text = bytes.subarray(0, 20_000).toString('utf8');
  const [, xml, json] = /<Code>([A-Za-z0-9.]{1,80})<\/Code>|"__type"\s*:\s*"(?:[\w.]{1,100}#)?([A-Za-z0-9]{1,80})"/.exec(text) ?? [];
  return xml ?? json ?? '';
}

/** Why nothing came back, in a few words. */
export function networkWords(cause: unknown): string {
  const { cause: inner, name } = cause as { cause?: { code?: unknown }; name?: unknown };
  const code = typeof inner?.code === 'string' ? inner.code : '';
  if (name === 'TimeoutError') return 'it did not answer in time';
  if (code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN') return `nothing answers at its address (${code})`;
  if (/CERT|TLS|SSL|SELF_SIGNED|ISSUER/.test(code)) return `its certificate is not trusted here (${code})`;
  return code === '' ? 'the connection broke' : `the connection broke (${code})`;
}
