import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { PolicyExplanation } from '../../../contract/gateway/explain.ts';
import { PASSWORD, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { soon } from '../../support/soon.ts';
import { type Client, type Stage, stage } from '../stage.ts';

describe('the tester of the organisation’s policy', () => {
  let on: Stage;
  let database: TestDatabase;
  let olga: Client;
  let text = '';
  before(async () => {
    database = await testDatabase(SHOP);
    on = await stage({ store: 'embedded', env: { SHOP_PASSWORD: PASSWORD } });
    text = `version: 1
connections:
  shop: { protocol: postgres, via: gateway, upstream: 'postgres://${SUPERUSER}@127.0.0.1:${database.port}/${database.database}', password: env:SHOP_PASSWORD, sensitive: { customers.email: partial } }
  away: { protocol: postgres, via: gateway, upstream: 'postgres://x@127.0.0.1:1/away', password: env:SHOP_PASSWORD }
  tickets: { protocol: mcp, via: gateway, upstream: { url: 'https://127.0.0.1:1/mcp' } }
rules:
  - { id: refunds, match: { connection: shop, effect: write, target: orders }, verdict: ask, approvers: 'group:dba', min: 2 }
  - { id: not-for-contractors, match: { effect: write, group: contractors }, verdict: deny }
  - { id: no-keys, match: { mcp: { secrets: [api-key, private-key] } }, verdict: deny }
`;
    const put = await (await on.signIn('root')).call('PUT', '/v1/policy', { text, comment: 'x', over: 0 });
    assert.equal(put.status, 200, JSON.stringify(put.body));
    olga = await on.signIn('olga');
  });
  after(() => on.stop());

  const asked = (change: object): object => ({ person: { subject: 'ada' }, agent: 'claude-code', connection: 'shop', ...change });
  const explain = async (change: object): Promise<PolicyExplanation> => {
    const { status, body } = await olga.call('POST', '/v1/policy/explain', asked(change));
    assert.equal(status, 200, JSON.stringify(body));
    return PolicyExplanation.parse(body);
  };
  const sql = (statement: string): object => ({ kind: 'sql', text: statement });

  it('reads a statement as the data path would, with the real catalog, and says which rule decides and why', async () => {
    const { parts, notes } = await soon(async () => {
      const found = await explain({ operation: sql("UPDATE orders SET status = 'x' WHERE id = 1") });
      assert.deepEqual(found.notes, []);
      return found;
    });
    const [{ inForce }] = parts as [PolicyExplanation['parts'][number]];
    assert.deepEqual([inForce.facts.effect, inForce.facts.targets.map(({ name }) => name), inForce.facts.bulk], ['write', ['orders'], false]);
    const { verdict, rules } = inForce;
    assert.deepEqual([verdict.decision, verdict.rule.id, verdict.approvers, verdict.quorum], ['ask', 'refunds', ['group:dba'], 2]);
    assert.match(rules.find(({ ref }) => ref.id === 'refunds')?.why ?? '', /target is orders/);
    assert.deepEqual(notes, []);
    const bulk = await explain({ operation: sql('UPDATE orders SET status = NULL') });
    assert.equal(bulk.parts[0]?.inForce.verdict.rule.id, 'no-mass-change');
    const read = await explain({ operation: sql('SELECT email FROM customers') });
    assert.deepEqual(read.parts[0]?.inForce.facts.sensitive, ['customers.email']);
    const direct = await database.direct();
    const { rows } = await direct.query<{ n: number }>('SELECT count(*)::int AS n FROM orders WHERE status IS NULL');
    await direct.end();
    assert.equal(rows[0]?.n, 0, 'nothing was run');
  });

  it('decides several statements one by one, and says which of them decides', async () => {
    const found = await explain({ operation: sql("SELECT 1; UPDATE orders SET status = 'x' WHERE id = 1; SELECT 2") });
    assert.equal(found.parts.length, 3);
    assert.equal(found.inForce.part, 1);
  });

  it('says how a draft differs, and refuses one that is broken', async () => {
    const operation = sql("UPDATE orders SET status = 'x' WHERE id = 1");
    const draft = text.replace('min: 2', 'min: 3').replace('verdict: ask, approvers', 'verdict: ask, fresh-login: true, approvers');
    const found = await explain({ operation, text: draft });
    assert.deepEqual([found.parts[0]?.inForce.verdict.quorum, found.parts[0]?.draft?.verdict.quorum, found.parts[0]?.draft?.verdict.freshLogin], [2, 3, true]);
    const more = await explain({ operation: sql('SELECT name FROM customers'), text: text.replace('customers.email: partial', 'customers.name: redact') });
    assert.deepEqual([more.parts[0]?.inForce.facts.sensitive, more.parts[0]?.draft?.facts.sensitive], [[], ['customers.name']]);
    const broken = await olga.call('POST', '/v1/policy/explain', asked({ operation, text: 'version: 2' }));
    assert.equal(broken.body.error, 'policy-broken');
  });

  it('takes whom one chooses, and what was read before', async () => {
    const operation = { kind: 'facts', effect: 'write', targets: ['other'], bulk: false };
    const found = await explain({ operation, person: { subject: 'eve', groups: ['contractors'] } });
    assert.equal(found.parts[0]?.inForce.verdict.rule.id, 'not-for-contractors');
    const send = await explain({ connection: 'tickets', operation: { kind: 'facts', effect: 'send', targets: [], bulk: false }, read: ['shop/customers'] });
    assert.ok(send.parts[0]?.inForce.rules.some(({ ref }) => ref.id === 'after-sensitive-read-sends-ask'));
  });

  it('looks into the arguments of a tool with the real detectors', async () => {
    const args = JSON.stringify({ title: 'x', body: 'AKIAIOSFODNN7EXAMPLE ghp_16C7e42F292c6912E7710c838347Ae178B4a' });
    const found = await explain({ connection: 'tickets', operation: { kind: 'tool', tool: 'add', args } });
    assert.deepEqual([found.parts[0]?.inForce.facts.effect, found.parts[0]?.inForce.verdict.rule.id], ['execute', 'no-keys']);
    for (const [operation, connection] of [
      [{ kind: 'tool', tool: 'add', args: '[1]' }, 'tickets'],
      [{ kind: 'tool', tool: 'add', args: '{}' }, 'shop'],
      [sql('SELECT 1'), 'tickets'],
    ] as const)
      assert.equal((await olga.call('POST', '/v1/policy/explain', asked({ operation, connection }))).body.error, 'bad-request');
  });

  it('says so where a database cannot be asked for its tables, and lets nobody take that for a yes', async () => {
    const found = await explain({ connection: 'away', operation: sql('SELECT 1 FROM t') });
    assert.equal(found.parts[0]?.inForce.facts.effect, 'unknown');
    assert.match(found.notes[0] ?? '', /could not be looked up/);
    assert.equal((await olga.call('POST', '/v1/policy/explain', asked({ connection: 'none', operation: sql('SELECT 1') }))).status, 404);
  });
});
