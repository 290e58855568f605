/** The reference server from npm, over each of its transports. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { connect } from 'node:net';
import { freePort } from '../../../../demo/freePort.ts';
import type { McpConnection } from '../../../../proxy/policy/policy.ts';
import { until } from '../../../support/soon.ts';

export const everything = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-everything/dist/index.js');

/** Starts a program that listens on `PORT`; resolves when it does. */
export async function listening(command: readonly string[], env: Record<string, string> = {}): Promise<{ readonly port: number; readonly stop: () => void }> {
  const port = await freePort();
  const [file = '', ...args] = command;
  const child: ChildProcess = spawn(file, args, { env: { ...process.env, ...env, PORT: String(port) }, stdio: 'ignore' });
  let gone = false;
  child.once('exit', () => {
    gone = true;
  });
  await until(`${command.join(' ')} to listen`, () => {
    if (gone) throw new Error(`${command.join(' ')} has ended`);
    return reachable(port);
  });
  return { port, stop: () => void child.kill('SIGKILL') };
}

function reachable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

export function remoteConnection(name: string, url: string, transport: 'http' | 'sse' = 'http', headers = new Map<string, string>()): McpConnection {
  return { name, protocol: 'mcp', via: 'local', sensitive: new Map(), upstream: { transport, url, headers } };
}

/** Each way to reach the server. */
export const TRANSPORTS = {
  stdio: async (name: string) => ({
    connection: {
      name,
      protocol: 'mcp',
      via: 'local',
      sensitive: new Map(),
      upstream: { transport: 'stdio', command: [process.execPath, everything], env: new Map() },
    } as McpConnection,
    stop: () => {},
  }),
  'Streamable HTTP': async (name: string) => {
    const { port, stop } = await listening([process.execPath, everything, 'streamableHttp']);
    return { connection: remoteConnection(name, `http://127.0.0.1:${port}/mcp`), stop };
  },
  'HTTP+SSE': async (name: string) => {
    const { port, stop } = await listening([process.execPath, everything, 'sse']);
    return { connection: remoteConnection(name, `http://127.0.0.1:${port}/sse`, 'sse'), stop };
  },
} satisfies Record<string, (name: string) => Promise<{ connection: McpConnection; stop(): void }>>;
