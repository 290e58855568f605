/** A client that speaks stdio only, before a relayed server: what it gets is what the server wrote. */
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { PassThrough } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { carry } from '../../../../proxy/http/stdioBridge.ts';
import type { McpConnection } from '../../../../proxy/policy/policy.ts';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import { listening, remoteConnection } from './everything.ts';
import { RUDE_SERVER } from './servers.ts';
import { Stage } from './stage.ts';

const reference = fileURLToPath(new URL('../../../peers/mcp/referenceServer.ts', import.meta.url));
const MODERN = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'lines', version: '1' },
  'io.modelcontextprotocol/clientCapabilities': {},
};

let stage: Stage;
const ends: (() => unknown)[] = [];

before(async () => {
  stage = await Stage.start();
  const upstream = { transport: 'stdio', command: [process.execPath, '-e', RUDE_SERVER, 'none'], env: new Map() } as const;
  const { port, stop } = await listening([process.execPath, '--disable-warning=ExperimentalWarning', reference]);
  ends.push(stop);
  const rude: McpConnection = { name: 'rude', protocol: 'mcp', via: 'local', sensitive: new Map(), upstream };
  for (const connection of [rude, remoteConnection('reference', `http://127.0.0.1:${port}/mcp`)]) {
    stage.connections.push(connection);
    const served = await mcp.serve(connection, stage.host);
    ends.push(() => served.stop('the test is over'));
  }
});

after(async () => {
  for (const end of ends.reverse()) await end();
  await stage?.stop();
});

interface Line {
  readonly text: string;
  readonly message: {
    readonly id?: unknown;
    readonly method?: string;
    readonly result?: Record<string, unknown>;
    readonly error?: { readonly message: string };
  };
}

/** A client that writes lines and reads them. */
function lines(name: string) {
  const [input, output] = [new PassThrough(), new PassThrough()];
  const seen: Line[] = [];
  const waiting = new Set<() => void>();
  createInterface({ input: output }).on('line', (text) => {
    seen.push({ text, message: JSON.parse(text) as Line['message'] });
    for (const look of waiting) look();
  });
  const done = carry({ endpoint: stage.url(`mcp/${name}`).href, token: stage.headers().Authorization?.slice(7) ?? '', input, output });
  const heard = (is: (line: Line['message']) => boolean): Promise<Line> =>
    new Promise((resolve) => {
      const look = (): void => {
        const found = seen.find(({ message }) => is(message));
        if (!found) return;
        waiting.delete(look);
        resolve(found);
      };
      waiting.add(look);
      look();
    });
  return {
    heard,
    write: (text: string) => void input.write(`${text}\n`),
    ask: (id: number, method: string, params: string) => {
      input.write(`{"jsonrpc":"2.0","id":${id},"method":"${method}","params":${params}}\n`);
      return heard((message) => message.id === id);
    },
    end: async () => {
      input.end();
      await done;
    },
  };
}

const OPEN = '{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"lines","version":"1"}}';

describe('a client over stdio', () => {
  it('sends and gets numbers as they were written, and large answers whole', async () => {
    const client = lines('rude');
    await client.ask(1, 'initialize', OPEN);
    client.write('{"jsonrpc":"2.0","method":"notifications/initialized"}');
    const numbers = '{"big":9007199254740993,"long":0.1000000000000000055511151231257827}';
    const { text } = await client.ask(2, 'tools/call', `{"name":"line","arguments":${numbers}}`);
    assert.ok(text.includes(JSON.stringify(numbers).slice(1, -1)), text);
    const big = await client.ask(3, 'tools/call', '{"name":"big","arguments":{"size":24000000}}');
    assert.ok(big.text.length > 24_000_000);
    await client.end();
  });

  it('hears of changes that belong to no call of its own', async () => {
    const client = lines('reference');
    await client.ask(1, 'initialize', OPEN);
    client.write('{"jsonrpc":"2.0","method":"notifications/initialized"}');
    await client.ask(2, 'tools/call', '{"name":"test_trigger_tool_change","arguments":{}}');
    await client.heard(({ method }) => method === 'notifications/tools/list_changed');
    await client.end();
  });

  it('of the stateless era names in headers what its tools want there, and cancels by hanging up', async () => {
    const client = lines('reference');
    const meta = `"_meta":${JSON.stringify(MODERN)}`;
    await client.ask(1, 'tools/list', `{${meta}}`);
    const { message } = await client.ask(2, 'tools/call', `{"name":"test_x_mcp_header","arguments":{"region":"Zürich ","priority":3},${meta}}`);
    assert.match(JSON.stringify(message.result), /Zürich /);
    stage.decide = (facts) => (facts.verb === 'tools/call' ? 'ask' : 'allow');
    try {
      client.write(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"test_simple_text","arguments":{},${meta}}}`);
      await stage.question();
      client.write('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":3}}');
      await stage.quiet();
    } finally {
      stage.decide = () => 'allow';
    }
    await client.end();
  });
});
