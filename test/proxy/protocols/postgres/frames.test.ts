import assert from 'node:assert/strict';
import { it } from 'node:test';
import * as fc from 'fast-check';
import { FieldReader, FrameReader, FrameWriter } from '../../../../proxy/protocols/postgres/frames.ts';
import { formatOf, readBind, readDiagnostic, readParse, readRowDescription, rowsOfTag } from '../../../../proxy/protocols/postgres/messages.ts';

const frames = fc.array(fc.record({ type: fc.integer({ min: 1, max: 127 }), body: fc.uint8Array({ maxLength: 60 }) }), { maxLength: 20 });

function encode(list: readonly { type: number; body: Uint8Array }[]): Buffer {
  const writer = new FrameWriter(4);
  for (const { body, type } of list) writer.begin(type).bytes(body).end();
  return writer.take();
}

it('reads the same frames wherever the stream is cut', () => {
  fc.assert(
    fc.property(frames, fc.array(fc.nat(2000), { maxLength: 30 }), (list, cuts) => {
      const bytes = encode(list);
      const places = [...new Set([0, ...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length])].sort((a, b) => a - b);
      const reader = new FrameReader();
      const got: { type: number; body: Uint8Array }[] = [];
      for (let i = 1; i < places.length; i++) {
        reader.push(bytes.subarray(places[i - 1], places[i]));
        while (reader.next()) got.push({ type: reader.type, body: new Uint8Array(reader.buffer.subarray(reader.start + 5, reader.end)) });
      }
      assert.deepEqual(
        got,
        list.map(({ body, type }) => ({ type, body: new Uint8Array(body) })),
      );
      assert.equal(reader.pending, 0);
    }),
  );
});

it('refuses lengths that cannot be, before it holds a byte for them', () => {
  for (const size of [-1, 0, 3, 1 << 20, 0x7fffffff]) {
    const reader = new FrameReader(1 << 20);
    const head = Buffer.alloc(5, 'Q');
    head.writeInt32BE(size, 1);
    reader.push(head);
    assert.throws(() => reader.next(), { code: 'protocol-violation' });
  }
});

it('never reads beyond a message, whatever its bytes', () => {
  const bind = (...at: Parameters<typeof readBind>): unknown => {
    const read = readBind(...at);
    return read.with(read.params);
  };
  const parsers = [readParse, bind, readDiagnostic, readRowDescription];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (body) => {
      // What lies behind the message must not be taken for part of it.
      const buffer = Buffer.concat([Buffer.from('B\0\0\0\0'), body, Buffer.from('secret\0secret\0')]);
      for (const parse of parsers) {
        try {
          assert.doesNotMatch(JSON.stringify(parse(buffer, 0, 5 + body.length)), /secret/);
        } catch (cause) {
          assert.equal((cause as { code?: string }).code, 'protocol-violation');
        }
      }
    }),
    { numRuns: 500 },
  );
});

it('cuts text at a zero byte, so that nobody smuggles a field into a message of ours', () => {
  const frame = new FrameWriter().begin(0x45).text('one\0Sinjected').end().take();
  const reader = FieldReader.body(frame, 0, frame.length);
  assert.equal(reader.text(), 'one');
  assert.equal(reader.left, 0);
});

it('writes the length of a text in bytes, not in characters', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 50 }), (text) => {
      const frame = new FrameWriter(1).begin(0x44).int16(1).field(text).end().take();
      const reader = FieldReader.body(frame, 0, frame.length);
      reader.int16();
      assert.equal(reader.bytes(reader.int32()).toString(), Buffer.from(text).toString());
      assert.equal(reader.left, 0);
    }),
  );
});

it('reads the row counts of completion tags', () => {
  assert.equal(rowsOfTag('INSERT 0 5'), 5);
  assert.equal(rowsOfTag('SELECT 12'), 12);
  assert.equal(rowsOfTag('COPY 3'), 3);
  assert.equal(rowsOfTag('CREATE TABLE'), undefined);
});

it('applies format codes as the protocol says: none is text, one is for all', () => {
  assert.deepEqual([formatOf([], 3), formatOf([1], 3), formatOf([0, 1], 1), formatOf([0, 1], 0)], [0, 1, 1, 0]);
});
