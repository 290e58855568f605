/** What passes beside calls: the level of a log, what happens to a resource, lists page by page, a person sent to a page. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../../proxy/protocols/protocol.ts';
import { until } from '../../../support/soon.ts';
import { Stage } from './stage.ts';

/** A server of sessions: its cursors are its own business, it logs at two levels, and tells only who subscribed. */
const SERVER = `
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n');
const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
const NAMES = ['a', 'b', 'c', 'd', 'e'];
const subscribed = new Set();
let level = 'debug';
let visiting;
const log = (at, data) => LEVELS.indexOf(at) >= LEVELS.indexOf(level) && send({ method: 'notifications/message', params: { level: at, logger: 'l', data } });
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params, result } = JSON.parse(line);
  const answer = (value) => send({ id, result: value });
  const text = (value) => ({ content: [{ type: 'text', text: value }] });
  if (method === undefined) return send({ id: visiting, result: text(JSON.stringify(result)) });
  switch (method) {
    case 'initialize':
      return answer({ protocolVersion: params.protocolVersion, capabilities: { tools: {}, logging: {}, resources: { subscribe: true } }, serverInfo: { name: 'side', version: '1' } });
    case 'tools/list': return answer({ tools: ['talk', 'touch', 'visit'].map((name) => ({ name, inputSchema: { type: 'object' } })) });
    case 'resources/list': {
      const at = params?.cursor === undefined ? 0 : NAMES.indexOf(Buffer.from(params.cursor, 'base64').toString().slice(3));
      const next = NAMES[at + 2];
      return answer({ resources: NAMES.slice(at, at + 2).map((name) => ({ name, uri: 'side://' + name })), ...(next && { nextCursor: Buffer.from('at:' + next).toString('base64') }) });
    }
    case 'logging/setLevel': level = params.level; return answer({});
    case 'resources/subscribe': subscribed.add(params.uri); return answer({});
    case 'resources/unsubscribe': subscribed.delete(params.uri); return answer({});
    case 'tools/call':
      if (params.name === 'talk') { log('info', 'low'); log('error', 'high'); return answer(text('talked')); }
      if (params.name === 'touch') {
        for (const uri of ['side://a', 'side://b']) if (subscribed.has(uri)) send({ method: 'notifications/resources/updated', params: { uri } });
        return answer(text([...subscribed].join()));
      }
      visiting = id;
      return send({ id: 'visit', method: 'elicitation/create', params: { mode: 'url', elicitationId: 'e-1', url: 'https://bank.example/consent?of=you', message: 'Confirm there with card 4111 1111 1111 1111.' } });
    default: return id === undefined ? undefined : send({ id, error: { code: -32601, message: 'no' } });
  }
});
`;

const folder = mkdtempSync(join(tmpdir(), 'countersign-side-'));
let stage: Stage;
let served: Served;

before(async () => {
  stage = await Stage.start();
  writeFileSync(join(folder, 'server.cjs'), SERVER);
  const upstream = { transport: 'stdio', command: [process.execPath, join(folder, 'server.cjs')], env: new Map() } as const;
  const connection = { name: 'side', protocol: 'mcp', via: 'local', sensitive: new Map(), upstream } as const;
  stage.connections.push(connection);
  served = await mcp.serve(connection, stage.host);
});
after(async () => {
  await served?.stop('the test is over');
  await stage?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');

for (const modern of [false, true]) {
  describe(`beside calls, a client of the ${modern ? 'stateless era' : 'era of sessions'}`, () => {
    const connect = (window: string, options: object = {}): Promise<Client> =>
      stage.client('mcp/side', { modern, window: `${window}-${modern}`, options: { capabilities: options } });

    it('reads a list page by page, by cursors that it cannot read', async () => {
      const client = await connect('pages');
      const pages: string[][] = [];
      let cursor: string | undefined;
      do {
        const page = (await client.request({ method: 'resources/list', params: cursor === undefined ? {} : { cursor } })) as {
          resources: { name: string }[];
          nextCursor?: string;
        };
        pages.push(page.resources.map(({ name }) => name));
        cursor = page.nextCursor;
      } while (cursor !== undefined && pages.length < 10);
      assert.deepEqual(pages.flat(), ['a', 'b', 'c', 'd', 'e']);
    });

    it('hears of a log what it asked to hear', async () => {
      const client = await connect('log');
      const heard: string[] = [];
      client.setNotificationHandler('notifications/message', ({ params }) => void heard.push(`${params.level} ${String(params.data)}`));
      if (!modern) await client.setLoggingLevel('error');
      const call = (level: string) => client.callTool({ name: 'talk', arguments: {}, ...(modern && { _meta: { 'io.modelcontextprotocol/logLevel': level } }) });
      await call('error');
      await call('error');
      assert.deepEqual(heard, ['error high', 'error high']);
      if (!modern) await client.setLoggingLevel('info');
      await call('info');
      assert.deepEqual(heard.slice(2), ['info low', 'error high']);
    });

    it('hears of the resource that it subscribed to, and of no other', async () => {
      const client = await connect('resources');
      const told = Promise.withResolvers<string>();
      client.setNotificationHandler('notifications/resources/updated', ({ params }) => told.resolve(params.uri));
      if (modern) await client.listen({ resourceSubscriptions: ['side://b'] });
      else await client.subscribeResource({ uri: 'side://b' });
      // A listener is acknowledged before its subscription has reached the server.
      const touch = async (): Promise<string> => text(await client.callTool({ name: 'touch', arguments: {} }));
      await until('the subscription', async () => (await touch()) === 'side://b' || assert.ok(modern));
      assert.equal(await told.promise, 'side://b');
    });

    it('has its person sent to a page, and the answer carried back', async () => {
      const able = await connect('able', { elicitation: { url: {} } });
      const asked: unknown[] = [];
      able.setRequestHandler('elicitation/create', ({ params }) => {
        asked.push(params);
        return { action: 'accept' };
      });
      assert.match(text(await able.callTool({ name: 'visit', arguments: {} })), /"action":"accept"/);
      const [{ message, mode, url } = {}] = asked as { message?: string; mode?: string; url?: string }[];
      assert.deepEqual([mode, url], ['url', 'https://bank.example/consent?of=you']);
      // What a server asks a person is masked as what it answers an agent.
      assert.equal(message, 'Confirm there with card ‹redacted›.');
    });
  });
}
