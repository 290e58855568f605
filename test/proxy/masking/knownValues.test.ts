import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { KnownValues } from '../../../proxy/masking/knownValues.ts';

describe('values that may be known', () => {
  it('are all that were added, and few others', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 90 }), { maxLength: 50 }), fc.nat(5), (values, before) => {
        const known = new KnownValues(1);
        for (const value of values) known.add(value, 0, value.length);
        for (const value of values) {
          const elsewhere = Buffer.concat([Buffer.alloc(before, 7), value, Buffer.from('x')]);
          assert.ok(known.may(elsewhere, before, before + value.length));
        }
      }),
    );
    const known = new KnownValues(10_000);
    const card = (i: number): Buffer => Buffer.from(`4${String(i * 7919).padStart(15, '0')}`);
    for (let i = 0; i < 10_000; i++) known.add(card(i), 0, 16);
    let mistaken = 0;
    for (let i = 10_000; i < 50_000; i++) if (known.may(card(i), 0, 16)) mistaken++;
    assert.ok(mistaken < 40_000 / 8, `${mistaken} of 40000 taken for known`);
  });
});
