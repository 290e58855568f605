/** Tasks of both eras through the relay: the official package for clients, a server of 2026-07-28 framed by hand, the reference server. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Client } from '@modelcontextprotocol/client';
import { createTaskSessionFromClient } from '@modelcontextprotocol/ext-tasks/client';
import type { McpConnection } from '../../../../proxy/policy/policy.ts';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../../proxy/protocols/protocol.ts';
import { until, within } from '../../../support/soon.ts';
import { everything, listening, remoteConnection } from './everything.ts';
import { Stage } from './stage.ts';

const taskServer = fileURLToPath(new URL('../../../peers/mcp/taskServer.ts', import.meta.url));
const TASKS = 'io.modelcontextprotocol/tasks';
const CARD = /4111 1111/;
const KEY = 'ghp_0123456789abcdefghijABCDEFGHIJ012345';
const CLIENT = { name: 'claude-code', version: '9.9' };
const ABLE = { elicitation: { form: {} }, sampling: {}, extensions: { [TASKS]: {} } };

interface Answer {
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly code: number; readonly message: string; readonly data?: unknown };
}

let stage: Stage;
const ends: (() => unknown)[] = [];
const served = new Map<string, Served>();

async function serve(connection: McpConnection): Promise<void> {
  stage.connections.push(connection);
  const one = await mcp.serve(connection, stage.host);
  served.set(connection.name, one);
  ends.push(() => one.stop('the test is over'));
}

const overStdio = (name: string, command: readonly string[]): McpConnection => ({
  name,
  protocol: 'mcp',
  via: 'local',
  sensitive: new Map(),
  upstream: { transport: 'stdio', command, env: new Map() },
});

before(async () => {
  stage = await Stage.start();
  stage.people.set('eve', { issuer: 'os', subject: 'eve', name: 'Eve', groups: [] });
  const node = [process.execPath, '--disable-warning=ExperimentalWarning'];
  const { port, stop } = await listening([...node, taskServer]);
  ends.push(stop);
  await serve(remoteConnection('http', `http://127.0.0.1:${port}/mcp`));
  await serve(overStdio('stdio', [...node, taskServer]));
  await serve(overStdio('everything', [process.execPath, everything]));
});

afterEach(() => {
  stage.decide = () => 'allow';
  for (const { id, digest, actor } of stage.approvals.pending()) stage.approvals.answer({ answer: 'deny', id, digest }, actor.person);
});

after(async () => {
  for (const end of ends.reverse()) await end();
  await stage?.stop();
});

let ids = 0;
const envelope = (capabilities: object): object => ({
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': CLIENT,
  'io.modelcontextprotocol/clientCapabilities': capabilities,
});

function post(path: string, method: string, params: Record<string, unknown>, window: string, capabilities: object, signal?: AbortSignal): Promise<Response> {
  const name = params.name ?? params.taskId;
  return fetch(stage.url(path), {
    method: 'POST',
    signal: signal ?? null,
    headers: stage.statelessHeaders(method, name, window),
    body: JSON.stringify({ jsonrpc: '2.0', id: ++ids, method, params: { ...params, _meta: { ...(params._meta as object), ...envelope(capabilities) } } }),
  });
}

/** Asks as a client of 2026-07-28 would. */
function asking(path: string, window = 'window', capabilities: object = ABLE) {
  return async (method: string, params: Record<string, unknown>): Promise<Answer> => {
    const body = await (await post(path, method, params, window, capabilities)).text();
    const data = body.startsWith('{') ? body : (body.split('\n').findLast((line) => line.startsWith('data: ')) ?? '').slice(6);
    return JSON.parse(data) as Answer;
  };
}
type Ask = ReturnType<typeof asking>;

async function begin(ask: Ask, name: string, args: object = {}): Promise<string> {
  const { result } = await ask('tools/call', { name, arguments: args });
  assert.equal(result?.resultType, 'task', JSON.stringify(result));
  return result.taskId as string;
}

