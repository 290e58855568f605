/** A gateway's end of the tunnel on a real HTTP(S) server, with tokens that a test hands out, and proxies' ends of it. */
import { randomBytes } from 'node:crypto';
import { createServer as createHttp, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { Person } from '../../../contract/actor.ts';
import { Problem } from '../../../contract/problem.ts';
import { Secret } from '../../../contract/secret.ts';
import type { StreamOpening } from '../../../contract/tunnel.ts';
import { type TunnelOptions, TunnelServer } from '../../../gateway/tunnel/server.ts';
import type { MuxStream } from '../../../proxy/uplink/muxStream.ts';
import { type AccessToken, Uplink, type UplinkOptions } from '../../../proxy/uplink/uplink.ts';
import { listen } from './network.ts';

const clock = { now: (): number => Date.now() };

export interface Logged {
  readonly event: string;
  readonly fields: unknown;
}

function memoryLog(): { log: UplinkOptions['log']; logged: Logged[] } {
  const logged: Logged[] = [];
  const add = (event: string, fields?: unknown): void => void logged.push({ event, fields });
  return { log: { info: add, warn: add, error: add }, logged };
}

export const OPENING: StreamOpening = {
  connection: 'orders',
  kind: 'bytes',
  surface: 'terminal',
  agent: { kind: 'terminal', name: 'psql' },
  conversation: 'con_1',
};

export interface TestTunnel {
  readonly server: TunnelServer;
  readonly http: Server;
  readonly port: number;
  readonly url: URL;
  readonly logged: Logged[];
  /** Streams that were opened, with whose they are. */
  readonly streams: { readonly opening: StreamOpening; readonly stream: MuxStream; readonly person: string }[];
  /** A token of a person that is good for so long. */
  token(subject: string, more?: { readonly lifeMs?: number; readonly edge?: string }): AccessToken;
  revoke(token: AccessToken): void;
  stop(): Promise<void>;
}

export interface TunnelSetup extends Partial<TunnelOptions> {
  readonly tls?: { readonly cert: string; readonly key: string };
  /** What is done with a stream; echoes when absent. */
  readonly serve?: (stream: MuxStream, opening: StreamOpening) => void;
  /** Instead of checking tokens: the identity provider is away, say. */
  readonly broken?: () => Problem | undefined;
}

export async function testTunnel(setup: TunnelSetup = {}): Promise<TestTunnel> {
  const tokens = new Map<string, { person: Person; expiresAt: number; edge: string | undefined }>();
  const streams: TestTunnel['streams'] = [];
  const { log, logged } = memoryLog();
  const server = new TunnelServer({
    authenticate: async (token) => {
      const broken = setup.broken?.();
      if (broken) throw broken;
      const known = tokens.get(token);
      if (!known) throw new Problem('token', 'This sign-in is not valid any more. Sign in again.');
      return { id: `per_${known.person.subject}`, person: known.person, expiresAt: known.expiresAt, basis: token.slice(0, 8), edge: known.edge };
    },
    offered: () => [{ name: 'orders', protocol: 'postgres', database: 'shop', sensitive: {}, credential: 'kept by the gateway', state: 'ready' }],
    onStream: (link, opening, stream) => {
      streams.push({ opening, stream, person: link.principal.person.subject });
      if (setup.serve) setup.serve(stream, opening);
      else stream.pipe(stream);
    },
    clock,
    log,
    ...setup,
  });
  const http = setup.tls ? createHttps(setup.tls) : createHttp();
  const sockets = new Set<{ destroy(): unknown }>();
  http.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  http.on('upgrade', (request, socket, head) => {
    if (!server.upgrade(request, socket, head)) socket.destroy();
  });
  const port = await listen(http);
  return {
    server,
    http,
    port,
    url: new URL(`${setup.tls ? 'https' : 'http'}://127.0.0.1:${port}`),
    logged,
    streams,
    token: (subject, { lifeMs = 3_600_000, edge } = {}) => {
      const token = { token: new Secret(randomBytes(16).toString('hex')), expiresAt: Date.now() + lifeMs };
      tokens.set(token.token.reveal(), { person: { issuer: 'https://idp.example', subject, groups: [] }, expiresAt: token.expiresAt, edge });
      return token;
    },
    revoke: (token) => void tokens.delete(token.token.reveal()),
    stop: async () => {
      server.stop('the test is over');
      const closed = new Promise((resolve) => http.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

export interface TestUplink {
  readonly uplink: Uplink;
  readonly logged: Logged[];
  /** Resolves once the state is this one; with its sentence where it has one. */
  readonly until: (state: Uplink['state']['state']) => Promise<string>;
  readonly setToken: (token: AccessToken | undefined) => void;
}

export function testUplink(url: URL, token: AccessToken | undefined, more: Partial<UplinkOptions> = {}): TestUplink {
  const { log, logged } = memoryLog();
  let current = token;
  const waiting = new Set<() => void>();
  const uplink: Uplink = new Uplink({
    url,
    token: async () => current,
    version: '1.2.3',
    env: {},
    clock,
    log,
    random: Math.random,
    firstWaitMs: 20,
    changed: () => {
      for (const one of waiting) one();
    },
    ...more,
  });
  uplink.start();
  return {
    uplink,
    logged,
    until: (state) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting.delete(look);
          reject(new Error(`the uplink is ${JSON.stringify(uplink.state)}, not ${state}`));
        }, 30_000);
        const look = (): void => {
          if (uplink.state.state !== state) return;
          clearTimeout(timer);
          waiting.delete(look);
          resolve('sentence' in uplink.state ? uplink.state.sentence : '');
        };
        waiting.add(look);
        look();
      }),
    setToken: (next) => {
      current = next;
      uplink.tokenChanged();
    },
  };
}

/** Writes, and reads as many bytes back. */
export function echo(stream: MuxStream, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let got = '';
    const onData = (chunk: Buffer): void => {
      got += chunk.toString();
      if (got.length < text.length) return;
      stream.off('data', onData).off('error', reject);
      resolve(got);
    };
    stream.on('data', onData).once('error', reject);
    stream.write(text);
  });
}

/** Why a stream ended. */
export function endOf(stream: MuxStream): Promise<{ code: string; message: string }> {
  return new Promise((resolve) => {
    const { errored } = stream;
    if (errored) resolve(errored as Error & { code: string });
    else stream.once('error', (cause) => resolve(cause as Error & { code: string }));
  });
}
