/** Any client before any server: what the one era pushes, the other asks for; nothing is offered that one side lacks. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Client } from '@modelcontextprotocol/client';
import { mcp } from '../../../../../proxy/protocols/mcp/mcp.ts';
import { listening, remoteConnection } from '../everything.ts';
import { Stage } from '../stage.ts';

const reference = fileURLToPath(new URL('../../../../peers/mcp/referenceServer.ts', import.meta.url));

let stage: Stage;
const ends: (() => unknown)[] = [];

before(async () => {
  stage = await Stage.start();
  for (const era of ['sessions', 'stateless']) {
    const { port, stop } = await listening([process.execPath, '--disable-warning=ExperimentalWarning', reference, era]);
    const connection = remoteConnection(era, `http://127.0.0.1:${port}/mcp`);
    stage.connections.push(connection);
    const served = await mcp.serve(connection, stage.host);
    ends.push(stop, () => served.stop('the test is over'));
  }
});

after(async () => {
  for (const end of ends.reverse()) await end();
  await stage?.stop();
});

const text = (result: Awaited<ReturnType<Client['callTool']>>): string => (result.content as { text: string }[]).map((c) => c.text).join('\n');

async function able(server: string, modern: boolean): Promise<Client> {
  const client = await stage.client(`mcp/${server}`, { modern, options: { capabilities: { elicitation: { form: {} }, sampling: {}, roots: {} } } });
  client.setRequestHandler('sampling/createMessage', () => ({ model: 'm', role: 'assistant', content: { type: 'text', text: 'Paris' } }));
  client.setRequestHandler('elicitation/create', () => ({
    action: 'accept',
    content: { name: 'Grace', username: 'grace', email: 'none', color: 'red', ok: true },
  }));
  client.setRequestHandler('roots/list', () => ({ roots: [{ uri: 'file:///home/ada/here', name: 'here' }] }));
  return client;
}

for (const server of ['sessions', 'stateless']) {
  for (const modern of [false, true]) {
    describe(`a server of ${server === 'sessions' ? 'sessions' : 'the stateless era'} and a client of ${modern ? 'the stateless era' : 'sessions'}`, () => {
      it('know each other: name, instructions, capabilities, lists', async () => {
        const client = await able(server, modern);
        assert.equal(client.getServerVersion()?.name, 'reference');
        assert.equal(client.getInstructions(), 'Only for tests.');
        const capabilities = client.getServerCapabilities();
        assert.ok(capabilities?.tools && capabilities.prompts && capabilities.resources && capabilities.completions);
        assert.equal('tasks' in capabilities, false);
        assert.ok((await client.listTools()).tools.some(({ name }) => name === 'test_simple_text'));
        assert.ok((await client.listPrompts()).prompts.length > 0);
      });

      it('call, read, get and complete', async () => {
        const client = await able(server, modern);
        assert.match(text(await client.callTool({ name: 'test_simple_text', arguments: {} })), /simple text/);
        const { contents } = await client.readResource({ uri: 'test://template/7/data' });
        assert.match((contents[0] as { text: string }).text, /"id":"7"/);
        const { messages } = await client.getPrompt({ name: 'test_prompt_with_arguments', arguments: { arg1: 'a', arg2: 'b' } });
        assert.match(JSON.stringify(messages), /arg1='a'/);
        const { completion } = await client.complete({
          ref: { type: 'ref/prompt', name: 'test_prompt_with_arguments' },
          argument: { name: 'arg1', value: 'par' },
        });
        assert.ok(completion.values.includes('paris'));
        await assert.rejects(client.readResource({ uri: 'test://nothing' }));
      });

      it('pass on progress from 0 to its end, for a token that the client gave', async () => {
        const client = await able(server, modern);
        const seen: number[] = [];
        await client.callTool({ name: 'test_tool_with_progress', arguments: {} }, { onprogress: (p) => void seen.push(p.progress) });
        assert.deepEqual(seen, [0, 50, 100]);
      });

      it('ask the client while a call runs: its person, its model, its roots, several at once, round after round', async () => {
        const client = await able(server, modern);
        const ask = async (name: string, args: Record<string, unknown> = {}): Promise<string> => text(await client.callTool({ name, arguments: args }));
        assert.match(await ask('test_input_required_result_elicitation'), /Hello, Grace!/);
        assert.match(await ask('test_input_required_result_sampling'), /Paris/);
        assert.match(await ask('test_input_required_result_list_roots'), /\/here/);
        assert.match(await ask('test_input_required_result_multiple_inputs'), /Paris, Grace: .*here/);
        assert.match(await ask('test_input_required_result_multi_round'), /Grace likes red/);
        assert.match(await ask('test_input_required_result_request_state'), /state-ok/);
        if (server !== 'sessions') return;
        assert.match(await ask('test_sampling', { prompt: 'x' }), /Paris/);
        assert.match(await ask('test_elicitation', { message: 'x' }), /grace/);
      });

      it('do not ask a client for what it cannot do', async () => {
        const client = await stage.client(`mcp/${server}`, { modern, name: 'bare' });
        const result = await client.callTool({ name: 'test_input_required_result_sampling', arguments: {} }).catch((cause: unknown) => cause as Error);
        assert.ok(result instanceof Error || result.isError === true || !/Paris/.test(text(result)));
      });

      it('tell what has changed, to who wants to hear it', async () => {
        const client = await able(server, modern);
        const changed = new Promise<void>((resolve) => client.setNotificationHandler('notifications/tools/list_changed', () => resolve()));
        if (modern) await client.listen({ toolsListChanged: true });
        // The subscription is made beside the call; a change before it is heard by nobody, with us or without.
        const again = setInterval(() => void client.callTool({ name: 'test_trigger_tool_change', arguments: {} }).catch(() => {}), 300);
        await changed;
        clearInterval(again);
      });
    });
  }
}

describe('a call that waits for its client', () => {
  it('goes on for the same client with the same arguments only, once, and with a state that nobody has changed', async () => {
    const meta = (name: string) => ({
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name, version: '1' },
      'io.modelcontextprotocol/clientCapabilities': { elicitation: { form: {} } },
    });
    const post = async (
      params: Record<string, unknown>,
      { client = 'c', window = 'window' } = {},
    ): Promise<{ result?: Record<string, unknown>; error?: { code: number } }> => {
      const response = await fetch(stage.url('mcp/stateless'), {
        method: 'POST',
        headers: stage.statelessHeaders('tools/call', params.name, window),
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { ...params, _meta: meta(client) } }),
      });
      const body = await response.text();
      return JSON.parse(body.startsWith('{') ? body : (body.split('\n').findLast((line) => line.startsWith('data: {')) ?? '').slice(6));
    };
    const call = { name: 'test_input_required_result_request_state', arguments: {} };
    const { result } = await post(call);
    assert.equal(result?.resultType, 'input_required');
    const requestState = String(result?.requestState);
    assert.ok(!requestState.includes('asked'), 'the server’s own state does not leave us');
    const inputResponses = { confirm: { action: 'accept', content: { ok: true } } };
    const refused = async (params: Record<string, unknown>, who = {}): Promise<void> => assert.equal((await post(params, who)).error?.code, -32_602);
    await refused({ ...call, inputResponses, requestState: `${requestState.slice(0, -1)}${requestState.endsWith('A') ? 'B' : 'A'}` });
    await refused({ ...call, inputResponses, requestState: requestState.replace(/\.\d+\./, '.9999999999999.') });
    await refused({ ...call, arguments: { other: 1 }, inputResponses, requestState });
    await refused({ name: 'test_input_required_result_tampered_state', arguments: {}, inputResponses, requestState });
    await refused({ ...call, inputResponses, requestState }, { client: 'another' });
    await refused({ ...call, inputResponses, requestState }, { window: 'another' });
    assert.match(JSON.stringify((await post({ ...call, inputResponses, requestState })).result), /state-ok/);
    await refused({ ...call, inputResponses, requestState });
  });
});
