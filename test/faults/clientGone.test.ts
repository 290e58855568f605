import assert from 'node:assert/strict';
import { after, beforeEach, describe, it } from 'node:test';
import { until } from '../support/soon.ts';
import { Shop } from './shop.ts';
import { ENDLESS, HAS_PSQL, midResult, Stage, settled, socketOf } from './stage.ts';

const OPTIONS = { timeout: 300_000 };
const REFUND = "UPDATE orders SET status = 'refunded' WHERE id = 1";
const NO_PSQL = HAS_PSQL ? false : 'psql is not on this machine';

const shop = await Shop.open();
const stage = await Stage.open(shop);
let before: number;
after(async () => {
  await stage.close();
  await shop.close();
});
beforeEach(async () => {
  stage.fresh();
  before = await shop.attempts();
});

/** Nothing is left of a client that went: no question, no session in the database, no open record, nothing executed. */
async function nothingIsLeft(headline: string, count = 1): Promise<void> {
  await stage.unasked();
  await shop.abandoned();
  const recorded = await stage.recorded(({ headline: of, outcome }) => of.startsWith(headline) && outcome !== undefined, count);
  for (const { operation, outcome } of recorded) {
    assert.equal(outcome, 'cancelled');
    await until('the end of its record', () =>
      stage
        .sessions()
        .some(
          (entries) =>
            entries.some(({ body }) => body.type === 'operation.intent' && body.operation === operation) && entries.at(-1)?.body.type === 'session.close',
        ),
    );
  }
  assert.equal(await shop.attempts(), before);
  assert.deepEqual((await stage.verify()).problems, []);
  assert.equal((await (await stage.terminal()).query('SELECT 1 AS one')).rows.length, 1);
}

describe('a client vanishes in the middle of an ask', OPTIONS, () => {
  it('when its socket is torn down: the question goes with it, and a late click lets nothing through', async () => {
    const client = await stage.terminal();
    const statement = settled(client.query(REFUND));
    const [question] = await stage.asked();
    assert.ok(question);
    socketOf(client).resetAndDestroy();
    await statement;
    await stage.unasked();
    assert.deepEqual(await stage.approve(question), { result: 'already-decided' });
    await nothingIsLeft('UPDATE orders');
  });

  it('when it has sent more behind the statement that is asked about: none of it runs', async () => {
    const client = await stage.terminal();
    const statement = settled(client.query(REFUND));
    await stage.asked();
    // Past pg's own queue, which would hold it back.
    const body = Buffer.from(`${REFUND}\0`);
    const message = Buffer.concat([Buffer.from('Q'), Buffer.alloc(4), body]);
    message.writeInt32BE(4 + body.length, 1);
    await new Promise((resolve) => socketOf(client).write(Buffer.concat([message, message]), resolve));
    socketOf(client).destroy();
    await statement;
    await nothingIsLeft('UPDATE orders');
  });

  it('when psql is killed', { skip: NO_PSQL }, async () => {
    const { child, done } = await stage.psql('-c', REFUND);
    await stage.asked();
    child.kill('SIGKILL');
    await done;
    await nothingIsLeft('UPDATE orders');
  });

  it('when an MCP client cancels its call, and when it closes altogether', async () => {
    const patient = await stage.mcp();
    const hasty = await stage.mcp();
    const abort = new AbortController();
    const cancelled = settled(patient.callTool({ name: 'execute', arguments: { connection: 'shop', sql: REFUND } }, { signal: abort.signal }));
    const closed = settled(hasty.callTool({ name: 'execute', arguments: { connection: 'shop', sql: REFUND } }));
    await stage.asked(2);
    abort.abort();
    assert.notEqual(await cancelled, 'done');
    await hasty.close();
    assert.notEqual(await closed, 'done');
    await nothingIsLeft('UPDATE orders', 2);
  });
});

describe('a client vanishes in the middle of a result', OPTIONS, () => {
  it('when its socket is torn down: the database stops working for it, and what it saw is recorded', async () => {
    const client = await stage.terminal();
    const { outcome } = await midResult(client);
    socketOf(client).resetAndDestroy();
    assert.notEqual(await outcome, 'done');
    await nothingIsLeft('SELECT');
  });

  it('when psql is killed', { skip: NO_PSQL }, async () => {
    const { child, done } = await stage.psql('-v', 'FETCH_COUNT=0', '-c', `COPY (${ENDLESS}) TO STDOUT`);
    await new Promise<void>((resolve) => child.stdout?.once('data', () => resolve()));
    child.stdout?.pause();
    child.kill('SIGKILL');
    child.stdout?.resume();
    await done;
    await nothingIsLeft('COPY');
  });
});
