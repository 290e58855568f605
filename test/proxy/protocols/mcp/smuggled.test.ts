/** Calls in the clothes of something else: what reaches a server must have been decided as what the server could take it for. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../../proxy/protocols/protocol.ts';
import { OfferingServer, tool } from './offeringServer.ts';
import { Stage } from './stage.ts';

const CARD = '4111 1111 1111 1111';
const server = new OfferingServer({ tools: [tool('delete_all'), tool('look')] });
let stage: Stage;
let served: Served;
let client: Client;

before(async () => {
  stage = await Stage.start();
  const connection = server.connection('a');
  stage.connections.push(connection);
  served = await mcp.serve(connection, stage.host);
  stage.served.set('a', served);
  client = await stage.client('mcp/a');
});
after(async () => {
  await served.stop('the test is over');
  await stage.stop();
  server.remove();
});
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