/** Looks at a task until it is as wanted. */
const become = (ask: Ask, taskId: string, wanted: (answer: Answer) => boolean): Promise<Answer> =>
  until('the task', async () => [await ask('tasks/get', { taskId })].find(wanted));
const over = ({ result, error }: Answer): boolean => error !== undefined || ['completed', 'failed', 'cancelled'].includes(result?.status as string);
const wantsToKnow = ({ result, error }: Answer): boolean => error !== undefined || result?.inputRequests !== undefined;
const recorded = (from: number, verb: string) => stage.entries.slice(from).filter((entry) => entry.type === 'operation.intent' && entry.facts.verb === verb);
const only = (verb: string, decision: 'ask' | 'deny') => (facts: { verb: string }) => (facts.verb === verb ? decision : 'allow') as 'allow';

for (const path of ['mcp/http', 'mcp/stdio']) {
  describe(`a task of 2026-07-28, its server reached over ${path.slice(4)}`, () => {
    it('is begun, asked about, answered and fetched by the official package, and each step is in the record', async () => {
      const client = await stage.client(path, { modern: true, options: { capabilities: ABLE as never }, window: `official ${path}` });
      assert.deepEqual(client.getServerCapabilities()?.extensions?.[TASKS], {});
      const ask = asking(path, `official ${path}`);
      const asked: unknown[] = [];
      const from = stage.entries.length;
      const session = createTaskSessionFromClient(client, {
        endpointId: 'tasks',
        v2RequestFraming: { protocolVersion: '2026-07-28', clientInfo: CLIENT, clientCapabilities: ABLE },
        rawDispatch: async (request) => {
          const { method, params } = request as { method: string; params: Record<string, unknown> };
          const { result, error } = await ask(method, params);
          return error ? { kind: 'error', error: error as never } : { kind: 'result', result: result as never };
        },
        onInputRequest: async (request) => {
          asked.push(request);
          return { action: 'accept', content: { confirm: true } } as never;
        },
      });
      const execution = await session.callTool('confirm_delete', { filename: 'a.txt' });
      assert.equal(execution.kind, 'task');
      const { outcome } = await execution.settle();
      await session.close();
      assert.equal(outcome.status, 'completed', String((outcome as { error?: Error }).error?.stack));
      assert.match(JSON.stringify(outcome), /deleted: .*confirm.*true/);
      assert.equal(asked.length, 1);
      assert.match(JSON.stringify(asked), /Delete a\.txt/);
      assert.doesNotMatch(JSON.stringify(asked), CARD);
      for (const verb of ['tools/call', 'elicitation/create', 'tasks/update', 'tasks/get']) assert.equal(recorded(from, verb).length, 1, verb);
      assert.match(JSON.stringify(recorded(from, 'tasks/get')), /Fetch what came of: Call confirm_delete/);
      assert.doesNotMatch(JSON.stringify(stage.entries.slice(from)), CARD);
    });

    it('hands out nothing unmasked: status, result, structure, metadata, error', async () => {
      const ask = asking(path);
      const failed = await become(ask, await begin(ask, 'protocol_error_job'), over);
      assert.equal(failed.result?.status, 'failed');
      assert.equal((failed.result.error as { code: number }).code, -32_603);
      assert.equal(failed.result.statusMessage, 'no card ‹redacted›');
      const done = await become(ask, await begin(ask, 'secret_result'), over);
      const result = done.result?.result as { structuredContent: { card: string; n: number } };
      assert.equal(result.structuredContent.n, 1);
      assert.equal(typeof result.structuredContent.card, 'string');
      for (const answer of [failed, done]) assert.doesNotMatch(JSON.stringify(answer), CARD);
    });

    it('has another name where its own looks like a secret', async () => {
      const ask = asking(path);
      const id = await begin(ask, 'secret_id');
      assert.match(id, /^task-[0-9a-f-]{36}$/);
      const done = await become(ask, id, over);
      assert.equal(done.result?.taskId, id);
      assert.match(JSON.stringify(done.result?.result), /found/);
      assert.equal((await ask('tasks/get', { taskId: KEY })).result?.status, 'completed', 'the server’s own name is one that nothing is known of');
    });

    it('is nobody else’s: not to look at, to answer, to end or to hear of', async () => {
      const ask = asking(path);
      const eve = asking(path, 'eve');
      const id = await begin(ask, 'confirm_delete', { filename: 'b.txt' });
      await become(ask, id, wantsToKnow);
      const from = stage.entries.length;
      for (const [method, more] of [
        ['tasks/get', {}],
        ['tasks/cancel', {}],
        ['tasks/update', { inputResponses: { confirm: { action: 'accept', content: { confirm: true } } } }],
      ] as const) {
        const { error } = await eve(method, { taskId: id, ...more });
        assert.deepEqual(error, { code: -32_602, message: 'Failed to retrieve task: Task not found' });
        assert.equal(recorded(from, method).length, 1);
      }
      assert.equal(stage.entries.slice(from).filter((entry) => entry.type === 'operation.outcome' && entry.outcome === 'denied').length, 3);
      assert.deepEqual(await listen(path, [id], 'eve').acknowledged, []);
      const still = await ask('tasks/get', { taskId: id });
      assert.equal(still.result?.status, 'input_required');
      const again = asking(path, 'another window of Ada’s');
      assert.equal((await again('tasks/get', { taskId: id })).result?.status, 'input_required', 'a client may come back in another session');
      await again('tasks/cancel', { taskId: id });
      assert.equal((await ask('tasks/get', { taskId: id })).result?.status, 'cancelled');
    });

    it('is asked about as a call is: until a person has answered it is at work, and what they refuse is not asked', async () => {
      const ask = asking(path);
      stage.decide = only('elicitation/create', 'ask');
      const id = await begin(ask, 'confirm_delete', { filename: 'c.txt' });
      const waiting = await become(ask, id, ({ result }) => result?.statusMessage !== undefined);
      assert.equal(waiting.result?.status, 'working');
      assert.match(String(waiting.result.statusMessage), /Waiting for a person/);
      const question = await stage.question();
      assert.doesNotMatch(question.payload, CARD);
      assert.equal((await ask('tasks/update', { taskId: id, inputResponses: { confirm: { action: 'accept', content: { confirm: true } } } })).error, undefined);
      assert.equal((await ask('tasks/get', { taskId: id })).result?.status, 'working', 'an answer before its question goes nowhere');
      assert.equal(stage.approvals.pending().length, 1, 'looking again asks nobody again');
      stage.approvals.answer({ answer: 'approve', id: question.id, digest: question.digest, scope: { what: 'exact', howLong: 'once' } }, question.actor.person);
      const asked = await become(ask, id, wantsToKnow);
      assert.deepEqual(Object.keys(asked.result?.inputRequests as object), ['confirm']);

      const other = await begin(ask, 'confirm_delete', { filename: 'd.txt' });
      await become(ask, other, ({ result }) => result?.statusMessage !== undefined);
      const second = await stage.question();
      stage.approvals.answer({ answer: 'deny', id: second.id, digest: second.digest, note: 'not that file' }, second.actor.person);
      const refused = await become(ask, other, ({ error }) => error !== undefined);
      assert.match(refused.error?.message ?? '', /not that file/);
    });

    it('ends the question with the task', async () => {
      const ask = asking(path);
      stage.decide = only('elicitation/create', 'ask');
      const id = await begin(ask, 'confirm_delete', { filename: 'e.txt' });
      await become(ask, id, ({ result }) => result?.statusMessage !== undefined);
      await stage.question();
      assert.deepEqual((await ask('tasks/cancel', { taskId: id })).result, { resultType: 'complete' });
      await stage.quiet();
      assert.equal((await ask('tasks/get', { taskId: id })).result?.status, 'cancelled');
    });

    it('cannot put another question under a name that was allowed', async () => {
      const ask = asking(path);
      const from = stage.entries.length;
      const id = await begin(ask, 'turncoat');
      await become(ask, id, wantsToKnow);
      stage.decide = only('elicitation/create', 'deny');
      const turned = await become(ask, id, ({ error }) => error !== undefined);
      assert.match(turned.error?.message ?? '', /Denied by rule/);
      assert.equal(recorded(from, 'elicitation/create').length, 2);
      await ask('tasks/update', { taskId: id, inputResponses: { name: { action: 'accept', content: { name: 'all of them' } } } });
      assert.match((await ask('tasks/get', { taskId: id })).error?.message ?? '', /Denied by rule/, 'what was allowed of it answers nothing else');
      await ask('tasks/cancel', { taskId: id });
    });

    it('gets answers to what was asked alone, and no secret in them', async () => {
      const ask = asking(path);
      const id = await begin(ask, 'ask_model');
      await become(ask, id, wantsToKnow);
      const think = { model: 'm', role: 'assistant', content: { type: 'text', text: `take ${KEY}` } };
      assert.deepEqual((await ask('tasks/update', { taskId: id, inputResponses: { think, unasked: { all: 'of it' } } })).result, { resultType: 'complete' });
      const done = JSON.stringify(await become(ask, id, over));
      assert.match(done, /take ‹redacted›/);
      assert.doesNotMatch(done, /unasked|of it/);
    });

    it('gives nothing of a tool that has been denied since', async () => {
      const ask = asking(path);
      const id = await begin(ask, 'slow_compute', { ms: 1, label: 'x' });
      stage.decide = ((facts: { mcp?: { tool: string } }) => (facts.mcp?.tool === 'slow_compute' ? 'deny' : 'allow')) as never;
      const { result, error } = await ask('tasks/get', { taskId: id });
      assert.equal(result, undefined);
      assert.match(error?.message ?? '', /Denied by rule/);
    });

    it('is heard of by whoever listens, masked and decided like what is fetched', async () => {
      const ask = asking(path);
      const id = await begin(ask, 'secret_result');
      // One that is over once it is answered, and so not before anybody listens: a server does not tell what has been.
      const open = await begin(ask, 'confirm_delete', { filename: 'f.txt' });
      await become(ask, open, wantsToKnow);
      const { acknowledged, told, stop } = listen(path, [id, open, 'no-such-task']);
      const from = stage.entries.length;
      assert.ok((await acknowledged).includes(open));
      assert.ok(!(await acknowledged).includes('no-such-task'));
      await ask('tasks/update', { taskId: open, inputResponses: { confirm: { action: 'accept', content: { confirm: true } } } });
      const last = await told((task) => task.taskId === open && task.status === 'completed');
      assert.match(JSON.stringify(last.result), /deleted: /);
      assert.equal(recorded(from, 'tasks/get').length >= 1, true);
      stop();
      const { error } = await asking(path, 'window', {})('subscriptions/listen', { notifications: { taskIds: [open] } });
      assert.equal(error?.code, -32_021);
    });
  });
}

