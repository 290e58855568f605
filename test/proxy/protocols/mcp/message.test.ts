import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { parseMessage } from '../../../../proxy/protocols/mcp/message.ts';

describe('messages', () => {
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
