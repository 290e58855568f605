import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { DryRun } from '../../../contract/approval.ts';
import { Problem } from '../../../contract/problem.ts';
import { DRY_RUN_GRACE_MS, DRY_RUN_MS } from '../../../proxy/approval/dryRunning.ts';
import { ada, approve, bench, deny, never, question } from './questions.ts';

const result: DryRun = { rows: 1, columns: ['status'], samples: [{ before: ['paid'], after: ['refunded'] }] };

describe('a dry run', () => {
  it('starts with the question and shows its result', async () => {
    const b = bench();
    const asked = b.queue.ask(question({ dryRun: () => Promise.resolve(result) }), never);
    assert.deepEqual(b.queue.pending()[0]?.dryRun, { state: 'running' });
    const before = b.changes;
    await turn();
    assert.deepEqual(b.queue.pending()[0]?.dryRun, { state: 'done', result });
    assert.ok(b.changes > before);
    b.queue.answer(deny(b.queue.pending()[0]!), ada);
    await asked;
    assert.equal(b.clock.timers, 0);
  });

  it('says why there is none', () => {
    const { queue } = bench();
    void queue.ask(question({ noDryRun: 'it cannot be rolled back' }), never);
    assert.deepEqual(queue.pending()[0]?.dryRun, { state: 'none', why: 'it cannot be rolled back' });
    queue.shutdown();
  });

  it('that fails, throws at once or brings too much leaves the question to be answered, and quotes no server', async () => {
    const { queue } = bench();
    for (const dryRun of [
      () => Promise.reject(new Error('invalid input syntax: "ada@example.com"')),
      () => {
        throw new Error('ada@example.com');
      },
      () => Promise.reject(new Problem('locked', 'the table is locked')),
      () => Promise.resolve({ ...result, columns: Array.from({ length: 300 }, () => 'c') }),
    ])
      void queue.ask(question({ dryRun }), never);
    await turn();
    assert.deepEqual(
      queue.pending().map((p) => p.dryRun),
      [
        { state: 'none', why: 'the dry run failed' },
        { state: 'none', why: 'the dry run failed' },
        { state: 'none', why: 'the table is locked' },
        { state: 'none', why: 'the dry run’s result cannot be shown' },
      ],
    );
    queue.shutdown();
  });

  it('that takes too long is stopped, and the question goes on', () => {
    const { queue, clock } = bench();
    let stopped = false;
    const dryRun = (signal: AbortSignal): Promise<DryRun> =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          stopped = true;
          reject(new Error('stopped'));
        });
      });
    void queue.ask(question({ dryRun }), never);
    return turn().then(async () => {
      clock.advance(DRY_RUN_MS);
      assert.equal(stopped, true);
      await turn();
      assert.deepEqual(queue.pending()[0]?.dryRun, { state: 'none', why: 'the dry run took longer than 10 s' });
      queue.shutdown();
    });
  });

  it('is aborted by the decision, and has let go before the approval takes effect', async () => {
    const { queue } = bench();
    const order: string[] = [];
    let letGo: (() => void) | undefined;
    const dryRun = (signal: AbortSignal): Promise<DryRun> =>
      new Promise((_, reject) => {
        signal.addEventListener('abort', () => {
          order.push('aborted');
          letGo = () => {
            order.push('rolled back');
            reject(new Error('stopped'));
          };
        });
      });
    const asked = queue.ask(question({ dryRun }), never).then(() => order.push('approved'));
    await turn();
    queue.answer(approve(queue.pending()[0]!), ada);
    await turn();
    assert.deepEqual(order, ['aborted']);
    letGo?.();
    await asked;
    assert.deepEqual(order, ['aborted', 'rolled back', 'approved']);
  });

  it('that never lets go holds an approval up for a moment only', async () => {
    const { queue, clock } = bench();
    const asked = queue.ask(question({ dryRun: () => new Promise<DryRun>(() => undefined) }), never);
    queue.answer(approve(queue.pending()[0]!), ada);
    clock.advance(DRY_RUN_GRACE_MS);
    assert.equal((await asked).answer, 'approved');
  });
});