/** Listens for tasks on a stream of its own. */
function listen(path: string, taskIds: readonly string[], window = 'window') {
  const abort = new AbortController();
  const heard: Record<string, unknown>[] = [];
  const waiting: { readonly wanted: (task: Record<string, unknown>) => boolean; readonly resolve: (task: Record<string, unknown>) => void }[] = [];
  const first = Promise.withResolvers<readonly string[]>();
  void (async () => {
    const response = await post(path, 'subscriptions/listen', { notifications: { taskIds } }, window, ABLE, abort.signal);
    let rest = '';
    for await (const chunk of response.body ?? []) {
      rest += Buffer.from(chunk as Uint8Array).toString();
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines.filter((one) => one.startsWith('data: '))) {
        const { method, params } = JSON.parse(line.slice(6)) as { method?: string; params: Record<string, unknown> };
        if (method === 'notifications/subscriptions/acknowledged') first.resolve((params.notifications as { taskIds?: string[] }).taskIds ?? []);
        if (method !== 'notifications/tasks') continue;
        assert.doesNotMatch(line, CARD);
        heard.push(params);
        for (const { wanted, resolve } of waiting) if (wanted(params)) resolve(params);
      }
    }
  })().catch(first.reject);
  first.promise.catch(() => {});
  ends.push(() => abort.abort());
  return {
    acknowledged: within('the acknowledgement', first.promise),
    stop: () => abort.abort(),
    told: (wanted: (task: Record<string, unknown>) => boolean) =>
      within(
        'what is told of the task',
        new Promise<Record<string, unknown>>((resolve) => {
          const known = heard.find(wanted);
          if (known) resolve(known);
          else waiting.push({ wanted, resolve });
        }),
      ),
  };
}

