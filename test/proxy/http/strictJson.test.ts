import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { MAX_DEPTH, parseStrict } from '../../../proxy/http/strictJson.ts';

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

  it('refuses a key twice, however it is written', () => {
    for (const text of ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '[{"b":{"c":1,"x":[],"c":2}}]'])
      assert.throws(() => parseStrict(text), { code: 'ambiguous-json' });
    assert.deepEqual(parseStrict('{"a":{"a":1},"b":[{"a":1},{"a":2}]}'), { a: { a: 1 }, b: [{ a: 1 }, { a: 2 }] });
  });

  it('refuses __proto__ and what is nested too deep', () => {
    const deep = '['.repeat(MAX_DEPTH + 1) + ']'.repeat(MAX_DEPTH + 1);
    for (const text of ['{"a":{"__proto__":{}}}', '{"\\u005f_proto__":1}', deep]) {
      assert.throws(() => parseStrict(text), { code: 'ambiguous-json' });
    }
    parseStrict('['.repeat(MAX_DEPTH) + ']'.repeat(MAX_DEPTH));
    assert.throws(() => parseStrict('['.repeat(100_000) + ']'.repeat(100_000)), { name: 'Problem' });
  });

  it('keeps numbers that a double cannot hold as they were written, and the others as they are', () => {
    for (const text of [
      '{"id":12345678901234567890}',
      '[-9007199254740993,1]',
      '{"n":1e999}',
      '[0.1000000000000000055511151231257827]',
      '[9007199254740993e0]',
      '[1e-400]',
    ])
      assert.equal(JSON.stringify(parseStrict(text)), text);
    assert.deepEqual(
      parseStrict('[9007199254740991,1e3,0.10,-0.0,1E+2,123456789.12345678,100000000000000000000]'),
      [9007199254740991, 1000, 0.1, -0, 100, 123456789.12345678, 100000000000000000000],
    );
  });

  it('never says another number than was written', () => {
    const digits = fc.string({ unit: fc.constantFrom('0', '1', '2', '3', '4', '5', '6', '7', '8', '9'), minLength: 1, maxLength: 25 });
    const whole = digits.map((d) => d.replace(/^0+(?=\d)/, ''));
    fc.assert(
      fc.property(whole, fc.option(digits), fc.option(fc.integer({ min: -400, max: 400 })), fc.boolean(), (w, f, e, minus) => {
        const text = `${minus ? '-' : ''}${w}${f === null ? '' : `.${f}`}${e === null ? '' : `e${e}`}`;
        const again = JSON.stringify(parseStrict(text));
        assert.equal(exactly(again), exactly(text));
      }),
      { numRuns: 2000 },
    );
  });

  it('takes a large message and a wide one in the time that reading it takes', () => {
    const wide = `{${Array.from({ length: 200_000 }, (_, i) => `"k${i}":${i}`).join(',')}}`;
    assert.equal(Object.keys(parseStrict(wide) as object).length, 200_000);
    assert.throws(() => parseStrict(wide.replace(/}$/, ',"k7":0}')), { code: 'ambiguous-json' });
    const escaped = JSON.stringify({ text: '\\"'.repeat(5_000_000) });
    const began = performance.now();
    assert.equal((parseStrict(escaped) as { text: string }).text.length, 10_000_000);
    assert.ok(performance.now() - began < 20_000);
  });
});

/** A decimal as a fraction in lowest terms of ten: how a person would compare two. */
function exactly(literal: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/.exec(literal) ?? assert.fail(literal);
  const places = BigInt(fraction.length) - BigInt(exponent);
  const value = BigInt(whole + fraction) * (places < 0n ? 10n ** -places : 1n);
  if (value === 0n) return '0';
  let [top, below] = [value, places > 0n ? places : 0n];
  while (below > 0n && top % 10n === 0n) [top, below] = [top / 10n, below - 1n];
  return `${sign}${top}/${below}`;
}
