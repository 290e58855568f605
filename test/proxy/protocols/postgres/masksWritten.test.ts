import assert from 'node:assert/strict';
import { after, before, it, describe as suite } from 'node:test';
import type { Client } from 'pg';
import { soon } from '../../../support/soon.ts';
import { type Proxied, proxied } from './proxied.ts';

const SETUP = `
create table customers (id int primary key, name text, email text, ssn text, card text);
insert into customers values (1, 'Ann', 'ann@secret.example', '111-11-1111', '4111111111111111'), (2, 'Bob', 'bob@secret.example', '222-22-2222', '4222222222222');
`;
const RULES = 'defaults: { write: allow }';

async function refused(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'it ran',
    (cause: { code?: string; message: string }) => `${cause.code}: ${cause.message}`,
  );
}

suite('an agent that writes back what it was shown', { timeout: 300_000 }, () => {
  let p: Proxied;
  let client: Client;
  let direct: Client;
  before(async () => {
    p = await proxied(RULES, { setup: SETUP, sensitive: { 'customers.email': 'partial', 'customers.ssn': 'redact', 'customers.card': 'token' } });
    client = await p.client();
    direct = await p.db.direct();
  });
  after(async () => {
    await direct.end();
    await p.stop();
  });

  it('is denied by a rule of its own when it is a mask, as a literal or a parameter', async () => {
    const masks = [
      '‹redacted›',
      'a•••@secret.example',
      '••••1111',
      '••••',
      '***',
      '*****1234',
      '‹email·a1b2c3›',
      '‹masked›',
      "E'\\u2039redacted›'",
      "U&'\\2039redacted\\203a'",
    ];
    for (const mask of masks) {
      const written = /^[EU]/.test(mask) ? mask : `'${mask}'`;
      for (const sql of [
        `update customers set email = ${written} where id = 1`,
        `update customers set (name, ssn) = ('x', ${written}) where id = 1`,
        `insert into customers (id, email) values (9, ${written})`,
        `insert into customers (id, email) values (1, ${written}) on conflict (id) do update set email = excluded.email`,
        `merge into customers c using (select 1 as id) s on s.id = c.id when matched then update set email = ${written}`,
      ]) {
        const partial = !/redacted|masked|email·/.test(mask);
        // As part of several, only what can be nothing but a mask counts.
        if (partial && sql.includes('(name, ssn)')) continue;
        assert.match(await refused(client.query(sql)), /42501: .*no-masks-written/s, sql);
      }
      if (written === mask) continue;
      assert.match(await refused(client.query('update customers set email = $1 where id = 1', [mask])), /42501: .*no-masks-written/s, mask);
    }
    assert.match(await refused(client.query("update customers set name = '‹redacted›' where id = 1")), /no-masks-written/);
    const { rows } = await direct.query('select email from customers order by id');
    assert.deepEqual(rows, [{ email: 'ann@secret.example' }, { email: 'bob@secret.example' }]);
  });

  it('goes on with what only looks like one where nothing is masked', async () => {
    for (const name of ['***', '••••', 'a•••@b.c', 'five * stars ***']) {
      await client.query('update customers set name = $1 where id = 2', [name]);
      await client.query(`update customers set name = '${name}' where id = 2`);
      assert.deepEqual((await client.query('select name from customers where id = 2')).rows, [{ name }]);
    }
    await client.query("select id from customers where name = '‹redacted›'");
  });

  it('writes the value itself when it is a token', async () => {
    const { rows } = await client.query('select id, card from customers where id = 1');
    await client.query('update customers set card = $1 where id = 2', [rows[0]?.card]);
    assert.deepEqual((await direct.query('select card from customers where id = 2')).rows, [{ card: '4111111111111111' }]);
    // A mask that shows part of a value takes no token: what it shows would be part of the value.
    assert.match(await refused(client.query('update customers set email = $1 where id = 2', [rows[0]?.card])), /42501: .*not masked as strictly/);
  });

  it('is let through where the highest policy says so', async () => {
    p.t.setPolicy(p.policyText(`${RULES}\nrules:\n  - { id: no-masks-written, match: { sql: { masks: true } }, verdict: allow }`));
    await client.query("update customers set ssn = '***' where id = 2");
    assert.deepEqual((await direct.query('select ssn from customers where id = 2')).rows, [{ ssn: '***' }]);
  });
});

suite('a statement with a token that waits for a person', { timeout: 300_000 }, () => {
  let p: Proxied;
  let client: Client;
  let direct: Client;
  let card = '';
  const rules = 'rules:\n  - { id: tried, match: { effect: write }, verdict: ask, preview: dry-run }';
  const sensitive = { 'customers.email': 'redact', 'customers.card': 'token' };
  before(async () => {
    p = await proxied(rules, { setup: SETUP, sensitive });
    client = await p.client();
    direct = await p.db.direct();
    card = (await client.query('select card from customers where id = 1')).rows[0]?.card;
  });
  after(async () => {
    await direct.end();
    await p.stop();
  });

  it('is shown with the token, tried with the value, and run as it was approved', async () => {
    p.t.holdAsks(true);
    const running = client.query(`update customers set name = 'By card' where card = '${card}'`);
    await soon(() => assert.equal(p.t.approvals.pending()[0]?.dryRun.state, 'done'));
    const tried = p.t.approvals.pending()[0]?.dryRun;
    assert.ok(tried?.state === 'done' && tried.result.rows === 1, JSON.stringify(tried));
    assert.match(JSON.stringify(tried.result.samples), new RegExp(card));
    const question = await p.t.onAsk('approve');
    assert.equal((await running).rowCount, 1);
    p.t.holdAsks(false);
    assert.equal(question.payload, `update customers set name = 'By card' where card = '${card}'`);
    assert.doesNotMatch(JSON.stringify(question), /4111111111111111/);
    const bound = p.t.onAsk('approve');
    await client.query('update customers set card = $1 where id = 2', [card]);
    assert.deepEqual((await bound).params, [card]);
    assert.deepEqual((await direct.query('select name, card from customers order by id')).rows, [
      { name: 'By card', card: '4111111111111111' },
      { name: 'Bob', card: '4111111111111111' },
    ]);
    assert.doesNotMatch(await p.t.written(), /4111111111111111/);
  });

  it('is not sent when meanwhile the column is no longer masked', async () => {
    p.t.holdAsks(true);
    const work = refused(client.query(`update customers set name = 'Late' where card = '${card}'`));
    await soon(() => assert.equal(p.t.approvals.pending().length, 1));
    p.t.setPolicy(p.policyText('rules:\n  - { id: free, match: { effect: write }, verdict: allow }', { 'customers.email': 'redact' }));
    p.t.holdAsks(false);
    assert.match(await work, /^(40001|42501)/);
    assert.equal((await direct.query("select 1 from customers where name = 'Late'")).rowCount, 0);
  });
});
