/**
 * Not AWS: a server that answers as the API references of AWS STS and KMS say, for the few actions that are used here. No
 * server of either is to be had from npm or Debian, so that nothing here proves how the real ones behave. Signatures it
 * checks for real, by code that shares nothing with what signs.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { whatIsWrong } from '../s3/sigV4.ts';
import { listen } from '../tunnel/network.ts';

export const REGION = 'eu-central-1';
export const ROLE = 'arn:aws:iam::123456789012:role/orders';
export const KMS_KEY = 'arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555';

interface Lent {
  readonly secretAccessKey: string;
  readonly sessionToken: string;
  readonly until: number;
}

export interface FakeAws {
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** The token of the machine's identity that is believed. */
  readonly webIdentity: string;
  /** Parameters of each call to STS. */
  readonly assumed: URLSearchParams[];
  /** By access key id. */
  readonly lent: Map<string, Lent>;
  readonly kmsCalls: string[];
  /** Answered in the place of everything. */
  refuse: { readonly status: number; readonly code: string } | undefined;
  /** How often it was. */
  refused: number;
  /** How long lent keys are good, in seconds. */
  seconds: number;
  /** KMS: what `alias/countersign` stands for. */
  alias: string;
  stop(): Promise<void>;
}

export async function fakeAws(): Promise<FakeAws> {
  const material = new Map<string, Buffer>();
  const keyOf = (arn: string): Buffer => {
    const known = material.get(arn) ?? randomBytes(32);
    material.set(arn, known);
    return known;
  };
  const fake = {
    accessKeyId: 'AKIACOUNTERSIGNTEST',
    secretAccessKey: `canary-aws-${randomBytes(20).toString('hex')}`,
    webIdentity: `canary-jwt-${randomBytes(20).toString('hex')}`,
    assumed: [] as URLSearchParams[],
    lent: new Map<string, Lent>(),
    kmsCalls: [] as string[],
    refuse: undefined as FakeAws['refuse'],
    refused: 0,
    seconds: 900,
    alias: KMS_KEY,
  };
  const xml = (status: number, code: string): { status: number; body: string } => ({
    status,
    body: `<ErrorResponse><Error><Type>Sender</Type><Code>${code}</Code><Message>${fake.secretAccessKey}</Message></Error></ErrorResponse>`,
  });
  const secretOf = (id: string): string | undefined => (id === fake.accessKeyId ? fake.secretAccessKey : undefined);

  const sts = (request: IncomingMessage, body: Buffer): { status: number; body: string } => {
    const asked = new URLSearchParams(body.toString('utf8'));
    const action = asked.get('Action') ?? '';
    if (action === 'AssumeRoleWithWebIdentity') {
      if (request.headers.authorization !== undefined) return xml(400, 'InvalidRequest');
      if (asked.get('WebIdentityToken') !== fake.webIdentity) return xml(400, 'InvalidIdentityToken');
    } else if (action === 'AssumeRole') {
      const wrong = whatIsWrong({ method: 'POST', target: request.url ?? '', headers: request.headers, body }, secretOf, 'sts', REGION);
      if (wrong !== undefined) return xml(403, wrong);
    } else return xml(400, 'InvalidAction');
    if (asked.get('Version') !== '2011-06-15' || !/^[\w+=,.@-]{2,64}$/.test(asked.get('RoleSessionName') ?? '')) return xml(400, 'ValidationError');
    if (asked.get('RoleArn') !== ROLE) return xml(403, 'AccessDenied');
    fake.assumed.push(asked);
    const id = `ASIA${randomBytes(8).toString('hex').toUpperCase()}`;
    const until = Math.floor(Date.now() / 1000) * 1000 + fake.seconds * 1000;
    const keys: Lent = {
      secretAccessKey: `canary-lent-${createHash('sha256').update(id).digest('hex')}`,
      sessionToken: `canary-session+/=${randomBytes(60).toString('base64')}`,
      until,
    };
    fake.lent.set(id, keys);
    return {
      status: 200,
      body: `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result><Credentials><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>${keys.secretAccessKey}</SecretAccessKey><SessionToken>${keys.sessionToken}</SessionToken><Expiration>${new Date(until).toISOString()}</Expiration></Credentials></${action}Result></${action}Response>`,
    };
  };

  const kms = (request: IncomingMessage, body: Buffer): { status: number; body: string } => {
    const no = (code: string): { status: number; body: string } => ({ status: 400, body: JSON.stringify({ __type: code, message: fake.secretAccessKey }) });
    if (whatIsWrong({ method: 'POST', target: request.url ?? '', headers: request.headers, body }, secretOf, 'kms', REGION) !== undefined)
      return no('InvalidSignatureException');
    const action = String(request.headers['x-amz-target']).replace(/^TrentService\./, '');
    fake.kmsCalls.push(action);
    const asked = JSON.parse(body.toString('utf8')) as {
      KeyId: string;
      Plaintext?: string;
      CiphertextBlob?: string;
      EncryptionContext?: Record<string, string>;
    };
    const arn = asked.KeyId === 'alias/countersign' ? fake.alias : asked.KeyId;
    if (!arn.startsWith('arn:aws:kms:')) return no('NotFoundException');
    const aad = Buffer.from(JSON.stringify(Object.entries(asked.EncryptionContext ?? {}).toSorted()));
    if (action === 'Encrypt') {
      const iv = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', keyOf(arn), iv).setAAD(aad);
      const sealed = Buffer.concat([iv, cipher.update(asked.Plaintext ?? '', 'base64'), cipher.final(), cipher.getAuthTag()]);
      return { status: 200, body: JSON.stringify({ CiphertextBlob: sealed.toString('base64'), KeyId: arn, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' }) };
    }
    if (action !== 'Decrypt') return no('UnknownOperationException');
    try {
      const bytes = Buffer.from(asked.CiphertextBlob ?? '', 'base64');
      const decipher = createDecipheriv('aes-256-gcm', keyOf(arn), bytes.subarray(0, 12)).setAAD(aad);
      decipher.setAuthTag(bytes.subarray(-16));
      const plain = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]);
      return { status: 200, body: JSON.stringify({ Plaintext: plain.toString('base64'), KeyId: arn }) };
    } catch {
      return no('InvalidCiphertextException');
    }
  };

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      const isKms = request.headers['x-amz-target'] !== undefined;
      const { refuse } = fake;
      if (refuse) fake.refused++;
      const answer = refuse
        ? isKms
          ? { status: refuse.status, body: JSON.stringify({ __type: refuse.code }) }
          : xml(refuse.status, refuse.code)
        : (isKms ? kms : sts)(request, body);
      response.writeHead(answer.status, { 'content-type': isKms ? 'application/x-amz-json-1.1' : 'text/xml' }).end(answer.body);
    });
  });
  const port = await listen(server);
  return Object.assign(fake, {
    endpoint: `http://127.0.0.1:${port}/`,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  });
}
