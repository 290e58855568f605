/** Edges for tests: their configuration, processes of their own, and people who come through the gateway. */
import { type ChildProcess, fork } from 'node:child_process';
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SignJWT } from 'jose';
import { Client } from 'pg';
import { EDGE_TOKEN_TYPE, JOIN_DOMAIN, JOIN_PATH } from '../../../contract/gateway/edges.ts';
import { Secret } from '../../../contract/secret.ts';
import { keyId } from '../../../gateway/edge/edgeStore.ts';
import { loadEdgeConfig } from '../../../gateway/edge/process/config.ts';
import { Edge } from '../../../gateway/edge/process/edge.ts';
import { Uplink } from '../../../proxy/uplink/uplink.ts';
import { quiet, temporaryFolder } from '../stores.ts';

/** Where the name of a database behind an edge leads, for the edge alone: nothing else can look it up. */
export const INSIDE = 'orders.plant.internal';
export const insideOnly = async (name: string): Promise<readonly string[]> => {
  if (name === INSIDE) return ['127.0.0.1'];
  throw Object.assign(new Error('not found'), { code: 'ENOTFOUND' });
};

export interface EdgeSetup {
  readonly gateway: string;
  readonly token?: string | undefined;
  readonly data?: string;
  readonly allow: readonly string[];
  readonly drainSeconds?: number;
}

export function edgeFile({ allow, data = temporaryFolder(), drainSeconds = 1, gateway, token }: EdgeSetup): string {
  const folder = temporaryFolder();
  const tokenFile = join(folder, 'token');
  if (token !== undefined) writeFileSync(tokenFile, `${token}\n`);
  const file = join(folder, 'edge.yaml');
  writeFileSync(
    file,
    JSON.stringify({ version: 1, gateway, data, allow, drainSeconds, listen: '127.0.0.1:0', ...(token !== undefined && { token: tokenFile }) }),
  );
  return file;
}

/** An edge in this process. */
export async function startEdge(setup: EdgeSetup): Promise<Edge> {
  const loaded = loadEdgeConfig({ config: edgeFile(setup) }, {});
  if (!loaded.ok) throw new Error(loaded.problems.map(({ message }) => message).join('; '));
  return await Edge.start({ config: loaded.config, env: {}, version: '0.0.0-test', log: quiet, lookup: insideOnly });
}

export interface EdgeProcess {
  readonly child: ChildProcess;
  /** Resolves when it is connected to so many replicas. */
  connected(replicas: number): Promise<void>;
}

/** An edge in a process of its own, to be killed. */
export function forkEdge(file: string): EdgeProcess {
  const child = fork(fileURLToPath(import.meta.resolve('./edgeChild.ts')), {
    env: { ...process.env, TEST_EDGE_FILE: file },
    execArgv: ['--disable-warning=ExperimentalWarning'],
  });
  let now = 0;
  const waiting = new Set<() => void>();
  child.on('message', (said) => {
    now = (said as { connected: number }).connected;
    for (const look of waiting) look();
  });
  return {
    child,
    connected: (replicas) =>
      new Promise((resolve, reject) => {
        const late = setTimeout(() => reject(new Error(`the edge is connected to ${now} replicas`)), 60_000);
        const look = (): void => {
          if (now !== replicas) return;
          clearTimeout(late);
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
  };
}

/** A laptop's link to a gateway, through which sessions are opened. */
export function laptop(url: string, token: string): Uplink {
  const uplink = new Uplink({
    url: new URL(url),
    token: async () => ({ token: new Secret(token), expiresAt: Date.now() + 3_600_000 }),
    version: '1.2.3',
    env: {},
    clock: { now: () => Date.now() },
    log: quiet,
    random: Math.random,
    firstWaitMs: 20,
    changed: () => {},
  });
  uplink.start();
  return uplink;
}

/** A database client whose bytes go through a laptop's link, as its proxy would send them. */
export async function through(uplink: Uplink, connection: string, database: string): Promise<Client> {
  const stream = uplink.open({
    connection,
    kind: 'bytes',
    surface: 'terminal',
    agent: { kind: 'terminal', name: 'psql' },
    conversation: randomBytes(8).toString('hex'),
  });
  // As `pg` wants a socket: connected when it says so.
  const socket = Object.assign(stream, { connect: () => process.nextTick(() => stream.emit('connect')) });
  const client = new Client({ stream: () => socket as never, database, user: 'countersign', ssl: false });
  client.on('error', () => {});
  await client.connect();
  return client;
}

// ── what an attacker has ─────────────────────────────────────────────────────────────────────────────────────────────

export interface Keys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  readonly id: string;
}

export function newKeys(): Keys {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { privateKey, publicKey, id: keyId(publicKey) };
}

/** Brings a token and a key to a gateway. */
export async function bring(url: string, token: string, keys: Keys, by: Keys = keys): Promise<{ status: number; body: { edge?: string; sentence?: string } }> {
  const proof = sign(null, Buffer.from(`${JOIN_DOMAIN}${url}\n${token}`), by.privateKey).toString('base64url');
  const response = await fetch(`${url}${JOIN_PATH}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token, publicKey: keys.publicKey.export({ type: 'spki', format: 'pem' }), proof, host: 'attacker' }),
  });
  return { status: response.status, body: (await response.json()) as { edge?: string; sentence?: string } };
}

export async function assertion(url: string, keys: Keys, change: Record<string, unknown> = {}, header: Record<string, unknown> = {}): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  return await new SignJWT({ iss: keys.id, sub: keys.id, aud: url, iat: now, exp: now + 60, jti: randomBytes(16).toString('hex'), ...change })
    .setProtectedHeader({ alg: 'EdDSA', kid: keys.id, typ: EDGE_TOKEN_TYPE, ...header })
    .sign(keys.privateKey);
}
