import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readKept } from '../../../webview/operation/kept.ts';
import { standingOf } from '../../../webview/operation/standing.ts';
import { timing } from '../../../webview/operation/timing.ts';
import { BEN, detail, verdict } from '../../support/fixtures.ts';

test('how an operation stands names who or what decided', () => {
  assert.deepEqual(standingOf(detail()), { tone: 'good', text: 'allowed by rule reads' });
  assert.deepEqual(
    standingOf(
      detail({ verdict: verdict({ decision: 'deny', rule: { id: 'no-mass-delete', layer: 'user' } }), summary: { ...detail().summary, outcome: 'denied' } }),
    ),
    {
      tone: 'bad',
      text: 'denied by rule no-mass-delete',
    },
  );
  assert.equal(standingOf(detail({ verdict: verdict(), approval: { answer: 'approved', why: 'person', by: BEN, waitedMs: 41_000 } })).text, 'approved by Ben');
  const { outcome: _, ...running } = detail().summary;
  assert.deepEqual(standingOf(detail({ summary: running, verdict: verdict() })), { tone: 'wait', text: 'waits for an answer' });
  assert.equal(standingOf(detail({ summary: { ...detail().summary, outcome: 'lost' } })).tone, 'bad');
});

test('timing splits the whole into waiting and running', () => {
  const summary = { ...detail().summary, tookMs: 1000 };
  assert.deepEqual(timing({ summary, approval: { answer: 'approved', why: 'person', waitedMs: 750 } }), [
    { kind: 'waited', ms: 750, from: 0, to: 0.75 },
    { kind: 'ran', ms: 250, from: 0.75, to: 1 },
  ]);
  assert.deepEqual(timing({ summary }), [{ kind: 'ran', ms: 1000, from: 0, to: 1 }]);
  const { tookMs: _, ...open } = summary;
  assert.deepEqual(timing({ summary: open }), []);
});

test('a kept state of another shape is ignored', () => {
  for (const state of [undefined, null, 3, { tab: 9 }, { tab: '1' }, { compare: 'yes' }]) assert.deepEqual(readKept(state, 4), {});
  assert.deepEqual(readKept({ tab: 2, compare: false }, 4), { tab: 2, compare: false });
});
