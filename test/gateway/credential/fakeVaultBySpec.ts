/**
 * Not Vault: a server that answers as the HTTP API documentation of HashiCorp Vault and OpenBao says, for the few paths that
 * are used here. Neither program is to be had from npm or Debian, so that nothing here proves how a real one behaves.
 */
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage } from 'node:http';
import { listen } from '../tunnel/network.ts';

export interface FakeVault {
  readonly address: URL;
  readonly token: string;
  readonly requests: string[];
  /** Leases that stand: id → until, epoch milliseconds. */
  readonly leases: Map<string, number>;
  /** Transit: another version of the key. */
  rotate(): void;
  seal(sealed: boolean): void;
  stop(): Promise<void>;
}

/** @param creds what `database/creds/<role>` hands out */
export async function fakeVault(
  creds: (role: string) => { username: string; password: string; seconds: number } | undefined = () => undefined,
): Promise<FakeVault> {
  const token = `hvs.${randomBytes(12).toString('hex')}`;
  const requests: string[] = [];
  const leases = new Map<string, number>();
  const keys: Buffer[] = [randomBytes(32)];
  let sealed = false;
  const answer = async (request: IncomingMessage): Promise<{ status: number; body?: object }> => {
    const path = (request.url ?? '').replace(/^\/v1\//, '');
    requests.push(`${request.method} ${path}`);
    if (sealed) return { status: 503, body: { errors: ['Vault is sealed'] } };
    if (request.headers['x-vault-token'] !== token) return { status: 403, body: { errors: ['permission denied'] } };
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const body = (text === '' ? {} : JSON.parse(text)) as Record<string, string>;
    if (path === 'transit/keys/countersign') return { status: 200, body: { data: { latest_version: keys.length } } };
    if (path === 'transit/encrypt/countersign') {
      const iv = randomBytes(12);
      const cipher = createCipheriv('aes-256-gcm', keys.at(-1) as Buffer, iv);
      const bytes = Buffer.concat([iv, cipher.update(body.plaintext ?? '', 'base64'), cipher.final(), cipher.getAuthTag()]);
      return { status: 200, body: { data: { ciphertext: `vault:v${keys.length}:${bytes.toString('base64')}` } } };
    }
    if (path === 'transit/decrypt/countersign') {
      const [, version = '', base64 = ''] = /^vault:v(\d+):(.+)$/.exec(body.ciphertext ?? '') ?? [];
      const bytes = Buffer.from(base64, 'base64');
      const decipher = createDecipheriv('aes-256-gcm', keys[Number(version) - 1] as Buffer, bytes.subarray(0, 12));
      decipher.setAuthTag(bytes.subarray(-16));
      return { status: 200, body: { data: { plaintext: Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString('base64') } } };
    }
    const role = /^database\/creds\/(\w+)$/.exec(path)?.[1];
    if (role !== undefined && request.method === 'GET') {
      const made = creds(role);
      if (!made) return { status: 404, body: { errors: [] } };
      const id = `database/creds/${role}/${randomBytes(8).toString('hex')}`;
      leases.set(id, Date.now() + made.seconds * 1000);
      return {
        status: 200,
        body: { lease_id: id, lease_duration: made.seconds, renewable: true, data: { username: made.username, password: made.password } },
      };
    }
    if (path === 'sys/leases/renew') {
      const id = body.lease_id ?? '';
      if (!leases.has(id)) return { status: 400, body: { errors: ['lease not found'] } };
      const seconds = Number(body.increment ?? 60);
      leases.set(id, Date.now() + seconds * 1000);
      return { status: 200, body: { lease_id: id, lease_duration: seconds, renewable: true } };
    }
    if (path === 'sys/leases/revoke') {
      leases.delete(body.lease_id ?? '');
      return { status: 204 };
    }
    return { status: 404, body: { errors: [] } };
  };
  const server = createServer((request, response) => {
    answer(request).then(
      ({ body, status }) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(body && JSON.stringify(body)),
      () => response.writeHead(400).end('{"errors":["bad request"]}'),
    );
  });
  const port = await listen(server);
  return {
    address: new URL(`http://127.0.0.1:${port}`),
    token,
    requests,
    leases,
    rotate: () => void keys.push(randomBytes(32)),
    seal: (now) => {
      sealed = now;
    },
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
