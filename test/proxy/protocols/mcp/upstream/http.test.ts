/** What goes to a server over HTTP and what does not, and what is done when it forgets, breaks off or refuses. */
import assert from 'node:assert/strict';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import { Secret } from '../../../../../contract/secret.ts';
import type { McpConnection, SecretRef } from '../../../../../proxy/policy/policy.ts';
import { mcp } from '../../../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../../../proxy/protocols/protocol.ts';
import { until } from '../../../../support/soon.ts';
import { Stage } from '../stage.ts';

interface Seen {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: { readonly id?: unknown; readonly method?: string; readonly params?: Record<string, unknown> };
}

/** A server whose every answer the test writes. */
class Scripted {
  readonly seen: Seen[] = [];
  answer: (seen: Seen, response: ServerResponse) => void = () => {};
  readonly #server: Server;

  static async start(): Promise<Scripted> {
    const scripted = new Scripted();
    await new Promise<void>((resolve) => scripted.#server.listen(0, '127.0.0.1', resolve));
    return scripted;
  }

  private constructor() {
    this.#server = createServer((request, response) => void this.#handle(request, response));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mcp`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    const seen: Seen = { method: request.method ?? '', headers: request.headers, body: text === '' ? {} : JSON.parse(text) };
    this.seen.push(seen);
    this.answer(seen, response);
  }
}

const json = (response: ServerResponse, message: object, headers: Record<string, string> = {}): void =>
  void response.writeHead(200, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify({ jsonrpc: '2.0', ...message }));

/** A well-behaved server of sessions, except where `odd` takes over. */
function sessions(odd: (seen: Seen, response: ServerResponse) => boolean = () => false): (seen: Seen, response: ServerResponse) => void {
  let opened = 0;
  return (seen, response) => {
    if (odd(seen, response)) return undefined;
    const { id, method } = seen.body;
    if (seen.method !== 'POST') return void response.writeHead(405).end();
    if (method === 'initialize') {
      const result = { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'scripted', version: '1' } };
      return json(response, { id, result }, { 'Mcp-Session-Id': `s${++opened}` });
    }
    if (id === undefined) return void response.writeHead(202).end();
    return json(response, { id, result: { content: [{ type: 'text', text: 'done' }] } });
  };
}

let stage: Stage;
let scripted: Scripted;
let served: Served | undefined;

before(async () => {
  stage = await Stage.start();
  scripted = await Scripted.start();
});
afterEach(async () => {
  await served?.stop('the test is over');
  served = undefined;
  stage.connections.length = 0;
  scripted.seen.length = 0;
});
after(async () => {
  scripted?.stop();
  await stage?.stop();
});

async function connect(headers = new Map<string, string | SecretRef>(), transport: 'http' | 'sse' = 'http'): Promise<Client> {
  const connection: McpConnection = { name: 'far', protocol: 'mcp', via: 'local', sensitive: new Map(), upstream: { transport, url: scripted.url, headers } };
  stage.connections.push(connection);
  served = await mcp.serve(connection, stage.host);
  return stage.client('mcp/far');
}

const call = (client: Client) => client.callTool({ name: 't', arguments: {} });

