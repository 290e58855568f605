import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { checkParsed, MAX_DEPTH, parseMessage, parseStrict } from '../../../../proxy/protocols/mcp/message.ts';

describe('strict JSON', () => {
  it('reads what JSON.parse reads, and writes it again the same', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), (text) => {
        fc.pre(!text.includes('__proto__'));
        assert.deepEqual(JSON.stringify(parseStrict(text)), JSON.stringify(JSON.parse(text)));
      }),
      { numRuns: 500 },
    );
  });

  it('never throws anything but a problem, whatever it is given', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('{', '}', '[', ']', '"', ':', ',', '1', '\\', ' ', 'a', 'e', '-', '.') })),
        (text) => {
          try {
            parseMessage(text);
          } catch (cause) {
            assert.equal((cause as Error).name, 'Problem');
          }
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('refuses a key twice, however it is written', () => {
    for (const text of ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '[{"b":{"c":1,"x":[],"c":2}}]'])
      assert.throws(() => parseStrict(text), { code: 'ambiguous-json' });
    assert.deepEqual(parseStrict('{"a":{"a":1},"b":[{"a":1},{"a":2}]}'), { a: { a: 1 }, b: [{ a: 1 }, { a: 2 }] });
  });

  it('refuses __proto__ and what is nested too deep, parsed here or elsewhere', () => {
    const deep = '['.repeat(MAX_DEPTH + 1) + ']'.repeat(MAX_DEPTH + 1);
    for (const text of ['{"a":{"__proto__":{}}}', '{"\\u005f_proto__":1}', deep]) {
      assert.throws(() => parseStrict(text), { code: 'ambiguous-json' });
      assert.throws(() => checkParsed(JSON.parse(text)), { code: 'ambiguous-json' });
    }
    checkParsed(JSON.parse('['.repeat(MAX_DEPTH) + ']'.repeat(MAX_DEPTH)));
    assert.throws(() => parseStrict('['.repeat(100_000) + ']'.repeat(100_000)), { name: 'Problem' });
  });

  it('keeps integers that a double cannot hold', () => {
    for (const text of ['{"id":12345678901234567890}', '[-9007199254740993,1]', '{"n":1e999}']) assert.equal(JSON.stringify(parseStrict(text)), text);
    assert.equal(JSON.stringify(parseStrict('[0.1000000000000000055511151231257827, 9007199254740991]')), '[0.1,9007199254740991]');
  });
});

describe('messages', () => {
  it('are told apart, and nothing of them is lost', () => {
    assert.deepEqual(parseMessage('{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":1}}'), { kind: 'request', id: 1, method: 'm', params: { x: 1 } });
    assert.deepEqual(parseMessage('{"jsonrpc":"2.0","method":"m"}'), { kind: 'notification', method: 'm', params: undefined });
    assert.deepEqual(parseMessage('{"jsonrpc":"2.0","id":"a","result":{"new":[1]}}'), { kind: 'response', id: 'a', reply: { result: { new: [1] } } });
    assert.deepEqual(parseMessage('{"jsonrpc":"2.0","id":"a","error":{"code":-1,"message":"no","data":{"x":1}}}'), {
      kind: 'response',
      id: 'a',
      reply: { error: { code: -1, message: 'no', data: { x: 1 } } },
    });
  });

  it('are refused when they are no JSON-RPC: batches, other versions, odd ids, parameters by position', () => {
    for (const text of [
      '[]',
      '[{"jsonrpc":"2.0","id":1,"method":"m"}]',
      '{"id":1,"method":"m"}',
      '{"jsonrpc":"1.0","id":1,"method":"m"}',
      '{"jsonrpc":"2.0","id":{},"method":"m"}',
      '{"jsonrpc":"2.0","id":null,"method":"m"}',
      '{"jsonrpc":"2.0","id":1,"method":7}',
      '{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}',
      '{"jsonrpc":"2.0","id":1}',
      '{"jsonrpc":"2.0","id":1,"result":5}',
      '{"jsonrpc":"2.0","result":{}}',
    ]) {
      assert.throws(() => parseMessage(text), { code: 'malformed-message' }, text);
    }
  });
});
