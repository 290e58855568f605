import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as fc from 'fast-check';
import { parseFilter } from '../../contract/operationFilter.ts';

const NOW = Date.UTC(2026, 10, 20);
const DAY = 86_400_000;

function read(input: string): unknown {
  const { terms, text, after, before } = parseFilter(input, NOW);
  return { ...Object.fromEntries(terms), ...(text.length > 0 && { text }), ...(after !== undefined && { after }), ...(before !== undefined && { before }) };
}

describe('a filter', () => {
  it('tells terms from text', () => {
    assert.deepEqual(read('verdict:denied Connection:Orders refund "exact words" agent:"Claude Code"'), {
      verdict: ['denied'],
      connection: ['orders'],
      agent: ['claude code'],
      text: ['refund', 'exact words'],
    });
  });

  it('takes several values of one term as alternatives', () => {
    assert.deepEqual(read('outcome:failed outcome:lost'), { outcome: ['failed', 'lost'] });
  });

  it('takes times before now, dates and moments', () => {
    assert.deepEqual(read('after:2d before:3h'), { after: NOW - 2 * DAY, before: NOW - 3 * 3_600_000 });
    assert.deepEqual(read('after:2026-11-01 before:2026-11-02T10:00:00Z'), { after: Date.UTC(2026, 10, 1), before: Date.UTC(2026, 10, 2, 10) });
  });

  it('takes what is no term for text', () => {
    assert.deepEqual(read('after:soon colour:red http://x a:b:c'), { text: ['after:soon', 'colour:red', 'http://x', 'a:b:c'] });
    assert.deepEqual(read(''), {});
  });

  it('never fails, and is bounded', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 500 }), (input) => {
        const { terms, text } = parseFilter(input, NOW);
        assert.ok([...terms.values()].flat().length + text.length <= 20);
      }),
    );
  });
});
