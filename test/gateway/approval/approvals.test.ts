import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { GatewayApproval } from '../../../contract/gateway/approvals.ts';
import { verifyStore } from '../../../gateway/recording/verifyStore.ts';
import { soon } from '../../support/soon.ts';
import { connect } from '../agent.ts';
import { Browser } from '../browser.ts';
import { type Client, type Stage, stage } from '../stage.ts';

const POLICY = `version: 1
defaults: { read: allow, write: ask, delete: ask, schema: ask, unknown: deny }
connections:
  orders: { protocol: postgres, upstream: postgres://127.0.0.1:1/orders, via: gateway, password: "secret:orders" }
rules:
  - { id: writes, match: { effect: write }, verdict: ask, approvers: group:dba }
  - { id: deletes, match: { effect: delete }, verdict: ask, approvers: group:dba, min: 2 }
  - { id: schema, match: { effect: schema }, verdict: ask, approvers: group:dba, fresh-login: true }
  - { id: hurried, match: { target: hurried }, verdict: ask, approvers: group:dba, expires: 1s }
  - { id: slow, match: { effect: send }, verdict: ask, approvers: group:dba, escalate: { after: 1h, to: group:leads } }
`;
const SECRET = 'canary-4711@secret.example';

describe('approvals between people', () => {
  let on: Stage;
  let ada: Client;
  let drew: Client;
  let dana: Client;
  let root: Client;
  const received: { url: string; body: string; signature: string | undefined }[] = [];
  /** Where nobody has called yet: the first message to each place fails. */
  const failing = new Set(['/hook', '/chat']);
  const hook = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      if (failing.delete(request.url ?? '')) return void response.writeHead(500).end();
      received.push({ url: request.url ?? '', body, signature: request.headers['x-countersign-signature'] as string | undefined });
      response.end('ok');
    });
  });

  before(async () => {
    await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
    const at = `http://127.0.0.1:${(hook.address() as AddressInfo).port}`;
    on = await stage({
      replicas: 2,
      identity: { roles: { developer: ['group:dev'], approver: ['group:dba', 'group:leads'], auditor: ['group:audit'], admin: ['group:platform'] } },
      config: {
        notify: [
          { id: 'hook', kind: 'webhook', url: 'env:HOOK', secret: 'env:HOOK_SECRET' },
          { id: 'chat', kind: 'slack', url: 'env:CHAT' },
        ],
      },
      env: { HOOK: `${at}/hook`, CHAT: `${at}/chat`, HOOK_SECRET: 'shared-with-the-hook' },
    });
    on.idp.accounts.set('lea', { name: 'Lea', groups: ['leads'] });
    [ada, drew, dana, root] = [await on.signIn('ada'), await on.signIn('drew'), await on.signIn('dana'), await on.signIn('root')];
    const put = await root.call('PUT', '/v1/policy', { text: POLICY, comment: 'begin', over: 0 });
    assert.equal(put.status, 200, JSON.stringify(put.body));
    await soon(() => assert.equal(on.gateways[1]!.policy.version, 1));
  });
  after(async () => {
    await on.stop();
    hook.close();
    hook.closeAllConnections();
  });

  async function pendingOf(client: Client, replica = 0): Promise<GatewayApproval[]> {
    return (await client.call('GET', '/v1/approvals', undefined, replica)).body.pending as GatewayApproval[];
  }
  async function nextFor(client: Client, replica = 0): Promise<GatewayApproval> {
    return await soon(async () => {
      const [first] = await pendingOf(client, replica);
      assert.ok(first);
      return first;
    });
  }
  async function answer(client: Client, approval: GatewayApproval, how: 'approve' | 'deny', more: object = {}, replica = 0): Promise<string> {
    const scope = how === 'approve' ? { scope: { what: 'exact', howLong: 'once' } } : {};
    const { body } = await client.call(
      'POST',
      `/v1/approvals/${approval.id}/answer`,
      { answer: how, id: approval.id, digest: approval.digest, ...scope, ...more },
      replica,
    );
    return body.result as string;
  }

  it('are asked on one replica and answered on another, by whom the rule names, once', async () => {
    const agent = await connect(on.gateways[0]!, ada.token);
    const doing = agent.do({ effect: 'write', payload: `UPDATE orders SET mail = '${SECRET}'` });
    const seen = await nextFor(dana, 1);
    assert.equal(seen.question?.payload, `UPDATE orders SET mail = '${SECRET}'`);
    assert.deepEqual([seen.requester.subject, seen.mine.mayAnswer], ['ada', true]);
    assert.equal(agent.forwarded.length, 0);
    assert.equal(await answer(dana, seen, 'approve', {}, 1), 'accepted');
    assert.equal((await doing).forwarded, true);
    assert.deepEqual(
      agent.forwarded.map(({ basis }) => basis),
      [`approval:${seen.id}`],
    );
    assert.equal(await answer(drew, seen, 'approve'), 'already-decided');
    await agent.session.close('done');
  });

  it('leave nothing of what was asked in the store in the clear', async () => {
    const { db } = on.gateways[0]!;
    for (const table of ['approvals', 'answers', 'grants', 'outgoing', 'entries', 'audit', 'events']) {
      assert.ok(!JSON.stringify(await db.query(`SELECT * FROM ${table}`)).includes(SECRET), table);
    }
  });

  it('count the first of two answers that come at the same moment to two replicas', async () => {
    const agent = await connect(on.gateways[0]!, ada.token);
    for (let round = 0; round < 5; round++) {
      const doing = agent.do({ effect: 'write', payload: `round ${round}` });
      const seen = await nextFor(dana);
      const results = await Promise.all([answer(dana, seen, 'approve', {}, 0), answer(drew, seen, 'deny', {}, 1)]);
      assert.deepEqual([...results].sort(), ['accepted', 'already-decided']);
      assert.equal((await doing).forwarded, results[0] === 'accepted');
    }
    await agent.session.close('done');
  });

  it('need as many people as the rule says, and the requester is none of them', async () => {
    const agent = await connect(on.gateways[1]!, drew.token);
    const doing = agent.do({ effect: 'delete' });
    const seen = await nextFor(dana);
    assert.equal(await answer(drew, seen, 'approve'), 'not-allowed');
    assert.equal(await answer(dana, seen, 'approve'), 'accepted');
    assert.equal(await answer(dana, seen, 'approve'), 'answered-before');
    assert.equal(agent.forwarded.length, 0);
    on.idp.accounts.set('dora', { name: 'Dora', groups: ['dba'] });
    const dora = await on.signIn('dora');
    assert.equal(await answer(dora, await nextFor(dora), 'approve', {}, 1), 'accepted');
    assert.equal((await doing).forwarded, true);
    await agent.session.close('done');
  });

  it('count no approval of someone who was shut out before the others had answered', async () => {
    const agent = await connect(on.gateways[0]!, ada.token);
    const doing = agent.do({ effect: 'delete', payload: 'DELETE FROM orders' });
    const seen = await nextFor(dana);
    assert.equal(await answer(dana, seen, 'approve'), 'accepted');
    const people = (await root.call('GET', '/v1/people')).body.people as { id: string; person: { subject: string } }[];
    const id = people.find(({ person }) => person.subject === 'dana')?.id;
    assert.equal((await root.call('POST', `/v1/people/${id}/disable`, {})).status, 200);
    try {
      const dora = await on.signIn('dora');
      assert.equal(await answer(dora, seen, 'approve'), 'accepted');
      assert.equal((await nextFor(dora)).state, 'pending', 'one of two is not there any more');
      assert.equal(agent.forwarded.length, 0);
      assert.equal(await answer(drew, seen, 'approve'), 'accepted');
      assert.equal((await doing).forwarded, true);
    } finally {
      assert.equal((await root.call('POST', `/v1/people/${id}/enable`, {})).status, 200);
      dana = await on.signIn('dana');
    }
    await agent.session.close('done');
  });

  it('are seen by whom they concern, however many of others wait', async () => {
    const { db } = on.gateways[0]!;
    await db.query(
      `INSERT INTO approvals (id, kind, state, digest, policy_version, connection, requester, question, approvers, quorum, fresh_login, asked_at, deadline)
       SELECT 'app_flood' || n, 'access', 'pending', 'x', 'x', 'orders', 'per_flood', '{}', '["group:elsewhere"]', 1, false, 0, ms() + 600000 FROM generate_series(1, 2100) n`,
    );
    try {
      const agent = await connect(on.gateways[0]!, ada.token);
      const doing = agent.do({ effect: 'write' });
      assert.equal(await answer(dana, await nextFor(dana), 'deny'), 'accepted');
      assert.ok(!(await doing).forwarded);
      await agent.session.close('done');
    } finally {
      await db.query("DELETE FROM approvals WHERE requester = 'per_flood'");
    }
  });

  it('may be refused by the requester, with a note that reaches the agent, and are nobody else’s business', async () => {
    const agent = await connect(on.gateways[0]!, ada.token);
    const doing = agent.do({ effect: 'write' });
    const seen = await nextFor(ada);
    assert.equal(seen.mine.requested, true);
    const bob = await on.signIn('bob');
    assert.deepEqual(await pendingOf(bob), []);
    assert.equal(await answer(bob, seen, 'approve'), 'unknown');
    assert.equal(await answer(ada, { ...seen, digest: 'other' }, 'deny'), 'stale');
    assert.equal(await answer(ada, seen, 'approve'), 'not-allowed');
    assert.equal(await answer(ada, seen, 'deny', { note: 'not today' }), 'accepted');
    const result = await doing;
    assert.ok(!result.forwarded);
    assert.match(result.refusal.sentence, /Denied by Ada: not today/);
    await agent.session.close('done');
  });

  it('end with their time, with their session, and with the request', async () => {
    const agent = await connect(on.gateways[0]!, ada.token);
    const late = await agent.do({ effect: 'write', target: 'hurried' });
    assert.ok(!late.forwarded && late.refusal.code === 'no-answer');
    const abort = new AbortController();
    const cancelled = agent.do({ effect: 'write' }, abort.signal);
    await nextFor(dana);
    abort.abort();
    assert.ok(!(await cancelled).forwarded);
    await soon(async () => assert.deepEqual(await pendingOf(dana), []));
    const doing = agent.do({ effect: 'write' });
    const seen = await nextFor(dana);
    await agent.session.close('gone');
    assert.ok(!(await doing).forwarded);
    assert.equal(await answer(dana, seen, 'approve'), 'already-decided');
    assert.equal(agent.forwarded.length, 0);
  });

  it('want a new sign-in where the rule says so: for that request, by that person, not before it', async () => {
    const agent = await connect(on.gateways[0]!, ada.token);
    const doing = agent.do({ effect: 'schema' });
    const other = agent.do({ effect: 'schema', payload: 'another' });
    const [seen, second] = await soon(async () => {
      const pending = await pendingOf(dana);
      const of = (payload: string): GatewayApproval => pending.find(({ question }) => question?.payload === payload)!;
      assert.equal(pending.length, 2);
      return [of('schema orders'), of('another')];
    });
    assert.equal(seen.mine.needsFreshLogin, true);
    assert.equal(await answer(dana, seen, 'approve'), 'needs-fresh-login');
    const link = async (): Promise<string> => (await dana.call('POST', `/v1/approvals/${seen.id}/fresh-login`, {})).body.url as string;
    const before = on.idp.logins;
    on.idp.user = 'drew';
    const wrong = await new Browser().open(await link());
    assert.match(wrong.text, /someone else/);
    on.idp.user = 'dana';
    const url = await link();
    const page = await new Browser().open(url);
    assert.match(page.text, /signed in again/);
    assert.equal(on.idp.logins, before + 2);
    assert.equal((await new Browser().open(url)).status, 400, 'a link works once');
    assert.equal(await answer(dana, second, 'approve'), 'needs-fresh-login');
    assert.equal(await answer(dana, seen, 'approve', { scope: { what: 'target', howLong: '15m' } }), 'not-allowed');
    assert.equal(await answer(dana, seen, 'approve'), 'accepted');
    assert.equal((await doing).forwarded, true);
    assert.equal(await answer(dana, second, 'deny'), 'accepted');
    await other;
    await agent.session.close('done');
  });

  it('can stand for a while, on every replica, until someone ends the grant: then what lives on it is cut', async () => {
    const here = await connect(on.gateways[0]!, ada.token);
    const there = await connect(on.gateways[1]!, ada.token);
    const doing = here.do({ effect: 'write', shape: 's', payload: 'one' });
    assert.equal(await answer(dana, await nextFor(dana), 'approve', { scope: { what: 'target', howLong: '15m' } }), 'accepted');
    assert.equal((await doing).forwarded, true);
    assert.equal((await there.do({ effect: 'write', payload: 'two' })).forwarded, true);
    const { grants } = (await dana.call('GET', '/v1/grants')).body as { grants: { id: string; used: number; endedAt?: number }[] };
    const standing = grants.find(({ endedAt }) => endedAt === undefined)!;
    assert.equal(standing.used, 1);
    // Whoever gave it was shut out: it stands in for nobody then.
    const { people } = (await root.call('GET', '/v1/people')).body as { people: { id: string; person: { subject: string } }[] };
    const danas = people.find(({ person }) => person.subject === 'dana')?.id;
    assert.equal((await root.call('POST', `/v1/people/${danas}/disable`, {})).status, 200);
    const unheard = there.do({ effect: 'write', payload: 'while she is out' });
    const open = await nextFor(drew);
    assert.equal(await answer(drew, open, 'deny'), 'accepted');
    assert.ok(!(await unheard).forwarded);
    assert.equal((await root.call('POST', `/v1/people/${danas}/enable`, {})).status, 200);
    dana = await on.signIn('dana');
    // Nor does it where she is not named any more.
    const { db } = on.gateways[0]!;
    await db.query(`UPDATE people SET groups = '["dev"]' WHERE id = $1`, [danas]);
    const moved = there.do({ effect: 'write', payload: 'while she is elsewhere' });
    assert.equal(await answer(drew, await nextFor(drew), 'deny'), 'accepted');
    assert.ok(!(await moved).forwarded);
    await db.query(`UPDATE people SET groups = '["dba"]' WHERE id = $1`, [danas]);
    dana = await on.signIn('dana');
    const bob = await on.signIn('bob');
    assert.equal((await bob.call('DELETE', `/v1/grants/${standing.id}`)).status, 404);
    assert.equal((await dana.call('DELETE', `/v1/grants/${standing.id}`)).body.ended, true);
    await soon(() => assert.ok(here.session.signal.aborted && there.session.signal.aborted));
    assert.match(String(there.session.signal.reason), /ended the grant/);
    const again = await connect(on.gateways[1]!, ada.token);
    const asked = again.do({ effect: 'write', payload: 'three' });
    assert.equal(await answer(dana, await nextFor(dana), 'deny'), 'accepted');
    assert.ok(!(await asked).forwarded);
    await again.session.close('done');
  });

  it('can be asked for over a time, with a reason, and stand in for those who gave them and for nobody else', async () => {
    const request = { connection: 'orders', effects: ['write', 'delete'], targets: ['orders'], minutes: 30, reason: 'Clean up after the incident.' };
    const made = await ada.call('POST', '/v1/access-requests', request);
    assert.equal(made.status, 200, JSON.stringify(made.body));
    const asked = made.body as GatewayApproval;
    assert.equal(asked.quorum, 2, 'deleting needs two');
    assert.equal(await answer(ada, asked, 'approve'), 'not-allowed');
    const only = (await ada.call('POST', '/v1/access-requests', { ...request, effects: ['write'] })).body as GatewayApproval;
    assert.equal(await answer(dana, only, 'approve'), 'accepted');
    const agent = await connect(on.gateways[1]!, ada.token);
    assert.equal((await agent.do({ effect: 'write', payload: 'a' })).forwarded, true);
    for (const beyond of [{ effect: 'write', target: 'customers' }, { effect: 'delete' }] as const) {
      const doing = agent.do(beyond);
      const seen = await soon(async () => {
        const [found] = (await pendingOf(dana)).filter(({ kind }) => kind === 'operation');
        assert.ok(found, JSON.stringify(beyond));
        return found;
      });
      await answer(dana, seen, 'deny');
      assert.ok(!(await doing).forwarded);
    }
    assert.ok(!(await agent.do({ effect: 'write', bulk: true })).forwarded, 'what a rule denies stays denied');
    assert.equal((await ada.call('POST', '/v1/access-requests', { ...request, effects: ['read'] })).status, 400, 'needs no request');
    // Each waits for a day: reviewers are not buried in them.
    const { db } = on.gateways[0]!;
    await db.query(
      `INSERT INTO approvals (id, kind, state, digest, policy_version, connection, requester, question, approvers, quorum, fresh_login, deadline)
       SELECT 'app_many' || n, 'access', 'pending', 'x', 'x', 'orders', requester, question, '[]', 1, false, ms() + 600000 FROM approvals, generate_series(1, 20) n WHERE id = $1`,
      [asked.id],
    );
    assert.equal((await ada.call('POST', '/v1/access-requests', request)).status, 429);
    await db.query("DELETE FROM approvals WHERE id LIKE 'app_many%'");
    assert.equal((await ada.call('POST', '/v1/access-requests', { ...request, connection: 'none' })).status, 404);
    // A chat makes a link of every address that it finds: of ours, and of nobody else's.
    const linked = (await ada.call('POST', '/v1/access-requests', { ...request, targets: ['https://evil.example/\u202elogin'] })).body as GatewayApproval;
    await soon(() => assert.ok(received.some(({ url, body }) => url === '/chat' && body.includes(linked.id))));
    const told = received.find(({ url, body }) => url === '/chat' && body.includes(linked.id))?.body ?? '';
    assert.ok(told.includes('evil.example') && !told.includes('https://evil') && !told.includes('\u202e'), told);
    assert.equal(await answer(dana, linked, 'deny'), 'accepted');
    assert.equal(await answer(dana, asked, 'deny'), 'accepted');
    await agent.session.close('done');
    const { grants } = (await ada.call('GET', '/v1/grants')).body as { grants: { id: string; endedAt?: number }[] };
    for (const { id, endedAt } of grants) if (endedAt === undefined) assert.equal((await ada.call('DELETE', `/v1/grants/${id}`)).body.ended, true);
  });

  it('are asked of others when nobody has answered', async () => {
    const agent = await connect(on.gateways[0]!, ada.token);
    const lea = await on.signIn('lea');
    const doing = agent.do({ effect: 'send' });
    const early = await nextFor(lea);
    assert.equal(early.mine.mayAnswer, false);
    assert.equal(await answer(lea, early, 'approve'), 'not-allowed');
    await on.gateways[0]!.db.query('UPDATE approvals SET escalate_at = ms() WHERE id = $1', [early.id]);
    await soon(async () => assert.equal((await nextFor(lea)).escalated, true));
    assert.equal(await answer(lea, early, 'approve'), 'accepted');
    assert.equal((await doing).forwarded, true);
    await agent.session.close('done');
  });

  it('tell a webhook and a chat that something waits, signed, again and in order after a failure, and not what was asked', async () => {
    await soon(() => assert.ok(received.some(({ url }) => url === '/hook') && received.some(({ url }) => url === '/chat')));
    const { body, signature = '' } = received.find(({ url, body }) => url === '/hook' && body.includes('"event":"asked"'))!;
    const [, at, mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature) ?? [];
    assert.equal(mac, createHmac('sha256', 'shared-with-the-hook').update(`${at}.${body}`).digest('hex'));
    const message = JSON.parse(body) as { link: string; approval: string };
    assert.ok(message.link.startsWith(`${on.url}/`) && message.link.includes(message.approval));
    assert.match(received.find(({ url }) => url === '/chat')?.body ?? '', /asks: \*/);
    await soon(async () => {
      const [left] = await on.gateways[0]!.db.query<{ n: number }>('SELECT count(*) AS n FROM outgoing WHERE sent_at IS NULL');
      assert.equal(left!.n, 0);
    });
    const all = JSON.stringify(received);
    assert.ok(!all.includes(SECRET));
    assert.ok(all.includes('WRITE orders'));
    const told = Map.groupBy(
      received.filter(({ url }) => url === '/hook').map(({ body }) => JSON.parse(body) as { approval: string; event: string }),
      ({ approval }) => approval,
    );
    for (const events of told.values()) assert.equal(events[0]!.event, 'asked', JSON.stringify(events));
  });

  it('are asked again under a policy that has changed meanwhile', async () => {
    const agent = await connect(on.gateways[1]!, ada.token);
    const doing = agent.do({ effect: 'write' });
    const first = await nextFor(dana);
    const put = await root.call('PUT', '/v1/policy', { text: `${POLICY}# changed\n`, comment: 'changed', over: 1 });
    assert.equal(put.status, 200);
    const second = await soon(async () => {
      const [found] = await pendingOf(dana);
      assert.ok(found && found.id !== first.id);
      return found;
    });
    assert.equal(await answer(dana, first, 'approve'), 'already-decided');
    assert.equal(await answer(dana, second, 'approve'), 'accepted');
    assert.equal((await doing).forwarded, true);
    await agent.session.close('done');
  });

  it('cut a session whose sign-in has ended, and keep a whole record of everything', async () => {
    const bob = await on.signIn('bob');
    const agent = await connect(on.gateways[1]!, bob.token);
    const doing = agent.do({ effect: 'write' });
    await nextFor(dana);
    await bob.call('POST', '/v1/me/sign-out', {});
    assert.ok(!(await doing).forwarded);
    await soon(() => assert.ok(agent.session.signal.aborted));
    await soon(async () => {
      const [open] = await on.gateways[0]!.db.query<{ n: number }>('SELECT count(*) AS n FROM sessions WHERE closed_at IS NULL');
      assert.equal(open!.n, 0);
    });
    const report = await verifyStore(on.gateways[0]!.db);
    assert.deepEqual(report.problems, []);
    assert.ok(report.sessions > 10 && report.entries > 80);
    const olga = await on.signIn('olga');
    assert.equal((await olga.call('POST', '/v1/audit/verify', {})).body.ok, true);
    // What lists show of a session is in no chain: whoever changes that alone is found out, too.
    const { db } = on.gateways[0]!;
    for (const [set, back] of [
      [`actor = jsonb_set(actor, '{person,subject}', '"mallory"')`, 'actor'],
      ["connection = 'harmless'", 'connection'],
      ['person = (SELECT id FROM people WHERE id <> sessions.person LIMIT 1)', 'person'],
      ['opened_at = opened_at + 60000', 'opened_at'],
    ] as const) {
      const [was] = await db.query<{ id: string; value: unknown }>(`SELECT id, ${back} AS value FROM sessions ORDER BY id LIMIT 1`);
      await db.query(`UPDATE sessions SET ${set} WHERE id = $1`, [was?.id]);
      const { ok, problems } = (await olga.call('POST', '/v1/audit/verify', {})).body as { ok: boolean; problems: string[] };
      assert.equal(ok, false, back);
      assert.match(problems.join(), new RegExp(`${was?.id}: what lists show of it`), back);
      await db.query(`UPDATE sessions SET ${back} = $2${back === 'actor' ? '::jsonb' : ''} WHERE id = $1`, [
        was?.id,
        back === 'actor' ? JSON.stringify(was?.value) : was?.value,
      ]);
    }
    assert.equal((await olga.call('POST', '/v1/audit/verify', {})).body.ok, true);
    await on.gateways[0]!.db.query("UPDATE entries SET line = replace(line, 'WRITE', 'READ') WHERE line LIKE '%WRITE orders%'");
    assert.equal((await olga.call('POST', '/v1/audit/verify', {})).body.ok, false);
  });
});
