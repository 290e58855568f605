/** Calls in the clothes of something else: what reaches a server must have been decided as what the server could take it for. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { type Client, ProtocolError } from '@modelcontextprotocol/client';
import { OfferingServer, stageFor, tool } from './offeringServer.ts';
import type { Stage } from './stage.ts';

const CARD = '4111 1111 1111 1111';
const KEY = 'ghp_0123456789abcdefghijABCDEFGHIJ012345';
const sampling = (text: string) => ({
  method: 'sampling/createMessage',
  params: { messages: [{ role: 'user', content: { type: 'text', text } }], maxTokens: 5, _meta: { progressToken: 7 } },
});
const server = new OfferingServer({
  tools: [tool('delete_all'), tool('look'), tool('think'), tool('think_of_card')],
  asks: { think: sampling('what now?'), think_of_card: sampling(`what is ${CARD}?`) },
});
let stage: Stage;
let stop: () => Promise<void>;
let client: Client;

before(async () => {
  ({ stage, stop } = await stageFor(server));
  client = await stage.client('mcp/a');
});
after(() => stop());
beforeEach(() => {
  stage.decide = (facts) => (facts.mcp?.tool === 'delete_all' ? 'deny' : 'allow');
});

/** What the server was sent since, once a call of now has come through. */
async function sentWhile(act: () => Promise<unknown>): Promise<string> {
  const before = server.seen().length;
  await act();
  await client.callTool({ name: 'look', arguments: { n: 1 } });
  return server.seen().slice(before);
}

const say = (message: object): Promise<void> => client.transport!.send({ jsonrpc: '2.0', ...message } as never);

describe('a message that asks for no answer', () => {
  it('is never a call: many servers look at the method and not at the id', async () => {
    const sent = await sentWhile(async () => {
      await say({ method: 'tools/call', params: { name: 'delete_all', arguments: {} } });
      await say({ method: 'tasks/cancel', params: { taskId: 'x' } });
      await say({ method: 'completion/complete', params: {} });
    });
    assert.doesNotMatch(sent, /delete_all|tasks|completion/);
    const turnedAway = stage.entries.filter((entry) => entry.type === 'operation.outcome' && entry.error?.message.includes('sent as a notification'));
    assert.equal(turnedAway.length, 3, JSON.stringify(stage.entries));
  });

  it('is an operation of unknown effect where nobody knows it', async () => {
    stage.decide = (facts) => (facts.effect === 'unknown' ? 'deny' : 'allow');
    const denied = await sentWhile(() => say({ method: 'notifications/do_it', params: { what: 'now' } }));
    assert.doesNotMatch(denied, /do_it/);
    stage.decide = () => 'allow';
    const allowed = await sentWhile(() => say({ method: 'notifications/do_it', params: { what: 'now' } }));
    assert.match(allowed, /"method":"notifications\/do_it","params":\{"what":"now"\}/);
  });

  it('carries no secret to the server', async () => {
    const sent = await sentWhile(() => say({ method: 'notifications/progress', params: { progressToken: 1, progress: 1, message: `card ${CARD}` } }));
    assert.match(sent, /notifications\/progress/);
    assert.doesNotMatch(sent, /4111/);
  });
});

describe('a call that the server could read otherwise than policy', () => {
  for (const [what, params] of [
    ['names its tool in a list', { name: ['delete_all'], arguments: {} }],
    ['names its tool in an object', { name: { toString: 'delete_all' }, arguments: {} }],
    ['names nothing', { arguments: {} }],
    ['has its arguments in a list', { name: 'look', arguments: [{ path: '/etc' }] }],
    ['has its arguments as text', { name: 'look', arguments: '{"path":"/etc"}' }],
  ] as const) {
    it(`is refused where it ${what}`, async () => {
      const sent = await sentWhile(async () => {
        const result = await client.request({ method: 'tools/call', params } as never);
        assert.equal((result as { isError?: boolean }).isError, true);
      });
      assert.equal(sent.match(/tools\/call/g)?.length, 1, 'the call of now alone');
    });
  }
});

describe('what a client says besides its calls', () => {
  it('carries no secret to the server where its model or its person could not be asked', async () => {
    stage.decide = () => 'allow';
    const other = await stage.client('mcp/a', { options: { capabilities: { sampling: {} } }, window: 'other' });
    other.setRequestHandler('sampling/createMessage', () => {
      throw new ProtocolError(-32_603, `no model for ${KEY}`, { key: KEY });
    });
    const sent = await sentWhile(() => other.callTool({ name: 'think', arguments: {} }));
    assert.match(sent, /"error":.*no model for/);
    assert.ok(!sent.includes(KEY), sent);
  });

  it('carries none in what needs no decision', async () => {
    const sent = await sentWhile(async () => {
      await client.request({ method: 'tools/list', params: { cursor: KEY, _meta: { about: KEY } } } as never);
      await client.request({ method: 'ping', params: { [KEY]: KEY } } as never).catch(() => {});
    });
    assert.match(sent, /"method":"ping"/);
    assert.ok(!sent.includes(KEY), sent);
  });
});

describe('something sensitive that a server says besides its answers', () => {
  const read = (): boolean => stage.decided.at(-1)?.context.conversationRead.some(({ sensitive }) => sensitive) ?? false;
  beforeEach(() => {
    stage.decide = () => 'allow';
  });

  it('was read, too: in a message', async () => {
    const reader = await stage.client('mcp/a', { window: 'reads messages' });
    await reader.callTool({ name: 'look', arguments: {} });
    assert.equal(read(), false);
    server.offer({ tells: { 'prompts/list': [{ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: { card: CARD } } }] } });
    await reader.listPrompts();
    server.offer({ tells: {} });
    await reader.callTool({ name: 'look', arguments: {} });
    assert.equal(read(), true);
  });

  it('was read, too: in a question to its model', async () => {
    const asked = await stage.client('mcp/a', { options: { capabilities: { sampling: {} } }, window: 'is asked' });
    asked.setRequestHandler('sampling/createMessage', () => ({ model: 'm', role: 'assistant', content: { type: 'text', text: 'a card' } }));
    await asked.callTool({ name: 'think', arguments: {} });
    await asked.callTool({ name: 'look', arguments: {} });
    assert.equal(read(), false);
    await asked.callTool({ name: 'think_of_card', arguments: {} });
    await asked.callTool({ name: 'look', arguments: {} });
    assert.equal(read(), true);
  });
});
