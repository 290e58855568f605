import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { Problem } from '../../../contract/problem.ts';
import { canonical, MAX_DEPTH } from '../../../proxy/recording/canonical.ts';

/** RFC 8785, appendix B: bits of an IEEE 754 double, and its text. */
const NUMBERS: readonly [string, string][] = [
  ['0000000000000000', '0'],
  ['8000000000000000', '0'],
  ['0000000000000001', '5e-324'],
  ['8000000000000001', '-5e-324'],
  ['7fefffffffffffff', '1.7976931348623157e+308'],
  ['ffefffffffffffff', '-1.7976931348623157e+308'],
  ['4340000000000000', '9007199254740992'],
  ['c340000000000000', '-9007199254740992'],
  ['4430000000000000', '295147905179352830000'],
  ['44b52d02c7e14af5', '9.999999999999997e+22'],
  ['44b52d02c7e14af6', '1e+23'],
  ['44b52d02c7e14af7', '1.0000000000000001e+23'],
  ['444b1ae4d6e2ef4e', '999999999999999700000'],
  ['444b1ae4d6e2ef4f', '999999999999999900000'],
  ['444b1ae4d6e2ef50', '1e+21'],
  ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
  ['3eb0c6f7a0b5ed8d', '0.000001'],
  ['41b3de4355555553', '333333333.3333332'],
  ['41b3de4355555554', '333333333.33333325'],
  ['41b3de4355555555', '333333333.3333333'],
  ['41b3de4355555556', '333333333.3333334'],
  ['41b3de4355555557', '333333333.33333343'],
  ['becbf647612f3696', '-0.0000033333333333333333'],
  ['43143ff3c1cb0959', '1424953923781206.2'],
];

function refused(value: unknown): void {
  assert.throws(
    () => canonical(value),
    (e: unknown) => e instanceof Problem && e.code === 'not-canonical',
  );
}

describe('canonical JSON', () => {
  it('writes numbers as the RFC’s appendix B does', () => {
    for (const [bits, text] of NUMBERS) assert.equal(canonical(Buffer.from(bits, 'hex').readDoubleBE()), text);
  });

  it('refuses NaN and the infinities', () => {
    for (const bits of ['7fffffffffffffff', '7ff0000000000000', 'fff0000000000000']) refused(Buffer.from(bits, 'hex').readDoubleBE());
  });

  it('writes the example of section 3.2.4', () => {
    const input: unknown = JSON.parse(String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`);
    assert.equal(
      canonical(input),
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  it('orders keys by UTF-16 units, as section 3.2.3 does', () => {
    const input = { '\u20ac': 1, '\r': 2, '\ufb33': 3, 1: 4, '\ud83d\ude00': 5, '\u0080': 6, '\u00f6': 7 };
    assert.equal(canonical(input), '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"😀":5,"\ufb33":3}');
  });

  it('orders number-like keys as text', () => {
    assert.equal(canonical({ 9: 'a', 10: 'b', a: 'c' }), '{"10":"b","9":"a","a":"c"}');
  });

  it('keeps a key called __proto__', () => {
    assert.equal(canonical(JSON.parse('{"__proto__":{"b":1},"a":2}')), '{"__proto__":{"b":1},"a":2}');
  });

  it('refuses lone surrogates in values and in names, whatever their length', () => {
    for (const bad of ['\ud800', 'a\udc00', `${'x'.repeat(1000)}\udfff`, '\ude00\ud83d']) {
      refused(bad);
      refused({ [bad]: 1 });
    }
    assert.equal(canonical('😀'), '"😀"');
  });

  it('leaves out what is undefined in an object, and refuses what JSON cannot hold', () => {
    assert.equal(canonical({ a: undefined, b: 1 }), '{"b":1}');
    for (const bad of [undefined, [undefined], 1n, Symbol('s'), () => 1, new Date(), new Map(), [1n], { a: new Set() }]) refused(bad);
  });

  it('refuses nesting that would exhaust the stack, at any depth', () => {
    const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
    assert.equal(canonical(nested(MAX_DEPTH)), '['.repeat(MAX_DEPTH) + ']'.repeat(MAX_DEPTH));
    refused(nested(MAX_DEPTH + 1));
    refused(nested(100_000));
  });

  it('gives one text for one value, whatever the order of its keys, and loses nothing', () => {
    const shuffled = (value: unknown, pick: (n: number) => number): unknown => {
      if (Array.isArray(value)) return value.map((v) => shuffled(v, pick));
      if (typeof value !== 'object' || value === null) return value;
      const entries = Object.entries(value);
      const out: [string, unknown][] = [];
      while (entries.length > 0) out.push(...entries.splice(pick(entries.length), 1));
      return Object.fromEntries(out.map(([k, v]) => [k, shuffled(v, pick)]));
    };
    const json = fc.jsonValue({ stringUnit: 'binary', maxDepth: 5 }).map((v) => JSON.parse(JSON.stringify(v).replaceAll('-0,', '0,')) as unknown);
    fc.assert(
      fc.property(json, fc.infiniteStream(fc.nat(1000)), (value, stream) => {
        const text = canonical(value);
        assert.deepEqual(JSON.parse(text), value);
        const next = (n: number): number => stream.next().value % n;
        assert.equal(canonical(shuffled(value, next)), text);
      }),
      { numRuns: 500 },
    );
  });

  it('agrees with the native writer where keys are in order already', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string({ unit: 'grapheme' }), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.constant(null))),
        (value) => {
          assert.equal(canonical(value), JSON.stringify(value));
        },
      ),
      { numRuns: 500 },
    );
  });
});
