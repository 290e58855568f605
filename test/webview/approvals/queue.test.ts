import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  alikeKey,
  arrivals,
  type Entry,
  groupsOf,
  identical,
  isOpen,
  LINGER_MS,
  nextDeparture,
  reconcile,
  settle,
  withPhase,
} from '../../../webview/approvals/queue.ts';
import { decided, NOW, pending, snapshot, toolAsk } from '../../support/fixtures.ts';

const ids = (entries: readonly Entry[]): string[] => entries.map((e) => e.ask.id);
const ask = (id: string, askedAt: number, table = id): ReturnType<typeof pending> => {
  const base = pending();
  return pending({ id, digest: `d-${id}`, askedAt, facts: { ...base.facts, headline: `UPDATE ${table}` } });
};

test('asks stand in the order in which they were asked', () => {
  assert.deepEqual(ids(reconcile([], snapshot({ pending: [ask('b', 2), ask('a', 1), ask('c', 3)] }), NOW, false)), ['a', 'b', 'c']);
});

test('an ask on screen keeps its place, whatever comes', () => {
  const before = reconcile([], snapshot({ pending: [ask('b', 2)] }), NOW, false);
  const after = reconcile(before, snapshot({ pending: [ask('a', 1), ask('b', 2), ask('c', 3)] }), NOW, false);
  assert.deepEqual(ids(after), ['b', 'a', 'c']);
});

test('an ask with another digest is another ask: the one on screen loses its buttons', () => {
  const before = reconcile([], snapshot({ pending: [ask('a', 1)] }), NOW, false);
  const after = reconcile(before, snapshot({ pending: [{ ...ask('a', 1), digest: 'other' }] }), NOW, true);
  assert.deepEqual(
    after.map((e) => [e.ask.digest, e.phase.kind]),
    [
      ['d-a', 'gone'],
      ['other', 'open'],
    ],
  );
});

test('while the list is held nothing folds, leaves or moves; released, settled ones fold, then leave', () => {
  const before = reconcile([], snapshot({ pending: [ask('a', 1), ask('b', 2)] }), NOW, true);
  const done = snapshot({ pending: [ask('b', 2)], decided: [decided({ id: 'a' })] });
  const held = reconcile(before, done, NOW, true);
  assert.deepEqual(
    held.map((e) => [e.ask.id, e.phase.kind, e.quiet]),
    [
      ['a', 'decided', false],
      ['b', 'open', false],
    ],
  );
  assert.deepEqual(ids(reconcile(held, done, NOW + 2 * LINGER_MS, true)), ['a', 'b']);
  const released = settle(held, NOW + 1000, false);
  assert.equal(released[0]?.quiet, true);
  assert.equal(nextDeparture(released), NOW + LINGER_MS);
  assert.deepEqual(ids(settle(released, NOW + LINGER_MS, false)), ['b']);
});

test('the outcome of a decided ask is filled in when it comes', () => {
  const before = reconcile([], snapshot({ pending: [ask('a', 1)] }), NOW, true);
  const { outcome: _, ...without } = decided({ id: 'a' });
  const first = reconcile(before, snapshot({ decided: [without] }), NOW, true);
  const then = reconcile(first, snapshot({ decided: [decided({ id: 'a', outcome: 'done' })] }), NOW, true);
  assert.equal(then[0]?.phase.kind === 'decided' && then[0].phase.decided.outcome, 'done');
});

test('an ask that vanishes was withdrawn, or lost with the link', () => {
  const before = reconcile([], snapshot({ pending: [ask('a', 1)] }), NOW, true);
  assert.deepEqual(reconcile(before, snapshot(), NOW, true)[0]?.phase, { kind: 'gone', why: 'gone' });
  assert.deepEqual(reconcile(before, snapshot({ link: { state: 'failed' } }), NOW, true)[0]?.phase, { kind: 'gone', why: 'lost' });
});

test('an accepted answer stays accepted until the decision itself arrives', () => {
  const before = withPhase(
    reconcile([], snapshot({ pending: [ask('a', 1)] }), NOW, true),
    'a',
    { kind: 'answered', answer: 'approve', result: 'accepted' },
    NOW,
  );
  assert.equal(before.some(isOpen), false);
  assert.equal(reconcile(before, snapshot(), NOW, true)[0]?.phase.kind, 'answered');
  assert.equal(reconcile(before, snapshot({ decided: [decided({ id: 'a' })] }), NOW, true)[0]?.phase.kind, 'decided');
});

test('a phase reaches only the digest it was meant for', () => {
  const entries = reconcile([], snapshot({ pending: [ask('a', 1)] }), NOW, true);
  assert.equal(withPhase(entries, 'a', { kind: 'sending', answer: 'approve' }, NOW, 'other')[0]?.phase.kind, 'open');
});

test('alike asks stand together where nothing is held, and at the end where something is', () => {
  const first = reconcile([], snapshot({ pending: [toolAsk(1), ask('b', NOW)] }), NOW, false);
  const more = snapshot({ pending: [toolAsk(1), ask('b', NOW), toolAsk(2)] });
  assert.deepEqual(ids(reconcile(first, more, NOW, false)), ['app-tool-1', 'app-tool-2', 'b']);
  const held = reconcile(first, more, NOW, true);
  assert.deepEqual(ids(held), ['app-tool-1', 'b', 'app-tool-2']);
  assert.equal(groupsOf(held).length, 3);
  assert.deepEqual(
    groupsOf(reconcile(first, more, NOW, false)).map((g) => g.entries.length),
    [2, 1],
  );
});

test('alike is the same agent, place, effect and rule; identical is the same bytes', () => {
  assert.equal(alikeKey(toolAsk(1)), alikeKey(toolAsk(2)));
  assert.notEqual(alikeKey(toolAsk(1)), alikeKey(toolAsk(2, { connection: 'gitlab' })));
  const entries = reconcile([], snapshot({ pending: [toolAsk(1), toolAsk(2)] }), NOW, false);
  assert.equal(identical(entries), false);
  const same = toolAsk(1).payload;
  assert.equal(identical(reconcile([], snapshot({ pending: [toolAsk(1), toolAsk(2, { payload: same })] }), NOW, false)), true);
  assert.equal(identical(reconcile([], snapshot({ pending: [toolAsk(1), toolAsk(2, { payload: same, params: ['x'] })] }), NOW, false)), false);
});

test('what is new is announced once', () => {
  const before = reconcile([], snapshot({ pending: [ask('a', 1)] }), NOW, false);
  const after = reconcile(before, snapshot({ pending: [ask('a', 1), ask('b', 2)] }), NOW, false);
  assert.deepEqual(arrivals(before, after), { n: 1, headline: 'Claude Code → UPDATE b' });
  assert.equal(arrivals(after, after), undefined);
});

test('held, no sequence of snapshots moves or replaces an entry', () => {
  const state = fc.subarray(['a', 'b', 'c', 'd', 'e']);
  fc.assert(
    fc.property(fc.array(state, { minLength: 1, maxLength: 8 }), (steps) => {
      let entries: Entry[] = [];
      for (const [i, open] of steps.entries()) {
        const next = reconcile(entries, snapshot({ pending: open.map((id) => ask(id, id.charCodeAt(0), 'same')) }), NOW + i * 60_000, true);
        assert.deepEqual(
          next.slice(0, entries.length).map((e) => e.key),
          entries.map((e) => e.key),
        );
        entries = next;
      }
    }),
  );
});
