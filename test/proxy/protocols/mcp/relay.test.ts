import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import { everything, TRANSPORTS } from './everything.ts';
import { Stage } from './stage.ts';

const SECRET_CARD = '4111 1111 1111 1111';

let stage: Stage;
let direct: Client;
const ends: (() => unknown)[] = [];

before(async () => {
  stage = await Stage.start();
  await Promise.all(
    Object.entries(TRANSPORTS).map(async ([transport, start]) => {
      const { connection, stop } = await start(nameOf(transport));
      stage.connections.push(connection);
      const served = await mcp.serve(connection, stage.host);
      ends.push(stop, () => served.stop('the test is over'));
    }),
  );
  direct = new Client({ name: 'claude-code', version: '9.9' });
  await direct.connect(new StdioClientTransport({ command: process.execPath, args: [everything], stderr: 'ignore' }));
});

after(async () => {
  await direct?.close();
  await Promise.all(ends.reverse().map((end) => end()));
  await stage?.stop();
});

const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');
/** What differs from run to run. */
const steady = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value)
      .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'T')
      .replace(/\d{1,2}:\d\d:\d\d [AP]M/g, 'T'),
  );
/** What the stateless era puts on every result. */
const plain = ({ resultType: _a, ttlMs: _b, cacheScope: _c, ...rest }: Record<string, unknown>): Record<string, unknown> => {
  const { 'io.modelcontextprotocol/serverInfo': _d, ...meta } = (rest._meta ?? {}) as Record<string, unknown>;
  const { _meta, ...others } = rest;
  return Object.keys(meta).length > 0 ? { ...others, _meta: meta } : others;
};

const nameOf = (transport: string): string => transport.toLowerCase().replaceAll(/\W/g, '-');
const ways = Object.keys(TRANSPORTS).flatMap((transport) => [false, true].map((modern) => ({ transport, modern, path: `mcp/${nameOf(transport)}` })));

