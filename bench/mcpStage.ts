/** What an MCP benchmark is played on: the same server over HTTP and over stdio, straight, through the proxy and through a peer. */
import { type ChildProcess, spawn } from 'node:child_process';
import { connect } from 'node:net';
import { resolve } from 'node:path';
import { freePort } from '../demo/freePort.ts';
import { httpClient, type McpClient, stdioClient } from './mcpClient.ts';
import { startProxy } from './proxy.ts';

const SERVER = [process.execPath, '--disable-warning=ExperimentalWarning', resolve(import.meta.dirname, 'mcpServer.ts')];
const PEER = resolve(import.meta.dirname, '../node_modules/mcp-proxy/dist/bin/mcp-proxy.mjs');

/**
 * The servers' hints are believed: `rows` says that it reads, and is a read. `enter` says nothing of itself and is `execute`, what a
 * tool call is where policy says nothing of its server: on disk before it is handed on.
 */
const policy = (port: number): string => `
version: 1
defaults: { read: allow, write: ask, unknown: ask }
connections:
  remote: { protocol: mcp, hints: believe, upstream: { url: 'http://127.0.0.1:${port}/mcp' } }
  local: { protocol: mcp, hints: believe, upstream: { command: ${JSON.stringify([...SERVER, 'stdio'])} } }
rules:
  - { id: no-deleting, match: { mcp: { tool: ['delete*', 'drop*'] } }, verdict: deny }
  - { id: sending-is-reviewed, match: { mcp: { tool: ['send*', 'post*'] } }, verdict: ask }
  - { id: large-pages, when: 'mcp.tool == "rows" && has(mcp.args.page) && mcp.args.page < 0', verdict: deny }
  - { id: after-reading-people, when: 'op.effect == "send" && conversation.read.exists(t, t.sensitive)', verdict: ask }
  # What is read here is sensitive, so that without a word on it each call after the first would wait for a person.
  - { id: after-sensitive-read-calls-ask, match: { mcp: { outward: true, tool: ['send*', 'post*'] } }, when: 'conversation.read.exists(t, t.sensitive)', verdict: ask }
  - { id: rows, match: { mcp: { tool: [rows, enter] } }, verdict: allow }
`;

export interface Way {
  readonly name: string;
  readonly connect: () => Promise<McpClient>;
}

export interface McpStage {
  readonly http: { readonly direct: Way; readonly proxy: Way };
  readonly stdio: { readonly direct: Way; readonly proxy: Way };
  /** From HTTP to stdio, as gateways are mostly used. */
  readonly bridge: { readonly proxy: Way; readonly peer: Way };
  readonly pid: number;
  stop(): Promise<void>;
}

export async function setMcpStage(): Promise<McpStage> {
  const stops: (() => unknown)[] = [];
  const stop = async (): Promise<void> => {
    for (const one of stops.reverse()) await one();
  };
  try {
    const port = await freePort();
    stops.push(await listening([...SERVER, 'http'], port, { PORT: String(port) }));
    const peerPort = await freePort();
    stops.push(
      await listening(
        [process.execPath, PEER, '--port', String(peerPort), '--host', '127.0.0.1', '--server', 'stream', '--', ...SERVER, 'stdio'],
        peerPort,
        {},
      ),
    );
    const { bridge, headers, pid, url } = await throughProxy(port, stops);
    return {
      http: {
        direct: { name: 'direct', connect: () => httpClient(`http://127.0.0.1:${port}/mcp`, {}) },
        proxy: { name: 'proxy', connect: () => httpClient(`${url}/remote`, headers) },
      },
      stdio: {
        direct: { name: 'direct', connect: () => stdioClient([...SERVER, 'stdio']) },
        proxy: { name: 'proxy', connect: () => stdioClient([...bridge, 'local']) },
      },
      bridge: {
        proxy: { name: 'proxy', connect: () => httpClient(`${url}/local`, headers) },
        peer: { name: 'mcp-proxy', connect: () => httpClient(`http://127.0.0.1:${peerPort}/mcp`, {}) },
      },
      pid,
      stop,
    };
  } catch (cause) {
    await stop();
    throw cause;
  }
}

async function listening(command: readonly string[], port: number, env: Record<string, string>): Promise<() => void> {
  const [file = '', ...args] = command;
  const child: ChildProcess = spawn(file, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'inherit'] });
  const reachable = (): Promise<boolean> =>
    new Promise((done) => {
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => {
        socket.destroy();
        done(true);
      });
      socket.once('error', () => done(false));
    });
  while (!(await reachable())) {
    if (child.exitCode !== null) throw new Error(`${command.join(' ')} has ended`);
    await new Promise((done) => setTimeout(done, 50));
  }
  return () => void child.kill('SIGKILL');
}

async function throughProxy(
  upstream: number,
  stops: (() => unknown)[],
): Promise<{ url: string; headers: Record<string, string>; bridge: readonly string[]; pid: number }> {
  const { access, bridge, pid } = await startProxy({ policy: policy(upstream) }, stops);
  const own = access.mcp.find(({ url }) => url.endsWith('/mcp'));
  if (!own) throw new Error('the proxy names no MCP address');
  return { url: own.url, headers: own.headers, bridge, pid };
}