describe('a task between the eras', () => {
  const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');

  it('is not offered to a client of sessions by a server of 2026-07-28, which then answers at once', async () => {
    const client = await stage.client('mcp/http', { window: 'old', options: { capabilities: { extensions: { [TASKS]: {} }, tasks: {} } as never } });
    assert.equal(client.getServerCapabilities()?.extensions, undefined);
    assert.equal((client.getServerCapabilities() as { tasks?: object }).tasks, undefined);
    assert.match(text(await client.callTool({ name: 'slow_compute', arguments: { ms: 1 } })), /computed at once/);
    await assert.rejects(client.callTool({ name: 'failing_job', arguments: {} }), (cause: { code?: number }) => cause.code === -32_021);
    const session = createTaskSessionFromClient(client, { endpointId: 'old' });
    assert.equal((await session.callTool('greet', { name: 'you' })).kind, 'immediate');
    await session.close();
  });

  it('is not offered to a client of 2026-07-28 by a server of sessions, nor begun by a word that only that era knows', async () => {
    const ask = asking('mcp/everything');
    const { result } = await ask('server/discover', {});
    assert.doesNotMatch(JSON.stringify(result?.capabilities), /tasks/);
    assert.match(JSON.stringify((await ask('tools/call', { name: 'echo', arguments: { message: 'hi' }, task: { ttl: 1000 } })).result), /Echo: hi/);
    for (const method of ['tasks/get', 'tasks/cancel', 'tasks/update', 'tasks/result', 'tasks/list'])
      assert.equal((await ask(method, { taskId: 'x', inputResponses: {} })).error?.code, -32_601, method);
  });
});

describe('a task of 2025-11-25', () => {
  it('is begun, asked about and fetched by the official package at the reference server', async () => {
    const client = await stage.client('mcp/everything', { window: 'v1', options: { capabilities: { elicitation: { form: {} }, sampling: {} } } });
    const capabilities = client.getServerCapabilities() as { tasks?: { list?: object; cancel?: object } };
    assert.ok(capabilities.tasks);
    const from = stage.entries.length;
    const session = createTaskSessionFromClient(client, {
      endpointId: 'v1',
      tools: { currentTool: () => ({ name: 'simulate-research-query', inputSchema: { type: 'object' }, taskSupport: 'required' }) },
    });
    const execution = await session.callTool('simulate-research-query', { topic: 'masks' }, { task: { preference: 'require', retentionMs: 60_000 } });
    assert.equal(execution.kind, 'task');
    const { outcome } = await execution.settle();
    await session.close();
    assert.equal(outcome.status, 'completed', JSON.stringify(outcome));
    assert.match(JSON.stringify(outcome), /masks/);
    assert.equal(recorded(from, 'tasks/result').length >= 1, true);
  });
});
