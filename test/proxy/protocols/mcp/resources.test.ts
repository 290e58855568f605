/** Resources by other spellings of their address, and addresses that carry something. Real policy, real servers. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Client } from '@modelcontextprotocol/client';
import { loadPolicy } from '../../../../proxy/policy/load.ts';
import { mcp } from '../../../../proxy/protocols/mcp/mcp.ts';
import { OfferingServer, stageFor, tool } from './offeringServer.ts';
import type { Stage } from './stage.ts';

const server = new OfferingServer({
  tools: [tool('look'), tool('find')],
  resources: [{ uri: 'memo://a', name: 'a' }],
  results: {
    find: {
      content: [
        { type: 'text', text: 'memo://in-words' },
        { type: 'resource_link', uri: 'memo://found', name: 'found' },
        { type: 'resource_link', uri: 'memo://4111111111111111', name: 'masked' },
        { type: 'resource_link', uri: 'https://example.org/found', name: 'far' },
      ],
      structuredContent: { type: 'resource_link', uri: 'memo://in-data' },
    },
    look: { content: [{ type: 'text', text: 'card 4111 1111 1111 1111' }] },
  },
});
let stage: Stage;
let stop: () => Promise<void>;
let client: Client;

before(async () => {
  ({ stage, stop } = await stageFor(server));
  client = await stage.client('mcp/a');
});
after(() => stop());

function decideBy(read: 'allow' | 'deny', rules: string): void {
  const text = `version: 1\ndefaults: { read: ${read}, unknown: deny }\nconnections: { a: { protocol: mcp, upstream: { command: [x] } } }\nrules:\n${rules}`;
  const loaded = loadPolicy([{ layer: 'user', file: 'countersign.yaml', text }]);
  assert.ok(loaded.ok, JSON.stringify(loaded));
  stage.decide = (facts, context) => loaded.policy.decide(facts, context).decision;
}

const SPELLINGS = [
  'file:///etc/passwd',
  'FILE:///etc/passwd',
  'file:/etc/passwd',
  'file:////etc/passwd',
  'file://localhost/etc/passwd',
  'file:///./etc/passwd',
  'file:///%65tc/passwd',
  'file:///%2565tc/passwd',
  'file:///shop/../etc/passwd',
  'file:///shop/%2e%2e/etc/passwd',
  'file:///shop/%2E./etc/passwd',
  'file:///shop/..%2fetc%2fpasswd',
  'file:///shop\\..\\etc\\passwd',
  'file:///shop/a\t/../../etc/passwd',
  `file:///shop/${'x/../'.repeat(150)}../etc/passwd`,
  `file:///etc/${'./'.repeat(300)}passwd`,
  `file:///etc/${'x/'.repeat(8_000)}passwd`,
];

describe('a resource that policy denies', () => {
  for (const uri of SPELLINGS) {
    it(`is not read as ${uri.slice(0, 60)}`, async () => {
      decideBy('allow', '  - { id: no-etc, match: { target: "file:///etc/*" }, verdict: deny }\n');
      await assert.rejects(client.readResource({ uri }), /Denied|Refused/);
      assert.ok(!server.seen().includes('resources/read'));
    });
  }
});

describe('what policy allows of a folder', () => {
  for (const uri of SPELLINGS) {
    it(`is not left as ${uri.slice(0, 60)}`, async () => {
      decideBy('deny', '  - { id: shop, match: { target: "file:///shop/*" }, verdict: allow }\n');
      await assert.rejects(client.readResource({ uri }), /Denied|Refused/);
      assert.ok(!server.seen().includes('resources/read'));
    });
  }

  it('is what it was', async () => {
    decideBy('deny', '  - { id: shop, match: { target: "file:///shop/*" }, verdict: allow }\n');
    await client.readResource({ uri: 'file:///shop/notes' });
    assert.match(server.seen(), /"resources\/read","params":\{"uri":"file:\/\/\/shop\/notes"\}/);
  });
});

describe('an address', () => {
  const outward = (): boolean | undefined => stage.decided.at(-1)?.facts.mcp?.outward;

  it('carries nothing where its server listed it, and could carry anything where it did not', async () => {
    stage.decide = () => 'allow';
    await client.listResources();
    await client.readResource({ uri: 'memo://a' });
    assert.equal(outward(), false);
    await client.readResource({ uri: 'memo://what-was-read-elsewhere' });
    assert.equal(outward(), true);
    await client.readResource({ uri: 'https://example.org/?q=what-was-read-elsewhere' });
    assert.equal(outward(), true);
  });

  it('carries nothing either where an answer of its server links to it, for who had that answer', async () => {
    stage.decide = () => 'allow';
    const other = server.connection('b');
    stage.connections.push(other);
    const served = await mcp.serve(other, stage.host);
    try {
      const elsewhere = [await stage.client('mcp/b'), await stage.client('mcp/a', { window: 'another' })];
      const carries = async (reader: Client, uri: string): Promise<boolean | undefined> => {
        await reader.readResource({ uri });
        return outward();
      };
      assert.equal(await carries(client, 'memo://found'), true, 'nobody has named it yet');
      await elsewhere[0]?.callTool({ name: 'find', arguments: {} });
      assert.equal(await carries(client, 'memo://found'), true, 'another server has');
      const { content } = await client.callTool({ name: 'find', arguments: {} });
      assert.equal(await carries(client, 'memo://found'), false);
      for (const reader of elsewhere.slice(1)) assert.equal(await carries(reader, 'memo://found'), true, 'in another conversation');
      // What the client has not seen, what is no link, and what lies elsewhere.
      assert.ok(!JSON.stringify(content).includes('4111'));
      for (const uri of ['memo://4111111111111111', 'memo://‹redacted›', 'memo://in-words', 'memo://in-data', 'memo://found/more', 'https://example.org/found'])
        assert.equal(await carries(client, uri), true, uri);
    } finally {
      await served.stop('the test is over');
    }
  });
});
