/** The gateway's record in the editor's Sessions, against a real gateway: each sees theirs, an auditor everyone's, checked as it is read. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parseFilter } from '../../../contract/operationFilter.ts';
import { matches, TeamSessions } from '../../../extension/gateway/teamSessions.ts';
import { connect } from '../../gateway/agent.ts';
import { type Client, type Stage, stage } from '../../gateway/stage.ts';
import { soon } from '../../support/soon.ts';

const POLICY = `version: 1
defaults: { read: allow, write: ask, unknown: deny }
connections:
  orders: { protocol: postgres, upstream: postgres://127.0.0.1:1/orders, via: gateway, password: "secret:orders" }
rules:
  - { id: no-deletes, match: { effect: delete }, verdict: deny }
`;

describe('the gateway’s record in the editor', () => {
  let on: Stage;
  let ada: Client;
  const open: TeamSessions[] = [];

  const editorOf = (client: Client, who: string): TeamSessions & { changes: number } => {
    const account = { state: { kind: 'signed-in', url: new URL(on.url) }, token: { value: client.token }, refused: () => Promise.resolve() };
    const changed = (): void => void sessions.changes++;
    const sessions = Object.assign(new TeamSessions({ account, log: assert.fail, changed }), { changes: 0 });
    open.push(sessions);
    sessions.accountChanged(who);
    sessions.watch(true);
    return sessions;
  };

  before(async () => {
    on = await stage({ store: 'embedded' });
    ada = await on.signIn('ada');
    const put = await (await on.signIn('root')).call('PUT', '/v1/policy', { text: POLICY, comment: 'begin', over: 0 });
    assert.equal(put.status, 200, JSON.stringify(put.body));
  });
  after(async () => {
    for (const sessions of open) sessions.dispose();
    await on.stop();
  });

  it('is each person’s own, an auditor’s whole, and grows while a session is open', async () => {
    const agent = await connect(on.gateways[0]!, ada.token);
    await agent.do({ effect: 'read', payload: 'SELECT 1' });
    const [own, others, all] = [editorOf(ada, 'ada'), editorOf(await on.signIn('bob'), 'bob'), editorOf(await on.signIn('olga'), 'olga')];
    await soon(() => {
      assert.equal(own.operations().length, 1);
      assert.equal(all.operations().length, 1);
    });
    assert.deepEqual(others.operations(), [], 'somebody else’s');
    assert.equal(await others.operation(own.operations()[0]?.operation ?? ''), undefined);

    await agent.do({ effect: 'delete', payload: 'DELETE FROM orders' });
    // What was denied is written with what else is written in that moment.
    const newest = await soon(async () => {
      await own.refresh();
      const [first] = own.operations();
      assert.equal(first?.outcome, 'denied');
      return first;
    });
    assert.equal(newest.rule, 'no-deletes');
    assert.equal(newest.actor.person.name, 'Ada');
    const detail = await own.operation(newest.operation);
    assert.equal(detail?.payload, 'DELETE FROM orders');
    assert.equal(detail?.verified?.ok, true);
    assert.deepEqual(await own.verify(newest.session), detail?.verified, 'read again from the first line');
    assert.equal(await own.verify('another'), undefined);
    assert.deepEqual(
      own.operations('verdict:denied').map(({ operation }) => operation),
      [newest.operation],
    );
    const before = own.changes;
    await own.refresh();
    assert.equal(own.changes, before, 'nothing new is no change');
    await agent.session.close('the test is over');
  });

  it('is gone from the screen when somebody else signs in, or nobody is', async () => {
    const sessions = editorOf(ada, 'ada');
    await soon(() => assert.ok(sessions.operations().length > 0));
    sessions.accountChanged(undefined);
    assert.deepEqual(sessions.operations(), []);
    await sessions.refresh();
    assert.deepEqual(sessions.operations(), []);
  });

  it('is filtered by the words and terms of the proxy’s own history', async () => {
    const sessions = editorOf(ada, 'ada');
    const operation = await soon(() => {
      const found = sessions.operations().find(({ outcome }) => outcome === 'denied');
      assert.ok(found);
      return found;
    });
    const now = Date.now();
    const holds = (filter: string): boolean => matches(parseFilter(filter, now), operation);
    for (const filter of [
      '',
      'verdict:denied',
      'verdict:deny',
      'connection:order',
      'agent:claude person:ada',
      'outcome:denied effect:delete',
      'after:1d',
      'orders',
      'rule:no-deletes',
    ])
      assert.ok(holds(filter), filter);
    for (const filter of ['verdict:approved', 'verdict:allowed', 'connection:shop', 'person:bob', 'effect:read', 'before:1d', 'nowhere'])
      assert.ok(!holds(filter), filter);
  });
});
