/** A gateway's questions as the editor shows them, against a real gateway: who may answer, who waits, and what an answer does. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { NARROWEST } from '../../../contract/approval.ts';
import type { AccessAsk, GatewayApproval } from '../../../contract/gateway/approvals.ts';
import { AccessAnswers, answerTexts } from '../../../extension/gateway/accessAnswers.ts';
import { type AccessUi, askForAccess } from '../../../extension/gateway/requestAccess.ts';
import { TeamApprovals } from '../../../extension/gateway/team.ts';
import { english } from '../../../extension/translate.ts';
import { connect } from '../../gateway/agent.ts';
import { Browser } from '../../gateway/browser.ts';
import { type Client, type Stage, stage } from '../../gateway/stage.ts';
import { soon } from '../../support/soon.ts';

const POLICY = `version: 1
defaults: { read: allow, write: ask, delete: ask, schema: ask, unknown: deny }
connections:
  orders: { protocol: postgres, upstream: postgres://127.0.0.1:1/orders, via: gateway, password: "secret:orders" }
rules:
  - { id: writes, match: { effect: write }, verdict: ask, approvers: group:dba }
  - { id: schema, match: { effect: schema }, verdict: ask, approvers: group:dba, fresh-login: true }
`;

describe('the gateway’s questions in the editor', () => {
  let on: Stage;
  let ada: Client;
  let dana: Client;
  const open: TeamApprovals[] = [];

  type Answers = (get: (id: string) => Promise<GatewayApproval>) => AccessAnswers;
  const editorOf = (client: Client, answers?: Answers): TeamApprovals & { refusals: number } => {
    const account = {
      state: { kind: 'signed-in', url: new URL(on.url) },
      token: { value: client.token },
      refused: () => {
        team.refusals++;
        return Promise.resolve();
      },
    };
    const access = answers?.((id) => team.get(id));
    const team: TeamApprovals & { refusals: number } = Object.assign(
      new TeamApprovals({ account, log: () => undefined, changed: () => undefined, ...(access && { access }) }),
      { refusals: 0 },
    );
    open.push(team);
    team.accountChanged();
    return team;
  };

  before(async () => {
    on = await stage();
    [ada, dana] = [await on.signIn('ada'), await on.signIn('dana')];
    const put = await (await on.signIn('root')).call('PUT', '/v1/policy', { text: POLICY, comment: 'begin', over: 0 });
    assert.equal(put.status, 200, JSON.stringify(put.body));
  });
  after(async () => {
    for (const team of open) team.dispose();
    await on.stop();
  });

  it('are the approver’s to answer and the requester’s to see, come by themselves, and say afterwards who decided', async () => {
    const [here, there] = [editorOf(ada), editorOf(dana)];
    const agent = await connect(on.gateways[0]!, ada.token);
    const done = agent.do({ effect: 'write', payload: 'UPDATE orders SET a = 1' });
    const [shown] = await soon(() => {
      assert.equal(there.questions.pending.length, 1);
      assert.equal(here.questions.pending.length, 1);
      return there.questions.pending;
    });
    assert.ok(shown);
    assert.equal(shown.payload, 'UPDATE orders SET a = 1');
    assert.equal(shown.actor.person.name, 'Ada');
    assert.deepEqual(there.questions.mine, [shown.id]);
    assert.deepEqual(here.questions.mine, [], 'who asks does not answer');
    assert.deepEqual([here.questions.own, there.questions.own], [[shown.id], []], 'and may take it back');
    assert.deepEqual(here.questions.pending[0]?.verdict.approvers, ['group:dba']);

    const approve = { answer: 'approve', id: shown.id, digest: shown.digest, scope: NARROWEST } as const;
    assert.equal((await here.answer(approve)).result, 'not-allowed');
    assert.equal((await there.answer({ ...approve, digest: 'another' })).result, 'stale');
    assert.equal(agent.forwarded.length, 0);
    assert.equal((await there.answer(approve)).result, 'accepted');
    assert.equal((await done).forwarded, true);
    assert.equal(agent.forwarded.length, 1);
    const decided = await soon(() => {
      assert.equal(here.questions.pending.length, 0);
      assert.ok(here.questions.decided[0]);
      return here.questions.decided[0];
    });
    assert.equal(decided.answer, 'approved');
    assert.equal(decided.by?.name, 'Dana');
    assert.match((await there.answer(approve)).result, /^(already-decided|answered-before)$/);
  });

  it('are taken back by who asked', async () => {
    const here = editorOf(ada);
    const agent = await connect(on.gateways[0]!, ada.token);
    const done = agent.do({ effect: 'write', payload: 'UPDATE orders SET b = 1' });
    const shown = await soon(() => {
      const one = here.questions.pending.find(({ payload }) => payload === 'UPDATE orders SET b = 1');
      assert.ok(one && here.questions.own.includes(one.id));
      return one;
    });
    assert.equal((await here.answer({ answer: 'deny', id: shown.id, digest: shown.digest })).result, 'accepted');
    assert.equal((await done).forwarded, false);
    assert.equal(agent.forwarded.length, 0);
    await soon(() => assert.equal(here.questions.decided.find(({ id }) => id === shown.id)?.why, 'withdrawn'));
  });

  it('lead to a request for access over a time, that begins with what was asked, and that others answer', async () => {
    const here = editorOf(ada);
    const agent = await connect(on.gateways[0]!, ada.token);
    const done = agent.do({ effect: 'write', payload: 'UPDATE orders SET c = 1' });
    const question = await soon(() => {
      const one = here.questions.pending.find(({ payload }) => payload === 'UPDATE orders SET c = 1');
      assert.ok(one);
      return one;
    });
    const titles: string[] = [];
    const refused: (string | undefined)[] = [];
    const ui: AccessUi = {
      one: async (title, choices) => (titles.push(title), choices[0]?.value),
      several: async (title, choices) => (titles.push(title), choices.filter(({ picked }) => picked).map(({ value }) => value)),
      text: async (title, _prompt, value, wrong) => {
        titles.push(title);
        refused.push(wrong(' , '));
        return value === '' ? 'a long afternoon of refunds' : value;
      },
    };
    const request = await askForAccess(ui, ['orders'], { question }, english);
    assert.deepEqual(request, {
      connection: 'orders',
      effects: ['write'],
      targets: ['orders'],
      minutes: 15,
      reason: 'a long afternoon of refunds',
      reviewers: [],
    });
    assert.deepEqual(
      titles.map((title) => title.replace(/^.*\(/, '(')),
      ['(1 of 4)', '(2 of 4)', '(3 of 4)', '(4 of 4)'],
      'one approver is no choice of reviewers',
    );
    assert.deepEqual(refused, ['Name at least one target.', undefined]);
    // Whoever gives up at any step has asked for nothing.
    assert.equal(await askForAccess({ ...ui, one: async () => undefined }, ['orders'], { question }, english), undefined);
    await here.requestAccess(request);
    assert.equal((await here.answer({ answer: 'deny', id: question.id, digest: question.digest })).result, 'accepted');
    await done;
    // In the editor of whoever may grant it; whoever asked may take it back, and no more.
    const there = editorOf(dana);
    const access = await soon(() => {
      const [one] = there.questions.access;
      assert.ok(one);
      return one;
    });
    assert.equal(access.mine, 'approve');
    assert.deepEqual(access.access, { ...request, reviewers: [] });
    assert.deepEqual(there.questions.mine, [], 'it is no question of an agent');
    const [own] = await soon(() => {
      assert.equal(here.questions.access.length, 1);
      return here.questions.access;
    });
    assert.equal(own?.mine, 'withdraw');
    const grant = { answer: 'approve', id: access.id, digest: access.digest, scope: NARROWEST } as const;
    assert.equal((await here.answer(grant)).result, 'not-allowed');
    assert.equal((await there.answer({ ...grant, digest: 'another' })).result, 'stale');
    assert.equal((await there.answer(grant)).result, 'accepted');
    const became = await soon(() => {
      const one = here.questions.decided.find(({ id }) => id === access.id);
      assert.ok(one);
      return one;
    });
    assert.deepEqual([became.headline, became.answer, became.by?.name, became.operation], ['Access to orders for 15 minutes', 'approved', 'Dana', '']);
    assert.deepEqual([here.questions.access, there.questions.access], [[], []]);
    const free = await agent.do({ effect: 'write', payload: 'UPDATE orders SET d = 1' });
    assert.equal(free.forwarded, true, 'what it covers is not asked about');
    const { grants } = (await ada.call('GET', '/v1/grants')).body as unknown as { grants: { id: string }[] };
    for (const grant of grants) assert.equal((await ada.call('DELETE', `/v1/grants/${grant.id}`)).status, 200);
  });

  it('tell whoever asked for access what became of it: once, in one window, and also where no window was open', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-access-'));
    const told: string[] = [];
    let windows = 0;
    /** A window of Ada's: what it is told says which. */
    const windowOf = (): TeamApprovals => {
      const name = `window ${++windows}`;
      const team = editorOf(ada, (get) => {
        const tell = (ended: readonly GatewayApproval[]): void => {
          told.push(...answerTexts(ended, Date.now(), 'en', english).map((text) => `${name}: ${text}`));
        };
        return new AccessAnswers({ folder, get, turn: () => Promise.resolve(), tell, log: assert.fail });
      });
      return team;
    };
    const there = editorOf(dana);
    const ask = async (from: TeamApprovals, reason: string): Promise<AccessAsk> => {
      await from.requestAccess({ connection: 'orders', effects: ['write'], targets: ['[x](command:y)\n'], minutes: 30, reason, reviewers: [] });
      return await soon(() => {
        const one = there.questions.access.find(({ access }) => access.reason === reason);
        assert.ok(one);
        return one;
      });
    };
    const refuse = async ({ id, digest }: AccessAsk, note?: string): Promise<void> => {
      assert.equal((await there.answer({ answer: 'deny', id, digest, ...(note !== undefined && { note }) })).result, 'accepted');
    };
    try {
      const [first, second] = [windowOf(), windowOf()];
      const granted = await ask(first, 'one');
      await soon(() => assert.ok(second.questions.access.length > 0));
      assert.equal((await there.answer({ answer: 'approve', id: granted.id, digest: granted.digest, scope: NARROWEST })).result, 'accepted');
      await soon(() => assert.equal(told.length, 1));
      assert.match(told[0] ?? '', /^window [12]: Dana granted you access to orders until .*\d\d:\d\d\W?[AP]M: write on \[x\]\(command:y\)\.$/);
      // Both have heard of it by now.
      await soon(() =>
        assert.deepEqual(
          [first, second].map(({ questions }) => questions.decided[0]?.id),
          [granted.id, granted.id],
        ),
      );

      const own = await ask(second, 'two');
      assert.equal((await second.answer({ answer: 'deny', id: own.id, digest: own.digest })).result, 'accepted');
      const refused = await ask(second, 'three');
      for (const window of [first, second]) window.dispose();
      await refuse(refused, 'Not before\nthe audit');
      const third = windowOf();
      await soon(() => assert.equal(told.length, 2));
      assert.equal(told[1], 'window 3: Dana refused you access to orders: “Not before the audit”');
      third.dispose();

      // So long ago that it is on no list any more.
      const old = await ask(windowOf(), 'four');
      for (const window of open) if (window !== there) window.dispose();
      await refuse(old);
      await on.gateways[0]!.db.query('UPDATE approvals SET decided_at = decided_at - 100000000 WHERE id = $1', [old.id]);
      windowOf();
      await soon(() => assert.equal(told.length, 3));
      assert.equal(told[2], 'window 5: Dana refused you access to orders, and gave no reason.');
      const last = windowOf();
      await soon(() => assert.ok(last.questions.decided.length > 0));
      assert.equal(told.length, 3, 'what was told once is not told again');
    } finally {
      rmSync(folder, { recursive: true });
      const { grants } = (await ada.call('GET', '/v1/grants')).body as unknown as { grants: { id: string }[] };
      for (const grant of grants) await ada.call('DELETE', `/v1/grants/${grant.id}`);
    }
  });

  it('wait for a fresh login where policy wants one', async () => {
    const there = editorOf(dana);
    const agent = await connect(on.gateways[0]!, ada.token);
    const done = agent.do({ effect: 'schema', payload: 'DROP TABLE orders' });
    const shown = await soon(() => {
      const one = there.questions.pending.find(({ payload }) => payload === 'DROP TABLE orders');
      assert.ok(one);
      return one;
    });
    const approve = { answer: 'approve', id: shown.id, digest: shown.digest, scope: NARROWEST } as const;
    assert.equal((await there.answer(approve)).result, 'needs-fresh-login');
    const page = await there.freshLogin(shown.id);
    assert.equal(page.origin, on.url);
    on.idp.user = 'dana';
    assert.match((await new Browser().open(page.href)).text, /signed in again/);
    assert.equal((await there.answer(approve)).result, 'accepted');
    assert.equal((await done).forwarded, true);
  });

  it('are gone from the screen when the login ends, and the account is asked to look', async () => {
    const bob = await on.signIn('drew');
    const there = editorOf(bob);
    const agent = await connect(on.gateways[0]!, ada.token);
    const stop = new AbortController();
    const done = agent.do({ effect: 'write' }, stop.signal);
    await soon(() => assert.equal(there.questions.pending.length, 1));
    await bob.call('POST', '/v1/me/sign-out', {});
    await soon(() => {
      assert.ok(there.refusals > 0);
      assert.equal(there.questions.pending.length, 0);
    });
    assert.match(there.problem ?? '', /[Ss]ign in/);
    stop.abort();
    await done;
  });
});
