import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { parseStrict } from '../../../../proxy/http/strictJson.ts';
import { messageText, parseMessage } from '../../../../proxy/protocols/mcp/message.ts';
import { canonicalLongText } from '../../../../proxy/recording/canonical.ts';
import { textOf } from '../../../../proxy/recording/utf8.ts';

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

  it('are written as JSON is written, wherever a long text stands in them, and again and again', () => {
    const long = fc.string({ unit: 'binary', minLength: 1, maxLength: 8 }).map((piece) => `${piece}\u2028"\\\n‹·›\ud800`.repeat(400));
    const leaf = fc.oneof(fc.string(), long, fc.constant(null), fc.integer(), fc.boolean(), fc.constant(parseStrict('123456789012345678901234567890')));
    const block = fc.dictionary(
      fc.constantFrom('type', 'text', '_meta', 'resource', 'toJSON', 'rawJSON', 'é'),
      fc.oneof(leaf, fc.array(leaf), fc.dictionary(fc.string(), leaf)),
    );
    const content = fc.oneof(leaf, block, fc.array(fc.oneof(leaf, block), { maxLength: 20 }));
    const result = fc.dictionary(fc.constantFrom('content', 'structuredContent', 'isError', 'result'), content);
    fc.assert(
      fc.property(fc.oneof(result, content), fc.option(fc.integer(), { nil: undefined }), (value, id) => {
        for (const message of [
          { jsonrpc: '2.0', id, result: value },
          { jsonrpc: '2.0', id, error: { code: 1, message: 'x', data: value } },
          { method: 'm', params: value },
        ]) {
          assert.equal(textOf(messageText(message)), JSON.stringify(message));
          assert.equal(textOf(messageText(message)), JSON.stringify(message));
        }
      }),
      { numRuns: 200 },
    );
    // The record is written from the same quotes, and refuses what has no UTF-8 all the same.
    const half = `${'a'.repeat(2_000)}\ud800`;
    messageText({ result: { content: [{ text: half }] } });
    assert.throws(() => canonicalLongText(half), { code: 'not-canonical' });
  });
});
