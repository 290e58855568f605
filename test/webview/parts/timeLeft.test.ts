import assert from 'node:assert/strict';
import { test } from 'node:test';
import { duration, timeLeft } from '../../../webview/parts/timeLeft.ts';

test('the time left reads as minutes and seconds, and 0:00 only when it is over', () => {
  assert.deepEqual(timeLeft(0, 600_000, 19_000), { text: '9:41', words: '9 min 41 s', fraction: 581 / 600, state: 'calm' });
  assert.equal(timeLeft(0, 600_000, 599_999).text, '0:01');
  assert.equal(timeLeft(0, 600_000, 599_999).state, 'soon');
  assert.deepEqual(timeLeft(0, 600_000, 700_000), { text: '0:00', words: '0 s', fraction: 0, state: 'over' });
  assert.equal(timeLeft(0, 7_500_000, 0).text, '2 h 05 min');
});

test('a clock that runs behind never shows more than the whole', () => {
  assert.equal(timeLeft(1000, 2000, 0).fraction, 1);
});

test('durations read as a person says them', () => {
  assert.deepEqual([0, 12, 1400, 41_000, 125_000, 3_900_000].map(duration), ['0 ms', '12 ms', '1.4 s', '41 s', '2 min 5 s', '1 h 5 min']);
});
