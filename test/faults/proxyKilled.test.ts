import assert from 'node:assert/strict';
import { after, beforeEach, describe, it } from 'node:test';
import { until } from '../support/soon.ts';
import { Shop } from './shop.ts';
import { HAS_PSQL, midResult, Stage, settled, socketOf } from './stage.ts';

const OPTIONS = { timeout: 300_000 };
/** Every way a client has of losing a connection, and no sentence of ours: the proxy had no time for one. */
const LOST = /terminated|closed|reset|ECONNRESET|EPIPE|socket|fetch failed|SSE|aborted|does not answer|EOF/i;

const shop = await Shop.open();
// One proxy, killed in each of these and back with what it kept: the next finds the record as the last has left it.
const stage = await Stage.open(shop);
after(async () => {
  await stage.close();
  await shop.close();
});
beforeEach(async () => {
  stage.fresh();
  if (stage.proxy.child.signalCode !== null) await stage.start();
  await shop.abandoned();
});

function refund(order: number): string {
  return `UPDATE orders SET status = 'refunded' WHERE id = ${order}`;
}

/** The record after a restart: whole, with every session sealed by the recovery. */
async function recovered(): Promise<void> {
  assert.deepEqual(await stage.verify().then(({ ok, problems }) => ({ ok, problems })), { ok: true, problems: [] });
  const sessions = stage.sessions();
  assert.ok(sessions.length > 0);
  for (const entries of sessions) {
    const last = entries.at(-1)?.body;
    assert.ok(last?.type === 'session.close', JSON.stringify(last));
    const intents = entries.flatMap(({ body }) => (body.type === 'operation.intent' ? [body.operation] : []));
    const outcomes = entries.flatMap(({ body }) => (body.type === 'operation.outcome' ? [body.operation] : []));
    assert.deepEqual(outcomes.sort(), intents.sort());
  }
}

describe('a proxy that is killed in the middle of an ask', OPTIONS, () => {
  it('leaves every client with an error and no statement executed, and comes back with the record, the port and the login as they were', async () => {
    const before = await shop.attempts();
    const environment = await stage.environment();
    const simple = await stage.terminal();
    const prepared = await stage.terminal();
    const pipelined = await stage.terminal();
    const agent = await stage.mcp();
    const told = new Promise<Error>((resolve) => {
      agent.onerror = resolve;
    });
    const bridged = await stage.stdio();
    const outcomes = [
      settled(simple.query(refund(1))),
      settled(prepared.query('UPDATE orders SET status = $1 WHERE id = $2', ['refunded', 2])),
      settled(bridged.callTool({ name: 'execute', arguments: { connection: 'shop', sql: refund(3) } })),
      settled(pipelined.query(`BEGIN; ${refund(4)}; COMMIT`)),
    ];
    const psql = HAS_PSQL ? await stage.psql('-c', refund(5)) : undefined;
    const asks = outcomes.length + 1 + (psql ? 1 : 0);
    await stage.asked(asks - 1);
    // The MCP client itself tells its application of a lost stream at once, and ends the call when that gives it up.
    const given = new AbortController();
    const call = settled(agent.callTool({ name: 'execute', arguments: { connection: 'shop', sql: refund(6) } }, { signal: given.signal }));
    await stage.asked(asks);
    await stage.kill();

    for (const outcome of outcomes) assert.match(await outcome, LOST);
    assert.match((await told).message, LOST);
    given.abort();
    assert.notEqual(await call, 'done');
    if (psql) {
      const { code, stderr } = await psql.done;
      assert.ok(code !== 0 && LOST.test(stderr), stderr);
    }
    await shop.abandoned();
    assert.equal(await shop.attempts(), before);

    await stage.start();
    await recovered();
    const lost = await stage.recorded(({ decision, outcome }) => decision === 'ask' && outcome === 'lost', asks);
    assert.equal(lost.length, asks);
    assert.ok(lost.every(({ approvedBy }) => approvedBy === undefined));
    assert.deepEqual((await stage.person.until(() => true)).pending, []);
    // New terminals may be given a new login meanwhile, as they are every hour; the old one goes on working.
    const places = ['PGHOST', 'PGPORT', 'PGDATABASE', 'COUNTERSIGN_MCP_URL'];
    const restarted = await stage.environment();
    for (const name of places) assert.equal(restarted[name], environment[name], name);
    const again = await stage.terminal(environment);
    assert.deepEqual((await again.query('SELECT 1 AS one')).rows, [{ one: 1 }]);
    assert.equal(await shop.attempts(), before);
  });

  it('executes nothing that was not approved before, at whatever moment around the answer it is killed', async () => {
    for (const [turn, moment] of [
      () => Promise.resolve(),
      () => new Promise((resolve) => setImmediate(resolve)),
      (answered: Promise<unknown>) => answered,
    ].entries()) {
      const before = await shop.attempts();
      const client = await stage.terminal();
      const outcome = settled(client.query(refund(10 + turn)));
      const [question] = await stage.asked();
      assert.ok(question);
      const answered = stage.approve(question).catch(() => undefined);
      await moment(answered);
      await stage.kill();
      assert.match(await outcome, /done|terminated|closed|reset/i);
      await shop.abandoned();
      await stage.start();
      await recovered();
      const entries = stage.sessions().find((session) => session.some(({ body }) => body.type === 'operation.intent' && body.operation === question.operation));
      const approved = entries?.some(({ body }) => body.type === 'operation.approval' && body.operation === question.operation && body.answer === 'approved');
      const executed = (await shop.attempts()) - before;
      assert.ok(executed <= 1);
      if (executed > 0) assert.ok(approved, 'executed, and no approval is on the disk');
    }
  });
});

