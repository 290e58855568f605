import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Secret } from '../../contract/secret.ts';
import { freePort } from '../../demo/freePort.ts';
import { LoopbackServer } from '../../proxy/http/loopback.ts';
import { ClientLogins } from '../../proxy/identity/clients.ts';
import type { McpConnection } from '../../proxy/policy/policy.ts';
import { mcp } from '../../proxy/protocols/mcp/mcp.ts';
import { ADA, testEngine } from '../support/engine.ts';
import { CANARY_VALUE, type Decision, type Harness } from './harness.ts';

/** An upstream that writes down every line it is sent, and cuts its answers where it is told. */
const SERVER = `
const { appendFileSync } = require('node:fs');
const send = (message, cut) => {
  const line = JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n';
  if (cut === undefined) return process.stdout.write(line);
  const bytes = Buffer.from(line);
  process.stdout.write(bytes.subarray(0, cut));
  setTimeout(() => process.stdout.write(bytes.subarray(cut)), 2);
};
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  appendFileSync(process.argv[2], line + '\\n');
  const { id, method, params } = JSON.parse(line);
  if (method === 'initialize') return send({ id, result: { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'tap', version: '1' } } });
  if (method === 'tools/list') return send({ id, result: { tools: ['read', 'secret', 'write'].map((name) => ({ name, inputSchema: { type: 'object' } })) } });
  if (method !== 'tools/call') return id === undefined ? undefined : send({ id, error: { code: -32601, message: 'no' } });
  const text = params.name === 'secret' ? 'card ${CANARY_VALUE} of Ann ✓' : 'done';
  send({ id, result: { content: [{ type: 'text', text }] } }, params.arguments?.cut);
});
`;

export const mcpHarness: Harness = {
  protocol: 'mcp',
  async start(write) {
    const folder = await mkdtemp(join(tmpdir(), 'countersign-mcp-'));
    const script = join(folder, 'server.cjs');
    const log = join(folder, 'seen');
    await writeFile(script, SERVER);
    await writeFile(log, '');
    const policy = (decision: Decision): string => `version: 1
connections:
  main: { protocol: mcp, upstream: { command: ${JSON.stringify([process.execPath, script, log])} }, via: local }
rules:
  - { id: reads, match: { mcp: { tool: [read, secret] } }, verdict: allow }
  - { id: after-sensitive-read-calls-ask, match: { mcp: { tool: [read, secret] } }, verdict: allow }
  - { id: the-rest, match: { mcp: { method: ['initialize', 'tools/list', 'server/discover', 'notifications/*'] } }, verdict: allow }
  - { id: writes, match: { mcp: { tool: write } }, verdict: ${decision} }
`;
    const t = await testEngine(policy(write));
    const logins = new ClientLogins({ secret: new Secret('s'.repeat(64)), person: ADA, clock: t.engine.clock, newId: t.engine.newId });
    const http = new LoopbackServer({ port: await freePort(), clients: logins, log: t.engine.log });
    await http.start();
    const served = await mcp.serve(t.policy().connections.get('main') as McpConnection, {
      ...t.host,
      clients: logins,
      mount: (...mounted) => http.mount(...mounted),
    });
    const clients: Client[] = [];
    const connect = async (): Promise<Client> => {
      const client = new Client({ name: 'claude-code', version: '9.9' });
      clients.push(client);
      const headers = { Authorization: `Bearer ${logins.issueBearer('window').reveal()}` };
      await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${http.port}/mcp/main`), { requestInit: { headers } }));
      return client;
    };
    const call = async (client: Client, name: string, args: Record<string, unknown>, signal?: AbortSignal): Promise<string> => {
      const result = await client.callTool({ name, arguments: args }, signal ? { signal } : {});
      const text = (result.content as { text?: string }[]).map((content) => content.text ?? '').join('\n');
      if (result.isError) throw new Error(text);
      return text;
    };
    return {
      t,
      decideWrites: (decision) => t.setPolicy(policy(decision)),
      upstream: () => readFile(log, 'utf8'),
      client: async () => {
        const client = await connect();
        return {
          read: (marker) => call(client, 'read', { marker }),
          readSecret: () => call(client, 'secret', {}),
          write: (marker, signal) => call(client, 'write', { marker }, signal),
          vanish: () => void client.close(),
          close: () => client.close(),
        };
      },
      cutEverywhere: async () => {
        const client = await connect();
        const got: { where: string; got: string }[] = [];
        for (let cut = 1; cut < 120; cut++) got.push({ where: `answer cut at ${cut}`, got: await call(client, 'secret', { cut }) });
        return got;
      },
      stop: async () => {
        for (const client of clients) await client.close().catch(() => {});
        await served.stop('the test is over');
        await http.stop();
        await t.stop();
        await rm(folder, { recursive: true, force: true });
      },
    };
  },
};
