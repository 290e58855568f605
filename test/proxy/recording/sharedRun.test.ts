import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SharedRun } from '../../../proxy/recording/sharedRun.ts';

describe('a shared run', () => {
  it('serves who waits together, and who comes while it runs gets one that began after', async () => {
    const finish: (() => void)[] = [];
    const shared = new SharedRun(() => new Promise<void>((resolve) => finish.push(resolve)));
    const order: string[] = [];
    const first = shared.run().then(() => order.push('first'));
    const second = shared.run().then(() => order.push('second'));
    const third = shared.run().then(() => order.push('third'));
    assert.equal(finish.length, 1);
    finish[0]?.();
    await first;
    assert.deepEqual(order, ['first']);
    assert.equal(finish.length, 2);
    finish[1]?.();
    await Promise.all([second, third]);
    assert.equal(finish.length, 2);
    const later = shared.run();
    assert.equal(finish.length, 3);
    finish[2]?.();
    await later;
  });

  it('goes on after a run that failed', async () => {
    let runs = 0;
    const shared = new SharedRun(() => (++runs === 1 ? Promise.reject(new Error('first')) : Promise.resolve()));
    const first = shared.run();
    const second = shared.run();
    await assert.rejects(first, /first/);
    await second;
    assert.equal(runs, 2);
  });
});
