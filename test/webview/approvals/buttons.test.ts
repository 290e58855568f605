import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ANSWER_RESULTS } from '../../../contract/approval.ts';
import { actionsOf } from '../../../webview/approvals/buttons.ts';
import type { Phase } from '../../../webview/approvals/queue.ts';
import { decided } from '../../support/fixtures.ts';

const fine = { linked: true, mine: true, over: false, othersLine: 'Waits for group:dba.' };
const at = (phase: Phase, over = {}): ReturnType<typeof actionsOf> => actionsOf({ phase }, { ...fine, ...over });

test('an open ask has buttons, unless it is over, someone else’s, or nobody is listening', () => {
  assert.equal(at({ kind: 'open' }).answer, true);
  assert.deepEqual(at({ kind: 'open' }, { over: true }), { answer: false, again: false, tone: 'bad', sentence: 'Denied: nobody answered in time.' });
  assert.equal(at({ kind: 'open' }, { mine: false }).sentence, 'Waits for group:dba.');
  assert.equal(at({ kind: 'open' }, { mine: false }).withdraw, undefined, 'what somebody else asked is not ours to take back');
  assert.equal(at({ kind: 'open' }, { mine: false, own: true }).withdraw, true);
  assert.equal(at({ kind: 'open' }, { mine: false, own: true, linked: false }).withdraw, undefined);
  assert.equal(at({ kind: 'open' }, { mine: false, own: true, over: true }).withdraw, undefined);
  assert.equal(at({ kind: 'open' }, { linked: false }).answer, false);
});

test('the buttons vanish with the click', () => {
  assert.equal(at({ kind: 'sending', answer: 'approve' }).answer, false);
  assert.equal(at({ kind: 'sending', answer: 'deny' }).sentence, 'Denying…');
});

test('whatever becomes of an answer is said in a sentence, and only one that never arrived can be given again at once', () => {
  for (const result of [...ANSWER_RESULTS, 'failed'] as const) {
    const actions = at({ kind: 'answered', answer: 'approve', result });
    assert.ok((actions.sentence ?? '').endsWith('.'), result);
    assert.equal(actions.answer, result === 'failed', result);
    assert.equal(actions.again, result === 'stale', result);
  }
});

test('a stale answer never leaves an approval behind in words', () => {
  assert.match(at({ kind: 'answered', answer: 'approve', result: 'stale' }).sentence ?? '', /Nothing was approved/);
});

test('after the deadline nothing can be answered again', () => {
  for (const result of ['failed', 'stale'] as const) {
    const actions = at({ kind: 'answered', answer: 'approve', result }, { over: true });
    assert.deepEqual([actions.answer, actions.again], [false, false]);
  }
});

test('a decided ask names who decided and what came of it', () => {
  assert.deepEqual(at({ kind: 'decided', decided: decided() }), { answer: false, again: false, tone: 'good', sentence: 'Approved by Ada · done · 214 rows' });
  assert.equal(at({ kind: 'decided', decided: decided({ answer: 'denied', why: 'deadline', outcome: '' }) }).sentence, 'Denied: no answer in time');
});
