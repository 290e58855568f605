import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { NOBODY_GRACE_MS } from '../../proxy/approval/queue.ts';
import { Shop } from './shop.ts';
import { Stage, settled } from './stage.ts';

const OPTIONS = { timeout: 300_000 };
const REFUND = "UPDATE orders SET status = 'refunded' WHERE id = 1";

const shop = await Shop.open();
after(() => shop.close());

// Each on a proxy of its own, at once: the grace is waited for once.
describe('the last window goes away in the middle of an ask', { ...OPTIONS, concurrency: true }, () => {
  it('and nobody comes back: denied after the grace, the clients are told, and their connections go on', async () => {
    const stage = await Stage.open(shop);
    try {
      const client = await stage.terminal();
      const agent = await stage.mcp();
      const began = Date.now();
      const statement = settled(client.query(REFUND));
      const call = agent.callTool({ name: 'execute', arguments: { connection: 'shop', sql: REFUND } });
      await stage.asked(2);
      const before = await shop.status(1);
      stage.person.close();
      const denied = /Denied: .*no editor with Countersign is open/;
      assert.match(await statement, denied);
      const result = await call;
      assert.equal(result.isError, true);
      assert.match(JSON.stringify(result.content), denied);
      assert.ok(Date.now() - began >= NOBODY_GRACE_MS);
      assert.equal(await shop.status(1), before);

      assert.equal((await client.query('SELECT status FROM orders WHERE id = 1')).rows.length, 1);
      // While nobody is there, what asks is denied at once rather than held.
      assert.match(await settled(client.query(REFUND)), denied);
      await stage.attach('another');
      const again = client.query(REFUND);
      const [question] = await stage.asked();
      assert.ok(question);
      await stage.approve(question);
      assert.equal((await again).rowCount, 1);
      const recorded = await stage.recorded(({ headline, outcome }) => headline === 'UPDATE orders' && outcome !== undefined, 4);
      assert.deepEqual(recorded.map(({ outcome }) => outcome).sort(), ['denied', 'denied', 'denied', 'done']);
    } finally {
      await stage.close();
    }
  });

  it('and another comes in time: it is shown the same question and its answer counts', async () => {
    const stage = await Stage.open(shop);
    try {
      const client = await stage.terminal();
      const statement = client.query("UPDATE orders SET status = 'refunded' WHERE id = 2");
      const [shown] = await stage.asked();
      stage.person.close();
      await stage.attach('another');
      const [question] = await stage.asked();
      assert.ok(question && shown);
      assert.deepEqual([question.id, question.digest, question.deadline], [shown.id, shown.digest, shown.deadline]);
      assert.deepEqual(await stage.approve(question), { result: 'accepted' });
      assert.equal((await statement).rowCount, 1);
      assert.equal(await shop.status(2), 'refunded');
    } finally {
      await stage.close();
    }
  });

  it('and another is still there: nothing changes for whoever waits', async () => {
    const stage = await Stage.open(shop);
    try {
      const first = stage.person;
      await stage.attach('another');
      const client = await stage.terminal();
      const statement = client.query("UPDATE orders SET status = 'refunded' WHERE id = 3");
      const [question] = await stage.asked();
      assert.ok(question);
      first.close();
      await stage.person.until(({ proxy }) => proxy.windows === 1);
      assert.deepEqual(await stage.approve(question), { result: 'accepted' });
      assert.equal((await statement).rowCount, 1);
    } finally {
      await stage.close();
    }
  });
});
