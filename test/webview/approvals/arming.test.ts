import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ARMING_MS, Arming } from '../../../webview/approvals/arming.ts';

test('a button answers only after it has stood still', () => {
  let now = 1000;
  const arming = new Arming(() => now);
  assert.equal(arming.wait, ARMING_MS);
  arming.at(100);
  now += ARMING_MS - 1;
  assert.equal(arming.wait, 1);
  now += 1;
  assert.equal(arming.wait, 0);
});

test('moving or being hidden starts the wait again, a pixel of rounding does not', () => {
  let now = 1000;
  const arming = new Arming(() => now);
  arming.at(100);
  now += ARMING_MS;
  arming.at(101);
  assert.equal(arming.wait, 0);
  arming.at(140);
  assert.equal(arming.wait, ARMING_MS);
  now += ARMING_MS;
  arming.restart();
  assert.equal(arming.wait, ARMING_MS);
});

test('many small moves are a move', () => {
  let now = 1000;
  const arming = new Arming(() => now);
  arming.at(100);
  now += ARMING_MS;
  for (let place = 100; place < 110; place++) arming.at(place);
  assert.equal(arming.wait, ARMING_MS);
});