describe('a proxy that is killed in the middle of a result', OPTIONS, () => {
  it('leaves the client with an error, nothing running in the database, and the reading recorded as lost', async () => {
    const client = await stage.terminal();
    const { outcome } = await midResult(client);
    assert.equal((await shop.backends()).length, 1);
    await stage.kill();
    socketOf(client).resume();
    assert.match(await outcome, LOST);
    await shop.abandoned();
    await stage.start();
    await recovered();
    const [read] = await stage.recorded(({ headline, outcome }) => headline.startsWith('SELECT') && outcome !== undefined);
    assert.equal(read?.outcome, 'lost');
    assert.deepEqual((await (await stage.terminal()).query('SELECT 1 AS one')).rows, [{ one: 1 }]);
  });
});

describe('a proxy that is killed in the middle of a write', OPTIONS, () => {
  it('has the approval on disk before the statement reaches the database, and calls its end lost', async () => {
    const holder = await shop.direct();
    await holder.query('BEGIN; SELECT 1 FROM orders WHERE id = 20 FOR UPDATE');
    const client = await stage.terminal();
    const outcome = settled(client.query(refund(20)));
    const [question] = await stage.asked();
    assert.ok(question);
    await stage.approve(question);
    await until('a backend that waits for a lock', async () => (await shop.backends()).some(({ wait_event_type: waits }) => waits === 'Lock'));
    const written = stage.sessions().flat();
    const place = (type: string): number => written.findIndex(({ body }) => body.type === type && 'operation' in body && body.operation === question.operation);
    assert.ok(place('operation.intent') >= 0 && place('operation.approval') > place('operation.intent'));
    assert.equal(place('operation.outcome'), -1);
    await stage.kill();
    assert.match(await outcome, LOST);
    await holder.query('COMMIT');
    await shop.abandoned();
    await stage.start();
    await recovered();
    const [write] = await stage.recorded(({ operation, outcome }) => operation === question.operation && outcome !== undefined);
    assert.equal(write?.outcome, 'lost');
    assert.equal(write?.approvedBy, question.actor.person.name ?? question.actor.person.subject);
  });

  it('commits nothing of a transaction that the client had not committed', async () => {
    const before = await shop.status(30);
    const client = await stage.terminal();
    await client.query('BEGIN');
    const write = settled(client.query(refund(30)));
    const [question] = await stage.asked();
    assert.ok(question);
    await stage.approve(question);
    assert.equal(await write, 'done');
    await until('the outcome on the disk', () =>
      stage.sessions().some((session) => session.some(({ body }) => body.type === 'operation.outcome' && body.operation === question.operation)),
    );
    await stage.kill();
    assert.match(await settled(client.query('COMMIT')), /terminated|closed|reset|not queryable/i);
    await shop.abandoned();
    assert.equal(await shop.status(30), before);
    await stage.start();
    await recovered();
    const [done] = await stage.recorded(({ operation, outcome }) => operation === question.operation && outcome !== undefined);
    assert.equal(done?.outcome, 'done');
  });
});
