import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Client } from 'pg';
import { NARROWEST } from '../../../contract/approval.ts';
import { type DoctorCheck, METHODS, OrganisationText, type Snapshot, SurfaceAccess } from '../../../contract/control.ts';
import { type GatewayApproval, GatewayApprovals } from '../../../contract/gateway/approvals.ts';
import { LaptopOutcome, type LaptopQuestion } from '../../../contract/gateway/laptop.ts';
import { Secret } from '../../../contract/secret.ts';
import type { ControlClient } from '../../../proxy/control/client.ts';
import { Uplink } from '../../../proxy/uplink/uplink.ts';
import { Home } from '../../proxy/daemon/daemonProcess.ts';
import { facts } from '../../proxy/policy/examples.ts';
import { PASSWORD, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { soon } from '../../support/soon.ts';
import { type Client as Person, type Stage, stage } from '../stage.ts';
import { quiet } from '../stores.ts';

/** How often it is tried whether a version is in force soon, on a machine that is busy. */
const ROUNDS = 15;
const POLICY = (rule: string, verdict: string): string => `version: 1
connections:
  hidden: { protocol: postgres, via: gateway, upstream: postgres://app@hidden.internal:5432/hidden, password: "secret:hidden" }
rules:
  - { id: ${rule}, match: { effect: delete }, verdict: ${verdict} }
`;

/** A real gateway, a real proxy in its own process, and a database that the laptop alone knows. */
describe('the organisation’s policy over a laptop’s own connections', () => {
  let on: Stage;
  let database: TestDatabase;
  let root: Person;
  const home = new Home();
  let window: ControlClient;
  let token = '';
  /** The version that was put in force last. */
  let latest = 0;

  before(async () => {
    database = await testDatabase(SHOP);
    on = await stage();
    root = await on.signIn('root');
    writeFileSync(
      join(home.path, 'countersign.yaml'),
      `version: 1
defaults: { delete: allow }
connections:
  scratch: { protocol: postgres, upstream: 'postgres://${SUPERUSER}@127.0.0.1:${database.port}/${database.database}', password: env:SCRATCH_PASSWORD }
`,
    );
  });
  after(async () => {
    await home.remove();
    await on.stop();
  });

  const put = async (rule: string, verdict: string): Promise<void> => {
    const { status, body } = await root.call('PUT', '/v1/policy', { text: POLICY(rule, verdict), comment: 'why', over: latest });
    assert.equal(status, 200, JSON.stringify(body));
    latest++;
  };
  const inForce = (version: number): ((snapshot: Snapshot) => boolean) => {
    return ({ policy }) => policy.organisation?.version === version && policy.organisation.state === 'in-force';
  };
  const attach = async (): Promise<void> => {
    const { at } = await home.start({ env: { SCRATCH_PASSWORD: PASSWORD } });
    window = await home.attach(at);
  };
  const deletes = async (): Promise<string> => {
    await window.until(({ connections }) => connections.some(({ name, state }) => name === 'scratch' && state === 'ready'));
    const { environment } = SurfaceAccess.parse(await window.request(METHODS.access));
    const client = new Client({ connectionString: environment.COUNTERSIGN_DSN_SCRATCH });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query('DELETE FROM orders WHERE id = -1');
      return 'done';
    } catch (cause) {
      return (cause as Error).message;
    } finally {
      await client.end().catch(() => undefined);
    }
  };

  it('comes with the sign-in, and a new version is in force within a second', async () => {
    await put('no-deletes', 'deny');
    await attach();
    assert.equal(await deletes(), 'done', 'nobody has signed in');
    token = (await on.signIn('ada')).token;
    await window.request(METHODS.putGateway, { url: `${on.url}/`, token: { value: token, expiresAt: Date.now() + 600_000 } });
    await window.until(inForce(1));
    assert.match(await deletes(), /Denied by rule no-deletes/);

    // The quickest of some: what else the machine does is not what is measured.
    const took: number[] = [];
    while (took.length < 2 || (Math.min(...took) > 1_000 && took.length < ROUNDS)) {
      const began = performance.now();
      await put(`no-deletes-${latest}`, 'deny');
      await window.until(inForce(latest));
      took.push(performance.now() - began);
    }
    assert.ok(Math.min(...took) <= 1_000, `it took ${took.map(Math.round).join(', ')} ms`);
    await put('still-no-deletes', 'deny');
    await window.until(inForce(latest));
    assert.match(await deletes(), /Denied by rule still-no-deletes/);
    const served = (): string[] => home.log.split('\n').filter((line) => line.includes('connection.served') && line.includes('"hidden"'));
    await soon(() => assert.ok(served().length > 0));
    assert.equal(served().length, 1, 'what is shared goes on when the policy names it, too');
    const snapshot = await window.until(() => true);
    const { checks } = (await window.request(METHODS.doctor)) as { checks: DoctorCheck[] };
    assert.match(
      checks.find(({ id }) => id === 'organisation-policy')?.detail ?? '',
      new RegExp(`^Version ${latest} from http://127\\.0\\.0\\.1:\\d+/ is in force since 20`),
    );
    const read = OrganisationText.parse(await window.request(METHODS.organisationPolicy));
    assert.match(read?.text ?? '', /still-no-deletes/);
    assert.doesNotMatch(JSON.stringify(snapshot), /hidden\.internal|secret:hidden/);
  });

  it('follows the gateway’s keys when they are rotated', async () => {
    assert.equal((await root.call('POST', '/v1/keys/rotate', {})).status, 200);
    await put('after-rotation', 'deny');
    await window.until(inForce(latest));
    assert.match(await deletes(), /Denied by rule after-rotation/);
  });

  /** The question that waits for them, once there is one. */
  const waiting = async (who: Person): Promise<GatewayApproval> => {
    let found: GatewayApproval | undefined;
    await soon(async () => {
      const { pending } = GatewayApprovals.parse((await who.call('GET', '/v1/approvals')).body);
      [found] = pending;
      assert.ok(found, 'nothing was asked');
    });
    return found as GatewayApproval;
  };

  it('asks the people whom it names, as many as it wants, and once for each operation', async () => {
    await put('two-dbas', "ask, approvers: 'group:dba', min: 2");
    await window.until(inForce(latest));
    const [ada, dana, drew] = [await on.signIn('ada'), await on.signIn('dana'), await on.signIn('drew')];
    const done = deletes();
    const question = await waiting(dana);
    assert.deepEqual([question.connection, question.requester.subject, question.quorum], ['scratch (on a laptop)', 'ada', 2]);
    assert.match(question.question?.payload ?? '', /DELETE FROM orders/);
    assert.match(question.question?.facts.notes[0] ?? '', /what that machine says/);
    const answer = (who: Person, id: string, digest: string, more: object): ReturnType<Person['call']> =>
      who.call('POST', `/v1/approvals/${id}/answer`, { id, digest, ...more });
    const approve = { answer: 'approve', scope: NARROWEST };
    assert.equal((await answer(ada, question.id, question.digest, approve)).body.result, 'not-allowed');
    assert.equal((await answer(dana, question.id, question.digest, approve)).body.result, 'accepted');
    assert.equal((await waiting(drew)).id, question.id, 'one is not enough');
    assert.equal((await answer(drew, question.id, question.digest, approve)).body.result, 'accepted');
    assert.equal(await done, 'done');
    const verified = await (await on.signIn('olga')).call('POST', '/v1/audit/verify', {});
    assert.deepEqual(verified.body.problems, []);

    const again = deletes();
    const { id, digest } = await waiting(dana);
    assert.notEqual(id, question.id);
    await answer(dana, id, digest, { answer: 'deny', note: 'not today' });
    assert.match(await again, /Denied by Dana: not today/);
  });

  it('takes a question back with its operation, and asks nobody where nobody is signed in', async () => {
    const dana = await on.signIn('dana');
    const withdrawn = deletes();
    const { id } = await waiting(dana);
    await window.request(METHODS.putGateway, { url: `${on.url}/`, token: null });
    assert.match(
      await withdrawn,
      /rule two-dbas wants others to approve this at the gateway, or a sign-in for it, and that cannot be asked for: You signed out/,
    );
    await soon(async () => assert.equal((await dana.call('GET', `/v1/approvals/${id}`)).body.why, 'withdrawn'));
    assert.match(await deletes(), /cannot be asked for: You are not signed in to the gateway/);
    await window.request(METHODS.putGateway, { url: `${on.url}/`, token: { value: token, expiresAt: Date.now() + 600_000 } });
    await window.until(({ gateway }) => gateway?.state === 'ready');
  });

  it('does not believe a laptop that names itself as who may approve, or a connection of the gateway as its own', async () => {
    const lying = async (by: string, connection: string): Promise<string> => {
      const uplink = new Uplink({
        url: new URL(on.url),
        token: () => Promise.resolve({ token: new Secret(by), expiresAt: Date.now() + 600_000 }),
        version: '0',
        env: {},
        clock: { now: () => Date.now() },
        log: quiet,
        random: Math.random,
        changed: () => {},
      });
      uplink.start();
      try {
        await soon(() => assert.equal(uplink.state.state, 'ready'));
        const agent = { kind: 'script' as const, name: 'a liar' };
        const stream = uplink.open({ connection, kind: 'ask', surface: 'laptop', agent, conversation: 'c' });
        stream.end(
          JSON.stringify({
            operation: 'op_1',
            digest: 'd',
            session: 'ses_1',
            conversation: 'c',
            actor: { person: { issuer: 'x', subject: 'dana', groups: ['dba'] }, agent },
            connection,
            protocol: 'postgres',
            facts: facts({ effect: 'delete', verb: 'DELETE' }),
            verdict: {
              decision: 'ask',
              rule: { id: 'r', layer: 'user' },
              because: 'b',
              policyVersion: 'v',
              approvers: ['requester'],
              quorum: 1,
              expiresMs: 60_000,
              preview: 'none',
            },
            payload: 'DELETE FROM t',
            language: 'sql',
            params: [],
            conversationSummary: { operations: 1, sensitive: [] },
          } satisfies LaptopQuestion),
        );
        let text = '';
        for await (const chunk of stream) text += String(chunk);
        return LaptopOutcome.parse(JSON.parse(text)).answer === 'denied' ? text : 'approved';
      } catch (cause) {
        return (cause as Error).message;
      } finally {
        await uplink.stop('done');
      }
    };
    assert.match(await lying(token, 'scratch'), /nobody could approve it/);
    assert.match(await lying(token, 'hidden'), /is a connection of the gateway/);
    assert.match(await lying((await on.signIn('dana')).token, 'scratch'), /may not ask others/);
    const { identity } = on.gateways[0]!;
    const { basis, id } = await identity.authenticate(token);
    const run = { sub: id, kind: 'run', for: 'person', basis, act: { sub: 'run-1', agent: { kind: 'script', name: 'a liar' } } } as const;
    assert.match(await lying((await identity.tokens.issue(run, 60)).token, 'scratch'), /may not ask others/, 'a run of an agent');
    assert.deepEqual(GatewayApprovals.parse((await (await on.signIn('dana')).call('GET', '/v1/approvals')).body).pending, []);
  });

  it('holds without the gateway, also after a restart', async () => {
    await window.request(METHODS.shutdown, { reason: 'the test' }).catch(() => undefined);
    await on.gateways[0]!.stop('the test');
    await attach();
    assert.match(await deletes(), /Denied: rule two-dbas wants others/);
    await window.request(METHODS.putGateway, { url: `${on.url}/`, token: { value: token, expiresAt: Date.now() + 600_000 } });
    await window.until(({ gateway }) => gateway?.state === 'unreachable');
    assert.match(await deletes(), /cannot be asked for: The gateway at .* cannot be reached/);
  });

  it('denies everything where somebody has changed the copy, and says so', async () => {
    await window.request(METHODS.shutdown, { reason: 'the test' }).catch(() => undefined);
    writeFileSync(join(home.path, 'organisation-policy.json'), '{}');
    await attach();
    const { checks } = (await window.request(METHODS.doctor)) as { checks: DoctorCheck[] };
    assert.equal(checks.find(({ id }) => id === 'organisation-policy')?.state, 'failed');
    assert.match(await deletes(), /Denied by rule organisation-policy-spoilt: The kept copy of the organisation’s policy was changed or is damaged/);
  });
});
