import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PendingApproval } from '../../../contract/approval.ts';
import { MAX_ALIKE, MAX_ALIKE_WAITING, WINDOW_MS } from '../../../proxy/approval/flood.ts';
import { MAX_PENDING, MAX_PENDING_PER_SESSION, NOBODY_GRACE_MS, SPEND_WITHIN_MS } from '../../../proxy/approval/queue.ts';
import { MAX_QUESTION_CHARS } from '../../../proxy/approval/shown.ts';
import { ada, approve, bench, deny, eve, facts, never, question, verdict } from './questions.ts';

function only(pending: readonly PendingApproval[]): PendingApproval {
  assert.equal(pending.length, 1);
  return pending[0]!;
}

describe('an answer to a question', () => {
  it('approves what was on the screen, by the person who may, once', async () => {
    const { queue } = bench();
    const asked = queue.ask(question(), never);
    assert.equal(queue.answer(approve(only(queue.pending())), ada), 'accepted');
    const outcome = await asked;
    assert.equal(outcome.answer, 'approved');
    assert.ok(outcome.answer === 'approved' && outcome.why === 'person' && outcome.digest === 'd1' && outcome.policyVersion === 'p1');
    assert.equal(queue.spend(outcome.approval), true);
    assert.equal(queue.spend(outcome.approval), false, 'a second spending');
    assert.deepEqual(queue.pending(), []);
    assert.equal(queue.decided()[0]?.answer, 'approved');
  });

  it('carries a denial and its note to the agent', async () => {
    const { queue } = bench();
    const asked = queue.ask(question(), never);
    assert.equal(queue.answer(deny(only(queue.pending()), 'use the API'), ada), 'accepted');
    assert.deepEqual({ ...(await asked), approval: '' }, { answer: 'denied', approval: '', why: 'person', by: ada, note: 'use the API', waitedMs: 0 });
  });

  it('is stale when another digest was on the screen, and the question goes on waiting', async () => {
    const { queue, clock } = bench();
    const asked = queue.ask(question(), never);
    const shown = only(queue.pending());
    assert.equal(queue.answer({ ...approve(shown), digest: 'd2' }, ada), 'stale');
    assert.equal(queue.answer({ ...deny(shown), digest: 'd2' }, ada), 'stale');
    assert.equal(queue.pending().length, 1);
    clock.advance(60_000);
    assert.equal((await asked).why, 'deadline');
  });

  it('counts once: a second click of either kind changes nothing', async () => {
    const { queue } = bench();
    const asked = queue.ask(question(), never);
    const shown = only(queue.pending());
    assert.equal(queue.answer(deny(shown), ada), 'accepted');
    assert.equal(queue.answer(approve(shown), ada), 'already-decided');
    assert.equal((await asked).answer, 'denied');
    assert.equal(queue.spend(shown.id), false);
  });

  it('replayed for a later question of the same bytes does not reach it', async () => {
    const { queue, clock } = bench();
    void queue.ask(question(), never);
    const first = approve(only(queue.pending()));
    queue.answer(first, ada);
    const again = queue.ask(question(), never);
    assert.equal(queue.answer(first, ada), 'already-decided');
    clock.advance(60_000);
    assert.equal((await again).why, 'deadline');
  });

  it('from another person is refused, whatever groups they say they are in', () => {
    const { queue } = bench();
    void queue.ask(question({ verdict: verdict({ approvers: ['requester', 'group:dba'] }) }), never);
    const shown = only(queue.pending());
    assert.equal(queue.answer(approve(shown), eve), 'not-allowed');
    assert.equal(queue.answer(deny(shown), eve), 'not-allowed');
    assert.equal(queue.answer(approve(shown), { ...ada, issuer: 'https://idp.example' }), 'not-allowed');
    assert.equal(queue.pending().length, 1);
    queue.shutdown();
  });

  it('from the requester is refused where others must approve, but they may deny', async () => {
    const { queue } = bench();
    for (const rule of [verdict({ approvers: ['group:dba'] }), verdict({ approvers: [] }), verdict({ quorum: 2 })]) {
      const asked = queue.ask(question({ verdict: rule }), never);
      const shown = only(queue.pending());
      assert.equal(queue.answer(approve(shown), ada), 'not-allowed');
      assert.equal(queue.answer(deny(shown), ada), 'accepted');
      assert.equal((await asked).answer, 'denied');
    }
  });

  it('for a question that never was is unknown', () => {
    const { queue } = bench();
    assert.equal(queue.answer({ answer: 'approve', id: 'app_99', digest: 'd1', scope: { what: 'exact', howLong: 'once' } }, ada), 'unknown');
    assert.equal(queue.spend('app_99'), false);
  });
});

