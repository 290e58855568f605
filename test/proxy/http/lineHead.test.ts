/** What the bridge reads of a line from its ends is what parsing the line says, or it is not read from its ends. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { type Head, headOf, parseMessage, quickHead } from '../../../proxy/http/lineHead.ts';

/** The same lines each time. */
const SEED = 20_261_126;

const parsed = (line: string | Buffer): Head | undefined => {
  const message = parseMessage(line.toString());
  return message && { id: message.id, method: message.method };
};
const quick = (line: string): Head | undefined => quickHead(Buffer.from(line));

/** Members as they may stand in a line, written more ways than one: some count, some only look like it, some break the line. */
const member = fc.constantFrom(
  '"jsonrpc":"2.0"',
  '"jsonrpc":"1.0"',
  '"id":1',
  '"id":2',
  '"id":"a"',
  '"id":"\\"}"',
  '"id":null',
  '"id":1.0',
  '"id":-0',
  '"id":1e3',
  '"id":12345678901234567890',
  '"\\u0069d":7',
  '"method":"ping"',
  '"method":"initialize"',
  '"method":"\\u0070ing"',
  '"m\\u0065thod":"initialize"',
  '"method":7',
  '"params":{}',
  '"params":{"id":5,"method":"x"}',
  '"params":{"a":"\\",\\"id\\":9"}',
  '"params":{"a":",\\"jsonrpc\\":\\"2.0\\",\\"id\\":9}"}',
  '"params":[{"jsonrpc":"2.0","id":3}]',
  '"params":{"a":"ü✓\\n"}',
  '"params":{"a":{"b":[1,2,{"jsonrpc":"2.0","id":4}]}}',
  '"params":{"a":"x',
  '"result":{}',
  '"result":{"id":6}',
  '"error":{"code":1,"message":"m"}',
  '"__proto__":{"id":8}',
  '"x":"}"',
  '',
);
const around = fc.oneof(
  { weight: 4, arbitrary: fc.constant<readonly [string, string]>(['{', '}']) },
  {
    weight: 1,
    arbitrary: fc.constantFrom<readonly [string, string]>(['{', '}\r'], ['{', '}}'], ['{', ''], ['[{', '}]'], [' {', '}'], ['\ufeff{', '}'], ['{', '} x']),
  },
);
const params = fc.constantFrom('"params":{}', '"params":{"a":"ü✓\\n\\"}"}', '"params":[{"b":[1,2,{"c":4}]}]', '');
/** The forms that clients write, with anything in between or after. */
const forms = fc
  .tuple(
    fc.constantFrom(
      [['"jsonrpc":"2.0"', '"id":1', '"method":"tools/call"'], []],
      [['"jsonrpc":"2.0"', '"method":"initialize"'], []],
      [['"jsonrpc":"2.0"', '"id":"q-1"', '"result":{}'], []],
      [['"method":"tools/call"'], ['"jsonrpc":"2.0"', '"id":1']],
      [['"result":{}'], ['"jsonrpc":"2.0"', '"id":"q-1"']],
      [['"method":"ping"'], ['"jsonrpc":"2.0"']],
    ),
    params,
    fc.oneof(fc.constant(''), member),
  )
  .map(([[ahead = [], behind = []], one, two]) => [...ahead, one, two, ...behind]);
const members = fc.oneof(fc.array(member, { minLength: 1, maxLength: 6 }), { weight: 3, arbitrary: forms });
const made = fc.tuple(members, around).map(([list, [open, close]]) => Buffer.from(`${open}${list.filter((one) => one !== '').join(',')}${close}`));
/** The same with a byte changed or a piece cut out, which also breaks UTF-8. */
const harmed = fc.tuple(made, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat(3)).map(([line, at, byte, cut]) => {
  const place = at % Math.max(1, line.length);
  return cut === 0
    ? Buffer.concat([line.subarray(0, place), Buffer.of(byte), line.subarray(place + 1)])
    : Buffer.concat([line.subarray(0, place), line.subarray(place + cut)]);
});

describe('a line’s head', () => {
  it('is what parsing says of every line that is JSON, and never another', () => {
    let read = 0;
    fc.assert(
      fc.property(fc.oneof(made, harmed), (line) => {
        const head = quickHead(line);
        const says = parsed(line);
        if (head) read++;
        if (head && says) assert.deepEqual(head, says, line.toString());
        // A line that is no JSON-RPC although it is JSON is not taken for it.
        if (head && !says) assert.throws(() => JSON.parse(line.toString()), line.toString());
        if (!head) assert.deepEqual(headOf(line), says);
      }),
      { numRuns: 4_000, seed: SEED },
    );
    assert.ok(read > 400, `only ${read} were read from their ends`);
  });

  it('is read from the ends of what clients write', () => {
    const call = { method: 'tools/call', params: { name: 'a', arguments: { text: 'said "so"\n', list: [1, { b: '}' }] }, _meta: { progressToken: 3 } } };
    const forms: readonly [object, Head][] = [
      [
        { jsonrpc: '2.0', id: 3, ...call },
        { id: 3, method: 'tools/call' },
      ],
      [
        { ...call, jsonrpc: '2.0', id: 3 },
        { id: 3, method: 'tools/call' },
      ],
      [
        { method: 'ping', jsonrpc: '2.0', id: 'p-1' },
        { id: 'p-1', method: 'ping' },
      ],
      [
        { jsonrpc: '2.0', id: 0, method: 'initialize', params: {} },
        { id: 0, method: 'initialize' },
      ],
      [
        { jsonrpc: '2.0', method: 'notifications/initialized' },
        { id: undefined, method: 'notifications/initialized' },
      ],
      [
        { method: 'notifications/cancelled', params: { requestId: 3 }, jsonrpc: '2.0' },
        { id: undefined, method: 'notifications/cancelled' },
      ],
      [
        { jsonrpc: '2.0', id: 'countersign-1', result: { action: 'accept' } },
        { id: 'countersign-1', method: undefined },
      ],
      [
        { result: { roots: [] }, jsonrpc: '2.0', id: 'countersign-2' },
        { id: 'countersign-2', method: undefined },
      ],
      [
        { error: { code: -1, message: 'no' }, jsonrpc: '2.0', id: 5 },
        { id: 5, method: undefined },
      ],
    ];
    for (const [message, head] of forms) {
      assert.deepEqual(quick(JSON.stringify(message)), head);
      assert.deepEqual(parsed(JSON.stringify(message)), head);
    }
    const long = JSON.stringify({ ...call, params: { text: 'y'.repeat(100_000) }, jsonrpc: '2.0', id: 6 });
    assert.deepEqual(quick(long), { id: 6, method: 'tools/call' });
  });

  it('is parsed where what counts may stand in it twice', () => {
    for (const line of [
      '{"jsonrpc":"2.0","id":1,"method":"a","params":{},"id":2}',
      '{"jsonrpc":"2.0","id":1,"method":"a","method":"initialize"}',
      '{"jsonrpc":"2.0","id":1,"method":"a","\\u0069d":2}',
      '{"method":"a","params":{},"method":"initialize","jsonrpc":"2.0","id":1}',
      '{"method":"a","id":2,"jsonrpc":"2.0","id":1}',
      '{"jsonrpc":"2.0","id":1,"result":{},"method":"a"}',
      '{"jsonrpc":"2.0","id":1,"method":"a","jsonrpc":"1.0"}',
    ])
      assert.equal(quick(line), undefined, line);
  });
});