for (const { transport, modern, path } of ways) {
  describe(`a server relayed over ${transport} and a client of the ${modern ? 'stateless era' : 'era of sessions'}`, () => {
    it('looks the same as without us: who it is, tools, prompts, resources, templates', async () => {
      const client = await stage.client(path, { modern });
      assert.deepEqual(client.getServerVersion(), direct.getServerVersion());
      assert.equal(client.getInstructions(), direct.getInstructions());
      // The stateless era has no `execution`: its tasks are an extension.
      const tools = (await direct.listTools()).tools.map(({ execution, ...tool }) => (modern ? tool : { ...tool, execution }));
      assert.deepEqual(steady((await client.listTools()).tools), steady(tools));
      assert.deepEqual((await client.listPrompts()).prompts, (await direct.listPrompts()).prompts);
      assert.deepEqual(steady((await client.listResources()).resources), steady((await direct.listResources()).resources));
      assert.deepEqual((await client.listResourceTemplates()).resourceTemplates, (await direct.listResourceTemplates()).resourceTemplates);
    });

    it('answers calls, prompts, resources and completions the same as without us', async () => {
      const client = await stage.client(path, { modern });
      const calls: { name: string; arguments: Record<string, unknown> }[] = [
        { name: 'echo', arguments: { message: 'hello “world” \u2028 <b>' } },
        { name: 'get-sum', arguments: { a: 2, b: 40 } },
        { name: 'get-structured-content', arguments: { location: 'Chicago' } },
        { name: 'get-tiny-image', arguments: {} },
        { name: 'get-annotated-message', arguments: { messageType: 'error', includeImage: true } },
        { name: 'get-resource-links', arguments: { count: 3 } },
        { name: 'get-resource-reference', arguments: { resourceType: 'Text', resourceId: 1 } },
        { name: 'echo', arguments: {} },
      ];
      for (const call of calls) {
        assert.deepEqual(steady(plain(await client.callTool(call))), steady(plain(await direct.callTool(call))), call.name);
      }
      const prompt = { name: 'args-prompt', arguments: { city: 'Oslo', state: 'x' } };
      assert.deepEqual(plain(await client.getPrompt(prompt)), plain(await direct.getPrompt(prompt)));
      const [resource] = (await direct.listResources()).resources;
      assert.deepEqual(steady(plain(await client.readResource({ uri: resource!.uri }))), steady(plain(await direct.readResource({ uri: resource!.uri }))));
      const complete = { ref: { type: 'ref/prompt' as const, name: 'completable-prompt' }, argument: { name: 'department', value: 'E' } };
      assert.deepEqual(plain(await client.complete(complete)), plain(await direct.complete(complete)));
    });

    it('masks what comes back, in text and in structure, and records it masked', async () => {
      const client = await stage.client(path, { modern });
      const from = stage.entries.length;
      const result = await client.callTool({ name: 'echo', arguments: { message: `pay with ${SECRET_CARD}` } });
      assert.equal(text(result), 'Echo: pay with ‹redacted›');
      const recorded = JSON.stringify(stage.entries.slice(from));
      assert.ok(!recorded.includes('4111'), recorded);
      const intent = stage.entries.slice(from).find((e) => e.type === 'operation.intent' && e.facts.verb === 'tools/call');
      assert.ok(intent?.type === 'operation.intent');
      assert.equal(intent.facts.effect, 'execute');
      assert.deepEqual(intent.facts.targets, [{ kind: 'tool', name: 'echo' }]);
      assert.deepEqual(JSON.parse(intent.payload), { method: 'tools/call', params: { name: 'echo', arguments: { message: 'pay with ‹redacted›' } } });
      const outcome = stage.entries.slice(from).find((e) => e.type === 'operation.outcome' && e.operation === intent.operation);
      assert.ok(outcome?.type === 'operation.outcome');
      assert.deepEqual([outcome.outcome, outcome.masked, outcome.answer?.kind === 'text' && outcome.answer.text], ['done', 1, 'Echo: pay with ‹redacted›']);
    });

    it('asks a person, and runs the call once it is approved', async () => {
      const client = await stage.client(path, { modern });
      stage.decide = (facts) => (facts.verb === 'tools/call' ? 'ask' : 'allow');
      try {
        const call = client.callTool({ name: 'echo', arguments: { message: 'hi' } });
        const question = await stage.question();
        assert.equal(question.facts.headline, 'Call echo');
        assert.equal(question.language, 'json');
        assert.equal(question.actor.agent.name, 'claude-code');
        assert.equal(
          stage.approvals.answer(
            { answer: 'approve', id: question.id, digest: question.digest, scope: { what: 'exact', howLong: 'once' } },
            question.actor.person,
          ),
          'accepted',
        );
        assert.equal(text(await call), 'Echo: hi');
      } finally {
        stage.decide = () => 'allow';
      }
    });

    it('gives a refusal to the model with the note of who refused, and goes on', async () => {
      const client = await stage.client(path, { modern });
      stage.decide = (facts) => (facts.verb === 'tools/call' ? 'ask' : 'allow');
      try {
        const call = client.callTool({ name: 'echo', arguments: { message: 'hi' } });
        const question = await stage.question();
        stage.approvals.answer({ answer: 'deny', id: question.id, digest: question.digest, note: 'use the staging server' }, question.actor.person);
        const result = await call;
        assert.equal(result.isError, true);
        assert.equal(text(result), 'Denied by Ada: use the staging server');
      } finally {
        stage.decide = () => 'allow';
      }
      assert.equal(text(await client.callTool({ name: 'echo', arguments: { message: 'again' } })), 'Echo: again');
    });

    it('refuses by rule what is no tool call with an error that names the rule', async () => {
      const client = await stage.client(path, { modern });
      stage.decide = (facts) => (facts.verb === 'resources/read' ? 'deny' : 'allow');
      try {
        await assert.rejects(client.readResource({ uri: 'demo://resource/dynamic/text/1' }), /Denied by rule the-rule/);
      } finally {
        stage.decide = () => 'allow';
      }
    });

    it('withdraws the question when the client cancels', async () => {
      const client = await stage.client(path, { modern });
      stage.decide = (facts) => (facts.verb === 'tools/call' ? 'ask' : 'allow');
      try {
        const abort = new AbortController();
        const call = client.callTool({ name: 'echo', arguments: { message: 'hi' } }, { signal: abort.signal });
        await stage.question();
        abort.abort();
        await assert.rejects(call);
        await stage.quiet();
        assert.deepEqual(stage.approvals.pending(), []);
      } finally {
        stage.decide = () => 'allow';
      }
    });

    it('passes on progress and ends with the result', async () => {
      const client = await stage.client(path, { modern });
      const seen: number[] = [];
      const result = await client.callTool(
        { name: 'trigger-long-running-operation', arguments: { duration: 0.4, steps: 4 } },
        { onprogress: (p) => void seen.push(p.progress) },
      );
      assert.match(text(result), /completed/i);
      assert.ok(seen.length >= 2, String(seen));
      assert.deepEqual(
        seen,
        [...seen].sort((a, b) => a - b),
      );
    });

    it('carries what the server asks of the client, and the answer back', async () => {
      const client = await stage.client(path, {
        modern,
        options: { capabilities: { elicitation: { form: {} }, sampling: {}, roots: { listChanged: true } } },
      });
      client.setRequestHandler('sampling/createMessage', () => ({ model: 'm', role: 'assistant', content: { type: 'text', text: 'sampled' } }));
      client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { name: 'Grace' } }));
      client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///home/ada/here', name: 'here' }] }));
      const { tools } = await client.listTools();
      const names = tools.map((t) => t.name);
      const sampled = await client.callTool({
        name: names.find((n) => /sampling/i.test(n) && !/task|async/i.test(n)) ?? '',
        arguments: { prompt: 'x', maxTokens: 5 },
      });
      assert.match(text(sampled), /sampled/);
      const elicited = await client.callTool({ name: names.find((n) => /elicitation/i.test(n) && !/url|task|async/i.test(n)) ?? '', arguments: {} });
      assert.match(text(elicited), /Grace/);
    });

    it('never gives one client the answer of another, whatever ids they use', async () => {
      const clients = await Promise.all([1, 2, 3].map((n) => stage.client(path, { modern, window: `w${n}` })));
      const answers = await Promise.all(
        clients.flatMap((client, c) =>
          Array.from({ length: 20 }, async (_, i) => text(await client.callTool({ name: 'echo', arguments: { message: `${c}/${i}` } })) === `Echo: ${c}/${i}`),
        ),
      );
      assert.ok(answers.every(Boolean));
    });
  });
}
