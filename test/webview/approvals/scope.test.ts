import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NARROWEST } from '../../../contract/scopes.ts';
import { scopeChoices, scopeSentence, withWhat } from '../../../webview/approvals/scope.ts';
import { facts, NOW, pending, verdict } from '../../support/fixtures.ts';

const once = [NARROWEST];

test('only what the proxy offers can be chosen', () => {
  const choices = scopeChoices(pending(), NARROWEST);
  assert.deepEqual(
    choices.howLongs.map((h) => [h.value, h.allowed]),
    [
      ['once', true],
      ['session', true],
      ['15m', false],
      ['1h', false],
    ],
  );
  assert.equal(choices.locked, undefined);
  assert.equal(choices.several, true);
});

test('the narrowest can always be chosen, even where the proxy forgot to say so', () => {
  assert.equal(scopeChoices(pending({ scopes: [] }), NARROWEST).whats[0]?.allowed, true);
});

test('a broader what takes the narrowest time that goes with it', () => {
  assert.deepEqual(withWhat(pending(), NARROWEST, 'shape'), { what: 'shape', howLong: 'session' });
  assert.deepEqual(withWhat(pending(), { what: 'shape', howLong: '15m' }, 'target'), { what: 'target', howLong: '15m' });
  assert.deepEqual(withWhat(pending(), { what: 'shape', howLong: '1h' }, 'exact'), NARROWEST);
  assert.deepEqual(withWhat(pending({ scopes: once }), NARROWEST, 'target'), NARROWEST);
});

test('a locked choice explains itself', () => {
  const why = (over: Parameters<typeof pending>[0]): string | undefined => scopeChoices(pending({ scopes: once, ...over }), NARROWEST).locked;
  assert.match(why({ facts: facts({ bulk: true }) }) ?? '', /every row/);
  assert.match(why({ facts: facts({ effect: 'unknown' }) }) ?? '', /understood/);
  assert.match(why({ facts: facts({ effect: 'admin' }) }) ?? '', /server/);
  assert.match(why({ verdict: verdict({ quorum: 2 }) }) ?? '', /2 people/);
  assert.match(why({}) ?? '', /production-writes/);
});

test('the sentence says what will no longer be asked', () => {
  assert.equal(scopeSentence(pending(), NARROWEST, NOW), 'Covers this one request. The next one asks again.');
  assert.match(
    scopeSentence(pending(), { what: 'shape', howLong: 'session' }, NOW),
    /Claude Code run “UPDATE orders” with other values on orders without asking, until this session ends/,
  );
  assert.match(
    scopeSentence(pending(), { what: 'target', howLong: '15m' }, NOW),
    /any write of orders on orders without asking, whatever its values and conditions, in this conversation until .*\d/,
  );
});
