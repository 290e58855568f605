/**
 * An S3 server for tests: s3rver from npm keeps the objects, and in front of it stands what s3rver has not: signatures and
 * checksums are checked, a second object does not replace one that was put on condition, and what is written with a lock is not
 * removed before its time. A test can cut, stall or answer for it, and hears of every request.
 */
import { createHash } from 'node:crypto';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { temporaryFolder } from '../stores.ts';
import { listen } from '../tunnel/network.ts';
import { whatIsWrong } from './sigV4.ts';

interface S3rver {
  run(): Promise<{ port: number }>;
  close(): Promise<void>;
}
const S3rverClass = createRequire(import.meta.url)('s3rver') as new (options: object) => S3rver;

export const BUCKET = 'records';
export const REGION = 'eu-central-1';

export type Fault =
  /** The connection breaks before the server has heard of it, or after it has done it. */
  | { readonly kind: 'cut'; readonly when: 'before' | 'after' }
  | { readonly kind: 'answer'; readonly status: number; readonly code: string }
  /** No answer for so long. */
  | { readonly kind: 'stall'; readonly ms: number };

export interface Asked {
  readonly method: string;
  readonly target: string;
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Called when it was done, before anyone is told. */
  answering?: () => void;
  /** Absent: cut off. */
  status?: number;
}

export interface S3Server {
  readonly endpoint: string;
  readonly port: number;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly asked: Asked[];
  /** What becomes of a request; undefined: it is served. */
  fault: (request: Asked) => Fault | undefined;
  /** Whether the bucket has Object Lock. */
  objectLock: boolean;
  /** The file of an object, to damage it behind the server's back. */
  file(key: string): string;
  /** Past the front: as whoever has other keys. */
  put(key: string, body: string): Promise<void>;
  remove(key: string): Promise<void>;
  stop(): Promise<void>;
}

export async function s3Server(): Promise<S3Server> {
  const folder = temporaryFolder();
  const inner = new S3rverClass({ address: '127.0.0.1', port: 0, silent: true, directory: folder, configureBuckets: [{ name: BUCKET }] });
  const { port: innerPort } = await inner.run();
  const lockedUntil = new Map<string, number>();
  const accessKeyId = 'AKIACOUNTERSIGNTEST';
  const secretAccessKey = `canary-s3-${createHash('sha256').update(folder).digest('hex')}`;

  const pass = (
    method: string,
    target: string,
    body: Buffer,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; headers: IncomingMessage['headers']; body: Buffer }> =>
    new Promise((resolve, reject) => {
      const sent = httpRequest(
        { host: '127.0.0.1', port: innerPort, method, path: target, headers: { ...headers, 'content-length': body.length } },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }));
        },
      );
      sent.on('error', reject);
      sent.end(body);
    });
  const refuse = (status: number, code: string): { status: number; headers: object; body: Buffer } => ({
    status,
    headers: { 'content-type': 'application/xml' },
    body: Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${secretAccessKey}</Message></Error>`),
  });

  const serve = async (request: IncomingMessage, body: Buffer): Promise<{ status: number; headers: object; body: Buffer }> => {
    const { headers, method = '', url: target = '' } = request;
    const wrong = whatIsWrong({ method, target, headers, body }, (id) => (id === accessKeyId ? secretAccessKey : undefined), 's3', REGION);
    if (wrong !== undefined) return refuse(403, wrong);
    const [path = ''] = target.split('?');
    if (target.includes('?object-lock')) {
      const on = '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>';
      return server.objectLock ? { status: 200, headers: {}, body: Buffer.from(on) } : refuse(404, 'ObjectLockConfigurationNotFoundError');
    }
    if (method === 'PUT') {
      if (headers['content-md5'] !== undefined && headers['content-md5'] !== createHash('md5').update(body).digest('base64')) return refuse(400, 'BadDigest');
      if (headers['x-amz-checksum-sha256'] !== undefined && headers['x-amz-checksum-sha256'] !== createHash('sha256').update(body).digest('base64'))
        return refuse(400, 'BadDigest');
      const until = headers['x-amz-object-lock-retain-until-date'];
      if (until !== undefined && !server.objectLock) return refuse(400, 'InvalidRequest');
      if (headers['if-none-match'] === '*' && (await pass('HEAD', path, Buffer.alloc(0))).status === 200) return refuse(412, 'PreconditionFailed');
      if (until !== undefined) lockedUntil.set(path, Date.parse(String(until)));
    }
    if (method === 'DELETE' && (lockedUntil.get(path) ?? 0) > Date.now()) return refuse(403, 'AccessDenied');
    const answer = await pass(method, path, body);
    return { status: answer.status, headers: { 'content-type': answer.headers['content-type'] ?? 'text/plain' }, body: answer.body };
  };

  const front = createServer((request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('error', () => {});
    response.on('error', () => {});
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const entry: Asked = { method: request.method ?? '', target: request.url ?? '', headers: request.headers as Asked['headers'] };
      server.asked.push(entry);
      const fault = server.fault(entry);
      void (async () => {
        if (fault?.kind === 'cut' && fault.when === 'before') return void request.socket.destroy();
        if (fault?.kind === 'stall') await sleep(fault.ms);
        const answer = fault?.kind === 'answer' ? refuse(fault.status, fault.code) : await serve(request, Buffer.concat(chunks));
        entry.answering?.();
        if (fault?.kind === 'cut') return void request.socket.destroy();
        entry.status = answer.status;
        const bodyless = request.method === 'HEAD' || answer.status === 204;
        response
          .writeHead(answer.status, { ...answer.headers, ...(!bodyless && { 'content-length': answer.body.length }) })
          .end(bodyless ? undefined : answer.body);
        return undefined;
      })();
    });
  });
  const port = await listen(front);
  const server: S3Server = {
    endpoint: `http://127.0.0.1:${port}`,
    port,
    accessKeyId,
    secretAccessKey,
    asked: [],
    fault: () => undefined,
    objectLock: false,
    file: (key) => join(folder, BUCKET, `${key}._S3rver_object`),
    put: async (key, body) => void (await pass('PUT', `/${BUCKET}/${key}`, Buffer.from(body))),
    remove: async (key) => void (await pass('DELETE', `/${BUCKET}/${key}`, Buffer.alloc(0))),
    stop: async () => {
      const closed = new Promise((resolve) => front.close(resolve));
      front.closeAllConnections();
      await closed;
      await inner.close();
    },
  };
  return server;
}
