import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { MAX_UTF8_BYTES, writeUtf8 } from '../../../proxy/recording/utf8.ts';

describe('writing long texts as UTF-8', () => {
  it('writes what the platform writes, half surrogate pairs too, and nothing beside it', () => {
    const units = fc.array(fc.oneof(fc.constantFrom(0x2039, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0), fc.nat(0xffff)), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(units, fc.nat(3), fc.constantFrom(1, 30, 600), (some, at, times) => {
        const text = `${String.fromCharCode(...some)}a`.repeat(times);
        const target = Buffer.alloc(at + text.length * MAX_UTF8_BYTES + 2, 1);
        const length = writeUtf8(text, target, at);
        assert.deepEqual(target.subarray(at, at + length), Buffer.from(text));
        assert.ok(target.subarray(0, at).every((byte) => byte === 1) && target.subarray(at + length).every((byte) => byte === 1));
      }),
      { numRuns: 300 },
    );
  });

  it('writes no more than there is room for', () => {
    const target = Buffer.alloc(1_000);
    assert.equal(writeUtf8('‹'.repeat(600), target, 10), 990);
  });
});
