/** Many people at one server, and one who opens without end. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import type { Person } from '../../../../contract/actor.ts';
import { NARROWEST } from '../../../../contract/approval.ts';
import { givesWay } from '../../../../proxy/protocols/mcp/givesWay.ts';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import type { Served } from '../../../../proxy/protocols/protocol.ts';
import { OfferingServer, tool } from './offeringServer.ts';
import { Stage } from './stage.ts';

const bob: Person = { issuer: 'os', subject: 'bob', name: 'Bob', groups: [] };
const server = new OfferingServer({ tools: [tool('look')] });
let stage: Stage;
let served: Served;

before(async () => {
  stage = await Stage.start();
  const connection = server.connection('a', { share: 'person' });
  stage.connections.push(connection);
  served = await mcp.serve(connection, stage.host);
  stage.served.set('a', served);
  stage.people.set('bob', bob);
});
after(async () => {
  await served.stop('the test is over');
  await stage.stop();
  server.remove();
});

const ANSWER = '{"n":1}';
const text = async (client: Client): Promise<string | undefined> =>
  ((await client.callTool({ name: 'look', arguments: { n: 1 } })).content as { text: string }[])[0]?.text;

describe('a person', () => {
  it('whose sessions are few is not ended by another, who opens more than there is room for', async () => {
    const ada = await stage.client('mcp/a');
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'many', version: '1' } };
    const headers = { ...stage.headers('bob'), 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };
    const open = () =>
      fetch(stage.url('mcp/a'), { method: 'POST', headers, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params }) }).then((got) =>
        got.text(),
      );
    for (let n = 0; n < 205; n++) await open();
    assert.equal(await text(ada), ANSWER);
    assert.equal(await text(await stage.client('mcp/a', { window: 'bob' })), ANSWER, 'who opens another gets it, in place of their own');
  });

  it('has their call answered while another comes as one client after the other', async () => {
    const ada = await stage.client('mcp/a', { modern: true });
    stage.decide = (facts, context) => (facts.verb === 'tools/call' && context.actor.person.subject === 'ada' ? 'ask' : 'allow');
    const answer = text(ada);
    const question = await stage.question();
    for (let n = 0; n < 40; n++) await stage.client('mcp/a', { window: 'bob', modern: true, name: `bob-${n}` });
    stage.approvals.answer({ answer: 'approve', id: question.id, digest: question.digest, scope: NARROWEST }, question.actor.person);
    assert.equal(await answer, ANSWER);
  });
});

describe('what gives way', () => {
  it('is the one unused longest of whoever has most', () => {
    const held = [
      ['a1', 'a'],
      ['b1', 'b'],
      ['b2', 'b'],
      ['c1', 'c'],
    ] as const;
    assert.equal(givesWay(held), 'b1');
    assert.equal(givesWay(held.filter(([key]) => key !== 'b2')), 'a1');
    assert.equal(givesWay([]), undefined);
  });
});
