import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addConnection, connectionIn, removeInserted } from '../../../extension/mcpServers/policyText.ts';
import { loadPolicy } from '../../../proxy/policy/load.ts';

const connection = { protocol: 'mcp', upstream: { command: ['npx', '-y', 'a: b # c'], env: { T: 'secret:a-T' } } } as const;

const FILES: Readonly<Record<string, string>> = {
  empty: '',
  'only a version': 'version: 1\n',
  'without a last line end': 'version: 1',
  'braces with nothing in them': 'version: 1\nconnections: {} # none\nrules: []\n',
  'a key with nothing below it': 'version: 1\nconnections:\nrules: []\n',
  'connections with comments': `version: 1
connections:
    # the shop
    shop:
        protocol: postgres
        upstream: postgres://127.0.0.1/shop   # local

# what is asked
rules: []
`,
  'carriage returns': 'version: 1\r\nconnections:\r\n  shop:\r\n    protocol: postgres\r\n    upstream: postgres://127.0.0.1/shop\r\nrules: []\r\n',
};

describe('a connection in the text of countersign.yaml', () => {
  for (const [what, text] of Object.entries(FILES)) {
    it(`is added to a file with ${what}, and every line that was there stays`, () => {
      const { text: after, inserted } = addConnection(text, 'a', connection);
      assert.deepEqual(connectionIn(after, 'a'), connection);
      for (const line of text.split('\n').filter((l) => l.trim() !== '' && !l.startsWith('connections: {}'))) assert.ok(after.includes(line.trimEnd()), line);
      if (text !== '') assert.ok(loadPolicy([{ layer: 'user', file: 'f', text: after }]).ok);
      const twice = addConnection(after, 'b', connection);
      const back = removeInserted(twice.text, twice.inserted);
      assert.equal(back, after);
      const first = removeInserted(after, inserted);
      assert.ok(first !== undefined);
      assert.equal(connectionIn(first, 'a'), undefined);
      if (text.includes('shop:')) assert.equal(first, text);
    });
  }

  it('is not added where that would change what the file says', () => {
    assert.throws(() => addConnection('version: 1\nconnections: { shop: { protocol: postgres } }\n', 'a', connection), /braces/);
    assert.throws(() => addConnection('version: [1\n', 'a', connection), /broken/);
    assert.throws(() => addConnection('version: 1\nconnections: []\n', 'a', connection), /not a mapping/);
  });

  it('is taken out whichever came first, and leaves a policy that is still one', () => {
    for (const start of ['version: 1\n', 'version: 1\nconnections: {} # none\n']) {
      const a = addConnection(start, 'a', connection);
      const b = addConnection(a.text, 'b', connection);
      for (const [first, second] of [
        [a, b],
        [b, a],
      ] as const) {
        const one = removeInserted(b.text, first.inserted);
        assert.ok(one !== undefined && loadPolicy([{ layer: 'user', file: 'f', text: one }]).ok, one);
        const none = removeInserted(one, second.inserted);
        assert.match(none ?? '', /^version: 1\nconnections: \{\}( # none)?\n$/);
      }
    }
  });

  it('is not taken out once a person has changed it', () => {
    const { text, inserted } = addConnection('version: 1\n', 'a', connection);
    assert.equal(removeInserted(text.replace('npx', 'node'), inserted), undefined);
  });
});
