import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { OperationSummary } from '../../../contract/control.ts';
import { stepsOf } from '../../../contract/timeline.ts';
import { decisionFrom, idleBefore, placeOf } from '../../../webview/operation/replay.ts';
import { detail } from '../../support/fixtures.ts';

const one = (n: number, over: Partial<OperationSummary> = {}): OperationSummary => ({ ...detail().summary, operation: `op-${n}`, at: n * 1_000, ...over });
const { outcome: _none, ...open } = one(5, { decision: 'ask' });
const steps = stepsOf([
  one(4, { decision: 'deny', outcome: 'denied' }),
  one(1),
  one(2, { decision: 'ask', approvedBy: 'Ben' }),
  one(3, { at: 200_000 }),
  { ...open, at: 300_000 },
  one(6, { at: 301_000, decision: 'ask', outcome: 'denied' }),
  one(7, { at: 302_000, outcome: 'lost' }),
]);

describe('a session, step by step', () => {
  it('is in order of time, each step with what became of it', () => {
    assert.deepEqual(
      steps.map(({ operation, tone }) => [operation, tone]),
      [
        ['op-1', 'allowed'],
        ['op-2', 'approved'],
        ['op-4', 'denied'],
        ['op-3', 'allowed'],
        ['op-5', 'waiting'],
        ['op-6', 'denied'],
        ['op-7', 'failed'],
      ],
    );
    assert.equal(placeOf(steps, 'op-3'), 3);
  });

  it('leads from decision to decision, past what a rule alone let through', () => {
    assert.equal(decisionFrom(steps, 0, 1), 1);
    assert.equal(decisionFrom(steps, 2, 1), 4);
    assert.equal(decisionFrom(steps, 4, -1), 2);
    assert.equal(decisionFrom(steps, 1, -1), undefined);
    assert.equal(decisionFrom(steps, 6, 1), undefined);
  });

  it('says how long nothing happened, where that was long', () => {
    assert.equal(idleBefore(steps, 1), undefined);
    assert.equal(idleBefore(steps, 3), 196_000);
    assert.equal(idleBefore(steps, 0), undefined);
  });
});
