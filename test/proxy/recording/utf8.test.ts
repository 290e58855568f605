import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { lengthOf, mostBytes, TextWriter, textOf, utf8, writeUtf8 } from '../../../proxy/recording/utf8.ts';

const LENGTHS = [0, 1, 1_023, 1_024, 10_000, 65_535, 65_536, 65_537, 200_000];

describe('long texts as UTF-8', () => {
  it('are what the platform makes of them: of every length, and of every kind of character', () => {
    for (const length of LENGTHS) {
      for (const kind of ['a', 'é', '•', '€', '😀', 'a•', '\ud800', '•\udc00x', '\0•']) {
        const text = kind.repeat(Math.ceil(length / kind.length)).slice(0, length);
        const expected = Buffer.from(text);
        assert.ok(utf8(text).equals(expected), `${length} of ${JSON.stringify(kind)}`);
        const into = Buffer.alloc(expected.length + 20, 1);
        assert.equal(writeUtf8(into, text, 10), expected.length);
        assert.ok(into.subarray(10, 10 + expected.length).equals(expected) && into[9] === 1 && into[10 + expected.length] === 1);
      }
    }
  });

  it('are so for any text, whole or torn', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.integer({ min: 0, max: 3_000 }), (piece, times) => {
        const text = piece.repeat(times).slice(0, 70_000);
        assert.ok(utf8(text).equals(Buffer.from(text)));
      }),
      { numRuns: 300 },
    );
  });
});

describe('texts of which some has been encoded already', () => {
  it('are the same as if nothing had been, in one string or as bytes, however they were put together', () => {
    const part = fc.tuple(fc.string({ unit: 'grapheme', maxLength: 20 }), fc.constantFrom(1, 300), fc.boolean());
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const writer = new TextWriter();
        let whole = '';
        for (const [piece, times, encoded] of parts) {
          const text = piece.repeat(times);
          whole += text;
          if (encoded) writer.bytes(Buffer.from(text));
          else writer.add(text);
        }
        const { text } = new TextWriter().add(writer.text);
        assert.equal(textOf(text), whole);
        assert.ok(utf8(text).equals(Buffer.from(whole)));
        assert.ok(mostBytes(text) >= Buffer.byteLength(whole));
        assert.ok(lengthOf(text) >= whole.length);
      }),
      { numRuns: 200 },
    );
  });
});
