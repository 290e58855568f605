import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import type { Answer } from '../../../contract/response.ts';
import { RawAnswers } from '../../../proxy/recording/rawAnswers.ts';
import { TextSlabs } from '../../../proxy/recording/textSlabs.ts';

const answer = (chars: number): Answer => ({ kind: 'text', text: 'x'.repeat(chars), truncated: false, findings: [] });

describe('answers before masking', () => {
  it('are bounded together: the one used longest ago goes first', () => {
    const kept = new RawAnswers({ now: () => 0 }, 1000);
    for (const id of ['a', 'b', 'c', 'd', 'e']) kept.keep(id, answer(100));
    kept.get('a');
    kept.keep('f', answer(100));
    assert.deepEqual(
      ['a', 'b', 'c', 'd', 'e', 'f'].filter((id) => kept.get(id)),
      ['a', 'c', 'd', 'e', 'f'],
    );
    kept.clear();
  });

  it('are not kept where one alone is too large, and push nothing out', () => {
    const kept = new RawAnswers({ now: () => 0 }, 1000);
    kept.keep('a', answer(100));
    kept.keep('b', answer(501));
    assert.deepEqual([kept.get('a') !== undefined, kept.get('b')], [true, undefined]);
    kept.keep('a', answer(501));
    assert.equal(kept.get('a'), undefined, 'and an older answer of the same operation does not stay in its place');
  });

  it('are given back as they were, long and short, whatever is kept and let go in between', () => {
    const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 20 }), fc.constantFrom('\ud800', 'Größe • ', 'plain words ', '\0'));
    const keep = fc.record({ id: fc.integer({ min: 0, max: 30 }), text, times: fc.constantFrom(1, 200, 5_000, 60_000), look: fc.integer({ min: 0, max: 30 }) });
    fc.assert(
      fc.property(fc.array(keep, { maxLength: 60 }), (steps) => {
        const kept = new RawAnswers({ now: () => 0 }, 4_000_000);
        const expected = new Map<string, string>();
        for (const { id, look, text: piece, times } of steps) {
          const whole = piece.repeat(times).slice(0, 65_536);
          kept.keep(`${id}`, { kind: 'text', text: whole, truncated: false, findings: [] });
          expected.set(`${id}`, whole);
          const found = kept.get(`${look}`);
          if (found) assert.ok(found.kind === 'text' && found.text === expected.get(`${look}`));
          if (look === 30) kept.clear();
        }
        kept.clear();
      }),
      { numRuns: 100 },
    );
  });

  it('are gone from memory once they are let go', () => {
    const slabs = new TextSlabs();
    const first = slabs.keep('secret '.repeat(1_000));
    const { bytes } = first.slab;
    slabs.drop(first);
    for (let i = 0; i < 100; i++) slabs.drop(slabs.keep('other '.repeat(2_000)));
    assert.ok(!bytes.includes('secret'));
    slabs.keep('secret '.repeat(1_000));
    slabs.clear();
    assert.ok(!bytes.includes('secret'));
  });

  it('live for ten minutes, however often they are looked at', () => {
    let now = 0;
    const kept = new RawAnswers({ now: () => now });
    kept.keep('a', answer(1));
    for (now = 0; now < 600_000; now += 60_000) assert.ok(kept.get('a'));
    now = 600_000;
    assert.equal(kept.get('a'), undefined);
  });
});