describe('a server over HTTP', () => {
  it('gets our credentials, and nothing of the client’s: no bearer, no hop header, no origin, no cookie', async () => {
    scripted.answer = sessions();
    stage.secrets.set('far-token', new Secret('Bearer ours'));
    const client = await connect(
      new Map<string, string | SecretRef>([
        ['Authorization', { from: 'secret', name: 'far-token' }],
        ['X-Team', 'kettles'],
      ]),
    );
    await call(client);
    for (const { headers } of scripted.seen) {
      assert.equal(headers.authorization, 'Bearer ours');
      assert.equal(headers['x-team'], 'kettles');
      const names = Object.keys(headers).filter(
        (name) => !/^(accept|authorization|connection|content-length|content-type|host|mcp-protocol-version|mcp-session-id|x-team)$/.test(name),
      );
      assert.deepEqual(names, []);
    }
    assert.ok(!JSON.stringify(stage.entries).includes('Bearer ours') && !JSON.stringify(stage.logged).includes('Bearer ours'));
  });

  it('is not asked before the secret is there', async () => {
    scripted.answer = sessions();
    await assert.rejects(connect(new Map([['Authorization', { from: 'secret', name: 'nobody-gave-it' } as const]])), /needs the secret "nobody-gave-it"/);
    assert.equal(scripted.seen.length, 0);
  });

  it('that refuses our credentials is named, with what to do', async () => {
    scripted.answer = (_seen, response) => void response.writeHead(401, { 'WWW-Authenticate': 'Bearer' }).end();
    await assert.rejects(connect(), /refuses our credentials \(401\)/);
  });

  it('that has forgotten the session is opened again, and the call is made once', async () => {
    let forgot = false;
    scripted.answer = sessions((seen, response) => {
      if (seen.headers['mcp-session-id'] !== 's1' || !forgot) return false;
      response.writeHead(404).end();
      return true;
    });
    const client = await connect();
    await call(client);
    forgot = true;
    await Promise.all([call(client), call(client)]);
    assert.equal(scripted.seen.filter(({ body }) => body.method === 'initialize').length, 2);
    assert.equal(scripted.seen.filter(({ body, headers }) => body.method === 'tools/call' && headers['mcp-session-id'] === 's2').length, 2);
  });

  it('that breaks off a stream is asked for the rest of it, from where it was', async () => {
    scripted.answer = sessions((seen, response) => {
      if (seen.method === 'GET' && seen.headers['last-event-id'] === 'e1') {
        response.writeHead(200, { 'Content-Type': 'text/event-stream' });
        response.end(
          `id: e2\ndata: ${JSON.stringify({ jsonrpc: '2.0', id: scripted.seen.find(({ body }) => body.method === 'tools/call')?.body.id, result: { content: [{ type: 'text', text: 'the rest' }] } })}\n\n`,
        );
        return true;
      }
      if (seen.body.method !== 'tools/call') return false;
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.end('id: e1\nretry: 10\ndata: \n\n');
      return true;
    });
    const client = await connect();
    assert.deepEqual((await call(client)).content, [{ type: 'text', text: 'the rest' }]);
  });

  it('that asks during the first of two calls asks on that call’s stream, and is answered there', async () => {
    const streams = new Map<unknown, ServerResponse>();
    const answered = Promise.withResolvers<unknown>();
    let first: unknown;
    scripted.answer = sessions((seen, response) => {
      const { body } = seen;
      if (body.method === undefined && body.id === 'q1') {
        answered.resolve(body);
        return false;
      }
      if (body.method !== 'tools/call') return false;
      if ((body.params?.['arguments'] as { n: number } | undefined)?.n === 1) first = body.id;
      streams.set(body.id, response);
      response.writeHead(200, { 'Content-Type': 'text/event-stream' }).flushHeaders();
      const question = {
        jsonrpc: '2.0',
        id: 'q1',
        method: 'elicitation/create',
        params: { message: 'Sure?', requestedSchema: { type: 'object', properties: {} } },
      };
      if (streams.size === 2) streams.get(first)?.write(`data: ${JSON.stringify(question)}\n\n`);
      return true;
    });
    await connect();
    let session: Record<string, string> = {};
    const post = async (message: object): Promise<Response> => {
      const headers = { ...stage.headers(), ...session, 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };
      const answer = await fetch(stage.url('mcp/far'), { method: 'POST', headers, body: JSON.stringify({ jsonrpc: '2.0', ...message }) });
      const id = answer.headers.get('mcp-session-id');
      if (id !== null) session = { 'Mcp-Session-Id': id, 'MCP-Protocol-Version': '2025-11-25' };
      return answer;
    };
    const clientInfo = { name: 'raw', version: '1' };
    await (await post({ id: 0, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: { elicitation: {} }, clientInfo } })).text();
    await (await post({ method: 'notifications/initialized' })).text();
    const tool = (n: number): object => ({ id: n, method: 'tools/call', params: { name: 'look', arguments: { n } } });
    // The headers of each come with its server's, so that the second is under way when the question comes.
    const one = await post(tool(1));
    const two = await post(tool(2));
    assert.match(one.headers.get('content-type') ?? '', /^text\/event-stream/);
    let said = '';
    for await (const chunk of one.body?.pipeThrough(new TextDecoderStream()) ?? []) {
      said += chunk;
      const asked = /data: (\{.*"elicitation\/create".*\})\n/.exec(said)?.[1];
      if (asked === undefined) continue;
      await post({ id: (JSON.parse(asked) as { id: string }).id, result: { action: 'decline' } });
      break;
    }
    assert.deepEqual(((await answered.promise) as { result: unknown }).result, { action: 'decline' });
    for (const [id, response] of streams) response.end(`data: ${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [] } })}\n\n`);
    const other = await two.text();
    assert.ok(!other.includes('elicitation/create') && other.includes('"id":2'), other);
  });

  it('that hangs up in the middle is said to, and that the call may have been carried out', async () => {
    scripted.answer = sessions((seen, response) => {
      if (seen.body.method !== 'tools/call') return false;
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.end(': nothing\n\n');
      return true;
    });
    await assert.rejects(call(await connect()), /hung up before it answered. The call may have been carried out/);
  });

  it('is told when the client has left', async () => {
    scripted.answer = sessions();
    const client = await connect();
    await call(client);
    await (client.transport as unknown as { terminateSession(): Promise<void> }).terminateSession();
    await until('the end of the session', () => scripted.seen.some(({ headers, method }) => method === 'DELETE' && headers['mcp-session-id'] === 's1'));
  });

  it('that answers with garbage, a page or somebody else’s id gives an error, and the session goes on', async () => {
    const answers: ((id: unknown, response: ServerResponse) => void)[] = [
      (_id, response) => void response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"jsonrpc":"2.0","id":1,"id":2,"result":{}}'),
      (_id, response) => void response.writeHead(502, { 'Content-Type': 'text/html' }).end('<h1>Bad gateway</h1>'),
      (_id, response) => json(response, { id: 'of-another', result: {} }),
      (id, response) =>
        void response
          .writeHead(400, { 'Content-Type': 'application/json' })
          .end(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32_602, message: 'its own words' } })),
    ];
    let next: ((id: unknown, response: ServerResponse) => void) | undefined;
    scripted.answer = sessions((seen, response) => {
      if (seen.body.method !== 'tools/call' || !next) return false;
      next(seen.body.id, response);
      return true;
    });
    const client = await connect();
    for (const [i, pattern] of [/holds a key twice/, /status 502/, /hung up before it answered/, /its own words/].entries()) {
      next = answers[i];
      await assert.rejects(call(client), pattern);
    }
    next = undefined;
    assert.ok(await call(client));
  });

  it('of the old kind may name an endpoint of its own origin only', async () => {
    scripted.answer = (seen, response) => {
      if (seen.method !== 'GET') return void response.writeHead(202).end();
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      response.write('event: endpoint\ndata: http://169.254.169.254/latest\n\n');
      return undefined;
    };
    await assert.rejects(connect(new Map(), 'sse'), /names an endpoint on another host. It was not used/);
    assert.ok(scripted.seen.every(({ method }) => method === 'GET'));
  });
});
