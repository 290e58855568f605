/** What a client can write around its messages, in headers and ids, to be taken for somebody else or for asking something else. */
import assert from 'node:assert/strict';
import { createServer, type IncomingHttpHeaders, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../../proxy/protocols/protocol.ts';
import { remoteConnection } from './everything.ts';
import { Stage } from './stage.ts';

interface Arrived {
  readonly headers: IncomingHttpHeaders;
  readonly message: { readonly id?: unknown; readonly method?: string; readonly params?: { readonly name?: string } };
}

let stage: Stage;
let served: Served;
let server: Server;
const arrived: Arrived[] = [];
const calls = (): string[] => arrived.flatMap(({ message }) => (message.method === 'tools/call' ? [message.params?.name ?? ''] : []));

before(async () => {
  stage = await Stage.start();
  server = createServer((incoming, response) => {
    let text = '';
    incoming.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    incoming.once('end', () => {
      if (incoming.method !== 'POST') return response.writeHead(405).end();
      const message = JSON.parse(text) as Arrived['message'];
      arrived.push({ headers: incoming.headers, message });
      if (message.id === undefined) return response.writeHead(202).end();
      const introduction = { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'far', version: '1' } };
      const tools = ['look', 'erase'].map((name) => ({ name, inputSchema: { type: 'object' } }));
      const result = { initialize: introduction, 'tools/list': { tools } }[message.method ?? ''] ?? { content: [{ type: 'text', text: message.params?.name }] };
      response.writeHead(200, { 'Content-Type': 'application/json' });
      return response.end(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const connection = remoteConnection('far', `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
  stage.connections.push(connection);
  stage.decide = (facts) => (facts.mcp?.tool === 'erase' ? 'deny' : 'allow');
  served = await mcp.serve(connection, stage.host);
});
after(async () => {
  await served?.stop('the test is over');
  server?.closeAllConnections();
  server?.close();
  await stage?.stop();
});

interface Answered {
  readonly status: number;
  readonly session: string | undefined;
  readonly text: string;
}

/** Posts a message as it is, with headers that `fetch` would not let one write. */
function post(message: object, headers: Record<string, string | string[]> = {}, window = 'window'): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      stage.url('mcp/far'),
      {
        method: 'POST',
        headers: { ...stage.headers(window), 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', ...headers },
      },
      (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        answer.once('end', () => {
          const session = answer.headers['mcp-session-id'];
          resolve({ status: answer.statusCode ?? 0, session: typeof session === 'string' ? session : undefined, text });
        });
      },
    );
    outgoing.once('error', reject);
    outgoing.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
  });
}

async function open(window = 'window', headers: Record<string, string> = {}): Promise<Record<string, string>> {
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } };
  const { session } = await post({ id: 0, method: 'initialize', params }, headers, window);
  assert.ok(session !== undefined);
  const about = { 'Mcp-Session-Id': session, 'MCP-Protocol-Version': '2025-11-25' };
  await post({ method: 'notifications/initialized' }, { ...about, ...headers }, window);
  return about;
}

const call = (name: string, id = 7): object => ({ id, method: 'tools/call', params: { name, arguments: {} } });
const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
  'io.modelcontextprotocol/clientInfo': { name: 'raw', version: '1' },
};
const modernCall = (name: string): object => ({ id: 7, method: 'tools/call', params: { name, arguments: {}, _meta: META } });
const MODERN = { 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/call' };

describe('headers of a client of a relayed server', () => {
  it('that name another tool than the body are refused, and nothing is sent', async () => {
    const before = calls().length;
    const bad: readonly Record<string, string | string[]>[] = [
      { ...MODERN, 'Mcp-Name': 'look' },
      { ...MODERN, 'Mcp-Name': ['look', 'erase'] },
      { ...MODERN, 'Mcp-Name': 'ERASE' },
      { ...MODERN, 'Mcp-Name': '=?base64?bG9vaw==?=' },
      { ...MODERN, 'Mcp-Name': '=?base64?ZXJhc2U?=' },
      MODERN,
    ];
    for (const headers of bad) {
      const { status, text } = await post(modernCall('erase'), headers);
      assert.equal(status, 400, JSON.stringify(headers));
      assert.match(text, /-32020/);
    }
    assert.equal((await post(modernCall('look'), { ...MODERN, 'Mcp-Name': 'look', 'Mcp-Method': 'tools/list' })).status, 400);
    assert.equal((await post(modernCall('look'), { ...MODERN, 'Mcp-Name': 'look', 'MCP-Protocol-Version': '2025-11-25' })).status, 400);
    assert.equal(calls().length, before);
  });

  it('that say the same are taken, and it is the body that is decided about', async () => {
    const before = calls().length;
    assert.match((await post(modernCall('look'), { ...MODERN, 'Mcp-Name': '=?base64?bG9vaw==?=' })).text, /"text":"look"/);
    assert.match((await post(modernCall('erase'), { ...MODERN, 'Mcp-Name': 'erase' })).text, /the-rule/);
    // In the era of sessions the header means nothing: it opens nothing either.
    const session = await open();
    assert.match((await post(call('erase'), { ...session, 'Mcp-Name': 'look' })).text, /the-rule/);
    assert.deepEqual(calls().slice(before), ['look']);
  });

  it('of hops, of ours and of proxies, go no further, and make nobody of the client', async () => {
    const forged = {
      Cookie: 'a=b',
      Forwarded: 'for=10.0.0.1;host=evil.example',
      'Proxy-Authorization': 'Basic eDp5',
      'X-Forwarded-For': '10.0.0.1',
      'X-Forwarded-Host': 'evil.example',
      'X-Forwarded-User': 'root',
      'X-Real-IP': '10.0.0.1',
      'X-Original-URL': '/mcp/other',
      'X-Countersign-Person': 'root',
      'X-Countersign-Conversation': 'other',
      Connection: 'close, X-Forwarded-For',
      Traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    };
    const from = arrived.length;
    const session = await open('window', forged);
    await post(call('look'), { ...session, ...forged });
    await post(modernCall('look'), { ...MODERN, 'Mcp-Name': 'look', ...forged });
    const seen = arrived.slice(from);
    assert.equal(seen.filter(({ message }) => message.method === 'tools/call').length, 2);
    for (const { headers } of seen) {
      const text = JSON.stringify(headers);
      assert.doesNotMatch(text, /evil|root|10\.0\.0|x-countersign|proxy-authorization|cookie|forwarded|Bearer/i);
    }
    assert.ok(stage.sessions.every(({ actor }) => actor.person.subject === 'ada'));
  });
});

describe('a session of a relayed server', () => {
  it('does not exist for another window’s login, which can neither call in it, read its stream nor end it', async () => {
    const session = await open('one');
    const before = calls().length;
    assert.equal((await post(call('look'), session, 'two')).status, 404);
    for (const method of ['GET', 'DELETE']) {
      const answer = await fetch(stage.url('mcp/far'), { method, headers: { ...stage.headers('two'), ...session, Accept: 'text/event-stream' } });
      assert.equal(answer.status, 404, method);
      await answer.text();
    }
    assert.equal(calls().length, before);
    assert.match((await post(call('look'), session, 'one')).text, /"text":"look"/);
  });

  it('gives each of two with the same ids its own answers', async () => {
    const [one, two] = [await open('one'), await open('two')];
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, id) => [post(call('look', id), one, 'one'), post(call(`other-${id}`, id), two, 'two')]).flat(),
    );
    for (const [n, { text }] of answers.entries()) {
      const id = Math.floor(n / 2);
      assert.ok(text.includes(`"id":${id}`) && text.includes(n % 2 === 0 ? '"text":"look"' : `"text":"other-${id}"`), text);
    }
  });
});