describe('a deadline', () => {
  it('denies at zero', async () => {
    const { queue, clock } = bench();
    const asked = queue.ask(question(), never);
    clock.advance(59_999);
    assert.equal(queue.pending().length, 1);
    clock.advance(1);
    const outcome = await asked;
    assert.deepEqual([outcome.answer, outcome.why, outcome.waitedMs], ['denied', 'deadline', 60_000]);
  });

  it('holds even where its timer was late, as after a machine slept', async () => {
    const { queue, clock } = bench();
    const asked = queue.ask(question(), never);
    const shown = only(queue.pending());
    clock.sleep(60_000);
    assert.equal(queue.answer(approve(shown), ada), 'already-decided');
    assert.equal((await asked).why, 'deadline');
  });

  it('voids an approval that nobody spent', async () => {
    const { queue, clock } = bench();
    const asked = queue.ask(question(), never);
    queue.answer(approve(only(queue.pending())), ada);
    const { approval } = await asked;
    clock.advance(SPEND_WITHIN_MS);
    assert.equal(queue.spend(approval), false);
  });
});

describe('a question that nobody can answer', () => {
  it('is withdrawn when the client goes, and leaves nothing behind', async () => {
    const { queue, clock } = bench();
    const gone = new AbortController();
    const asked = queue.ask(question(), gone.signal);
    const shown = only(queue.pending());
    const timers = clock.timers;
    gone.abort();
    assert.equal((await asked).why, 'withdrawn');
    assert.equal(queue.answer(approve(shown), ada), 'already-decided');
    assert.equal(queue.spend(shown.id), false);
    assert.equal(clock.timers, timers - 1);
  });

  it('is not even asked when the client has gone already', async () => {
    const { queue } = bench();
    assert.equal((await queue.ask(question(), AbortSignal.abort())).why, 'withdrawn');
    assert.deepEqual(queue.pending(), []);
  });

  it('waits through a window’s reload, and is denied when no window comes back', async () => {
    const { queue, clock } = bench();
    const asked = queue.ask(question(), never);
    queue.setAudience(0);
    clock.advance(NOBODY_GRACE_MS - 1);
    queue.setAudience(1);
    clock.advance(NOBODY_GRACE_MS);
    assert.equal(queue.pending().length, 1);
    queue.setAudience(0);
    queue.setAudience(0);
    const late = queue.ask(question(), never);
    clock.advance(NOBODY_GRACE_MS);
    assert.deepEqual([(await asked).why, (await late).why], ['nobody', 'nobody']);
    assert.equal((await queue.ask(question(), never)).why, 'nobody', 'at once');
    queue.setAudience(1);
    void queue.ask(question(), never);
    assert.equal(queue.pending().length, 1);
    queue.shutdown();
  });

  it('is denied on shutdown, and so is every later one', async () => {
    const { queue } = bench();
    const asked = queue.ask(question(), never);
    const approved = queue.ask(question({ digest: 'd2' }), never);
    queue.answer(approve(queue.pending()[1]!), ada);
    const { approval } = await approved;
    queue.shutdown();
    assert.equal((await asked).why, 'shutdown');
    assert.equal(queue.spend(approval), false);
    assert.equal((await queue.ask(question(), never)).why, 'shutdown');
  });
});

describe('a change of policy', () => {
  it('sends back what was asked under another one, and voids what was approved under it', async () => {
    const { queue } = bench();
    const waiting = queue.ask(question(), never);
    const approved = queue.ask(question({ digest: 'd2' }), never);
    queue.answer(approve(queue.pending()[1]!), ada);
    const { approval } = await approved;
    const current = queue.ask(question({ verdict: verdict({ policyVersion: 'p2' }) }), never);
    queue.policyChanged('p2');
    assert.equal((await waiting).why, 'policy-changed');
    assert.equal(queue.spend(approval), false);
    assert.equal(only(queue.pending()).verdict.policyVersion, 'p2');
    assert.equal((await queue.ask(question(), never)).why, 'policy-changed', 'decided before, asked after');
    queue.shutdown();
    await current;
  });
});

