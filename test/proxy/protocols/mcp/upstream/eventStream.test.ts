import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { EventStream, type ServerEvent } from '../../../../../proxy/protocols/mcp/upstream/eventStream.ts';

function read(chunks: readonly Buffer[], maxChars = 1000): { events: ServerEvent[]; retries: number[] } {
  const events: ServerEvent[] = [];
  const retries: number[] = [];
  const stream = new EventStream({ maxChars, onEvent: (event) => void events.push(event), onRetry: (ms) => void retries.push(ms) });
  for (const chunk of chunks) stream.write(chunk);
  return { events, retries };
}

const SAMPLE =
  '\uFEFF: comment\r\nid: 1\r\nevent: message\r\ndata: {"a":"✓"}\r\n\r\ndata:two\rdata: lines\r\rid\nretry: 50\nretry: x\ndata: \n\nevent: endpoint\ndata:/m?x=1\n\ndata: unfinished';

describe('a stream of events', () => {
  it('is read by the rules, whatever ends its lines', () => {
    const { events, retries } = read([Buffer.from(SAMPLE)]);
    assert.deepEqual(events, [
      { type: 'message', data: '{"a":"✓"}', id: '1' },
      { type: 'message', data: 'two\nlines', id: '1' },
      { type: 'message', data: '', id: '' },
      { type: 'endpoint', data: '/m?x=1', id: '' },
    ]);
    assert.deepEqual(retries, [50]);
  });

  it('is the same however it is cut', () => {
    const whole = read([Buffer.from(SAMPLE)]);
    const bytes = Buffer.from(SAMPLE);
    for (let cut = 1; cut < bytes.length; cut++) assert.deepEqual(read([bytes.subarray(0, cut), bytes.subarray(cut)]), whole, `cut at ${cut}`);
    assert.deepEqual(read([...bytes].map((byte) => Buffer.of(byte))), whole);
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('data: a', 'id:1', '\r', '\n', ':', 'é', 'event:x', '') }), fc.nat(), (text, at) => {
        const all = Buffer.from(text);
        const cut = all.length === 0 ? 0 : at % all.length;
        assert.deepEqual(read([all.subarray(0, cut), all.subarray(cut)]), read([all]));
      }),
    );
  });

  it('ends where an event has no end, in one line or in many', () => {
    assert.throws(() => read([Buffer.from(`data: ${'x'.repeat(3000)}`)]), /too long/);
    assert.throws(() => read(Array.from({ length: 3000 }, () => Buffer.from('data: x\n'))), /too long/);
    assert.throws(() => read(Array.from({ length: 3000 }, () => Buffer.from('x'))), /too long/);
  });

  it('is given up where an event has no end, though its lines are empty', () => {
    assert.throws(() => read([Buffer.from('data:\n'.repeat(10_000))]), /too long/);
  });
});
