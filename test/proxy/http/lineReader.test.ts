import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LineReader, MAX_SKIPPED_BYTES, outlineOf } from '../../../proxy/http/lineReader.ts';

function read(chunks: readonly Buffer[], max = 4_000): { readonly lines: string[]; readonly skipped: ReturnType<typeof outlineOf>[] } {
  const lines: string[] = [];
  const skipped: ReturnType<typeof outlineOf>[] = [];
  const reader = new LineReader(
    max,
    (line) => void lines.push(line.toString()),
    (line) => void skipped.push(outlineOf(line)),
  );
  for (const chunk of chunks) assert.equal(reader.write(chunk), true);
  reader.end();
  return { lines, skipped };
}

const long = 'y'.repeat(9_000);

describe('lines', () => {
  it('are the same wherever their bytes are cut; one that is too long is left out, with who it was of', () => {
    const text = `one\n{"jsonrpc":"2.0","id":7,"result":{"x":"${long}"}}\nzwölf\n\n{"result":{"x":"${long}"},"jsonrpc":"2.0","id":"b"}\nlast`;
    const bytes = Buffer.from(text);
    for (const size of [1, 7, 1_000, 2_048, 5_000, bytes.length]) {
      const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
      assert.deepEqual(read(chunks), {
        lines: ['one', 'zwölf', '', 'last'],
        skipped: [
          { kind: 'response', id: 7 },
          { kind: 'response', id: 'b' },
        ],
      });
    }
    assert.deepEqual(read([Buffer.from(`${'a'.repeat(4_000)}\n${'a'.repeat(4_001)}\n`)]).lines.length, 1);
  });

  it('that are too long are told apart by their members, and by nothing that lies deeper or in a text', () => {
    const outline = (text: string) => read([Buffer.from(`${text}\n`)]).skipped[0];
    assert.deepEqual(outline(`{"jsonrpc":"2.0","id":7,"method":"a","params":{"id":8,"x":"${long}"}}`), { kind: 'request', id: 7 });
    assert.deepEqual(outline(`{ "method" : "a", "params" : {"x":"${long}"} , "id" : -7 }`), { kind: 'request', id: -7 });
    assert.deepEqual(outline(`{"result":{"x":"${long}","id":9}}`), { kind: 'response', id: undefined });
    assert.deepEqual(outline(`{"result":{"x":"${long}\\",\\"id\\":9}"}}`), { kind: 'response', id: undefined });
    assert.deepEqual(outline(`{"x":{"id":7,"result":1},"y":"${long}"}`), { kind: 'unknown', id: undefined });
    assert.deepEqual(outline(`{"id":7.5,"result":{"x":"${long}"}}`), { kind: 'unknown', id: undefined });
    assert.deepEqual(outline(long), { kind: 'unknown', id: undefined });
  });

  it('have an end', () => {
    const reader = new LineReader(
      10,
      () => {},
      () => {},
    );
    const piece = Buffer.alloc(MAX_SKIPPED_BYTES / 4, 'x');
    for (let i = 0; i < 4; i++) assert.equal(reader.write(piece), true);
    assert.equal(reader.write(piece), false);
  });
});
