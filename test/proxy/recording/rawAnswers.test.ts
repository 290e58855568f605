import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Answer } from '../../../contract/response.ts';
import { RawAnswers } from '../../../proxy/recording/rawAnswers.ts';

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

  it('live for ten minutes, however often they are looked at', () => {
    let now = 0;
    const kept = new RawAnswers({ now: () => now });
    kept.keep('a', answer(1));
    for (now = 0; now < 600_000; now += 60_000) assert.ok(kept.get('a'));
    now = 600_000;
    assert.equal(kept.get('a'), undefined);
  });
});
