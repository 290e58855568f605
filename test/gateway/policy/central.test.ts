import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PolicyKeys, SignedPolicy } from '../../../contract/gateway/policy.ts';
import { laptopText } from '../../../gateway/policy/laptopText.ts';
import { checkSignedPolicy } from '../../../proxy/policy/signedPolicy.ts';
import { soon } from '../../support/soon.ts';
import { type Client, type Stage, stage } from '../stage.ts';
import { temporaryFolder } from '../stores.ts';

/** How often it is tried whether a version is in force soon, on a machine that is busy. */
const ROUNDS = 15;
const WITH = (rule: string): string => `version: 1
connections:
  orders: { protocol: postgres, upstream: postgres://db.internal:5432/orders, user: app, via: gateway, password: "secret:orders", sensitive: { customers.email: partial } }
rules:
  - { id: ${rule}, match: { effect: delete }, verdict: deny }
  - { id: for-orders, match: { connection: orders, effect: write }, verdict: ask, approvers: "group:payments" }
`;

describe('the organisation’s policy', () => {
  let on: Stage;
  let root: Client;
  let ada: Client;
  /** The version whose text is `first`. */
  let first = 0;
  const file = join(temporaryFolder(), 'countersign.yaml');
  before(async () => {
    on = await stage({ replicas: 2, config: { policy: { file, validFor: 3600 } } });
    root = await on.signIn('root');
    ada = await on.signIn('ada');
  });
  after(() => on.stop());

  const put = (text: string, over: number, comment = 'why'): ReturnType<Client['call']> => root.call('PUT', '/v1/policy', { text, comment, over });

  it('is put in force on every replica within a second, and told to those who listen', async () => {
    const events = await fetch(`${on.url}/v1/events`, { headers: { authorization: `Bearer ${ada.token}` } });
    const reader = events.body!.pipeThrough(new TextDecoderStream()).getReader();
    let heard = '';
    const next = async (rule: string): Promise<void> => {
      assert.equal((await put(WITH(rule), first)).status, 200);
      first++;
    };
    const hear = async (event: RegExp): Promise<void> => {
      while (!event.test(heard)) heard += (await reader.read()).value ?? assert.fail(heard);
    };
    await hear(/event: ready/);
    // The quickest of some: what else the machine does is not what is measured.
    const took: number[] = [];
    while (took.length < 2 || (Math.min(...took) > 1_000 && took.length < ROUNDS)) {
      const began = performance.now();
      await next(`before-${first}`);
      await hear(new RegExp(`event: policy\ndata: \\{"subject":"${first}"\\}`));
      await soon(() => assert.equal(on.gateways[1]!.policy.version, first));
      took.push(performance.now() - began);
    }
    assert.ok(Math.min(...took) <= 1_000, `it took ${took.map(Math.round).join(', ')} ms`);
    await next('first');
    await soon(() => assert.equal(on.gateways[1]!.policy.version, first));
    await reader.cancel();
  });

  it('is handed out signed, and believed only as it was signed', async () => {
    const signed = (await ada.call('GET', '/v1/policy', undefined, 1)).body as unknown as SignedPolicy;
    const keys = (await ada.call('GET', '/v1/policy/keys')).body as unknown as PolicyKeys;
    const terms = { issuer: on.url, keys, now: Date.now(), seen: first };
    const good = checkSignedPolicy(signed, terms);
    assert.ok(good.ok && good.statement.text === laptopText(WITH('first')));
    assert.deepEqual([good.statement.person.subject, good.statement.person.groups], ['ada', ['dev']]);
    assert.doesNotMatch(JSON.stringify(signed), /db\.internal|secret:|payments/);
    // Whoever uses no connection is told of none; the whole text is for those who look after it.
    assert.doesNotMatch(JSON.stringify((await (await on.signIn('dana')).call('GET', '/v1/policy')).body), /orders/);
    assert.equal((await root.call('GET', `/v1/policy/history/${first}`)).body.text, WITH('first'));
    const why = (value: unknown, change: object = {}): string => {
      const result = checkSignedPolicy(value, { ...terms, ...change });
      return result.ok ? 'believed' : result.why;
    };
    const { statement } = signed;
    assert.match(why({ ...signed, statement: { ...statement, text: statement.text.replace('deny', 'ask') } }), /signature/);
    assert.match(why({ ...signed, statement: { ...statement, expiresAt: statement.expiresAt + 1 } }), /signature/);
    assert.match(why({ ...signed, kid: 'policy-other' }), /key/);
    assert.match(why(signed, { now: statement.expiresAt }), /time is over/);
    assert.match(why(signed, { issuer: 'https://other.example' }), /another gateway/);
    assert.match(why(signed, { seen: first + 1 }), /older/);
    assert.match(why({}), /not a signed policy/);
    const other = on.gateways[0]!.identity.keys.verifying('token').values().next().value!;
    assert.match(why(signed, { keys: { keys: [{ kid: signed.kid, publicKey: other.export({ type: 'spki', format: 'pem' }) }] } }), /signature/);
  });

  it('is not put over a version that its author has not seen, nor when it is broken', async () => {
    const stale = await put(WITH('second'), 0);
    assert.equal(stale.status, 409);
    const broken = await put('version: 1\nrules:\n  - { id: x, match: { efect: write }, verdict: deny }\n', first);
    assert.deepEqual([broken.status, broken.body.error], [422, 'policy-broken']);
    assert.match(String(broken.body.sentence), /line 3/);
    const both = await Promise.all([put(WITH('left'), first), put(WITH('right'), first)]);
    assert.deepEqual(both.map(({ status }) => status).sort(), [200, 409]);
  });

  it('keeps who changed what, and shows the difference', async () => {
    const { body } = await root.call('GET', '/v1/policy/history');
    const versions = body.versions as { version: number; author: { subject: string }; comment: string }[];
    assert.deepEqual(
      versions.map(({ version, author }) => [version, author.subject]),
      Array.from({ length: first + 1 }, (_, i) => [first + 1 - i, 'root']),
    );
    const detail = await root.call('GET', `/v1/policy/history/${first + 1}`);
    assert.match(String(detail.body.diff), /-  - \{ id: first.*\n\+  - \{ id: (left|right)/);
    assert.equal((await ada.call('GET', '/v1/policy/history')).status, 403);
  });

  it('comes from a file as well, once for all replicas, and a broken file changes nothing', async () => {
    writeFileSync(file, WITH('from-file'));
    await soon(() =>
      assert.deepEqual(
        on.gateways.map(({ policy }) => policy.version),
        [first + 2, first + 2],
      ),
    );
    writeFileSync(file, 'version: 1\nrules: [');
    await soon(() => assert.ok(on.gateways.every(({ policy }) => policy.fileProblem !== undefined)));
    assert.deepEqual(
      on.gateways.map(({ policy }) => policy.version),
      [first + 2, first + 2],
    );
    const [row] = await on.gateways[0]!.db.query<{ n: number }>('SELECT count(*) AS n FROM policies');
    assert.equal(row!.n, first + 2);
  });

  it('shows its users connections without what is behind them', async () => {
    const { body } = await ada.call('GET', '/v1/connections');
    assert.deepEqual(body.connections, [{ name: 'orders', protocol: 'postgres', sensitive: { 'customers.email': 'partial' }, database: 'orders' }]);
    assert.ok(!JSON.stringify(body).includes('db.internal'));
  });
});
