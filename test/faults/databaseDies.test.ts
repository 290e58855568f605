import assert from 'node:assert/strict';
import { after, beforeEach, describe, it } from 'node:test';
import { until } from '../support/soon.ts';
import { Shop } from './shop.ts';
import { midResult, Stage, settled, socketOf } from './stage.ts';

const OPTIONS = { timeout: 300_000 };
const GONE = /database closed the connection|terminat|shutting down/i;

function refund(order: number): string {
  return `UPDATE orders SET status = 'refunded' WHERE id = ${order}`;
}

const shop = await Shop.open();
// One proxy for all of it: that it goes on when the database is back is what each of these is about.
const stage = await Stage.open(shop);
after(async () => {
  await stage.close();
  await shop.close();
});
beforeEach(async () => {
  stage.fresh();
  await shop.abandoned();
});

/** Once the database is back, everything works again and nobody had to do anything. */
async function worksAgain(order: number): Promise<void> {
  await shop.revive();
  const client = await stage.terminal();
  assert.equal((await client.query('SELECT email FROM customers WHERE id = 1')).rows.length, 1);
  const write = client.query(refund(order));
  const [question] = await stage.asked();
  assert.ok(question);
  await stage.approve(question);
  assert.equal((await write).rowCount, 1);
  assert.equal(await shop.status(order), 'refunded');
  const agent = await stage.mcp();
  const result = await agent.callTool({ name: 'query', arguments: { connection: 'shop', sql: 'SELECT 1 AS one' } });
  assert.ok(!result.isError, JSON.stringify(result));
  const { connections } = await stage.person.until((state) => state.connections.every((connection) => connection.state === 'ready'));
  assert.equal(connections.length, 1);
  assert.deepEqual((await stage.verify()).problems, []);
}

describe('the database dies', OPTIONS, () => {
  it('in the middle of an ask: the clients get an error, the question goes, nothing runs, and all works when it is back', async () => {
    const before = await shop.attempts();
    const client = await stage.terminal();
    const ended = new Promise((resolve) => client.once('end', resolve));
    const agent = await stage.mcp();
    const statement = settled(client.query(refund(1)));
    const call = agent.callTool({ name: 'execute', arguments: { connection: 'shop', sql: refund(2) } });
    const questions = await stage.asked(2);
    await shop.crash();
    assert.match(await statement, GONE);
    await ended;
    const result = await call;
    assert.equal(result.isError, true);
    await stage.unasked();
    // A click that comes too late lets nothing through.
    for (const question of questions) assert.deepEqual(await stage.approve(question), { result: 'already-decided' });
    const recorded = await stage.recorded(({ headline, outcome }) => headline === 'UPDATE orders' && outcome !== undefined, 2);
    for (const { operation, outcome } of recorded) {
      const { error } = (await stage.detail(operation)) ?? {};
      assert.equal(outcome, 'cancelled');
      assert.match(error?.message ?? '', /the database closed the connection/);
    }
    await worksAgain(3);
    assert.equal(await shop.attempts(), before + 1);
  });

  it('in the middle of a result: the client gets an error, it is recorded as failed, and all works when it is back', async () => {
    const client = await stage.terminal();
    const { outcome } = await midResult(client);
    await shop.crash();
    socketOf(client).resume();
    assert.match(await outcome, GONE);
    const [read] = await stage.recorded(({ headline, outcome: how }) => headline.startsWith('SELECT') && how !== undefined);
    assert.equal(read?.outcome, 'failed');
    await worksAgain(4);
  });

  it('in the middle of a write: the client gets an error, it is recorded as failed with its approval, and all works when it is back', async () => {
    const holder = await shop.direct();
    await holder.query('BEGIN; SELECT 1 FROM orders WHERE id = 5 FOR UPDATE');
    const client = await stage.terminal();
    const statement = settled(client.query(refund(5)));
    const [question] = await stage.asked();
    assert.ok(question);
    await stage.approve(question);
    await until('a backend that waits for a lock', async () => (await shop.backends()).some(({ wait_event_type: waits }) => waits === 'Lock'));
    await shop.crash();
    assert.match(await statement, GONE);
    const [write] = await stage.recorded(({ operation, outcome }) => operation === question.operation && outcome !== undefined);
    assert.equal(write?.outcome, 'failed');
    assert.ok(write.approvedBy);
    await worksAgain(6);
  });

  it('and is still away: a new client is told so in a sentence, and so is the window', async () => {
    await shop.crash();
    const refused = await settled(stage.terminal());
    assert.match(refused, /no connection to the database|database/i);
    const agent = await stage.mcp();
    const result = await agent.callTool({ name: 'query', arguments: { connection: 'shop', sql: 'SELECT 1' } });
    assert.equal(result.isError, true);
    assert.match(JSON.stringify(result.content), /no connection to the database|database/i);
    await worksAgain(7);
  });
});
