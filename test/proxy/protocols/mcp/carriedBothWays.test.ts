/** What passes between a server of sessions and its client besides what calls say: metadata, pictures, changes, a question taken back, tasks. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import { bindTaskReceiver } from '@modelcontextprotocol/ext-tasks/receiver';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../../proxy/protocols/protocol.ts';
import { until } from '../../../support/soon.ts';
import { everything } from './everything.ts';
import { Stage } from './stage.ts';

const ICON = { src: 'data:image/png;base64,iVBORw0KGgo=', mimeType: 'image/png', sizes: ['1x1'], theme: 'dark' };
const SERVER = `
const send = (message) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', ...message }) + '\\n');
const ICON = ${JSON.stringify(ICON)};
const heard = [];
let asking;
let takeBack;
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params, result, error } = JSON.parse(line);
  if (method !== undefined && id === undefined) return heard.push(method);
  const answer = (value) => send({ id, result: value });
  const text = (value) => ({ content: [{ type: 'text', text: value }] });
  if (method === undefined) return asking && asking(id, result ?? error);
  switch (method) {
    case 'initialize':
      return answer({ protocolVersion: params.protocolVersion, capabilities: { tools: { listChanged: true }, prompts: { listChanged: true }, resources: { listChanged: true }, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }, serverInfo: { name: 'ways', version: '1', icons: [ICON], websiteUrl: 'https://ways.example' } });
    case 'tools/list': return answer({ tools: ['echo', 'changes', 'withdraw', 'heard', 'slow'].map((name) => ({ name, title: 'T', icons: [ICON], inputSchema: { type: 'object' }, annotations: { title: 'A', readOnlyHint: true } })) });
    case 'prompts/list': return answer({ prompts: [{ name: 'p', icons: [ICON] }] });
    case 'resources/list': return answer({ resources: [{ uri: 'ways://r', name: 'r', icons: [ICON], size: 3, annotations: { audience: ['user'], priority: 0.5 } }] });
    case 'resources/templates/list': return answer({ resourceTemplates: [] });
    case 'tasks/result': return answer(text('slow and done'));
    case 'tools/call': {
      if (params.name === 'echo') return answer({ ...text('echo'), structuredContent: { meta: params._meta ?? {}, other: params.future ?? null }, _meta: { 'ways.example/note': 'n', traceparent: params._meta?.traceparent }, future: 'kept' });
      if (params.name === 'changes') {
        for (const list of ['tools', 'prompts', 'resources']) send({ method: 'notifications/' + list + '/list_changed' });
        return answer(text('changed'));
      }
      if (params.name === 'heard') return answer(text(JSON.stringify(heard)));
      if (params.name === 'take-back') return takeBack(), answer(text('taken back'));
      if (params.name === 'slow') {
        const { taskId, atOnce } = params.arguments;
        const token = params._meta.progressToken;
        const progress = (n) => send({ method: 'notifications/progress', params: { progressToken: token, progress: n } });
        progress(1);
        // What is sent in one turn arrives in one piece.
        process.stdout.cork();
        answer({ task: { taskId, status: 'working', createdAt: '2026-01-01T00:00:00Z', lastUpdatedAt: '2026-01-01T00:00:00Z', ttl: 60000 } });
        const rest = () => {
          progress(2); progress(2); progress(3);
          send({ method: 'notifications/tasks/status', params: { taskId, status: 'completed', createdAt: '2026-01-01T00:00:00Z', lastUpdatedAt: '2026-01-01T00:00:00Z', ttl: 60000, statusMessage: 'card 4111 1111 1111 1111' } });
          progress(4);
          process.stdout.uncork();
        };
        if (atOnce) return rest();
        process.stdout.uncork();
        return setTimeout(rest, 50);
      }
      send({ id: 'q', method: 'elicitation/create', params: { message: 'Really?', requestedSchema: { type: 'object', properties: {} } } });
      takeBack = () => {
        send({ method: 'notifications/cancelled', params: { requestId: 'q', reason: 'never mind' } });
        answer(text('withdrawn'));
      };
      return params.arguments.afterMs && setTimeout(takeBack, params.arguments.afterMs);
    }
    default: return send({ id, error: { code: -32601, message: 'no', data: { future: 'kept' } } });
  }
});
`;

const folder = mkdtempSync(join(tmpdir(), 'countersign-ways-'));
let stage: Stage;
const served: Served[] = [];

before(async () => {
  stage = await Stage.start();
  writeFileSync(join(folder, 'server.cjs'), SERVER);
  for (const [name, file] of [
    ['ways', join(folder, 'server.cjs')],
    ['everything', everything],
  ] as const) {
    const upstream = { transport: 'stdio', command: [process.execPath, file], env: new Map() } as const;
    const connection = { name, protocol: 'mcp', via: 'local', sensitive: new Map(), upstream } as const;
    stage.connections.push(connection);
    served.push(await mcp.serve(connection, stage.host));
  }
});
after(async () => {
  for (const one of served) await one.stop('the test is over');
  await stage?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');
const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

for (const modern of [false, true]) {
  describe(`both ways, a client of the ${modern ? 'stateless era' : 'era of sessions'}`, () => {
    const connect = (window: string, capabilities: object = {}): Promise<Client> =>
      stage.client('mcp/ways', { modern, window: `${window}-${modern}`, options: { capabilities } });

    it('metadata, the trace it belongs to, and what nobody knows yet', async () => {
      const client = await connect('meta');
      const result = (await client.callTool({
        name: 'echo',
        arguments: {},
        _meta: { traceparent: PARENT, tracestate: 'a=b', 'own.example/x': { y: 1 } },
      })) as Record<string, unknown> & { structuredContent: { meta: Record<string, unknown> }; _meta: Record<string, unknown> };
      const { traceparent, tracestate, 'own.example/x': own } = result.structuredContent.meta;
      assert.deepEqual([traceparent, tracestate, own], [PARENT, 'a=b', { y: 1 }]);
      assert.equal(result._meta.traceparent, PARENT);
      assert.equal(result._meta['ways.example/note'], 'n');
      assert.equal(result.future, 'kept');
    });

    it('icons, titles and annotations of everything that has them', async () => {
      const client = await connect('icons');
      const [tool] = (await client.listTools()).tools as unknown as Record<string, unknown>[];
      assert.deepEqual([tool?.icons, tool?.title, tool?.annotations], [[ICON], 'T', { title: 'A', readOnlyHint: true }]);
      assert.deepEqual((await client.listPrompts()).prompts[0]?.icons, [ICON]);
      const [resource] = (await client.listResources()).resources;
      assert.deepEqual([resource?.icons, resource?.size, resource?.annotations], [[ICON], 3, { audience: ['user'], priority: 0.5 }]);
      assert.deepEqual(client.getServerVersion()?.icons, [ICON]);
    });

    it('that tools, prompts or resources have changed', async () => {
      const client = await connect('changes');
      const lists = ['tools', 'prompts', 'resources'] as const;
      const told = lists.map((list) => new Promise<void>((resolve) => client.setNotificationHandler(`notifications/${list}/list_changed`, () => resolve())));
      if (modern) await client.listen({ toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true });
      await client.callTool({ name: 'changes', arguments: {} });
      await Promise.all(told);
    });

    it('a question that its server takes back', async () => {
      const client = await connect('withdraw', { elicitation: { form: {} } });
      const taken = Promise.withResolvers<void>();
      client.setRequestHandler('elicitation/create', async (_request, { mcpReq: { signal } }) => {
        signal.addEventListener('abort', () => taken.resolve(), { once: true });
        if (modern) return { action: 'cancel' };
        // Only now that it has been asked: a question may be taken back before it gets here, and then nothing does.
        void client.callTool({ name: 'take-back', arguments: {} });
        await taken.promise;
        return { action: 'cancel' };
      });
      assert.equal(text(await client.callTool({ name: 'withdraw', arguments: modern ? { afterMs: 150 } : {} })), 'withdrawn');
      if (!modern) await taken.promise;
    });
  });
}

describe('what only the era of sessions says', () => {
  it('that the client’s folders have changed', async () => {
    const client = await stage.client('mcp/ways', { window: 'roots', options: { capabilities: { roots: { listChanged: true } } } });
    await client.sendRootsListChanged();
    const heard = async (): Promise<string> => text(await client.callTool({ name: 'heard', arguments: {} }));
    await until('the server to hear it', async () => (await heard()).includes('notifications/roots/list_changed'));
  });

  for (const atOnce of [false, true])
    it(`how far a task is, by the token of its call, growing, and nothing once it is over${atOnce ? ', also where that is told in one breath' : ''}`, async () => {
      const taskId = `slow-${atOnce}`;
      const client = await stage.client('mcp/ways', { window: `late ${atOnce}` });
      const seen: number[] = [];
      const over = Promise.withResolvers<Record<string, unknown>>();
      client.fallbackNotificationHandler = async ({ method, params }) => {
        if (method === 'notifications/progress') seen.push((params as { progress: number }).progress);
        if (method === 'notifications/tasks/status') over.resolve(params as Record<string, unknown>);
      };
      client.removeNotificationHandler('notifications/progress');
      const result = (await client.request(
        { method: 'tools/call', params: { name: 'slow', arguments: { taskId, atOnce }, task: { ttl: 60_000 }, _meta: { progressToken: 'mine' } } } as never,
        {
          '~standard': { version: 1, vendor: 'test', validate: (value: unknown) => ({ value }) },
        } as never,
      )) as { task?: { taskId: string } };
      assert.equal(result.task?.taskId, taskId);
      assert.equal((await over.promise).statusMessage, 'card ‹redacted›');
      await client.callTool({ name: 'heard', arguments: {} });
      assert.deepEqual(seen, [1, 2, 3]);
    });

  it('a task that the client keeps for its server, and nobody else’s', async () => {
    const sampling = { tasks: { list: {}, cancel: {}, requests: { sampling: { createMessage: {} } } }, sampling: {} };
    const client = await stage.client('mcp/everything', { window: 'receiver', options: { capabilities: sampling as never } });
    const receiver = bindTaskReceiver(client, {
      methods: { 'sampling/createMessage': true },
      pollIntervalMs: 20,
      sampling: async () => ({ model: 'm', role: 'assistant', content: { type: 'text', text: 'with ghp_0123456789abcdefghijABCDEFGHIJ012345' } }),
    });
    const from = stage.decided.length;
    const answer = text(await client.callTool({ name: 'trigger-sampling-request-async', arguments: { prompt: 'x', maxTokens: 5 } }));
    receiver.close();
    assert.match(answer, /with ‹redacted›/);
    const verbs = stage.decided.slice(from).map(({ facts }) => facts.verb);
    assert.ok(verbs.includes('sampling/createMessage') && verbs.includes('tasks/result'), verbs.join());
    assert.ok(!stage.decided.slice(from).some(({ facts }) => facts.effect === 'unknown'));
  });
});
