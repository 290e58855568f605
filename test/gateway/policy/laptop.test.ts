import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Client } from 'pg';
import { METHODS, type Snapshot, SurfaceAccess } from '../../../contract/control.ts';
import type { ControlClient } from '../../../proxy/control/client.ts';
import { Home } from '../../proxy/daemon/daemonProcess.ts';
import { PASSWORD, SHOP, SUPERUSER, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { type Client as Person, type Stage, stage } from '../stage.ts';

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

  const put = async (rule: string, verdict: string, over: number): Promise<void> => {
    const { status, body } = await root.call('PUT', '/v1/policy', { text: POLICY(rule, verdict), comment: 'why', over });
    assert.equal(status, 200, JSON.stringify(body));
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
    await put('no-deletes', 'deny', 0);
    await attach();
    assert.equal(await deletes(), 'done', 'nobody has signed in');
    token = (await on.signIn('ada')).token;
    await window.request(METHODS.putGateway, { url: `${on.url}/`, token: { value: token, expiresAt: Date.now() + 600_000 } });
    await window.until(inForce(1));
    assert.match(await deletes(), /Denied by rule no-deletes/);

    const began = performance.now();
    await put('still-no-deletes', 'deny', 1);
    await window.until(inForce(2));
    const took = performance.now() - began;
    assert.ok(took < 1_000, `it took ${Math.round(took)} ms`);
    assert.match(await deletes(), /Denied by rule still-no-deletes/);
    const snapshot = await window.until(() => true);
    assert.doesNotMatch(JSON.stringify(snapshot), /hidden\.internal|secret:hidden/);
  });

  it('follows the gateway’s keys when they are rotated', async () => {
    assert.equal((await root.call('POST', '/v1/keys/rotate', {})).status, 200);
    await put('after-rotation', 'deny', 2);
    await window.until(inForce(3));
    assert.match(await deletes(), /Denied by rule after-rotation/);
  });

  it('holds without the gateway, also after a restart', async () => {
    await window.request(METHODS.shutdown, { reason: 'the test' }).catch(() => undefined);
    await on.gateways[0]!.stop('the test');
    await attach();
    assert.match(await deletes(), /Denied by rule after-rotation/);
    await window.request(METHODS.putGateway, { url: `${on.url}/`, token: { value: token, expiresAt: Date.now() + 600_000 } });
    await window.until(({ gateway }) => gateway?.state === 'unreachable');
    assert.match(await deletes(), /Denied by rule after-rotation/);
  });

  it('denies everything where somebody has changed the copy, and says so', async () => {
    await window.request(METHODS.shutdown, { reason: 'the test' }).catch(() => undefined);
    writeFileSync(join(home.path, 'organisation-policy.json'), '{}');
    await attach();
    assert.match(await deletes(), /Denied by rule organisation-policy-spoilt: The kept copy of the organisation’s policy was changed or is damaged/);
  });
});