describe('a flood of questions', () => {
  it('is stopped per session and over all, without disturbing what waits', async () => {
    const { queue } = bench();
    for (let i = 0; i < MAX_PENDING_PER_SESSION; i++) void queue.ask(question({ session: 'ses_0' }), never);
    assert.equal((await queue.ask(question({ session: 'ses_0' }), never)).why, 'limit');
    const first = queue.pending()[0]!.id;
    for (let s = 1; queue.pending().length < MAX_PENDING; s++) void queue.ask(question({ session: `ses_${s}`, conversation: `con_${s}` }), never);
    assert.equal((await queue.ask(question({ session: 'ses_new' }), never)).why, 'limit');
    assert.equal(queue.pending()[0]!.id, first);
    assert.deepEqual(queue.decided(), [], 'a refused flood does not push out what was decided');
    assert.equal(queue.answer(approve(queue.pending()[0]!), ada), 'accepted');
    void queue.ask(question({ session: 'ses_new', conversation: 'con_new' }), never);
    assert.equal(queue.pending().length, MAX_PENDING);
    queue.shutdown();
  });

  it('of what is alike is stopped, over sessions and over time, whatever differs in its values', async () => {
    const { queue, clock } = bench();
    for (let i = 0; i < MAX_ALIKE_WAITING; i++) void queue.ask(question({ session: `ses_${i % 3}`, digest: `d${i}`, payload: `UPDATE ${i}` }), never);
    assert.equal((await queue.ask(question({ session: 'ses_4', digest: 'one more' }), never)).why, 'alike');
    assert.equal(queue.pending().length, MAX_ALIKE_WAITING);
    void queue.ask(question({ session: 'ses_5', facts: facts({ headline: 'DELETE orders' }) }), never);
    assert.equal(queue.pending().length, MAX_ALIKE_WAITING + 1, 'something else is asked still');
    for (let i = MAX_ALIKE_WAITING; i < MAX_ALIKE; i++) {
      const first = queue.pending().find(({ facts: { headline } }) => headline !== 'DELETE orders');
      queue.answer(deny(first!), ada);
      void queue.ask(question({ session: `ses_${i}`, digest: `d${i}` }), never);
    }
    queue.answer(deny(queue.pending().at(-1)!), ada);
    assert.equal((await queue.ask(question({ session: 'ses_6', digest: 'worn out' }), never)).why, 'alike', 'answering does not make room for ever more');
    clock.sleep(WINDOW_MS);
    void queue.ask(question({ session: 'ses_7', digest: 'later' }), never);
    assert.equal(queue.pending().at(-1)?.digest, 'later');
    queue.shutdown();
  });

  it('of large questions is bounded too, and what cannot be shown whole is denied', async () => {
    const { queue } = bench();
    assert.equal((await queue.ask(question({ payload: 'x'.repeat(MAX_QUESTION_CHARS + 1) }), never)).why, 'too-large');
    assert.equal((await queue.ask(question({ params: Array.from({ length: 2001 }, () => '1') }), never)).why, 'too-large');
    for (let s = 0; s < 16; s++) void queue.ask(question({ session: `ses_${s}`, payload: 'x'.repeat(MAX_QUESTION_CHARS) }), never);
    assert.equal(queue.pending().length, 16);
    assert.equal((await queue.ask(question({ session: 'ses_16' }), never)).why, 'limit');
    queue.shutdown();
    void queue.ask(question(), never);
  });

  it('keeps its order: first come, first shown', () => {
    const { queue } = bench();
    for (const digest of ['a', 'b', 'c']) void queue.ask(question({ digest }), never);
    assert.deepEqual(
      queue.pending().map((p) => p.digest),
      ['a', 'b', 'c'],
    );
    queue.answer(deny(queue.pending()[1]!), ada);
    void queue.ask(question({ digest: 'd' }), never);
    assert.deepEqual(
      queue.pending().map((p) => p.digest),
      ['a', 'c', 'd'],
    );
    queue.shutdown();
  });
});

describe('a decided question', () => {
  it('gets its outcome when the operation has ended', async () => {
    const { queue } = bench();
    const asked = question();
    const outcome = queue.ask(asked, never);
    queue.answer(approve(only(queue.pending())), ada);
    const { approval } = await outcome;
    queue.ended(asked.operation, 'done');
    assert.deepEqual([queue.decided()[0]?.outcome, queue.decided()[0]?.headline], ['done', 'UPDATE orders']);
    assert.equal(queue.spend(approval), false, 'an operation that has ended spends nothing');
  });

  it('is remembered newest first, fifty at most', () => {
    const { queue } = bench();
    for (let i = 0; i < 60; i++) {
      void queue.ask(question({ facts: facts({ headline: `UPDATE ${i}` }) }), never);
      queue.answer(deny(only(queue.pending())), ada);
    }
    assert.equal(queue.decided().length, 50);
    assert.equal(queue.decided()[0]?.headline, 'UPDATE 59');
  });
});
